import { ArgumentError } from '../core/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type AnyModule, Module } from './module.ts';
import { Parameter } from './parameter.ts';

/**
 * Runs modules one after the other; each takes the output of the one before. Children are named `0`, `1`, … or as the
 * keys of an object say (in the order of the object; JavaScript lists whole-number keys first).
 *
 * The type parameters are the inputs of the first module and the output of the last, where they are not one tensor.
 * Source: `torch.nn.Sequential`.
 *
 * @example
 * new Sequential(new Linear(784, 128), new ReLU(), new Linear(128, 10));
 * new Sequential({ conv: new Conv2d(1, 20, 5), relu: new ReLU() });
 */
export class Sequential<Args extends unknown[] = [Tensor], Out = Tensor> extends Module<Args, Out> {
  constructor(...modules: AnyModule[] | [Readonly<Record<string, AnyModule>>]) {
    super();
    const [first] = modules;
    if (modules.length === 1 && !(first instanceof Module)) {
      for (const [name, module] of Object.entries(first as Record<string, AnyModule>)) {
        this.addModule(name, requireModule(module, 'Sequential', name));
      }
      return;
    }
    for (const module of modules as AnyModule[]) this.append(module);
  }

  /** How many modules run. */
  override get length(): number {
    return childList(this).length;
  }

  /** The module at a place; negative places count from the end. */
  at(index: number): AnyModule {
    return pick(childList(this), index, 'Sequential');
  }

  /** Adds a module at the end, named by its place. */
  append(module: AnyModule): this {
    this.addModule(String(this.length), requireModule(module, 'Sequential', String(this.length)));
    return this;
  }

  /** The modules in order. */
  *[Symbol.iterator](): IterableIterator<AnyModule> {
    yield* childList(this);
  }

  forward(...inputs: Args): Out {
    const [first, ...rest] = childList(this);
    if (first === undefined) return inputs[0] as Out;
    let value: unknown = first(...inputs);
    for (const module of rest) value = module(value);
    return value as Out;
  }
}

/**
 * A list of modules that are registered but not run: the owner's `forward` decides. Source: `torch.nn.ModuleList`.
 *
 * @example
 * class Net extends Module {
 *   layers = new ModuleList([new Linear(4, 4), new Linear(4, 4)]);
 *   forward(x: Tensor): Tensor { for (const layer of this.layers) x = layer(x); return x; }
 * }
 */
export class ModuleList<M extends AnyModule = AnyModule> extends Module<never[], never> {
  constructor(modules: Iterable<M> = []) {
    super();
    this.extend(modules);
  }

  override get length(): number {
    return childList(this).length;
  }

  /** The module at a place; negative places count from the end. */
  at(index: number): M {
    return pick(childList(this), index, 'ModuleList') as M;
  }

  append(module: M): this {
    this.addModule(String(this.length), requireModule(module, 'ModuleList', String(this.length)));
    return this;
  }

  extend(modules: Iterable<M>): this {
    for (const module of modules) this.append(module);
    return this;
  }

  *[Symbol.iterator](): IterableIterator<M> {
    yield* childList(this) as M[];
  }

  forward(): never {
    throw notCallable('ModuleList', 'for (const layer of this.layers) x = layer(x)');
  }
}

/**
 * Modules by name, registered but not run. Source: `torch.nn.ModuleDict`.
 *
 * @example
 * const choices = new ModuleDict({ conv: new Conv2d(3, 3, 1), pool: new MaxPool2d(2) });
 * choices.get('conv')(x);
 */
export class ModuleDict<M extends AnyModule = AnyModule> extends Module<never[], never> {
  constructor(modules: Readonly<Record<string, M>> = {}) {
    super();
    for (const [name, module] of Object.entries(modules)) this.set(name, module);
  }

  override get length(): number {
    return childList(this).length;
  }

  /** The module of that name. Throws where there is none. */
  get(name: string): M {
    return this.getSubmodule(name) as M;
  }

  has(name: string): boolean {
    return Object.hasOwn(this, name) && Reflect.get(this, name) instanceof Module;
  }

  set(name: string, module: M): this {
    this.addModule(name, requireModule(module, 'ModuleDict', name));
    return this;
  }

  delete(name: string): boolean {
    return this.has(name) && Reflect.deleteProperty(this, name);
  }

  keys(): string[] {
    return this.entries().map(([name]) => name);
  }

  values(): M[] {
    return childList(this) as M[];
  }

  entries(): [string, M][] {
    return Object.entries(this).filter((entry): entry is [string, M] => entry[1] instanceof Module);
  }

  forward(): never {
    throw notCallable('ModuleDict', 'this.choices.get(name)(x)');
  }
}

/**
 * A list of parameters that are registered with the owner. Source: `torch.nn.ParameterList`.
 *
 * @example
 * const gains = new ParameterList([new Parameter(ones([3])), new Parameter(ones([5]))]);
 * gains.at(1).shape; // [5]
 */
export class ParameterList extends Module<never[], never> {
  constructor(parameters: Iterable<Parameter> = []) {
    super();
    for (const parameter of parameters) this.append(parameter);
  }

  override get length(): number {
    return this.list().length;
  }

  /** The parameter at a place; negative places count from the end. */
  at(index: number): Parameter {
    return pick(this.list(), index, 'ParameterList');
  }

  append(parameter: Parameter): this {
    Object.defineProperty(this, String(this.length), {
      value: parameter,
      writable: true,
      enumerable: true,
      configurable: true,
    });
    return this;
  }

  *[Symbol.iterator](): IterableIterator<Parameter> {
    yield* this.list();
  }

  /** The parameters in order. */
  list(): Parameter[] {
    return Object.values(this).filter((value): value is Parameter => value instanceof Parameter);
  }

  override extraRepr(): string {
    return this.list()
      .map((p, i) => `  (${i}): Parameter containing: [torch.${p.dtype} of size ${p.shape.join('x')}]`)
      .join('\n');
  }

  forward(): never {
    throw notCallable('ParameterList', 'this.gains.at(i)');
  }
}

/** The children in order, with repeats: a module listed twice runs twice. */
function childList(module: AnyModule): AnyModule[] {
  return Object.values(module).filter((value): value is AnyModule => value instanceof Module);
}

function pick<T>(items: readonly T[], index: number, fn: string): T {
  const item = items.at(index);
  if (item === undefined) {
    throw new ArgumentError({
      fn: `${fn}.at`,
      argument: 'index',
      expected: `a place from ${-items.length} to ${items.length - 1}`,
      got: String(index),
    });
  }
  return item;
}

function requireModule<M extends AnyModule>(module: M, fn: string, name: string): M {
  if (module instanceof Module) return module;
  throw new ArgumentError({
    fn,
    argument: name,
    expected: 'a Module',
    got: module === null ? 'null' : typeof module,
    fix: 'Wrap a function in a Module, or call it in forward.',
  });
}

function notCallable(fn: string, use: string): ArgumentError {
  return new ArgumentError({
    fn,
    argument: 'forward',
    expected: 'its items to be called',
    got: 'a call of the container itself',
    fix: `Write ${use}.`,
  });
}
