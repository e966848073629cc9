import { ArgumentError } from '../core/errors.ts';
import type { DType } from '../tensor/dtype.ts';
import type { Shape } from '../tensor/shape.ts';
import type { Graph } from './graph.ts';

/** The six kinds of node. Names are PyTorch's. */
export type Opcode = 'placeholder' | 'get_attr' | 'call_function' | 'call_module' | 'call_method' | 'output';

/** A function that {@link wrap} made opaque to tracing. */
export type WrappedFunction = (...args: any[]) => unknown;

/**
 * What a node refers to: the name of an input, the path of an attribute or module, the name of an operator, method, or a
 * wrapped function itself.
 */
export type Target = string | WrappedFunction;

/** One argument of a node: another node, a plain value, or lists and dicts of these. */
export type Arg =
  | Node
  | BatchSize
  | number
  | string
  | boolean
  | null
  | undefined
  | readonly Arg[]
  | { readonly [key: string]: Arg };

/** What is known about a node's result from the run that traced it. */
export interface NodeMeta {
  /** Shape for the example inputs; absent where the result is not one tensor. */
  shape?: Shape;
  dtype?: DType;
  /** Path of the innermost traced-through module that made the node; `''` for the root. */
  modulePath?: string;
  /** Name of the node in whose place this one stands, in the graph it was made from. */
  origin?: string;
}

/** A number that depends on how many samples run at once: `times · batch + plus`. */
export class BatchSize {
  readonly times: number;
  readonly plus: number;

  constructor(times: number, plus: number) {
    this.times = times;
    this.plus = plus;
  }

  /** The number for a batch. */
  at(batch: number): number {
    return this.times * batch + this.plus;
  }

  toString(): string {
    const { times, plus } = this;
    const product = times === 1 ? 'batch' : `${times} * batch`;
    return plus === 0 ? product : `${product} ${plus < 0 ? '-' : '+'} ${Math.abs(plus)}`;
  }
}

/**
 * One step of a {@link Graph}. Made by the graph's own methods (`callFunction`, `placeholder`, …), never directly.
 * Source: `torch.fx.Node`.
 */
export class Node {
  readonly graph: Graph;
  /** Unique in its graph; the name of its result in printed code. */
  readonly name: string;
  readonly op: Opcode;
  target: Target;
  /** The nodes that take this one's result as an argument. */
  readonly users: Set<Node> = new Set();
  readonly meta: NodeMeta = {};
  #args: readonly Arg[] = [];
  #inputs: readonly Node[] = [];

  constructor(graph: Graph, name: string, op: Opcode, target: Target, args: readonly Arg[]) {
    this.graph = graph;
    this.name = name;
    this.op = op;
    this.target = target;
    this.args = args;
  }

  /** The arguments in order. Assigning others moves this node from the users of the old to those of the new. */
  get args(): readonly Arg[] {
    return this.#args;
  }

  set args(args: readonly Arg[]) {
    const inputs = [...new Set(nodesIn(args))];
    for (const input of inputs) {
      if (input.graph !== this.graph) {
        throw new ArgumentError({
          fn: 'fx.Node',
          argument: 'args',
          expected: 'nodes of the same graph',
          got: `${input.name} of another one`,
          fix: 'Copy it first with graph.nodeCopy(node).',
        });
      }
    }
    for (const input of this.#inputs) input.users.delete(this);
    for (const input of inputs) input.users.add(this);
    this.#args = args;
    this.#inputs = inputs;
  }

  /** The nodes among the arguments, each once, in order. */
  inputNodes(): readonly Node[] {
    return this.#inputs;
  }

  /** Makes every user of this node use `replacement` instead. Returns those users. */
  replaceAllUsesWith(replacement: Node): Node[] {
    const users = [...this.users].filter((user) => user !== replacement);
    for (const user of users) user.replaceInputWith(this, replacement);
    return users;
  }

  /** Makes this node use `replacement` where it used `old`. */
  replaceInputWith(old: Node, replacement: Node): void {
    this.args = this.#args.map((arg) => mapNodes(arg, (node) => (node === old ? replacement : node)));
  }

  /** The target as messages and tables show it. */
  get targetName(): string {
    return typeof this.target === 'string' ? this.target : this.target.name || '(function)';
  }

  toString(): string {
    return this.name;
  }
}

/** True for arguments that are dicts, rather than nodes, batch sizes or lists. */
export function isDict(arg: Arg): arg is { readonly [key: string]: Arg } {
  return (
    typeof arg === 'object' &&
    arg !== null &&
    !Array.isArray(arg) &&
    !(arg instanceof Node) &&
    !(arg instanceof BatchSize)
  );
}

/** Rebuilds an argument with other leaves in place of its nodes, batch sizes and plain values. */
export function mapArg<T>(arg: Arg, leaf: (arg: Exclude<Arg, readonly Arg[]>) => T): unknown {
  if (Array.isArray(arg)) return arg.map((item: Arg) => mapArg(item, leaf));
  if (!isDict(arg)) return leaf(arg as Exclude<Arg, readonly Arg[]>);
  return Object.fromEntries(Object.entries(arg).map(([key, item]) => [key, mapArg(item, leaf)]));
}

/** An argument with its nodes replaced. */
export function mapNodes(arg: Arg, replace: (node: Node) => Arg): Arg {
  return mapArg(arg, (leaf) => (leaf instanceof Node ? replace(leaf) : leaf)) as Arg;
}

/** The nodes inside an argument, in order, with repeats. */
export function nodesIn(arg: Arg): Node[] {
  if (arg instanceof Node) return [arg];
  if (Array.isArray(arg)) return arg.flatMap((item: Arg) => nodesIn(item));
  return isDict(arg) ? Object.values(arg).flatMap(nodesIn) : [];
}

/** True for arguments with a {@link BatchSize} inside. */
export function followsBatch(arg: Arg): boolean {
  if (arg instanceof BatchSize) return true;
  return Array.isArray(arg) ? arg.some(followsBatch) : isDict(arg) && Object.values(arg).some(followsBatch);
}
