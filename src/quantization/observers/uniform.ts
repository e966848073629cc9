import { ArgumentError, DTypeError, QuantizationError } from '../../core/errors.ts';
import { roundHalfEven } from '../../core/math.ts';
import type { StateLoader } from '../../nn/module.ts';
import type { QuantizedDType } from '../../tensor/dtype.ts';
import { pythonFloat } from '../../tensor/format.ts';
import type { QScheme } from '../../tensor/qparams.ts';
import { fromStorage, type Tensor } from '../../tensor/tensor.ts';
import { loadBuffers, type ObservedQParams, ObserverBase, vector } from './observer.ts';

/** `torch.finfo(torch.float32).eps`: scales are never smaller. */
export const FLOAT32_EPS: number = 2 ** -23;

/** Options that all observers of uniform quantization share. */
export interface UniformObserverOptions {
  /** Type to quantize to: 'quint8' where not given. */
  readonly dtype?: QuantizedDType;
  readonly qscheme?: QScheme;
  /** Give up one bit, so that 8-bit products fit 16-bit accumulators: 0…127 for quint8, −64…63 for qint8. */
  readonly reduceRange?: boolean;
  /** Smallest and largest integer to use, both or neither; the whole range of the dtype where not given. */
  readonly quantMin?: number;
  readonly quantMax?: number;
  /** Smallest scale; float32's epsilon where not given. */
  readonly eps?: number;
}

const SCHEMES: readonly QScheme[] = [
  'per_tensor_affine',
  'per_tensor_symmetric',
  'per_channel_affine',
  'per_channel_symmetric',
  'per_channel_affine_float_qparams',
];

/** Whole ranges of the quantized dtypes as observers use them, and what `reduceRange` leaves of them. */
const RANGES: Readonly<Record<QuantizedDType, { readonly full: Range; readonly reduced: Range }>> = {
  qint8: { full: [-128, 127], reduced: [-64, 63] },
  quint8: { full: [0, 255], reduced: [0, 127] },
  qint32: { full: [-2147483648, 2147483647], reduced: [-2147483648, 2147483647] },
  quint4x2: { full: [0, 15], reduced: [0, 15] },
};

type Range = readonly [number, number];

/**
 * Base of the observers that turn a smallest and a largest value into a scale and a zero point, in float32 and to the
 * bit as PyTorch does. Source: `torch.ao.quantization.observer.UniformQuantizationObserverBase`.
 *
 * @throws {@link ArgumentError} for a scheme the class does not take or a range that does not hold 0.
 */
export abstract class UniformQuantizationObserverBase extends ObserverBase {
  static override readonly stateNames: Readonly<Record<string, string>> = {
    minVal: 'min_val',
    maxVal: 'max_val',
  };

  declare readonly dtype: QuantizedDType;
  override readonly qscheme: QScheme;
  readonly reduceRange: boolean;
  readonly quantMin: number;
  readonly quantMax: number;
  /** True where the caller gave `quantMin` and `quantMax`. */
  readonly hasCustomizedQRange: boolean;
  declare eps: Tensor;
  /** Smallest value so far: +∞ (or empty, per channel) before the first tensor. */
  declare minVal: Tensor;
  /** Largest value so far: −∞ (or empty, per channel) before the first tensor. */
  declare maxVal: Tensor;

  constructor(
    options: UniformObserverOptions,
    allowed: (scheme: QScheme) => boolean,
    defaultScheme: QScheme = 'per_tensor_affine',
  ) {
    const { dtype = 'quint8', qscheme = defaultScheme, reduceRange = false } = options;
    super(dtype);
    const fn = this.typeName;
    if (!(dtype in RANGES)) {
      throw new DTypeError({ fn, argument: 'dtype', expected: Object.keys(RANGES).join(', '), got: dtype });
    }
    if (!SCHEMES.includes(qscheme) || !allowed(qscheme)) {
      throw new ArgumentError({
        fn,
        argument: 'qscheme',
        expected: SCHEMES.filter(allowed).join(', '),
        got: qscheme,
      });
    }
    if (reduceRange && dtype === 'quint8' && qscheme.endsWith('symmetric')) {
      throw new ArgumentError({
        fn,
        argument: 'reduceRange',
        expected: 'false for symmetric quint8, whose zero point lies in the middle of the whole range',
        got: 'true',
        fix: "Use dtype: 'qint8', or an affine scheme.",
      });
    }
    this.qscheme = qscheme;
    this.reduceRange = reduceRange;
    const { quantMin, quantMax } = options;
    this.hasCustomizedQRange = quantMin !== undefined && quantMax !== undefined;
    [this.quantMin, this.quantMax] = quantizedRange(fn, dtype, reduceRange, quantMin, quantMax);
    this.registerBuffer('eps', vector(Float32Array.of(options.eps ?? FLOAT32_EPS)));
  }

  override hasObserved(): boolean {
    const { minVal, maxVal } = this;
    return minVal.numel > 0 && !(minVal.data[0] === Infinity && maxVal.data[0] === -Infinity);
  }

  override extraRepr(): string {
    const [min, max] = [this.minVal, this.maxVal].map((t) =>
      t.ndim === 0 ? pythonFloat(t.item()) : String(t),
    );
    return `min_val=${min}, max_val=${max}`;
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    loadBuffers(this, loader, prefix, {
      // Checkpoints from before PyTorch 1.8 have no eps, and called the per-channel statistics min_vals and max_vals.
      eps: { names: ['eps'], optional: true },
      minVal: { names: ['min_val', 'min_vals'] },
      maxVal: { names: ['max_val', 'max_vals'] },
    });
  }

