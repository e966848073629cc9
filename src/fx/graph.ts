import { ArgumentError } from '../core/errors.ts';
import type { DeepCopyable } from '../nn/deep-copy.ts';
import { formatCode, formatNode, formatTabular } from './code.ts';
import { checkGraph, type GraphOwner } from './lint.ts';
import { type Arg, mapNodes, Node, nodesIn, type Opcode, type Target } from './node.ts';

/** At which batch sizes a traced graph runs. */
export interface BatchRule {
  /** Which dimension of the inputs counts samples. */
  readonly dim: number;
  /** The batch size of the example inputs. */
  readonly example: number;
  /** Why the graph runs at that size only; null where it runs at any. */
  readonly fixed: string | null;
}

/**
 * A computation as a list of {@link Node}s in the order they run. Source: `torch.fx.Graph`.
 *
 * @example
 * const graph = new Graph();
 * const x = graph.placeholder('x');
 * graph.output(graph.callFunction('relu', [x]));
 * print(graph); // graph():
 *               //     %x : [#users=1] = placeholder[target=x]
 *               //     %relu : [#users=1] = call_function[target=relu](args = (%x,))
 *               //     return relu
 */
export class Graph implements DeepCopyable {
  /**
   * The inputs of the computation: placeholders, in the lists and dicts that the caller passes them in. A plain value
   * among them must be passed again as it is.
   */
  inputs: Arg[] = [];
  /** At which batch sizes it runs; null for graphs that were not traced, which check nothing. */
  batch: BatchRule | null = null;
  #nodes: Node[] = [];
  readonly #names = new Set<string>();
  /** Where new nodes go: before this one, or at the end where null. */
  #insertBefore: Node | null = null;

  /** The nodes in the order they run. */
  get nodes(): readonly Node[] {
    return this.#nodes;
  }

  /** The node that says what the computation returns; undefined before there is one. */
  get outputNode(): Node | undefined {
    return this.#nodes.at(-1)?.op === 'output'
      ? this.#nodes.at(-1)
      : this.#nodes.find((n) => n.op === 'output');
  }

  /** Adds an input. It becomes the last argument of the computation. */
  placeholder(name: string): Node {
    const node = this.createNode('placeholder', name, [], name);
    this.inputs.push(node);
    return node;
  }

  /** Adds the reading of a parameter, buffer or constant of the owner. */
  getAttr(path: string): Node {
    return this.createNode('get_attr', path, []);
  }

  /** Adds a call of an operator (by name), of `getitem`, or of a wrapped function. */
  callFunction(target: Target, args: readonly Arg[]): Node {
    return this.createNode('call_function', target, args);
  }

  /** Adds a call of the owner's module at a dotted path. */
  callModule(path: string, args: readonly Arg[]): Node {
    return this.createNode('call_module', path, args);
  }

  /** Adds a call of a method of the first argument. */
  callMethod(method: string, args: readonly Arg[]): Node {
    return this.createNode('call_method', method, args);
  }

  /** Says what the computation returns: a node, or lists and dicts of nodes and plain values. */
  output(value: Arg): Node {
    return this.createNode('output', 'output', [value]);
  }

