import { ArgumentError } from '../../core/errors.ts';
import type { AnyModule, StateLoader } from '../../nn/module.ts';
import { dispatch } from '../../ops/dispatch.ts';
import { DTYPES, type QuantizedDType } from '../../tensor/dtype.ts';
import type { QScheme } from '../../tensor/qparams.ts';
import { fromStorage, type Tensor } from '../../tensor/tensor.ts';
import { POST_PROCESS } from '../module-qconfig.ts';
import { FixedQParamsObserver } from '../observers/fixed.ts';
import { MovingAverageMinMaxObserver } from '../observers/moving-average.ts';
import {
  loadBuffers,
  type ObservedQParams,
  ObserverBase,
  type ObserverClass,
  type ObserverFactory,
  observerFactory,
  requireSameKind,
  vector,
} from '../observers/observer.ts';
import { isPerChannelScheme, UniformQuantizationObserverBase } from '../observers/uniform.ts';

/** An observer with a scheme and a range of integers: what a fake-quantize can round with. */
export type RangeObserver = UniformQuantizationObserverBase | FixedQParamsObserver;

/** Options of the fake-quantizes: which observer, its range, and any other option of that observer. */
export interface FakeQuantizeOptions {
  /** Class or factory of the observer; `MovingAverageMinMaxObserver` where not given. */
  readonly observer?: ObserverFactory<any> | ObserverClass<any>;
  /** Smallest and largest integer; both or neither. */
  readonly quantMin?: number;
  readonly quantMax?: number;
  /** Handed on to the observer (`dtype`, `qscheme`, `reduceRange`, `averagingConstant`, `chAxis`, `eps`, …). */
  readonly [observerOption: string]: unknown;
}

/**
 * Base of the modules that simulate quantization in training: an observer whose output is its input rounded to what
 * the integers can hold, with gradients passing straight through. Observing and rounding can be switched separately.
 * Source: `torch.ao.quantization.FakeQuantizeBase`.
 */
export abstract class FakeQuantizeBase extends ObserverBase {
  static override readonly stateNames: Readonly<Record<string, string>> = {
    fakeQuantEnabled: 'fake_quant_enabled',
    observerEnabled: 'observer_enabled',
    zeroPoint: 'zero_point',
  };

  declare readonly dtype: QuantizedDType;
  override readonly qscheme: QScheme;
  override readonly chAxis: number;
  /** Smallest and largest integer that values are rounded to. */
  readonly quantMin: number;
  readonly quantMax: number;
  declare readonly activationPostProcess: RangeObserver;
  /** uint8 of [1]: 1 while the output is rounded. */
  declare fakeQuantEnabled: Tensor;
  /** uint8 of [1]: 1 while statistics are updated. */
  declare observerEnabled: Tensor;
  declare scale: Tensor;
  declare zeroPoint: Tensor;

  constructor(observer: ObserverBase, fn: string) {
    super(observer.dtype);
    if (
      !(observer instanceof UniformQuantizationObserverBase) &&
      !(observer instanceof FixedQParamsObserver)
    ) {
      throw new ArgumentError({
        fn,
        argument: 'observer',
        expected: 'an observer that measures ranges, such as MovingAverageMinMaxObserver',
        got: observer.typeName,
      });
    }
    this.qscheme = observer.qscheme;
    this.chAxis = observer.chAxis;
    this.quantMin = observer.quantMin;
    this.quantMax = observer.quantMax;
    this.registerBuffer('fakeQuantEnabled', fromStorage(Uint8Array.of(1), [1], 'uint8'));
    this.registerBuffer('observerEnabled', fromStorage(Uint8Array.of(1), [1], 'uint8'));
    this.addModule(POST_PROCESS, observer);
  }

  /** Starts (or stops) rounding. Source: `enable_fake_quant`. */
  enableFakeQuant(enabled = true): void {
    this.fakeQuantEnabled.storage[0] = enabled ? 1 : 0;
  }

  /** Passes values through unrounded. Source: `disable_fake_quant`. */
  disableFakeQuant(): void {
    this.enableFakeQuant(false);
  }

  /** Starts (or stops) updating statistics. Source: `enable_observer`. */
  enableObserver(enabled = true): void {
    this.observerEnabled.storage[0] = enabled ? 1 : 0;
  }

  /** Freezes scale and zero point. Source: `disable_observer`. */
  disableObserver(): void {
    this.enableObserver(false);
  }

  override hasObserved(): boolean {
    return this.activationPostProcess.hasObserved();
  }

  /**
   * The parameters that values are rounded with as long as nothing more is observed: what `convert` takes over, so that
   * the quantized model computes what training simulated.
   */
  appliedQParams(): ObservedQParams {
    return this.calculateQParams();
  }
}

/**
 * Observes its input, and rounds it to the scale and zero point found so far:
 * `(clamp(round(x / scale) + zeroPoint, quantMin, quantMax) − zeroPoint) · scale`.
 * Source: `torch.ao.quantization.FakeQuantize`.
 *
 * @example
 * const fq = new FakeQuantize({ observer: MovingAverageMinMaxObserver, quantMin: 0, quantMax: 255, reduceRange: true });
 * fq(tensor([-1, 0.5, 2])); // the same values to within half a step
 */
