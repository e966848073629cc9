import { ArgumentError, StateDictError } from '../core/errors.ts';
import type { TypedArray } from '../tensor/dtype.ts';
import { formatShape } from '../tensor/shape.ts';
import { copyStrided, fromStorage, Tensor } from '../tensor/tensor.ts';
import { flatParameter, inOrder, stateLike } from './memory.ts';

/** What every optimizer has a setting for. */
export interface LearningRate {
  lr: number;
}

/**
 * Parameters that share their settings. Everything but `params` may be changed between steps, which is what schedulers do.
 */
export type ParamGroup<H extends LearningRate = LearningRate> = H & { params: Tensor[] };

/** What an optimizer is made from: parameters, or groups of them with settings that differ from the defaults. */
export type OptimizerInput<H> =
  | Iterable<Tensor>
  | Iterable<{ readonly params: Iterable<Tensor> } & Partial<H>>;

/** What an optimizer remembers of one parameter, under camel-case names of PyTorch's keys. */
export type ParameterState = Record<string, Tensor | number | null>;

/** A parameter under update: flat arrays in one common memory order. */
export interface Update<H> {
  readonly values: TypedArray;
  /** Not to be written: it is the parameter's `grad` itself where layouts agree. */
  readonly grad: TypedArray;
  readonly state: ParameterState;
  readonly group: H;
  /** A state tensor of zeros in the parameter's shape and memory order. */
  zeros(): Tensor;
}

/**
 * Base class of optimizers. `step()` changes every parameter that has a gradient, in place.
 * A subclass says how in `update`. Source: `torch.optim.Optimizer`.
 *
 * @example
 * const optimizer = new SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
 * for (const [x, y] of loader) {
 *   optimizer.zeroGrad();
 *   backward(crossEntropy(model(x), y));
 *   optimizer.step();
 * }
 */
export abstract class Optimizer<H extends LearningRate = LearningRate> {
  readonly paramGroups: ParamGroup<H>[] = [];
  /** Settings of groups that say nothing else. */
  readonly defaults: H;
  /** What was remembered of each parameter; a parameter that had no gradient yet has no entry. */
  readonly state: Map<Tensor, ParameterState> = new Map();
  /** Number of `step()` calls so far. */
  stepCount = 0;

  /**
   * @throws {@link ArgumentError} where there is no parameter, one is listed twice, or a setting is out of range.
   */
  constructor(params: OptimizerInput<H>, defaults: H) {
    this.defaults = defaults;
    const entries = [...params];
    const plain = entries.filter((e): e is Tensor => e instanceof Tensor);
    if (entries.length === 0) throw this.#noParameters();
    if (plain.length === entries.length) this.addParamGroup({ params: plain } as ParamGroup<H>);
    else for (const entry of entries) this.addParamGroup(entry as ParamGroup<H>);
  }

  /** Adds parameters to train, with settings of their own. Source: `Optimizer.add_param_group`. */
  addParamGroup(group: { readonly params: Iterable<Tensor> } & Partial<H>): void {
    if (group instanceof Tensor || typeof group !== 'object' || group.params === undefined) {
      throw new ArgumentError({
        fn: this.constructor.name,
        argument: 'params',
        expected: 'either tensors or groups { params, ...settings }',
        got: 'a mixture',
      });
    }
    const params = [...group.params];
    const known = new Set(this.paramGroups.flatMap((g) => g.params));
    params.forEach((p, i) => {
      if (!(p instanceof Tensor) || !p.isLeaf) throw this.#notAParameter(i, p);
      if (known.has(p)) throw this.#listedTwice(i, p);
      known.add(p);
    });
    const complete = { ...this.defaults, ...group, params } as ParamGroup<H>;
    this.validate(complete);
    this.paramGroups.push(complete);
  }

  /** Forgets the gradients of every parameter. Source: `Optimizer.zero_grad(set_to_none=True)`. */
  zeroGrad(): void {
    for (const group of this.paramGroups) for (const p of group.params) p.grad = null;
  }

