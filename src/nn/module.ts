import { ArgumentError, StateDictError, ZeropointError } from '../core/errors.ts';
import { formatShape } from '../tensor/shape.ts';
import type { StateDict, StateValue } from '../tensor/state.ts';
import { copyStrided, Tensor } from '../tensor/tensor.ts';
import { Parameter } from './parameter.ts';
import { formatModule } from './print.ts';

/** A module of any signature: what containers and walks over a model deal in. */
export type AnyModule = Module<any, any>;

/** Called before `forward` with its inputs; a returned list replaces them. */
export type ForwardPreHook = (module: AnyModule, inputs: readonly unknown[]) => unknown[] | undefined;

/** Called after `forward`; a returned value other than undefined replaces the output. */
export type ForwardHook = (module: AnyModule, inputs: readonly unknown[], output: unknown) => unknown;

/** Undoes a registration. */
export interface HookHandle {
  remove(): void;
}

/** What `loadStateDict` found out. */
export interface LoadReport {
  readonly missingKeys: string[];
  readonly unexpectedKeys: string[];
  /** Entries that are there but do not fit, as sentences. */
  readonly mismatches: string[];
}

/** Bookkeeping of a module, out of sight of its fields. */
interface Internals {
  /** Field name → whether it is saved in the state dict. */
  readonly buffers: Map<string, boolean>;
  readonly preHooks: Set<ForwardPreHook>;
  readonly hooks: Set<ForwardHook>;
}

const internals = new WeakMap<object, Internals>();

/** The modules whose `forward` is running, outermost first. */
const running: AnyModule[] = [];

/** Runs in place of a module's call; `run` makes the call itself, hooks included. */
export type CallInterceptor = (module: AnyModule, inputs: readonly unknown[], run: () => unknown) => unknown;

let interceptor: CallInterceptor | null = null;

/**
 * Runs `body` while every call of a module goes through `intercept`: how tracers see the borders of layers. Where one is at work
 * already, `run` goes on through it.
 */
export function withCallInterceptor<T>(intercept: CallInterceptor, body: () => T): T {
  const before = interceptor;
  interceptor = before
    ? (module, inputs, run) => intercept(module, inputs, () => before(module, inputs, run))
    : intercept;
  try {
    return body();
  } finally {
    interceptor = before;
  }
}

/** The part of {@link Module} that makes it a function: `model(x)` runs the hooks and `forward`. */
export interface Module<Args extends unknown[] = [Tensor], Out = Tensor> {
  (...inputs: Args): Out;
}

/**
 * Base class of every layer and model. A module is callable: `model(x)` runs its hooks and `forward(x)`. Fields that
 * hold Modules or {@link Parameter}s register themselves in the order they were assigned.
 *
 * The type parameters are the inputs and the output of `forward`; one tensor in, one tensor out unless stated.
 * A subclass keeps its state in ordinary fields, not in `#private` ones, so that it can be copied.
 * Source: `torch.nn.Module`.
 *
 * @example
 * class Net extends Module {
 *   fc1 = new Linear(784, 128);
 *   relu = new ReLU();
 *   fc2 = new Linear(128, 10);
 *   forward(x: Tensor): Tensor { return this.fc2(this.relu(this.fc1(x))); }
 * }
 * const net = new Net();
 * net(rand([1, 784])).shape; // [1, 10]
 */
export abstract class Module<Args extends unknown[] = [Tensor], Out = Tensor> {
  /**
   * State-dict names of fields that are not spelled as in PyTorch: `{ runningMean: 'running_mean' }`.
   * Fields that are not listed are saved under their own name.
   */
  static readonly stateNames: Readonly<Record<string, string>> = {};

  /** True in training mode; see {@link train} and {@link eval}. */
  declare training: boolean;

