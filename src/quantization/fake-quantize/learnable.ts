import { record } from '../../autograd/tape.ts';
import { ArgumentError } from '../../core/errors.ts';
import { product, roundHalfEven } from '../../core/math.ts';
import { Module, type StateLoader } from '../../nn/module.ts';
import { Parameter } from '../../nn/parameter.ts';
import { dispatch } from '../../ops/dispatch.ts';
import { isGradEnabled, noGrad } from '../../ops/grad-mode.ts';
import { fromStorage, type Tensor } from '../../tensor/tensor.ts';
import { sumFloat32 } from '../observers/float32-sums.ts';
import { type ObservedQParams, type ObserverBase, requireSameKind, vector } from '../observers/observer.ts';
import { FLOAT32_EPS, isPerChannelScheme } from '../observers/uniform.ts';
import { FakeQuantizeBase, type FakeQuantizeOptions, makeObserver } from './fake-quantize.ts';

/** Options of {@link LearnableFakeQuantize}. */
export interface LearnableFakeQuantizeOptions extends FakeQuantizeOptions {
  /** First scale and zero point, until the observer's or learned ones replace them. */
  readonly scale?: number;
  readonly zeroPoint?: number;
  /** Number of channels, for per-channel schemes. */
  readonly channelLen?: number;
  /** Divide the gradients of scale and zero point by √(elements · quantMax), as the paper on learned steps does. */
  readonly useGradScaling?: boolean;
}

/**
 * A fake-quantize whose scale and zero point are parameters. It begins with its observer's estimates; after
 * {@link enableParamLearning} the optimizer moves them. Source: `torch.ao.quantization._LearnableFakeQuantize`;
 * Esser et al., "Learned Step Size Quantization" (2020).
 *
 * @example
 * const fq = new LearnableFakeQuantize({ observer: MovingAverageMinMaxObserver, quantMin: 0, quantMax: 255 });
 * fq(x);                    // estimates from data
 * fq.enableParamLearning(); // from now on backward() reaches fq.scale and fq.zeroPoint
 */
export class LearnableFakeQuantize extends FakeQuantizeBase {
  static override readonly stateNames: Readonly<Record<string, string>> = {
    ...FakeQuantizeBase.stateNames,
    staticEnabled: 'static_enabled',
    learningEnabled: 'learning_enabled',
  };

  declare scale: Parameter;
  declare zeroPoint: Parameter;
  /** uint8 of [1]: 1 while scale and zero point follow the observer. */
  declare staticEnabled: Tensor;
  /** uint8 of [1]: 1 while scale and zero point are learned. */
  declare learningEnabled: Tensor;
  declare eps: Tensor;
  readonly useGradScaling: boolean;
  /** Range of the integers; unlike the observer's, `reduceRange` leaves it alone. */
  override readonly quantMin: number;
  override readonly quantMax: number;
  /** Bits that the range of integers needs. */
  readonly bitwidth: number;

  constructor(options: LearnableFakeQuantizeOptions = {}) {
    const fn = 'LearnableFakeQuantize';
    const { scale = 1, zeroPoint = 0, channelLen, useGradScaling = false, ...rest } = options;
    const { quantMin = 0, quantMax = 255 } = rest;
    super(makeObserver({ ...rest, quantMin, quantMax }, fn), fn);
    this.quantMin = quantMin;
    this.quantMax = quantMax;
    if (this.qscheme === 'per_channel_affine_float_qparams') {
      throw new ArgumentError({
        fn,
        argument: 'qscheme',
        expected: 'a scheme with integer zero points',
        got: this.qscheme,
      });
    }
    if (isPerChannelScheme(this.qscheme) !== (channelLen !== undefined)) {
      throw new ArgumentError({
        fn,
        argument: 'channelLen',
        expected: isPerChannelScheme(this.qscheme)
          ? 'the number of channels'
          : 'none for a per-tensor scheme',
        got: String(channelLen),
      });
    }
    const n = channelLen ?? 1;
    this.scale = new Parameter(vector(new Float32Array(n).fill(scale)));
    this.zeroPoint = new Parameter(vector(new Float32Array(n).fill(zeroPoint)));
    this.useGradScaling = useGradScaling;
    this.bitwidth = Math.floor(Math.log2(this.quantMax - this.quantMin + 1));
    this.registerBuffer('staticEnabled', fromStorage(Uint8Array.of(1), [1], 'uint8'));
    this.registerBuffer('learningEnabled', fromStorage(Uint8Array.of(0), [1], 'uint8'));
    this.registerBuffer('eps', vector(Float32Array.of(FLOAT32_EPS)));
  }

