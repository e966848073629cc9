import { isPlainObject } from '../core/plain-object.ts';
import { type AnyModule, withCallInterceptor } from '../nn/module.ts';
import { type Interpreter, type Next, withInterpreter } from '../ops/dispatch.ts';
import { noGrad } from '../ops/grad-mode.ts';
import type { OpArgs, OpName, OpResult } from '../ops/signatures/index.ts';
import { Tensor } from '../tensor/tensor.ts';
import { indexAttributes } from './attributes.ts';
import { Graph } from './graph.ts';
import type { Arg, Node, WrappedFunction } from './node.ts';
import { traceError } from './trace-error.ts';
import { TracedTensor, type TraceGuard } from './traced-tensor.ts';

/** How a {@link Tracer} treats what it meets. */
export interface TracerOptions {
  /** The function that messages name. */
  readonly fn: string;
  /** True for modules that become one node. */
  readonly isLeaf: (module: AnyModule, path: string) => boolean;
  /** Record functions made by `wrap` as one node; false traces through them. */
  readonly keepWrapped: boolean;
  /** What messages say about keeping a module out of the trace; how `symbolicTrace` does it where not given. */
  readonly leafAdvice?: string;
}

/** What a run left behind. */
export interface Trace {
  readonly graph: Graph;
  /** Objects that `get_attr` nodes name but no module holds: tensors made in `forward`, packed weights, generators. */
  readonly constants: Map<string, unknown>;
}

let current: Tracer | null = null;

/** The tracer whose model code is running right now; null inside of operators and leaf modules. */
export function activeTracer(): Tracer | null {
  return current?.watching ? current : null;
}

/**
 * Runs a model once and records, as a graph, the operators that pass the choke point and the calls of leaf modules.
 * One tracer traces one run.
 */
export class Tracer implements Interpreter, TraceGuard {
  readonly name = 'trace';
  readonly graph: Graph = new Graph();
  readonly constants: Map<string, unknown> = new Map();
  readonly #root: AnyModule;
  readonly #options: TracerOptions;
  readonly #modulePaths: Map<AnyModule, string>;
  readonly #attributePaths: Map<unknown, string>;
  readonly #attributeNodes = new Map<string, Node>();
  /** Paths of the traced-through modules that are running. */
  readonly #scopes: string[] = [];
  #running = false;
  /** How many operators and leaf modules we are inside of. */
  #depth = 0;

  constructor(root: AnyModule, options: TracerOptions) {
    this.#root = root;
    this.#options = options;
    this.#modulePaths = new Map(root.namedModules().map(([path, module]) => [module, path]));
    this.#attributePaths = indexAttributes(root);
  }

  get watching(): boolean {
    return this.#running && this.#depth === 0;
  }

  /** True where wrapped functions become nodes. */
  get keepsWrapped(): boolean {
    return this.#options.keepWrapped;
  }