  /**
   * Changes every parameter that has a gradient. `closure`, where given, computes the loss (and its gradients) first,
   * and its result is returned. Source: `Optimizer.step`.
   */
  step(): undefined;
  step(closure: () => Tensor): Tensor;
  step(closure?: () => Tensor): Tensor | undefined {
    const loss = closure?.();
    this.stepCount++;
    for (const group of this.paramGroups) {
      for (const p of group.params) if (p.grad !== null) this.#updateOne(p, p.grad, group);
    }
    return loss;
  }

  /** Applies the rule to one parameter. */
  protected abstract update(update: Update<H>): void;

  /** Refuses settings that cannot work. */
  protected abstract validate(group: H): void;

  /**
   * Settings and memory in PyTorch's structure and keys: `state` (parameter number → `exp_avg`, …) and `param_groups`.
   * The tensors are the optimizer's own. Source: `Optimizer.state_dict`.
   */
  stateDict(): OptimizerStateDict {
    const numbers = new Map<Tensor, number>();
    for (const group of this.paramGroups) for (const p of group.params) numbers.set(p, numbers.size);
    const state = new Map<number, Map<string, Tensor | number | null>>();
    for (const [p, number] of numbers) {
      const entry = this.state.get(p);
      if (entry) state.set(number, new Map(Object.entries(entry).map(([k, v]) => [snakeCase(k), v])));
    }
    const groups = this.paramGroups.map(({ params, ...settings }) => {
      const saved = new Map<string, unknown>(Object.entries(settings).map(([k, v]) => [snakeCase(k), v]));
      return saved.set(
        'params',
        params.map((p) => numbers.get(p)),
      );
    });
    return new Map<string, unknown>([
      ['state', state],
      ['param_groups', groups],
    ]) as OptimizerStateDict;
  }

  /**
   * Takes settings and memory from a state dict (PyTorch's too, as the `.pt` reader returns it). Tensors are copied.
   * Source: `Optimizer.load_state_dict`.
   *
   * @throws {@link StateDictError} where groups or shapes differ; nothing has changed then.
   */
  loadStateDict(dict: ReadonlyMap<string, unknown>): void {
    const groups = dict.get('param_groups');
    const state = dict.get('state');
    if (!Array.isArray(groups) || !groups.every((g) => g instanceof Map) || !(state instanceof Map)) {
      throw this.#misfit(
        "a Map with 'state' and 'param_groups'",
        [...dict.keys()].join(', ') || 'an empty Map',
      );
    }
    if (groups.length !== this.paramGroups.length) {
      throw this.#misfit(`${this.paramGroups.length} parameter groups`, `${groups.length}`);
    }
    const byNumber = new Map<unknown, Tensor>();
    const settings = groups.map((saved: Map<string, unknown>, i) => {
      const { params } = this.paramGroups[i];
      const numbers = saved.get('params');
      if (!Array.isArray(numbers) || numbers.length !== params.length) {
        throw this.#misfit(`${params.length} parameters in group ${i}`, `${(numbers as unknown[])?.length}`);
      }
      for (const [j, n] of numbers.entries()) byNumber.set(n, params[j]);
      return this.#settingsFrom(saved, i);
    });
    const memory = new Map<Tensor, ParameterState>();
    for (const [number, entry] of state) {
      const p = byNumber.get(number);
      if (!p || !(entry instanceof Map))
        throw this.#misfit('state of listed parameters', `an entry for ${number}`);
      memory.set(p, this.#stateFrom(entry, p, number));
    }
    for (const [i, s] of settings.entries()) Object.assign(this.paramGroups[i], s);
    this.state.clear();
    for (const [p, entry] of memory) this.state.set(p, entry);
  }