  /** Learns scale and zero point, and rounds. Source: `enable_param_learning`. */
  enableParamLearning(): this {
    return this.toggleQParamLearning(true).toggleFakeQuant(true).toggleObserverUpdate(false);
  }

  /** Takes scale and zero point from the observer, and rounds. Source: `enable_static_estimate`. */
  enableStaticEstimate(): this {
    return this.toggleQParamLearning(false).toggleFakeQuant(true).toggleObserverUpdate(true);
  }

  /** Observes, and passes values through. Source: `enable_static_observation`. */
  enableStaticObservation(): this {
    return this.toggleQParamLearning(false).toggleFakeQuant(false).toggleObserverUpdate(true);
  }

  toggleObserverUpdate(enabled = true): this {
    this.staticEnabled.storage[0] = enabled ? 1 : 0;
    return this;
  }

  toggleQParamLearning(enabled = true): this {
    this.learningEnabled.storage[0] = enabled ? 1 : 0;
    this.scale.requiresGrad = enabled;
    this.zeroPoint.requiresGrad = enabled;
    return this;
  }

  toggleFakeQuant(enabled = true): this {
    this.fakeQuantEnabled.storage[0] = enabled ? 1 : 0;
    return this;
  }

  override enableObserver(enabled = true): void {
    this.toggleObserverUpdate(enabled);
  }

  override hasObserved(): boolean {
    return this.learningEnabled.storage[0] === 1 || super.hasObserved();
  }

  override calculateQParams(): ObservedQParams {
    this.keepScalePositive();
    const { quantMin, quantMax } = this;
    const zeroPoint = Float64Array.from(this.zeroPoint.data, (z) => clampRound(z, quantMin, quantMax));
    return {
      scale: vector(Float32Array.from(this.scale.data)),
      zeroPoint: fromStorage(zeroPoint, [zeroPoint.length], 'int64'),
    };
  }

  override forward(x: Tensor): Tensor {
    if (this.staticEnabled.storage[0] === 1) {
      this.activationPostProcess(x);
      const { scale, zeroPoint } = this.activationPostProcess.calculateQParams();
      if (scale.numel !== this.scale.numel) {
        throw new ArgumentError({
          fn: this.typeName,
          argument: 'x',
          expected: `${this.scale.numel} channels (channelLen) along dimension ${this.chAxis}`,
          got: `${scale.numel}`,
        });
      }
      this.scale.storage.set(scale.data as Float32Array);
      this.zeroPoint.storage.set(zeroPoint.data as Float32Array);
    } else this.keepScalePositive();
    if (this.fakeQuantEnabled.storage[0] !== 1) return x;
    if (this.qscheme.endsWith('symmetric')) this.zeroPoint.storage.fill(0);
    const factor = this.useGradScaling ? 1 / Math.sqrt(x.numel * this.quantMax) : 1;
    return fakeQuantizeLearnable(x, this.scale, this.zeroPoint, {
      axis: isPerChannelScheme(this.qscheme) ? (this.chAxis < 0 ? this.chAxis + x.ndim : this.chAxis) : null,
      quantMin: this.quantMin,
      quantMax: this.quantMax,
      factor,
    });
  }

  override merge(other: ObserverBase): void {
    const that = requireSameKind<LearnableFakeQuantize>(this, other);
    this.activationPostProcess.merge(that.activationPostProcess);
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    Module.prototype.loadFromStateDict.call(this, loader, prefix);
  }

  /** Learning may push a scale to zero or below; it is brought back to float32's epsilon. */
  keepScalePositive(): void {
    const { storage } = this.scale;
    const eps = this.eps.data[0];
    for (let c = 0; c < storage.length; c++) if (storage[c] < eps) storage[c] = eps;
  }
}