  /** Traces the model on example inputs: tensors, and lists and dicts of them. Plain values are kept as they are. */
  trace(inputs: readonly unknown[]): Trace {
    const names = parameterNames(this.#root, inputs.length);
    const values = inputs.map((input, i) => {
      const [arg, value] = this.#placeholders(input, names[i]);
      return [arg, value];
    });
    this.graph.inputs = values.map(([arg]) => arg as Arg);
    const before = current;
    current = this;
    this.#running = true;
    try {
      const output = noGrad(() =>
        withInterpreter(this, () =>
          withCallInterceptor(
            (module, args, run) => this.#callModule(module, args, run),
            () => this.#root(...values.map(([, value]) => value)),
          ),
        ),
      );
      this.graph.output(this.#argOf(output));
    } finally {
      this.#running = false;
      current = before;
    }
    this.#dropUnread();
    return { graph: this.graph, constants: this.constants };
  }

  call<K extends OpName>(op: K, args: OpArgs<K>, next: Next): OpResult<K> {
    if (!this.watching || !args.some((arg) => this.#isTracked(arg)))
      return this.#unwatched(() => next(op, args));
    const recorded = args.map((arg) => this.#argOf(arg));
    const result = this.#unwatched(() => next(op, args));
    return this.#record('call_function', op, recorded, result) as OpResult<K>;
  }

  /** Records a call of a wrapped function; see `wrap`. */
  callWrapped(fn: WrappedFunction, args: readonly unknown[]): unknown {
    const recorded = args.map((arg) => this.#argOf(arg));
    return this.#record(
      'call_function',
      fn,
      recorded,
      this.#unwatched(() => fn(...args)),
    );
  }

  refuse(node: Node, what: string): Error {
    return traceError({
      fn: this.#options.fn,
      argument: `value of ${node.name}`,
      expected: 'a computation that does not look at elements while it is traced',
      got: what,
      fix: this.#options.keepWrapped
        ? `Write it with operators (where, clamp, …) that return new tensors, ${this.#options.leafAdvice ?? 'make the module a leaf with leafModules'}, or wrap() the function.`
        : 'Write it with operators (where, clamp, …) that return new tensors.',
    });
  }

  #callModule(module: AnyModule, inputs: readonly unknown[], run: () => unknown): unknown {
    if (!this.watching) return run();
    const path = this.#modulePaths.get(module);
    if (path !== undefined && path !== '' && this.#options.isLeaf(module, path)) {
      const recorded = inputs.map((input) => this.#argOf(input));
      return this.#record('call_module', path, recorded, this.#unwatched(run));
    }
    this.#scopes.push(path ?? this.#scopes.at(-1) ?? '');
    try {
      return run();
    } finally {
      this.#scopes.pop();
    }
  }

  #record(
    op: 'call_function' | 'call_module',
    target: string | WrappedFunction,
    args: readonly Arg[],
    result: unknown,
  ): unknown {
    const node = this.graph.createNode(op, target, args);
    return this.#unwatched(() => this.#resultOf(node, result));
  }

  /** A node's result as the model's code sees it: traced tensors, taken out of lists and dicts by `getitem` nodes. */
  #resultOf(node: Node, value: unknown): unknown {
    node.meta.modulePath = this.#scopes.at(-1) ?? '';
    if (value instanceof Tensor) {
      node.meta.shape = value.shape;
      node.meta.dtype = value.dtype;
      return new TracedTensor(value, node, this);
    }
    const item = (key: string | number, member: unknown): unknown =>
      isStructure(member) ? this.#resultOf(this.graph.callFunction('getitem', [node, key]), member) : member;
    if (Array.isArray(value)) return value.map((member, i) => item(i, member));
    if (isPlainObject(value)) {
      return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, item(key, member)]));
    }
    if (!isStructure(value)) return value;
    throw traceError({
      fn: this.#options.fn,
      argument: `result of ${node.targetName}`,
      expected: 'tensors, plain values, or lists and plain objects of these',
      got: (value as object).constructor.name,
      fix: 'Take the tensors out of it inside of the leaf module or wrapped function.',
    });
  }

