import { QuantizationError } from '../../core/errors.ts';
import { type AnyModule, Module, type StateLoader } from '../../nn/module.ts';
import type { DType } from '../../tensor/dtype.ts';
import type { QScheme } from '../../tensor/qparams.ts';
import { fromStorage, Tensor } from '../../tensor/tensor.ts';

/** What an observer arrives at: one scale and zero point, or one of each per channel, as one-dimensional tensors. */
export interface ObservedQParams {
  /** float32 of [1] or [channels]. */
  readonly scale: Tensor;
  /** int32 or int64 (float32 for float qparams) of [1] or [channels]. */
  readonly zeroPoint: Tensor;
}

/** A class whose constructor takes one object of options. */
export type ObserverClass<O extends AnyModule = ObserverBase, A = any> = new (options: A) => O;

/**
 * Makes observers of one class with fixed options: what a `QConfig` holds, since every layer needs its own instance.
 * Called, it gives a new instance; `withArgs` gives a factory with more options fixed, later ones winning.
 *
 * @example
 * const factory = MinMaxObserver.withArgs({ dtype: 'qint8' });
 * const observer = factory();
 * const narrow = factory.withArgs({ quantMin: -127, quantMax: 127 });
 */
export interface ObserverFactory<O extends AnyModule = ObserverBase, A = any> {
  (): O;
  withArgs(args: Partial<A>): ObserverFactory<O, A>;
  readonly observerClass: ObserverClass<O, A>;
  readonly args: Readonly<Partial<A>>;
}

/** A factory for instances of `observerClass`; the same as `observerClass.withArgs(args)`. */
export function observerFactory<O extends AnyModule, A>(
  observerClass: ObserverClass<O, A>,
  args: Partial<A>,
): ObserverFactory<O, A> {
  const make = (): O => new observerClass(args as A);
  return Object.freeze(
    Object.assign(make, {
      observerClass,
      args: Object.freeze({ ...args }),
      withArgs: (more: Partial<A>): ObserverFactory<O, A> =>
        observerFactory(observerClass, { ...args, ...more }),
    }),
  );
}

/**
 * Base class of everything that watches tensors go by and derives quantization parameters from them. Called with a
 * tensor it takes note of the values and returns the tensor (a fake-quantize returns it rounded).
 *
 * A class of your own works wherever a built-in one does: extend this, implement {@link forward},
 * {@link calculateQParams}, {@link hasObserved} and {@link merge}, and put `YourObserver.withArgs({ … })` into a
 * `QConfig`. Keep statistics in buffers, so that they are saved and copied. Source:
 * `torch.ao.quantization.observer.ObserverBase`.
 *
 * @example
 * const observer = new MinMaxObserver({ dtype: 'quint8' });
 * observer(tensor([-1, 3]));
 * observer.calculateQParams(); // scale 4 / 255, zero point 64
 */
export abstract class ObserverBase extends Module<[Tensor], Tensor> {
  /** The type to quantize to. */
  readonly dtype: DType;
  /** How the parameters map onto the tensor. */
  readonly qscheme: QScheme = 'per_tensor_affine';
  /** The dimension whose slices have parameters of their own; −1 for per-tensor observers. */
  readonly chAxis: number = -1;

  constructor(dtype: DType) {
    super();
    this.dtype = dtype;
  }

  /**
   * A factory with these options fixed; see {@link ObserverFactory}. Source: `with_args`.
   *
   * @example
   * const activation = MinMaxObserver.withArgs({ reduceRange: true });
   */
  static withArgs<O extends AnyModule, A>(
    this: ObserverClass<O, A>,
    args: Partial<NonNullable<A>> = {},
  ): ObserverFactory<O, NonNullable<A>> {
    // biome-ignore lint/complexity/noThisInStatic: it is the subclass that shall be made
    return observerFactory(this as ObserverClass<O, NonNullable<A>>, args);
  }

  /** True where activations shall be quantized call by call with parameters of their own (dynamic quantization). */
  get isDynamic(): boolean {
    return false;
  }

  /** Takes note of `x` and returns it. */
  abstract override forward(x: Tensor): Tensor;

  /** The parameters that fit what was seen. */
  abstract calculateQParams(): ObservedQParams;

  /** True once there is something to derive parameters from. */
  abstract hasObserved(): boolean;

  /**
   * Takes over what another observer of the same class and options has seen, as if this one had seen its tensors
   * after its own: calibrate halves of the data apart, then merge.
   */
  abstract merge(other: ObserverBase): void;
}

/** Throws unless `other` may be merged into `observer`: same class, dtype and scheme. */
export function requireSameKind<O extends ObserverBase>(observer: O, other: ObserverBase): O {
  const [mine, its] = [observer, other].map((o) => `${o.typeName} (${o.dtype}, ${o.qscheme})`);
  if (observer.constructor !== other.constructor || mine !== its) {
    throw new QuantizationError({
      fn: `${observer.typeName}.merge`,
      argument: 'other',
      expected: mine,
      got: its,
      fix: 'Merge observers that were made by the same factory.',
    });
  }
  return other as O;
}

/** A float32 tensor without dimensions. */
export function scalar(value: number): Tensor {
  return fromStorage(Float32Array.of(value), [], 'float32');
}

/** A float32 tensor of one dimension over `values`. */
export function vector(values: Float32Array): Tensor {
  return fromStorage(values, [values.length], 'float32');
}

/**
 * Takes buffers from a state dict whatever their shape: statistics grow from nothing to one value per channel.
 * `fields` maps state-dict names to fields; a list of names gives older spellings after the current one.
 */
export function loadBuffers(
  module: AnyModule,
  loader: StateLoader,
  prefix: string,
  fields: Readonly<Record<string, { readonly names: readonly string[]; readonly optional?: boolean }>>,
): void {
  for (const [field, { names, optional }] of Object.entries(fields)) {
    const known = names.find((name) => loader.take(prefix + name, true) !== undefined);
    if (known === undefined && optional) continue;
    const value = loader.take(prefix + (known ?? names[0]));
    if (value instanceof Tensor) {
      const copy = fromStorage(value.data.slice(), value.shape, value.dtype);
      loader.later(() => {
        (module as unknown as Record<string, Tensor>)[field] = copy;
      });
    } else if (value !== undefined) loader.mismatch(`${prefix}${known} is not a tensor`);
  }
}