  constructor() {
    const self = ((...inputs: Args): Out => runModule(self, inputs)) as unknown as this;
    Object.setPrototypeOf(self, new.target.prototype);
    Reflect.deleteProperty(self, 'length');
    Reflect.deleteProperty(self, 'name');
    Object.defineProperty(self, 'training', { value: true, writable: true, enumerable: false });
    internals.set(self, { buffers: new Map(), preHooks: new Set(), hooks: new Set() });
    // biome-ignore lint/correctness/noConstructorReturn: the returned function is what makes a module callable
    return self;
  }

  /** The computation. Call the module itself rather than this, so that hooks run. */
  abstract forward(...inputs: Args): Out;

  /** The class name that `print` shows and messages use. */
  get typeName(): string {
    return this.constructor.name;
  }

  /** What `print` shows between the parentheses of a module without children. */
  extraRepr(): string {
    return '';
  }

  /** PyTorch's indented tree. */
  toString(): string {
    return formatModule(this);
  }

  /** Adds a tensor that is state but not learned (running statistics). Not saved where `persistent` is false. */
  registerBuffer(field: string, value: Tensor | null, persistent = true): void {
    internalsOf(this).buffers.set(field, persistent);
    (this as Record<string, unknown>)[field] = value;
  }

  /** Adds (or replaces) a child under a computed name. Source: `torch.nn.Module.add_module`. */
  addModule(name: string, module: AnyModule): void {
    // A child called like a method would take the method's place.
    if (name === '' || name.includes('.') || (name in this && !Object.hasOwn(this, name))) {
      throw new ArgumentError({
        fn: 'addModule',
        argument: 'name',
        expected: `a name without dots that is not a member of ${this.typeName} already`,
        got: JSON.stringify(name),
      });
    }
    Object.defineProperty(this, name, {
      value: module,
      writable: true,
      enumerable: true,
      configurable: true,
    });
  }

  /** Runs `hook` before every `forward`. */
  registerForwardPreHook(hook: ForwardPreHook): HookHandle {
    return register(internalsOf(this).preHooks, hook);
  }

  /** Runs `hook` after every `forward`; before the hooks that are already there with `prepend`. */
  registerForwardHook(hook: ForwardHook, options: { readonly prepend?: boolean } = {}): HookHandle {
    const { hooks } = internalsOf(this);
    const later = options.prepend ? [...hooks] : [];
    for (const h of later) hooks.delete(h);
    const handle = register(hooks, hook);
    for (const h of later) hooks.add(h);
    return handle;
  }

  /** Takes a hook off again; nothing happens where it is not there. */
  removeForwardHook(hook: ForwardHook): void {
    internalsOf(this).hooks.delete(hook);
  }

  /** Takes a hook off again; nothing happens where it is not there. */
  removeForwardPreHook(hook: ForwardPreHook): void {
    internalsOf(this).preHooks.delete(hook);
  }

  /** Registers on this module every hook of `other`, for a module that takes another's place. */
  adoptHooks(other: AnyModule): void {
    const from = internalsOf(other);
    for (const hook of from.preHooks) internalsOf(this).preHooks.add(hook);
    for (const hook of from.hooks) internalsOf(this).hooks.add(hook);
  }

  /** Sets training mode here and below (dropout drops, batch norm uses batch statistics). */
  train(mode = true): this {
    this.training = mode;
    for (const [, child] of this.namedChildren()) child.train(mode);
    return this;
  }

  /** Sets evaluation mode here and below. */
  eval(): this {
    return this.train(false);
  }

  /** Calls `visit` on every descendant, children first, then on this module. */
  apply(visit: (module: AnyModule) => void): this {
    for (const [, child] of this.namedChildren()) child.apply(visit);
    visit(this);
    return this;
  }

  /** Direct children with their names, in order of assignment. A module assigned twice is listed once. */
  namedChildren(): [string, AnyModule][] {
    const seen = new Set<unknown>();
    const found: [string, AnyModule][] = [];
    for (const [name, value] of Object.entries(this)) {
      if (!(value instanceof Module) || seen.has(value)) continue;
      seen.add(value);
      found.push([name, value]);
    }
    return found;
  }