  #placeholders(value: unknown, name: string): [Arg, unknown] {
    if (value instanceof Tensor) {
      const node = this.graph.createNode('placeholder', name, [], name);
      (node as { target: string }).target = node.name;
      return [node, this.#resultOf(node, value)];
    }
    if (Array.isArray(value)) {
      const parts = value.map((item, i) => this.#placeholders(item, `${name}_${i}`));
      return [parts.map(([arg]) => arg), parts.map(([, part]) => part)];
    }
    if (isPlainObject(value)) {
      const parts = Object.entries(value).map(
        ([key, item]) => [key, this.#placeholders(item, `${name}_${key}`)] as const,
      );
      return [
        Object.fromEntries(parts.map(([key, [arg]]) => [key, arg])),
        Object.fromEntries(parts.map(([key, [, part]]) => [key, part])),
      ];
    }
    if (!isStructure(value) && typeof value !== 'function') return [value as Arg, value];
    throw traceError({
      fn: this.#options.fn,
      argument: `input ${name}`,
      expected: 'a tensor, a plain value, or a list or plain object of these',
      got: typeof value === 'function' ? 'a function' : (value as object).constructor.name,
      fix: 'Pass its tensors instead.',
    });
  }

  /** What a node's argument is for a value of the model's code. */
  #argOf(value: unknown): Arg {
    if (value instanceof TracedTensor && value.guard === this) return value.node;
    if (Array.isArray(value)) return value.map((item) => this.#argOf(item));
    if (isPlainObject(value)) {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, this.#argOf(item)]));
    }
    if (typeof value === 'object' && value !== null) return this.#attribute(value);
    if (typeof value !== 'function' && typeof value !== 'symbol' && typeof value !== 'bigint')
      return value as Arg;
    throw traceError({
      fn: this.#options.fn,
      argument: 'argument',
      expected: 'tensors, plain values, or lists and plain objects of these',
      got: `a ${typeof value}`,
      fix: 'Make it a field of the module, or trace through the module that takes it.',
    });
  }

  #attribute(value: object): Node {
    let path = this.#attributePaths.get(value);
    if (path === undefined) {
      const base = value instanceof Tensor ? '_tensor_constant' : '_constant';
      let n = 0;
      while (`${base}${n}` in this.#root || this.constants.has(`${base}${n}`)) n++;
      path = `${base}${n}`;
      this.constants.set(path, value);
      this.#attributePaths.set(value, path);
    }
    let node = this.#attributeNodes.get(path);
    if (!node) {
      node = this.graph.getAttr(path);
      node.meta.modulePath = this.#scopes.at(-1) ?? '';
      if (value instanceof Tensor) {
        node.meta.shape = value.shape;
        node.meta.dtype = value.dtype;
      }
      this.#attributeNodes.set(path, node);
    }
    return node;
  }

  /** True where a value depends on inputs, parameters or buffers; anything else can be computed once and for all. */
  #isTracked(value: unknown): boolean {
    if (Array.isArray(value)) return value.some((item) => this.#isTracked(item));
    if (value instanceof TracedTensor) return value.guard === this;
    if (typeof value !== 'object' || value === null) return false;
    const path = this.#attributePaths.get(value);
    return path !== undefined && !this.constants.has(path);
  }

  #unwatched<T>(body: () => T): T {
    this.#depth++;
    try {
      return body();
    } finally {
      this.#depth--;
    }
  }

  /** Takes out the `getitem` and `get_attr` nodes that were made in advance and never read. */
  #dropUnread(): void {
    for (const node of [...this.graph.nodes].reverse()) {
      const inAdvance = node.op === 'get_attr' || node.target === 'getitem';
      if (inAdvance && node.users.size === 0) this.graph.eraseNode(node);
    }
    const read = new Set(this.graph.nodes.filter((n) => n.op === 'get_attr').map((n) => n.target));
    for (const name of [...this.constants.keys()]) if (!read.has(name)) this.constants.delete(name);
  }
}

/** Names of `forward`'s parameters as its source gives them; `input_0`, … where it does not. */
function parameterNames(root: AnyModule, count: number): string[] {
  const source = Function.prototype.toString.call(root.forward);
  const list = /^[^(]*\(([^()]*)\)/.exec(source)?.[1] ?? '';
  const names = list.split(',').map((part) => /^\s*([A-Za-z_$][\w$]*)\s*(?:$|=)/.exec(part)?.[1]);
  return Array.from({ length: count }, (_, i) => names[i] ?? `input_${i}`);
}

/** Objects of any kind: what is no plain value. */
function isStructure(value: unknown): boolean {
  return typeof value === 'object' && value !== null;
}