  #updateOne(p: Tensor, grad: Tensor, group: H): void {
    if (grad.shape.join() !== p.shape.join()) {
      throw new ArgumentError({
        fn: `${this.constructor.name}.step`,
        argument: 'grad',
        expected: `shape ${formatShape(p.shape)}, that of its parameter`,
        got: formatShape(grad.shape),
      });
    }
    const flat = flatParameter(p);
    let state = this.state.get(p);
    if (!state) {
      state = {};
      this.state.set(p, state);
    }
    this.update({
      values: flat.values,
      grad: inOrder(grad, flat.strides),
      state,
      group,
      zeros: () => stateLike(p, flat.strides),
    });
    flat.commit();
  }

  #settingsFrom(saved: ReadonlyMap<string, unknown>, index: number): H {
    const settings: Record<string, unknown> = {};
    for (const [key, value] of saved) {
      const name = camelCase(key);
      // PyTorch also saves how it ran (foreach, fused, capturable, …), which means nothing here.
      const known = name in this.defaults || name in this.paramGroups[index] || SCHEDULED.has(name);
      if (name !== 'params' && known) settings[name] = Array.isArray(value) ? [...value] : value;
    }
    const complete = { ...this.paramGroups[index], ...settings };
    this.validate(complete);
    return settings as unknown as H;
  }

  #stateFrom(saved: ReadonlyMap<string, unknown>, p: Tensor, number: unknown): ParameterState {
    const entry: ParameterState = {};
    for (const [key, value] of saved) {
      if (value instanceof Tensor && value.numel === 1 && value.ndim === 0) {
        entry[camelCase(key)] = fromStorage(Float32Array.of(value.item()), [], 'float32');
      } else if (value instanceof Tensor) {
        if (value.shape.join() !== p.shape.join()) {
          throw this.#misfit(
            `${key} of parameter ${number} in shape ${formatShape(p.shape)}`,
            formatShape(value.shape),
          );
        }
        const own = stateLike(p, flatParameter(p).strides);
        const from = new Tensor({ storage: value.storage, shape: p.shape, dtype: value.dtype });
        copyStrided(value.numbers(), 0, from.strides, own.storage, 0, own.strides, p.shape);
        entry[camelCase(key)] = own;
      } else if (typeof value === 'number' || value === null) entry[camelCase(key)] = value;
      else throw this.#misfit(`a tensor or number as ${key} of parameter ${number}`, typeof value);
    }
    return entry;
  }

  #misfit(expected: string, got: string): StateDictError {
    return new StateDictError({
      fn: `${this.constructor.name}.loadStateDict`,
      argument: 'dict',
      expected,
      got,
      fix: 'Load the state of an optimizer of the same class over the same parameters.',
    });
  }

  #noParameters(): ArgumentError {
    return new ArgumentError({
      fn: this.constructor.name,
      argument: 'params',
      expected: 'at least one parameter',
      got: 'an empty list',
      fix: 'Pass model.parameters() of a model that has some.',
    });
  }

  #notAParameter(i: number, p: unknown): ArgumentError {
    return new ArgumentError({
      fn: this.constructor.name,
      argument: `params[${i}]`,
      expected: 'a leaf tensor, such as a Parameter',
      got: p instanceof Tensor ? `the result of ${p.gradFn?.name}` : typeof p,
    });
  }

  #listedTwice(i: number, p: Tensor): ArgumentError {
    return new ArgumentError({
      fn: this.constructor.name,
      argument: `params[${i}]`,
      expected: 'every parameter once',
      got: `one of shape ${formatShape(p.shape)} for the second time`,
    });
  }
}

/** {@link Optimizer.stateDict}: PyTorch's structure as Maps, ready for the `.pt` writer. */
export type OptimizerStateDict = Map<string, unknown>;

/** Group settings that schedulers add. */
const SCHEDULED: ReadonlySet<string> = new Set([
  'initialLr',
  'maxLr',
  'minLr',
  'maxMomentum',
  'baseMomentum',
]);

/** Throws unless `value` is a number from `low` up to (and without) `below`. */
export function checkSetting(
  fn: string,
  argument: string,
  value: number,
  low = 0,
  below: number = Number.POSITIVE_INFINITY,
): void {
  if (typeof value === 'number' && value >= low && value < below) return;
  throw new ArgumentError({
    fn,
    argument,
    expected:
      below === Number.POSITIVE_INFINITY ? `a number from ${low} up` : `a number in [${low}, ${below})`,
    got: String(value),
  });
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
}

function camelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_, c: string) => c.toUpperCase());
}
