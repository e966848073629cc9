import { ArgumentError } from '../../core/errors.ts';
import type { StateLoader } from '../../nn/module.ts';
import { DTYPES } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { finiteExtrema, floatValues } from './extrema.ts';
import { addResampled, histc, spread, widenRange } from './histogram-math.ts';
import {
  loadBuffers,
  type ObservedQParams,
  type ObserverBase,
  requireSameKind,
  scalar,
  vector,
} from './observer.ts';
import { searchRange } from './range-search.ts';
import {
  isPerTensorScheme,
  type UniformObserverOptions,
  UniformQuantizationObserverBase,
} from './uniform.ts';

/** Options of {@link HistogramObserver}. */
export interface HistogramOptions extends UniformObserverOptions {
  /** Number of bins; 2048 where not given. */
  readonly bins?: number;
  /** How finely an old histogram is cut when the range widens; 128 where not given. */
  readonly upsampleRate?: number;
}

/**
 * Keeps a histogram of all values, and clips the range where that lowers the mean squared error of quantization.
 * Memory does not grow with the data. Sums, counts and search follow PyTorch 1.13 to the bit (its counts stop at 2^24
 * a bin, ours do not). Source: `torch.ao.quantization.HistogramObserver`.
 *
 * The bounds that values are counted between are the extremes with their fractions cut off, as in PyTorch: values
 * beyond the last whole number count for the range, not for the histogram.
 *
 * @throws {@link QuantizationError} for tensors with NaN or infinities.
 * @example
 * const observer = new HistogramObserver({ reduceRange: true });
 * for (const x of samples) observer(x);
 * observer.calculateQParams();
 */
export class HistogramObserver extends UniformQuantizationObserverBase {
  readonly bins: number;
  readonly upsampleRate: number;
  /** Number of integers that the clipping search reckons with. */
  readonly dstNbins: number;
  declare histogram: Tensor;

  constructor(options: HistogramOptions = {}) {
    super(options, isPerTensorScheme);
    this.bins = options.bins ?? 2048;
    this.upsampleRate = options.upsampleRate ?? 128;
    for (const argument of ['bins', 'upsampleRate'] as const) {
      const value = this[argument];
      if (Number.isInteger(value) && value > 0) continue;
      throw new ArgumentError({
        fn: this.typeName,
        argument,
        expected: 'a positive whole number',
        got: String(value),
      });
    }
    this.dstNbins = 2 ** (8 * Math.ceil(DTYPES[this.dtype].bytes));
    this.registerBuffer('histogram', vector(new Float32Array(this.bins)));
    this.registerBuffer('minVal', scalar(Infinity));
    this.registerBuffer('maxVal', scalar(-Infinity));
  }

  override forward(x: Tensor): Tensor {
    if (x.numel === 0) return x;
    const { values } = floatValues(x);
    const [low, high] = finiteExtrema(values, this.typeName);
    const before = { low: this.minVal.item(), high: this.maxVal.item() };
    if (!this.hasObserved() || before.low === before.high) {
      this.replace(histc(values, low, high, this.bins, low, high), low, high);
      return x;
    }
    const { bins } = this;
    const old = { counts: this.histogram.data as Float32Array, ...before };
    const grid = widenRange(old, Math.min(low, before.low), Math.max(high, before.high), this.upsampleRate);
    if (!Number.isFinite(grid.downsampleRate)) {
      // So narrow was the old range that its bins have no width in float32: it becomes a point of the new one.
      const one = new HistogramObserver({ bins, dtype: this.dtype, qscheme: this.qscheme });
      one.replace(histc(values, low, high, bins, low, high), low, high);
      this.merge(one);
      return x;
    }
    const counts = histc(values, grid.low, grid.high, bins, low, high);
    if (grid.low === before.low && grid.high === before.high) {
      for (let i = 0; i < bins; i++) counts[i] += old.counts[i];
    } else addResampled(counts, old.counts, this.upsampleRate, grid);
    this.replace(counts, grid.low, grid.high);
    return x;
  }

  override calculateQParams(): ObservedQParams {
    if (!this.hasObserved()) return this.qparamsOf(this.minVal, this.maxVal);
    const counts = this.histogram.data as Float32Array;
    const [low, high] = searchRange(counts, this.minVal.item(), this.maxVal.item(), this.dstNbins);
    return this.qparamsOf(scalar(low), scalar(high));
  }

  /** Both histograms are spread onto the range that covers both: exact for the range, to within a bin for the counts. */
  override merge(other: ObserverBase): void {
    const that = requireSameKind<HistogramObserver>(this, other);
    const parts = [this, that].filter((o) => o.hasObserved());
    if (parts.length === 0) return;
    const low = Math.min(...parts.map((o) => o.minVal.item()));
    const high = Math.max(...parts.map((o) => o.maxVal.item()));
    const counts = new Float64Array(this.bins);
    for (const o of parts) {
      spread(o.histogram.data as Float32Array, o.minVal.item(), o.maxVal.item(), counts, low, high);
    }
    this.replace(Float32Array.from(counts), low, high);
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    super.loadFromStateDict(loader, prefix);
    loadBuffers(this, loader, prefix, { histogram: { names: ['histogram'] } });
  }

  /** Takes over counts and range. */
  replace(counts: Float32Array, low: number, high: number): void {
    this.histogram = vector(counts);
    this.minVal = scalar(low);
    this.maxVal = scalar(high);
  }
}
