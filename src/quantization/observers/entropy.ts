import { ArgumentError, QuantizationError } from '../../core/errors.ts';
import type { StateLoader } from '../../nn/module.ts';
import { fromStorage, type Tensor } from '../../tensor/tensor.ts';
import { finiteExtrema, floatValues } from './extrema.ts';
import { loadBuffers, type ObservedQParams, type ObserverBase, requireSameKind, scalar } from './observer.ts';
import {
  isPerTensorScheme,
  type UniformObserverOptions,
  UniformQuantizationObserverBase,
} from './uniform.ts';

/** Options of {@link EntropyObserver}. */
export interface EntropyOptions extends UniformObserverOptions {
  /** Number of bins for magnitudes, a power of two; 4096 where not given. */
  readonly bins?: number;
}

/**
 * Clips the range where the quantized distribution of magnitudes tells most about the original one: the threshold
 * with the smallest Kullback-Leibler divergence between the two. Values beyond it count as the threshold itself.
 *
 * Magnitudes are counted in equal bins up to a power of two that doubles when a larger value comes, which folds bins
 * in pairs: memory is fixed and the result does not depend on the order of the data, so merging is exact.
 * Source: Migacz, "8-bit Inference with TensorRT" (2017).
 *
 * @throws {@link QuantizationError} for tensors with NaN or infinities.
 * @example
 * const activation = EntropyObserver.withArgs({ reduceRange: true });
 */
export class EntropyObserver extends UniformQuantizationObserverBase {
  readonly bins: number;
  /** Values by magnitude, in equal bins from 0 to 2^exponent. */
  declare counts: Tensor;
  /** The power of two at which the counts end; −150, below every float32, before the first tensor. */
  declare exponent: Tensor;

  constructor(options: EntropyOptions = {}) {
    super(options, isPerTensorScheme);
    this.bins = options.bins ?? 4096;
    if (!(this.bins >= 256) || !Number.isInteger(Math.log2(this.bins))) {
      throw new ArgumentError({
        fn: this.typeName,
        argument: 'bins',
        expected: 'a power of two, at least 256',
        got: String(this.bins),
      });
    }
    this.registerBuffer('counts', fromStorage(new Float64Array(this.bins), [this.bins], 'float64'));
    this.registerBuffer('exponent', fromStorage(Int32Array.of(-150), [], 'int32'));
    this.registerBuffer('minVal', scalar(Infinity));
    this.registerBuffer('maxVal', scalar(-Infinity));
  }

  override forward(x: Tensor): Tensor {
    if (x.numel === 0) return x;
    const { values } = floatValues(x);
    const [low, high] = finiteExtrema(values, this.typeName);
    this.reach(exponentAbove(Math.max(-low, high)));
    const counts = this.counts.storage;
    const perUnit = this.bins / 2 ** this.exponent.item();
    for (let i = 0; i < values.length; i++) counts[Math.floor(Math.abs(values[i]) * perUnit)]++;
    this.minVal = scalar(Math.min(low, this.minVal.item()));
    this.maxVal = scalar(Math.max(high, this.maxVal.item()));
    return x;
  }

  override calculateQParams(): ObservedQParams {
    if (!this.hasObserved()) return this.qparamsOf(this.minVal, this.maxVal);
    const bound = this.threshold();
    return this.qparamsOf(
      scalar(Math.max(this.minVal.item(), -bound)),
      scalar(Math.min(this.maxVal.item(), bound)),
    );
  }

  /** The magnitude beyond which values are clipped. */
  threshold(): number {
    const [min, max] = [this.minVal.item(), this.maxVal.item()];
    const integers = this.quantMax - this.quantMin + 1;
    // Magnitudes share the integers of both signs, unless all values have the same one.
    const levels = Math.min(
      this.qscheme === 'per_tensor_affine' && min * max >= 0 ? integers : integers / 2,
      this.bins / 2,
    );
    const binWidth = 2 ** this.exponent.item() / this.bins;
    return bestThreshold(this.counts.storage as Float64Array, Math.max(2, Math.floor(levels))) * binWidth;
  }

