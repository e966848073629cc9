import { ArgumentError } from '../core/errors.ts';
import { dispatch } from '../ops/dispatch.ts';
import type { OpName } from '../ops/signatures/index.ts';
import { bindInputs, describe } from './bind-inputs.ts';
import type { Graph } from './graph.ts';
import type { GraphOwner } from './lint.ts';
import { type Arg, BatchSize, followsBatch, mapArg, Node, nodesIn } from './node.ts';

/** What an interpreter needs to know besides the graph. */
export interface InterpreterOptions {
  /** What messages call the computation. */
  readonly name?: string;
}

/**
 * Runs a graph node by node. Override the method of an opcode to change what such a node does, or {@link runNode} to see
 * every node. Source: `torch.fx.Interpreter`.
 *
 * @example
 * class Timer extends Interpreter {
 *   override runNode(node: Node): unknown {
 *     const start = performance.now();
 *     const result = super.runNode(node);
 *     console.log(node.name, performance.now() - start);
 *     return result;
 *   }
 * }
 * new Timer(traced.graph, traced).run(x);
 */
export class Interpreter {
  readonly graph: Graph;
  readonly owner: GraphOwner;
  /** Results of the nodes that ran and are still needed. */
  readonly env: Map<Node, unknown> = new Map();
  readonly #name: string;
  #batch = 0;

  constructor(graph: Graph, owner: GraphOwner, options: InterpreterOptions = {}) {
    this.graph = graph;
    this.owner = owner;
    this.#name = options.name ?? 'fx.Interpreter';
  }

  /** Runs the whole graph on the inputs and gives back what its output says. */
  run(...inputs: readonly unknown[]): unknown {
    this.env.clear();
    const { values, batch } = bindInputs(this.graph, inputs, this.#name);
    this.#batch = batch;
    for (const [node, value] of values) this.env.set(node, value);
    const { nodes } = this.graph;
    const last = lastUses(nodes);
    for (const node of nodes) {
      if (node.op !== 'placeholder') this.env.set(node, this.runNode(node));
      if (node.op === 'output') {
        const result = this.env.get(node);
        this.env.clear();
        return result;
      }
      // Results go as soon as nothing will read them, so that a run needs no more memory than the model itself.
      for (const done of last.get(node) ?? []) this.env.delete(done);
    }
    throw new ArgumentError({
      fn: this.#name,
      argument: 'graph',
      expected: 'an output',
      got: 'none',
      fix: 'Call graph.output(value).',
    });
  }

  /** Runs one node on the results so far. */
  runNode(node: Node): unknown {
    const args = node.args.map((arg) => this.resolve(arg));
    switch (node.op) {
      case 'get_attr':
        return this.getAttr(node);
      case 'call_function':
        return this.callFunction(node, args);
      case 'call_module':
        return this.callModule(node, args);
      case 'call_method':
        return this.callMethod(node, args);
      case 'output':
        return args[0];
      case 'placeholder':
        return this.env.get(node);
    }
  }

  getAttr(node: Node): unknown {
    return this.owner.attribute(node.targetName);
  }

  callFunction(node: Node, args: readonly unknown[]): unknown {
    if (typeof node.target === 'function') return node.target(...args);
    if (node.target === 'getitem') {
      const [from, key] = args as [Record<string, unknown>, string];
      if (Object.hasOwn(from, key)) return from[key];
      throw this.#inputError(`node ${node.name}`, `a result with an item ${key}`, describe(from));
    }
    return (dispatch as (op: OpName, ...args: readonly unknown[]) => unknown)(node.target as OpName, ...args);
  }

  callModule(node: Node, args: readonly unknown[]): unknown {
    return this.owner.getSubmodule(node.targetName)(...args);
  }

  callMethod(node: Node, [self, ...args]: readonly unknown[]): unknown {
    const method = (self as Record<string, unknown> | null | undefined)?.[node.targetName];
    if (typeof method === 'function') return method.apply(self, args);
    throw new ArgumentError({
      fn: this.#name,
      argument: `node ${node.name}`,
      expected: 'the name of a method of its first argument',
      got: node.targetName,
    });
  }

  /** An argument with results in place of nodes and numbers in place of batch sizes. */
  resolve(arg: Arg): unknown {
    if (arg instanceof Node) return this.env.get(arg);
    if (typeof arg !== 'object' || arg === null || isConstant(arg)) return arg;
    return mapArg(arg, (leaf) => {
      if (leaf instanceof Node) return this.env.get(leaf);
      return leaf instanceof BatchSize ? leaf.at(this.#batch) : leaf;
    });
  }

  #inputError(argument: string, expected: string, got: string): ArgumentError {
    return new ArgumentError({ fn: this.#name, argument, expected, got });
  }
}

const constants = new WeakMap<object, boolean>();

/** True for lists and dicts of plain values (sizes, geometries), which are passed as they are. */
function isConstant(arg: Exclude<Arg, Node> & object): boolean {
  let constant = constants.get(arg);
  if (constant === undefined) {
    constant = nodesIn(arg).length === 0 && !followsBatch(arg);
    constants.set(arg, constant);
  }
  return constant;
}

/** For each node, the nodes whose results are read there for the last time. */
function lastUses(nodes: readonly Node[]): Map<Node, Node[]> {
  const seen = new Set<Node>();
  const last = new Map<Node, Node[]>();
  for (const node of [...nodes].reverse()) {
    const fresh = node.inputNodes().filter((input) => !seen.has(input));
    if (node.users.size === 0) fresh.push(node);
    for (const input of fresh) seen.add(input);
    last.set(node, fresh);
  }
  return last;
}
