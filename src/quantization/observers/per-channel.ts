import { ArgumentError } from '../../core/errors.ts';
import { normalizeDim } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { channelExtrema } from './extrema.ts';
import { type ObservedQParams, type ObserverBase, requireSameKind, vector } from './observer.ts';
import {
  isPerChannelScheme,
  type UniformObserverOptions,
  UniformQuantizationObserverBase,
} from './uniform.ts';

/** Options of the per-channel observers; the scheme is 'per_channel_affine' where not given. */
export interface PerChannelObserverOptions extends UniformObserverOptions {
  /** Dimension whose slices get their own scale and zero point; 0, a weight's output channels, where not given. */
  readonly chAxis?: number;
}

/**
 * Tracks the smallest and largest value of every slice along `chAxis`.
 * Source: `torch.ao.quantization.PerChannelMinMaxObserver`.
 *
 * @example
 * const observer = new PerChannelMinMaxObserver({ dtype: 'qint8', qscheme: 'per_channel_symmetric' });
 * observer(conv.weight);
 * observer.calculateQParams().scale.shape; // [output channels]
 */
export class PerChannelMinMaxObserver extends UniformQuantizationObserverBase {
  override readonly chAxis: number;

  constructor(options: PerChannelObserverOptions = {}) {
    super(options, isPerChannelScheme, 'per_channel_affine');
    this.chAxis = options.chAxis ?? 0;
    this.registerBuffer('minVal', vector(new Float32Array(0)));
    this.registerBuffer('maxVal', vector(new Float32Array(0)));
  }

  override forward(x: Tensor): Tensor {
    if (x.numel === 0) return x;
    const axis = normalizeDim(this.chAxis, x.ndim, this.typeName, 'chAxis');
    if (this.hasObserved() && this.minVal.numel !== x.shape[axis]) {
      throw new ArgumentError({
        fn: this.typeName,
        argument: 'x',
        expected: `${this.minVal.numel} slices along dimension ${axis}, as before`,
        got: `${x.shape[axis]}`,
      });
    }
    const { lows, highs } = channelExtrema(x, axis);
    this.update(lows, highs);
    return x;
  }

  override calculateQParams(): ObservedQParams {
    return this.qparamsOf(this.minVal, this.maxVal);
  }

  override merge(other: ObserverBase): void {
    const { minVal, maxVal } = requireSameKind<PerChannelMinMaxObserver>(this, other);
    if (other.hasObserved()) this.update(minVal.data as Float32Array, maxVal.data as Float32Array);
  }

  /** Forgets everything. Source: `reset_min_max_vals`. */
  resetMinMaxVals(): void {
    this.minVal = vector(new Float32Array(0));
    this.maxVal = vector(new Float32Array(0));
  }

  /** Takes note of the smallest and largest value per channel of one tensor. */
  update(lows: Float32Array, highs: Float32Array): void {
    const [before, beyond] = [this.minVal.data, this.maxVal.data];
    const fresh = before.length === 0;
    this.minVal = vector(lows.map((v, c) => (fresh ? v : Math.min(v, before[c]))));
    this.maxVal = vector(highs.map((v, c) => (fresh ? v : Math.max(v, beyond[c]))));
  }
}
