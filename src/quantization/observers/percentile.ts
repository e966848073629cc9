import { ArgumentError } from '../../core/errors.ts';
import type { StateLoader } from '../../nn/module.ts';
import type { TypedArray } from '../../tensor/dtype.ts';
import { fromStorage, type Tensor } from '../../tensor/tensor.ts';
import { extrema, floatValues } from './extrema.ts';
import { loadBuffers, type ObservedQParams, type ObserverBase, requireSameKind, scalar } from './observer.ts';
import {
  isPerTensorScheme,
  type UniformObserverOptions,
  UniformQuantizationObserverBase,
} from './uniform.ts';

/** Options of {@link PercentileObserver}. */
export interface PercentileOptions extends UniformObserverOptions {
  /** Share of the values, in per cent, that the range shall hold; 99.99 where not given. */
  readonly percentile?: number;
}

/** Float32 numbers that agree in their upper 16 bits are counted together. */
const KEYS = 65536;

/**
 * Clips the range so that it holds a given share of all values, the rest split evenly between both ends (symmetric
 * schemes: by magnitude). Values are counted by the upper 16 bits of their float32 form: 128 bins for every doubling,
 * so the bounds are good to 0.8 % at any magnitude, memory is fixed, and merging is exact.
 * Source: percentile calibration in Wu et al., "Integer Quantization for Deep Learning Inference" (2020), section 5.2.
 *
 * @example
 * const activation = PercentileObserver.withArgs({ percentile: 99.9 });
 */
export class PercentileObserver extends UniformQuantizationObserverBase {
  readonly percentile: number;
  /** Counts by key: 0 … 32767 for positive numbers by magnitude, the upper half for negative ones. */
  declare counts: Tensor;

  constructor(options: PercentileOptions = {}) {
    super(options, isPerTensorScheme);
    this.percentile = options.percentile ?? 99.99;
    if (!(this.percentile > 0 && this.percentile <= 100)) {
      throw new ArgumentError({
        fn: this.typeName,
        argument: 'percentile',
        expected: 'a number above 0, at most 100',
        got: String(this.percentile),
      });
    }
    this.registerBuffer('counts', fromStorage(new Float64Array(KEYS), [KEYS], 'float64'));
    this.registerBuffer('minVal', scalar(Infinity));
    this.registerBuffer('maxVal', scalar(-Infinity));
  }

  override forward(x: Tensor): Tensor {
    if (x.numel === 0) return x;
    const { values } = floatValues(x);
    const [low, high] = extrema(values);
    const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
    const counts = this.counts.storage;
    for (let i = 0; i < bits.length; i++) counts[bits[i] >>> 16]++;
    this.minVal = scalar(Math.min(low, this.minVal.item()));
    this.maxVal = scalar(Math.max(high, this.maxVal.item()));
    return x;
  }

  override calculateQParams(): ObservedQParams {
    if (!this.hasObserved()) return this.qparamsOf(this.minVal, this.maxVal);
    const [low, high] = this.bounds();
    return this.qparamsOf(scalar(low), scalar(high));
  }

  /** The range that holds `percentile` per cent of the values, never wider than their extremes. */
  bounds(): [low: number, high: number] {
    const [min, max] = [this.minVal.item(), this.maxVal.item()];
    const half = KEYS / 2;
    const positive = this.counts.storage.subarray(0, half);
    const negative = this.counts.storage.subarray(half);
    const negatives = sumOf(negative);
    const total = negatives + sumOf(positive);
    const outside = total * (1 - this.percentile / 100);
    if (this.qscheme === 'per_tensor_symmetric') {
      const magnitudes = Float64Array.from(positive, (c, key) => c + negative[key]);
      const bound = magnitudeBelow(magnitudes, total - outside);
      return [Math.max(-bound, min), Math.min(bound, max)];
    }
    const ascending = (rank: number): number =>
      rank < negatives
        ? -magnitudeBelow(negative, negatives - rank)
        : magnitudeBelow(positive, rank - negatives);
    return [Math.max(ascending(outside / 2), min), Math.min(ascending(total - outside / 2), max)];
  }

  override merge(other: ObserverBase): void {
    const that = requireSameKind<PercentileObserver>(this, other);
    for (let key = 0; key < KEYS; key++) this.counts.storage[key] += that.counts.storage[key];
    this.minVal = scalar(Math.min(that.minVal.item(), this.minVal.item()));
    this.maxVal = scalar(Math.max(that.maxVal.item(), this.maxVal.item()));
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    super.loadFromStateDict(loader, prefix);
    loadBuffers(this, loader, prefix, { counts: { names: ['counts'] } });
  }
}

function sumOf(counts: TypedArray): number {
  let sum = 0;
  for (const c of counts) sum += c;
  return sum;
}

/** The magnitude that `rank` of the counted values do not exceed, linear within a bin. */
function magnitudeBelow(counts: ArrayLike<number>, rank: number): number {
  let below = 0;
  let last = 0;
  for (let key = 0; key < counts.length; key++) {
    if (counts[key] === 0) continue;
    last = key;
    if (below + counts[key] >= rank) {
      const edge = keyMagnitude(key);
      return edge + (keyMagnitude(key + 1) - edge) * Math.max(0, (rank - below) / counts[key]);
    }
    below += counts[key];
  }
  return keyMagnitude(last + 1);
}

const bitsOfKey = new Int32Array(1);
const floatOfKey = new Float32Array(bitsOfKey.buffer);

/** The smallest positive float32 whose upper 16 bits are `key`. */
function keyMagnitude(key: number): number {
  bitsOfKey[0] = key << 16;
  return floatOfKey[0];
}