  /** Direct children. */
  children(): AnyModule[] {
    return this.namedChildren().map(([, child]) => child);
  }

  /** This module (under `prefix`, `''`) and all below, depth first, each once, with dotted paths. */
  namedModules(prefix = '', seen: Set<AnyModule> = new Set()): [string, AnyModule][] {
    if (seen.has(this)) return [];
    seen.add(this);
    const found: [string, AnyModule][] = [[prefix, this]];
    for (const [name, child] of this.namedChildren())
      found.push(...child.namedModules(joinPath(prefix, name), seen));
    return found;
  }

  /** This module and all below. */
  modules(): AnyModule[] {
    return this.namedModules().map(([, m]) => m);
  }

  /** Every parameter with its dotted path, each once. */
  namedParameters(prefix = ''): [string, Parameter][] {
    return namedTensors(this, prefix, (m) => m.ownParameters()) as [string, Parameter][];
  }

  /** Every parameter, each once: what an optimizer takes. */
  parameters(): Parameter[] {
    return this.namedParameters().map(([, p]) => p);
  }

  /** Every buffer with its dotted path, each once. */
  namedBuffers(prefix = ''): [string, Tensor][] {
    return namedTensors(this, prefix, (m) => m.ownBuffers());
  }

  /** Every buffer, each once. */
  buffers(): Tensor[] {
    return this.namedBuffers().map(([, b]) => b);
  }

  /** Parameters of this module alone, under their state-dict names. */
  ownParameters(): [string, Parameter][] {
    return Object.entries(this).flatMap(([field, value]): [string, Parameter][] =>
      value instanceof Parameter ? [[stateName(this, field), value]] : [],
    );
  }

  /** Buffers of this module alone, under their state-dict names; `persistentOnly` leaves out those that are not saved. */
  ownBuffers(persistentOnly = false): [string, Tensor][] {
    const found: [string, Tensor][] = [];
    for (const [field, persistent] of internalsOf(this).buffers) {
      const value = (this as Record<string, unknown>)[field];
      if (value instanceof Tensor && (persistent || !persistentOnly))
        found.push([stateName(this, field), value]);
    }
    return found;
  }

  /** The module at a dotted path; the module itself for `''`. Throws where there is none. */
  getSubmodule(path: string): AnyModule {
    let at: AnyModule = this;
    for (const name of path === '' ? [] : path.split('.')) {
      const next = Object.hasOwn(at, name) ? (at as unknown as Record<string, unknown>)[name] : undefined;
      if (!(next instanceof Module)) {
        throw new ArgumentError({
          fn: 'getSubmodule',
          argument: 'path',
          expected: `a path inside ${this.typeName}`,
          got: `"${path}": ${at.typeName} has no child "${name}"`,
          fix: `Its children are: ${
            at
              .namedChildren()
              .map(([n]) => n)
              .join(', ') || 'none'
          }.`,
        });
      }
      at = next;
    }
    return at;
  }

  /** Replaces the module at a dotted path. */
  setSubmodule(path: string, module: AnyModule): void {
    const cut = path.lastIndexOf('.');
    const parent = this.getSubmodule(cut < 0 ? '' : path.slice(0, cut));
    const name = path.slice(cut + 1);
    parent.getSubmodule(name);
    parent.addModule(name, module);
  }

  /** Switches gradients of every parameter on or off. */
  requiresGrad_(value = true): this {
    for (const p of this.parameters()) p.requiresGrad = value;
    return this;
  }

  /** Forgets the gradients of every parameter. */
  zeroGrad(): void {
    for (const p of this.parameters()) p.grad = null;
  }

  /**
   * Parameters and persistent buffers by PyTorch's keys. The tensors are the module's own, not copies.
   * Source: `torch.nn.Module.state_dict`.
   */
  stateDict(prefix = '', into: StateDict = new Map()): StateDict {
    this.saveToStateDict(into, prefix);
    for (const [name, child] of childEntries(this)) child.stateDict(`${prefix}${name}.`, into);
    return into;
  }