  override merge(other: ObserverBase): void {
    const that = requireSameKind<EntropyObserver>(this, other);
    if (that.bins !== this.bins) {
      throw new QuantizationError({
        fn: `${this.typeName}.merge`,
        argument: 'other',
        expected: `${this.bins} bins`,
        got: `${that.bins}`,
      });
    }
    if (!that.hasObserved()) return;
    this.reach(that.exponent.item());
    const folds = this.exponent.item() - that.exponent.item();
    const from = that.counts.storage;
    for (let i = 0; i < this.bins; i++) this.counts.storage[Math.floor(i / 2 ** folds)] += from[i];
    this.minVal = scalar(Math.min(that.minVal.item(), this.minVal.item()));
    this.maxVal = scalar(Math.max(that.maxVal.item(), this.maxVal.item()));
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    super.loadFromStateDict(loader, prefix);
    loadBuffers(this, loader, prefix, { counts: { names: ['counts'] }, exponent: { names: ['exponent'] } });
  }

  /** Widens the bins until they reach 2^exponent. */
  reach(exponent: number): void {
    const folds = exponent - this.exponent.item();
    if (folds <= 0) return;
    const counts = this.counts.storage;
    for (let i = 0; i < this.bins; i++) {
      const count = counts[i];
      counts[i] = 0;
      counts[Math.floor(i / 2 ** folds)] += count;
    }
    this.exponent = fromStorage(Int32Array.of(exponent), [], 'int32');
  }
}

/** The smallest exponent whose power of two is above `magnitude`; −126 for zero. */
function exponentAbove(magnitude: number): number {
  if (magnitude < 2 ** -126) return -126;
  const guess = Math.floor(Math.log2(magnitude)) + 1;
  return magnitude >= 2 ** guess ? guess + 1 : magnitude < 2 ** (guess - 1) ? guess - 1 : guess;
}

/**
 * How many bins to keep so that the kept distribution, quantized to `levels`, diverges least from the clipped one.
 * Every level's mass is spread evenly over its bins that hold anything. Candidates keep a whole number of levels' bins.
 */
function bestThreshold(counts: Float64Array, levels: number): number {
  const bins = counts.length;
  let filled = bins;
  while (filled > 1 && counts[filled - 1] === 0) filled--;
  if (filled <= levels) return filled;
  let total = 0;
  for (let i = 0; i < filled; i++) total += counts[i];
  let best = filled;
  let least = Infinity;
  let kept = 0;
  let next = 0;
  const stride = Math.max(1, Math.floor(bins / 1024));
  for (let keep = levels; ; keep = Math.min(keep + stride, filled)) {
    while (next < keep) kept += counts[next++];
    const divergence = klDivergence(counts, keep, levels, total, total - kept);
    if (divergence <= least) {
      least = divergence;
      best = keep;
    }
    if (keep === filled) return best;
  }
}

/** Divergence of the first `keep` bins, `outliers` added to the last, from themselves quantized to `levels`. */
function klDivergence(
  counts: Float64Array,
  keep: number,
  levels: number,
  total: number,
  outliers: number,
): number {
  const inside = total - outliers;
  if (inside === 0) return Infinity;
  let divergence = 0;
  for (let level = 0; level < levels; level++) {
    const from = Math.floor((level * keep) / levels);
    const to = Math.floor(((level + 1) * keep) / levels);
    let mass = 0;
    let used = 0;
    for (let i = from; i < to; i++) {
      if (counts[i] === 0) continue;
      mass += counts[i];
      used++;
    }
    const q = mass / used / inside;
    for (let i = from; i < to; i++) {
      const p = (i === keep - 1 ? counts[i] + outliers : counts[i]) / total;
      if (p === 0) continue;
      // Outliers piled onto an empty bin: the quantized side lacks them altogether.
      if (counts[i] === 0) return Infinity;
      divergence += p * Math.log(p / q);
    }
  }
  return divergence;
}
