import { isPlainObject } from '../core/plain-object.ts';
import { GraphModule } from '../fx/graph-module.ts';
import { isLeafModule } from '../fx/leaf.ts';
import type { Node } from '../fx/node.ts';
import { PackedSequence } from '../nn/index.ts';
import { type AnyModule, withCallInterceptor } from '../nn/module.ts';
import { dispatch, type Interpreter, type Next, withInterpreter } from '../ops/dispatch.ts';
import { noGrad } from '../ops/grad-mode.ts';
import type { OpArgs, OpName, OpResult } from '../ops/signatures/index.ts';
import type { Pattern } from '../quantization/backend/pattern.ts';
import { StandIn } from '../quantization/define-by-run/stand-in.ts';
import { POST_PROCESS } from '../quantization/module-qconfig.ts';
import { Tensor } from '../tensor/tensor.ts';

/** Inputs of one call of a model: its tensor, or the list of its arguments. */
export type Batch = Tensor | readonly unknown[];

/** A place of a model where something is computed: one call of a layer, or of an operator outside of layers. */
export interface Call {
  /** The same for the same call in every run of a model that takes the same way. */
  readonly key: string;
  /**
   * Path of the layer. Operators have the path of their FloatFunctional, or one of their own below the module whose `forward`
   * calls them: `layer1.0.add`, and `layer1.0.add_1` for the next.
   */
  readonly path: string;
  /** Path of the module whose `forward` made the call; in graphs that from which it was traced. */
  readonly scope: string;
  /** The layer; null for operators. */
  readonly module: AnyModule | null;
  /** The operator; null for layers. */
  readonly op: OpName | null;
  readonly args: readonly unknown[];
}

/** A {@link Call} that ran. */
export interface Site extends Call {
  /** The first tensor of its result. */
  readonly output: Tensor;
  /** All tensors of its result. */
  readonly outputs: readonly Tensor[];
  readonly result: unknown;
  /** True for operators of a FloatFunctional. */
  readonly isFunctional: boolean;
}

/** Runs in place of a call; `run` makes it, with the arguments it is given. */
export type Around = (call: Call, run: (args: readonly unknown[]) => unknown) => unknown;

/** Options of {@link recordRun}. */
export interface RecordOptions {
  /** The user's rows of the backend table: their classes are layers too. */
  readonly patterns?: readonly Pattern[];
  readonly around?: Around;
  /** False drops the calls once they are made. */
  readonly keep?: boolean;
}

/** What one run of a model left behind: every call in order, with its arguments and result. */
export interface Run {
  readonly sites: readonly Site[];
  /** Every tensor of the model's arguments. */
  readonly inputs: readonly Tensor[];
  /** Every tensor of the model's result. */
  readonly outputs: readonly Tensor[];
  /** What the model returned. */
  readonly result: unknown;
  /** True for tensors that depend on the inputs; parameters and constants do not. */
  readonly isActivation: (tensor: Tensor) => boolean;
}

/**
 * Runs a model and records the calls of layers and, outside of them, of operators: all modes of quantization go through
 * these two points. Gradients are off. Calls that return an argument as it is (dropout in evaluation mode, an observer)
 * are left out.
 */
export function recordRun(model: AnyModule, batch: Batch, options: RecordOptions = {}): Run {
  return new Recorder(model, options).run(batch);
}

/** Every tensor in a value: in lists, plain objects and packed sequences, in order. */
export function tensorsIn(value: unknown): Tensor[] {
  if (value instanceof Tensor) return [value];
  if (Array.isArray(value)) return value.flatMap(tensorsIn);
  if (value instanceof PackedSequence) return [value.data];
  return isPlainObject(value) ? Object.values(value).flatMap(tensorsIn) : [];
}

/** A value with other tensors in place of those for which `replace` gives one. */
export function replaceTensors(value: unknown, replace: (tensor: Tensor) => Tensor): unknown {
  if (value instanceof Tensor) return replace(value);
  if (Array.isArray(value)) return value.map((item) => replaceTensors(item, replace));
  if (value instanceof PackedSequence) {
    const { data, batchSizes, sortedIndices } = value;
    return new PackedSequence(replace(data), batchSizes, sortedIndices);
  }
  if (!isPlainObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, replaceTensors(v, replace)]));
}

/** The arguments of a batch as a list. */
export function argumentsOf(batch: Batch): readonly unknown[] {
  return batch instanceof Tensor ? [batch] : batch;
}

/** Makes a recorded call again, with these arguments. */
export function callAgain({ module, op }: Call, args: readonly unknown[]): unknown {
  if (module) return module(...args);
  return (dispatch as (op: OpName, ...args: readonly unknown[]) => unknown)(op as OpName, ...args);
}

/** A site while its run is not over: a functional module learns of its operators afterwards. */
interface OpenSite extends Site {
  path: string;
  isFunctional: boolean;
}

/** Where in a module's code a run is. */
interface Scope {
  readonly path: string;
  /** The nodes of a graph that are still to be run; null for code. */
  readonly nodes: Node[] | null;
}