  /** Adds a node at the insertion point. The name is made unique; it follows from the target where not given. */
  createNode(op: Opcode, target: Target, args: readonly Arg[], name?: string): Node {
    const base = name ?? (typeof target === 'string' ? target : target.name || 'function');
    const node = new Node(this, this.#uniqueName(base), op, target, args);
    const at = this.#insertBefore ? this.#indexOf(this.#insertBefore) : this.#nodes.length;
    this.#nodes.splice(at, 0, node);
    return node;
  }

  /** Adds a copy of a node of another graph; `replace` says which node stands for each of its arguments. */
  nodeCopy(node: Node, replace: (node: Node) => Arg): Node {
    const args = node.args.map((arg) => mapNodes(arg, replace));
    const copy = this.createNode(node.op, node.target, args, node.name);
    Object.assign(copy.meta, node.meta);
    return copy;
  }

  /** Runs `body` with new nodes going before `node`. Source: `torch.fx.Graph.inserting_before`. */
  insertingBefore<T>(node: Node, body: () => T): T {
    this.#indexOf(node);
    const previous = this.#insertBefore;
    this.#insertBefore = node;
    try {
      return body();
    } finally {
      this.#insertBefore = previous;
    }
  }

  /** Runs `body` with new nodes going after `node`, in the order they are made. */
  insertingAfter<T>(node: Node, body: () => T): T {
    const next = this.#nodes[this.#indexOf(node) + 1];
    if (next) return this.insertingBefore(next, body);
    const previous = this.#insertBefore;
    this.#insertBefore = null;
    try {
      return body();
    } finally {
      this.#insertBefore = previous;
    }
  }

  /**
   * Removes a node that nothing uses.
   *
   * @throws {@link ArgumentError} where it has users.
   */
  eraseNode(node: Node): void {
    const at = this.#indexOf(node);
    if (node.users.size > 0) {
      throw new ArgumentError({
        fn: 'fx.Graph.eraseNode',
        argument: 'node',
        expected: 'a node without users',
        got: `${node.name}, used by ${[...node.users].join(', ')}`,
        fix: 'Call node.replaceAllUsesWith(other) first.',
      });
    }
    if (node.op === 'placeholder') {
      if (!this.inputs.includes(node)) {
        throw new ArgumentError({
          fn: 'fx.Graph.eraseNode',
          argument: 'node',
          expected: 'an input that is an argument of its own',
          got: `${node.name}, a member of a list or dict`,
        });
      }
      this.inputs = this.inputs.filter((input) => input !== node);
    }
    node.args = [];
    this.#nodes.splice(at, 1);
    this.#names.delete(node.name);
    if (this.#insertBefore === node) this.#insertBefore = this.#nodes[at] ?? null;
  }

  /**
   * Removes the nodes whose results nothing uses; inputs stay. True where there were any.
   * Source: `torch.fx.Graph.eliminate_dead_code`.
   */
  eliminateDeadCode(): boolean {
    let removed = false;
    for (const node of [...this.#nodes].reverse()) {
      if (node.op === 'placeholder' || node.op === 'output' || node.users.size > 0) continue;
      this.eraseNode(node);
      removed = true;
    }
    return removed;
  }

  /**
   * Checks that every node comes after its arguments, names are unique, users are right, there is one output and it is
   * last; with an owner, that its targets exist. Source: `torch.fx.Graph.lint`.
   *
   * @throws {@link ArgumentError} naming the node at fault.
   */
  lint(owner?: GraphOwner): void {
    checkGraph(this, owner);
  }

  /** An independent graph of the same nodes. */
  deepCopy(): Graph {
    const copy = new Graph();
    const copies = new Map<Node, Node>();
    const replace = (node: Node): Node => copies.get(node) as Node;
    for (const node of this.#nodes) copies.set(node, copy.nodeCopy(node, replace));
    copy.inputs = this.inputs.map((input) => mapNodes(input, replace));
    copy.batch = this.batch;
    return copy;
  }

  /** The nodes as a table: opcode, name, target, args. */
  formatTabular(): string {
    return formatTabular(this);
  }

  /** Prints {@link formatTabular}. Source: `torch.fx.Graph.print_tabular`. */
  printTabular(): void {
    console.log(this.formatTabular());
  }

  /** The computation as the body of a `forward` method. */
  get code(): string {
    return formatCode(this);
  }

  /** PyTorch's printed form. */
  toString(): string {
    return `graph():\n${this.#nodes.map((node) => `    ${formatNode(node)}`).join('\n')}`;
  }

  /** The nodes that the computation's inputs name, in order. */
  inputNodes(): Node[] {
    return nodesIn(this.inputs);
  }

  #indexOf(node: Node): number {
    const at = this.#nodes.indexOf(node);
    if (at >= 0) return at;
    throw new ArgumentError({
      fn: 'fx.Graph',
      argument: 'node',
      expected: 'a node of this graph',
      got: `${node.name}, which is not in it (any more)`,
    });
  }

  #uniqueName(base: string): string {
    const clean = identifier(base);
    let name = clean;
    for (let n = 1; this.#names.has(name); n++) name = `${clean}_${n}`;
    this.#names.add(name);
    return name;
  }
}

/** Words that cannot name a variable in the printed code. */
const RESERVED = new Set(
  'break case catch class const continue debugger default delete do else enum export extends false finally for function if import in instanceof new null return super switch this throw true try typeof var void while with yield let static await batch undefined ops'.split(
    ' ',
  ),
);

/** A variable name made of a target: `layer1.0.conv1` → `layer1_0_conv1`, `quantized::add` → `quantized_add`. */
function identifier(text: string): string {
  const clean = text.replace(/[^\w$]+/g, '_');
  if (clean === '' || /^\d/.test(clean) || RESERVED.has(clean)) return `_${clean}`;
  return clean;
}