  /** Writes this module's own entries. Modules with state of another kind (packed weights) override it. */
  saveToStateDict(into: StateDict, prefix: string): void {
    for (const [name, p] of this.ownParameters()) into.set(prefix + name, p);
    for (const [name, b] of this.ownBuffers(true)) into.set(prefix + name, b);
  }

  /**
   * Copies values into this module and all below. With `strict` (the default) every key must be there and no other.
   * Nothing is copied unless everything fits. Source: `torch.nn.Module.load_state_dict`.
   *
   * @throws {@link StateDictError} listing missing, unexpected and mis-shaped entries.
   */
  loadStateDict(
    state: ReadonlyMap<string, StateValue>,
    options: { readonly strict?: boolean } = {},
  ): LoadReport {
    const strict = options.strict ?? true;
    const loader = new StateLoader(state);
    loader.visit(this, '');
    const report = loader.report();
    const problems = [
      ...(strict && report.missingKeys.length ? [`missing keys: ${list(report.missingKeys)}`] : []),
      ...(strict && report.unexpectedKeys.length ? [`unexpected keys: ${list(report.unexpectedKeys)}`] : []),
      ...report.mismatches,
    ];
    if (problems.length) {
      throw new StateDictError({
        fn: `${this.typeName}.loadStateDict`,
        argument: 'state',
        expected: `the ${this.stateDict().size} entries of ${this.typeName}`,
        got: problems.join('; '),
        fix: strict ? 'Rename or drop keys, or pass { strict: false } to take what fits by name.' : '',
      });
    }
    loader.commit();
    return report;
  }

  /**
   * Takes this module's own entries from `loader`. Modules with state of another kind override it, together with
   * {@link saveToStateDict}.
   */
  loadFromStateDict(loader: StateLoader, prefix: string): void {
    for (const [name, p] of this.ownParameters()) loader.copyInto(prefix + name, p);
    for (const [name, b] of this.ownBuffers(true)) loader.copyInto(prefix + name, b);
  }
}

/** Walks a state dict against a module tree; copies happen only when everything was found to fit. */
export class StateLoader {
  readonly #state: ReadonlyMap<string, StateValue>;
  readonly #taken = new Set<string>();
  readonly #missing: string[] = [];
  readonly #mismatches: string[] = [];
  readonly #work: (() => void)[] = [];

  constructor(state: ReadonlyMap<string, StateValue>) {
    this.#state = state;
  }

  /** Lets a module and all below take their entries. */
  visit(module: AnyModule, prefix: string): void {
    module.loadFromStateDict(this, prefix);
    for (const [name, child] of childEntries(module)) this.visit(child, `${prefix}${name}.`);
  }