class Recorder implements Interpreter {
  readonly name = 'suite';
  readonly #root: AnyModule;
  readonly #around: Around;
  readonly #paths: ReadonlyMap<AnyModule, string>;
  readonly #extraLeaves: ReadonlySet<unknown>;
  readonly #activations = new WeakSet<Tensor>();
  readonly #producers = new WeakMap<Tensor, OpenSite>();
  readonly #keep: boolean;
  readonly #counts = new Map<string, number>();
  readonly #scopes: Scope[] = [];
  readonly #sites: OpenSite[] = [];
  /** How many layers and operators we are inside of. */
  #depth = 0;

  constructor(root: AnyModule, options: RecordOptions) {
    this.#root = root;
    this.#keep = options.keep ?? true;
    this.#around = options.around ?? ((call, run) => run(call.args));
    this.#paths = new Map(root.namedModules().map(([path, module]) => [module, path]));
    this.#extraLeaves = new Set(
      (options.patterns ?? []).flatMap((p) => [p.float, p.qat, p.qatDynamic, p.static, p.dynamic]),
    );
  }

  run(batch: Batch): Run {
    const args = argumentsOf(batch);
    for (const tensor of tensorsIn(args)) this.#activations.add(tensor);
    const result = noGrad(() =>
      withInterpreter(this, () =>
        withCallInterceptor(
          (module, inputs, run) => this.#callModule(module, inputs, run),
          () => this.#root(...args),
        ),
      ),
    );
    return {
      sites: this.#sites,
      inputs: tensorsIn(args),
      outputs: tensorsIn(result),
      result,
      isActivation: (tensor) => this.#activations.has(tensor),
    };
  }

  call<K extends OpName>(op: K, args: OpArgs<K>, next: Next): OpResult<K> {
    if (this.#depth > 0 || !tensorsIn(args).some((t) => this.#activations.has(t)))
      return this.#inside(() => next(op, args));
    const scope = this.#scopeOf(op);
    const base = `${scope}${scope && '.'}${op.replace('quantized::', '')}`;
    const nth = this.#count(`operator ${base}`);
    const path = nth === 1 ? base : `${base}_${nth - 1}`;
    const key = `${op}@${this.#count(`${op}@`)}`;
    const call: Call = { key, path, scope, module: null, op, args };
    return this.#record(call, (given) => next(op, given as OpArgs<K>)) as OpResult<K>;
  }

  #callModule(module: AnyModule, inputs: readonly unknown[], run: () => unknown): unknown {
    if (this.#depth > 0) return run();
    const path = this.#paths.get(module);
    // Code that runs by run sees stand-ins; what is called with one is not a layer to it, but operators.
    const isOpen = tensorsIn(inputs).some((t) => t instanceof StandIn);
    if (path === undefined || path === '' || isOpen || !this.#isLeaf(module)) {
      const nodes = module instanceof GraphModule ? [...module.graph.nodes] : null;
      this.#scopes.push({ path: path ?? this.#scopes.at(-1)?.path ?? '', nodes });
      try {
        return run();
      } finally {
        this.#scopes.pop();
      }
    }
    if (path.endsWith(`.${POST_PROCESS}`)) this.#claim(path.slice(0, -POST_PROCESS.length - 1), inputs[0]);
    const key = `${path}#${this.#count(`${path}#`)}`;
    const call: Call = { key, path, scope: path, module, op: null, args: inputs };
    return this.#record(call, (given) => (given === inputs ? run() : module(...given)));
  }

  #isLeaf(module: AnyModule): boolean {
    return isLeafModule(module) || this.#extraLeaves.has(module.constructor);
  }

  /** The module whose code calls an operator. A graph's nodes run in order, so the next one with this target does. */
  #scopeOf(op: OpName): string {
    const scope = this.#scopes.at(-1);
    if (!scope?.nodes) return scope?.path ?? '';
    const at = scope.nodes.findIndex((node) => node.target === op);
    const [node] = at < 0 ? [] : scope.nodes.splice(0, at + 1).slice(-1);
    return [scope.path, node?.meta.modulePath].filter(Boolean).join('.');
  }

  /** How often this was counted, this time included. */
  #count(what: string): number {
    const n = (this.#counts.get(what) ?? 0) + 1;
    this.#counts.set(what, n);
    return n;
  }

  #record(call: Call, run: (args: readonly unknown[]) => unknown): unknown {
    const result = this.#inside(() => this.#around(call, run));
    const before = tensorsIn(call.args);
    const after = tensorsIn(result);
    for (const tensor of after) this.#activations.add(tensor);
    if (after.length === 0 || before.includes(after[0])) return result;
    if (!this.#keep) return result;
    const site: OpenSite = { ...call, output: after[0], outputs: after, result, isFunctional: false };
    this.#sites.push(site);
    for (const tensor of after) this.#producers.set(tensor, site);
    return result;
  }

  /** A FloatFunctional shows its result to its observer: the operators that made it are its own. */
  #claim(path: string, value: unknown): void {
    const made = value instanceof Tensor ? this.#producers.get(value) : undefined;
    if (!made?.op) return;
    const rectified = made.op === 'relu' && this.#producers.get(made.args[0] as Tensor);
    for (const site of [made, ...(rectified && rectified.op === 'add' ? [rectified] : [])]) {
      site.path = path;
      site.isFunctional = true;
    }
  }

  #inside<T>(body: () => T): T {
    this.#depth++;
    try {
      return body();
    } finally {
      this.#depth--;
    }
  }
}