  /**
   * Scale and zero point for values from `min` to `max` (0 is always made part of the range), one per element.
   * Scale 1 and zero point 0 where nothing was observed. Source: `_calculate_qparams`.
   *
   * @throws {@link QuantizationError} where a minimum exceeds its maximum or is NaN.
   */
  qparamsOf(min: Tensor, max: Tensor): ObservedQParams {
    const lows = min.data as Float32Array;
    const highs = max.data as Float32Array;
    const n = lows.length;
    if (!this.hasObserved()) {
      return {
        scale: vector(Float32Array.of(1)),
        zeroPoint: fromStorage(new Float64Array(1), [1], 'int64'),
      };
    }
    for (let c = 0; c < n; c++)
      if (!(lows[c] <= highs[c])) throw badRange(this.typeName, lows[c], highs[c], c, n);
    const scale = new Float32Array(n);
    const eps = this.eps.data[0];
    const steps = this.quantMax - this.quantMin;
    if (this.qscheme.endsWith('symmetric')) {
      const zeroPoint = new Float64Array(n).fill(this.symmetricZeroPoint());
      for (let c = 0; c < n; c++) {
        scale[c] = Math.max(Math.max(-Math.min(lows[c], 0), highs[c], 0) / Math.fround(steps / 2), eps);
      }
      return { scale: vector(scale), zeroPoint: fromStorage(zeroPoint, [n], 'int64') };
    }
    const divisor = Math.fround(steps);
    if (this.qscheme === 'per_channel_affine_float_qparams') {
      const zeroPoint = new Float32Array(n);
      for (let c = 0; c < n; c++) {
        const s = Math.fround(Math.fround(highs[c] - lows[c]) / divisor);
        scale[c] = s > eps ? s : 1;
        zeroPoint[c] = -lows[c] / scale[c];
      }
      return { scale: vector(scale), zeroPoint: vector(zeroPoint) };
    }
    const zeroPoint = new Int32Array(n);
    for (let c = 0; c < n; c++) {
      const low = Math.min(lows[c], 0);
      scale[c] = Math.max(Math.fround(Math.max(highs[c], 0) - low) / divisor, eps);
      const shift = toInt32(roundHalfEven(Math.fround(low / scale[c])));
      zeroPoint[c] = Math.min(Math.max((this.quantMin - shift) | 0, this.quantMin), this.quantMax);
    }
    return { scale: vector(scale), zeroPoint: fromStorage(zeroPoint, [n], 'int32') };
  }

  /** The integer that stands for 0 in a symmetric scheme. */
  symmetricZeroPoint(): number {
    if (this.dtype !== 'quint8') return 0;
    return this.hasCustomizedQRange ? Math.floor((this.quantMin + this.quantMax) / 2) : 128;
  }
}

/** True for the schemes with one scale and zero point for the whole tensor. */
export function isPerTensorScheme(scheme: QScheme): boolean {
  return scheme.startsWith('per_tensor');
}

/** True for the schemes with a scale and zero point for each channel. */
export function isPerChannelScheme(scheme: QScheme): boolean {
  return scheme.startsWith('per_channel');
}

/** The smallest and largest integer that an observer's options ask for. Source: `calculate_qmin_qmax`. */
function quantizedRange(
  fn: string,
  dtype: QuantizedDType,
  reduceRange: boolean,
  quantMin: number | undefined,
  quantMax: number | undefined,
): Range {
  if (quantMin === undefined && quantMax === undefined)
    return RANGES[dtype][reduceRange ? 'reduced' : 'full'];
  if (quantMin === undefined || quantMax === undefined) {
    throw new ArgumentError({
      fn,
      argument: quantMin === undefined ? 'quantMin' : 'quantMax',
      expected: 'both quantMin and quantMax, or neither',
      got: 'one of them',
    });
  }
  const length = quantMax - quantMin + 1;
  const most = dtype === 'qint32' ? 2 ** 31 : 256;
  if (!(quantMin <= 0 && quantMax >= 0 && quantMin < quantMax && length <= most)) {
    throw new ArgumentError({
      fn,
      argument: 'quantMin, quantMax',
      expected: `a range of at most ${most} integers that holds 0`,
      got: `${quantMin} … ${quantMax}`,
    });
  }
  return reduceRange ? [Math.floor(quantMin / 2), Math.floor(quantMax / 2)] : [quantMin, quantMax];
}

/** float → int32 as x86 converts: what does not fit becomes the smallest integer. */
function toInt32(v: number): number {
  return v >= -2147483648 && v <= 2147483647 ? v : -2147483648;
}

function badRange(
  observer: string,
  low: number,
  high: number,
  channel: number,
  channels: number,
): QuantizationError {
  return new QuantizationError({
    fn: `${observer}.calculateQParams`,
    argument: channels === 1 ? 'range' : `range of channel ${channel}`,
    expected: 'a minimum that is not above the maximum',
    got: `${pythonFloat(low)} … ${pythonFloat(high)}`,
    fix: 'NaN was observed: look at the calibration data and at the layer before this observer.',
  });
}