interface Rounding {
  /** Dimension of the channels; null for one scale for all. */
  readonly axis: number | null;
  readonly quantMin: number;
  readonly quantMax: number;
  /** Multiplies the gradients of scale and zero point. */
  readonly factor: number;
}

/**
 * Fake-quantization that is differentiable in its scale and zero point as well: where a value is clamped the scale's
 * gradient is the clamped integer, elsewhere the rounding error in steps; the zero point learns from clamped values.
 * Both passes round the zero point to nearest; PyTorch's per-tensor backward truncates it towards zero after adding a
 * half, which puts negative zero points one off from the forward pass.
 * Source: `at::native::_fake_quantize_learnable_per_tensor_affine_backward` and its per-channel sibling.
 */
function fakeQuantizeLearnable(
  x: Tensor,
  scale: Parameter,
  zeroPoint: Parameter,
  rounding: Rounding,
): Tensor {
  const { axis, quantMin, quantMax } = rounding;
  const scales = Float32Array.from(scale.data);
  const zeroPoints = Float32Array.from(zeroPoint.data, (z) => clampRound(z, quantMin, quantMax));
  const out = noGrad(() =>
    axis === null
      ? dispatch('fakeQuantizePerTensor', x, scales[0], zeroPoints[0], quantMin, quantMax)
      : dispatch(
          'fakeQuantizePerChannel',
          x,
          vector(scales),
          fromStorage(Int32Array.from(zeroPoints), [zeroPoints.length], 'int32'),
          axis,
          quantMin,
          quantMax,
        ),
  );
  const inputs = [x, scale, zeroPoint];
  if (!isGradEnabled() || !inputs.some((t) => t.requiresGrad)) return out;
  const kind = axis === null ? 'PerTensor' : 'PerChannel';
  record(`FakeQuantizeLearnable${kind}AffineBackward`, inputs, [out], ([grad]) =>
    grad ? learnableGradients(x, grad, scales, zeroPoints, rounding) : [null, null, null],
  );
  return out;
}

function learnableGradients(
  x: Tensor,
  grad: Tensor,
  scales: Float32Array,
  zeroPoints: Float32Array,
  { axis, quantMin, quantMax, factor }: Rounding,
): [Tensor, Tensor, Tensor] {
  const { fround } = Math;
  const values = x.data as Float32Array;
  const dy = grad.data as Float32Array;
  const channels = scales.length;
  const inner = axis === null ? values.length : product(x.shape.slice(axis + 1));
  const perChannel = values.length / channels;
  const dx = new Float32Array(values.length);
  const dScale = Array.from({ length: channels }, () => new Float32Array(perChannel));
  const dZero = Array.from({ length: channels }, () => new Float32Array(perChannel));
  const scaling = fround(factor);
  for (let i = 0, block = 0; i < values.length; block++) {
    const c = block % channels;
    const [s, z] = [scales[c], zeroPoints[c]];
    const inverse = fround(1 / s);
    const zeroGrad = fround(-s);
    let at = Math.floor(block / channels) * inner;
    for (const end = i + inner; i < end; i++, at++) {
      const rounded = roundHalfEven(fround(values[i] * inverse)) + z;
      const q = Math.min(Math.max(rounded, quantMin), quantMax);
      if (rounded === q) {
        dx[i] = dy[i];
        // The product is not rounded before the subtraction, as PyTorch's fused multiply-add does.
        const error = fround((q - z) * s - values[i]);
        dScale[c][at] = fround(fround(dy[i] * error) * inverse) * scaling;
      } else {
        dZero[c][at] = fround(dy[i] * zeroGrad) * scaling;
        dScale[c][at] = fround(dy[i] * (q - z)) * scaling;
      }
    }
  }
  return [
    fromStorage(dx, x.shape, 'float32'),
    vector(Float32Array.from(dScale, sumFloat32)),
    vector(Float32Array.from(dZero, sumFloat32)),
  ];
}

function clampRound(v: number, low: number, high: number): number {
  return Math.min(Math.max(roundHalfEven(v), low), high);
}