export class FakeQuantize extends FakeQuantizeBase {
  constructor(options: FakeQuantizeOptions = {}) {
    const fn = 'FakeQuantize';
    super(makeObserver(options, fn), fn);
    const floatZeroPoint = this.qscheme === 'per_channel_affine_float_qparams';
    this.registerBuffer('scale', vector(Float32Array.of(1)));
    this.registerBuffer(
      'zeroPoint',
      floatZeroPoint ? vector(new Float32Array(1)) : fromStorage(new Int32Array(1), [1], 'int32'),
    );
  }

  override calculateQParams(): ObservedQParams {
    return this.activationPostProcess.calculateQParams();
  }

  override appliedQParams(): ObservedQParams {
    return { scale: this.scale, zeroPoint: this.zeroPoint };
  }

  override forward(x: Tensor): Tensor {
    if (this.observerEnabled.storage[0] === 1) {
      this.activationPostProcess(x);
      this.adopt(this.calculateQParams());
    }
    return this.fakeQuantEnabled.storage[0] === 1 ? this.simulate(x) : x;
  }

  /** Rounds `x` with the current scale and zero point. */
  simulate(x: Tensor): Tensor {
    const { scale, zeroPoint, quantMin, quantMax } = this;
    if (isPerChannelScheme(this.qscheme)) {
      const axis = this.chAxis < 0 ? this.chAxis + x.ndim : this.chAxis;
      return dispatch('fakeQuantizePerChannel', x, scale, zeroPoint, axis, quantMin, quantMax);
    }
    return dispatch('fakeQuantizePerTensor', x, scale.item(), zeroPoint.item(), quantMin, quantMax);
  }

  /** Takes over parameters; buffers grow to one value per channel as needed. */
  adopt({ scale, zeroPoint }: ObservedQParams): void {
    const { dtype } = this.zeroPoint;
    const integers = dtype === 'int32' ? Int32Array.from(zeroPoint.data) : Float32Array.from(zeroPoint.data);
    this.scale = fromStorage(Float32Array.from(scale.data), scale.shape, 'float32');
    this.zeroPoint = fromStorage(integers, zeroPoint.shape, dtype);
  }

  override merge(other: ObserverBase): void {
    const that = requireSameKind<FakeQuantize>(this, other);
    this.activationPostProcess.merge(that.activationPostProcess);
    if (this.hasObserved()) this.adopt(this.calculateQParams());
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    loadBuffers(this, loader, prefix, {
      fakeQuantEnabled: { names: ['fake_quant_enabled'] },
      observerEnabled: { names: ['observer_enabled'] },
      scale: { names: ['scale'] },
      zeroPoint: { names: ['zero_point'] },
    });
  }

  override extraRepr(): string {
    return `${this.switchesRepr()}, quant_min=${this.quantMin}, quant_max=${this.quantMax}, dtype=torch.${this.dtype}, qscheme=torch.${this.qscheme}, ch_axis=${this.chAxis}, scale=${this.scale}, zero_point=${this.zeroPoint}`;
  }

  switchesRepr(): string {
    return `fake_quant_enabled=${this.fakeQuantEnabled}, observer_enabled=${this.observerEnabled}`;
  }
}

/**
 * Rounds with parameters that never change, for outputs of a known range.
 * Source: `torch.ao.quantization.FixedQParamsFakeQuantize`.
 */
export class FixedQParamsFakeQuantize extends FakeQuantize {
  constructor(options: { readonly observer: ObserverFactory<FixedQParamsObserver> }) {
    super(options);
    const observer = this.activationPostProcess;
    if (!(observer instanceof FixedQParamsObserver) || isPerChannelScheme(this.qscheme)) {
      throw new ArgumentError({
        fn: 'FixedQParamsFakeQuantize',
        argument: 'observer',
        expected: 'a per-tensor FixedQParamsObserver',
        got: `${observer.typeName} (${this.qscheme})`,
      });
    }
    this.scale = observer.scale;
    this.zeroPoint = observer.zeroPoint;
  }

  override calculateQParams(): ObservedQParams {
    return { scale: this.scale, zeroPoint: this.zeroPoint };
  }

  override extraRepr(): string {
    return `${this.switchesRepr()}, scale=${this.scale}, zero_point=${this.zeroPoint}, dtype=torch.${this.dtype}, quant_min=${this.quantMin}, quant_max=${this.quantMax}, qscheme=torch.${this.qscheme}`;
  }
}

/** Makes the observer that a fake-quantize's options describe; `quantMin` and `quantMax` must fit its dtype. */
export function makeObserver(options: FakeQuantizeOptions, fn: string): ObserverBase {
  const { observer = MovingAverageMinMaxObserver, ...args } = options;
  const { quantMin, quantMax } = args;
  const given = quantMin !== undefined && quantMax !== undefined;
  const factory: ObserverFactory<AnyModule> = isFactory(observer) ? observer : observerFactory(observer, {});
  const made = factory.withArgs(args)() as ObserverBase;
  const { min, max } = DTYPES[made.dtype];
  if (given && !(quantMin >= min && quantMin <= quantMax && quantMax <= max)) {
    throw new ArgumentError({
      fn,
      argument: 'quantMin, quantMax',
      expected: `a range inside ${made.dtype}'s ${min} … ${max}`,
      got: `${quantMin} … ${quantMax}`,
    });
  }
  return made;
}

function isFactory(observer: ObserverFactory<any> | ObserverClass<any>): observer is ObserverFactory<any> {
  return 'observerClass' in observer;
}