  /** The entry under `key`, marked as used; undefined (and reported missing unless `optional`) where there is none. */
  take(key: string, optional = false): StateValue | undefined {
    const value = this.#state.get(key);
    if (this.#state.has(key)) this.#taken.add(key);
    else if (!optional) this.#missing.push(key);
    return value;
  }

  /** Takes an entry that must be a tensor of the target's shape, and copies it into the target's storage. */
  copyInto(key: string, target: Tensor): void {
    const value = this.take(key);
    if (value === undefined) return;
    if (!(value instanceof Tensor)) this.mismatch(`${key} is not a tensor`);
    else if (value.qparams !== null)
      this.mismatch(`${key} is a quantized tensor, the module is not quantized there`);
    else if (value.shape.join() !== target.shape.join() && !(value.numel === 1 && target.numel === 1)) {
      this.mismatch(
        `${key} has shape ${formatShape(value.shape)}, the module has ${formatShape(target.shape)}`,
      );
    } else {
      this.later(() =>
        copyStrided(
          value.dtype === target.dtype ? value.data : value.numbers(),
          0,
          new Tensor({ storage: value.storage, shape: target.shape, dtype: value.dtype }).strides,
          target.storage,
          target.offset,
          target.strides,
          target.shape,
        ),
      );
    }
  }

  /** Reports an entry that does not fit, as a sentence. */
  mismatch(sentence: string): void {
    this.#mismatches.push(sentence);
  }

  /** Does something once everything was found to fit. */
  later(work: () => void): void {
    this.#work.push(work);
  }

  report(): LoadReport {
    return {
      missingKeys: this.#missing,
      unexpectedKeys: [...this.#state.keys()].filter((k) => !this.#taken.has(k)),
      mismatches: this.#mismatches,
    };
  }

  commit(): void {
    for (const work of this.#work) work();
  }
}

/** The dotted path of the innermost module whose `forward` is running; `''` at the root or outside. */
function runningModulePath(): string {
  const names: string[] = [];
  for (let i = 1; i < running.length; i++) {
    const path = running[i - 1].namedModules().find(([, m]) => m === running[i])?.[0];
    names.push(path ?? running[i].typeName);
  }
  return names.join('.');
}

/** Prints a model (or anything) the way PyTorch does. */
export function print(...values: unknown[]): void {
  console.log(values.map(String).join(' '));
}

/** Makes a callable with a module's prototype and bookkeeping but none of its fields; for copying. */
export function blankCopy<M extends AnyModule>(module: M): M {
  const copy = ((...inputs: unknown[]): unknown => runModule(copy, inputs)) as unknown as M;
  Object.setPrototypeOf(copy, Object.getPrototypeOf(module));
  Reflect.deleteProperty(copy, 'length');
  Reflect.deleteProperty(copy, 'name');
  const { buffers, preHooks, hooks } = internalsOf(module);
  internals.set(copy, { buffers: new Map(buffers), preHooks: new Set(preHooks), hooks: new Set(hooks) });
  return copy;
}

function runModule(module: AnyModule, inputs: readonly unknown[]): any {
  return interceptor
    ? interceptor(module, inputs, () => runHooked(module, inputs))
    : runHooked(module, inputs);
}

function runHooked(module: AnyModule, inputs: readonly unknown[]): any {
  const { preHooks, hooks } = internalsOf(module);
  let args = inputs;
  running.push(module);
  try {
    for (const hook of preHooks) args = hook(module, args) ?? args;
    let output: unknown = module.forward(...args);
    for (const hook of hooks) {
      const replaced = hook(module, args, output);
      if (replaced !== undefined) output = replaced;
    }
    return output;
  } catch (error) {
    if (error instanceof ZeropointError) error.locate(runningModulePath(), module.typeName);
    throw error;
  } finally {
    running.pop();
  }
}

function namedTensors(
  root: AnyModule,
  prefix: string,
  own: (m: AnyModule) => [string, Tensor][],
): [string, Tensor][] {
  const seen = new Set<Tensor>();
  const found: [string, Tensor][] = [];
  for (const [path, module] of root.namedModules(prefix)) {
    for (const [name, t] of own(module)) {
      if (seen.has(t)) continue;
      seen.add(t);
      found.push([joinPath(path, name), t]);
    }
  }
  return found;
}

function internalsOf(module: object): Internals {
  return internals.get(module) as Internals;
}

function register<H>(set: Set<H>, hook: H): HookHandle {
  set.add(hook);
  return { remove: () => set.delete(hook) };
}

/** Children including repeats: the state dict lists a shared module under each of its names, as PyTorch does. */
function childEntries(module: AnyModule): [string, AnyModule][] {
  return Object.entries(module).filter((entry): entry is [string, AnyModule] => entry[1] instanceof Module);
}

function stateName(module: object, field: string): string {
  return (module.constructor as typeof Module).stateNames[field] ?? field;
}

function joinPath(prefix: string, name: string): string {
  return prefix === '' ? name : `${prefix}.${name}`;
}

function list(keys: readonly string[]): string {
  const shown = keys.slice(0, 8).join(', ');
  return keys.length > 8 ? `${shown} and ${keys.length - 8} more` : shown;
}
