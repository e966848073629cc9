import type { Tensor } from '../../tensor/tensor.ts';
import { extrema, floatValues } from './extrema.ts';
import { type ObservedQParams, type ObserverBase, requireSameKind, scalar } from './observer.ts';
import {
  isPerTensorScheme,
  type UniformObserverOptions,
  UniformQuantizationObserverBase,
} from './uniform.ts';

/**
 * Tracks the smallest and largest value of all tensors it sees. Source: `torch.ao.quantization.MinMaxObserver`.
 *
 * @example
 * const observer = new MinMaxObserver({ dtype: 'quint8', reduceRange: true });
 * observer(tensor([0, 1.6580328941345215]));
 * observer.calculateQParams().scale.item(); // 0.013055376708507538
 */
export class MinMaxObserver extends UniformQuantizationObserverBase {
  constructor(options: UniformObserverOptions = {}) {
    super(options, isPerTensorScheme);
    this.registerBuffer('minVal', scalar(Infinity));
    this.registerBuffer('maxVal', scalar(-Infinity));
  }

  override forward(x: Tensor): Tensor {
    if (x.numel > 0) this.update(...extrema(floatValues(x).values));
    return x;
  }

  override calculateQParams(): ObservedQParams {
    return this.qparamsOf(this.minVal, this.maxVal);
  }

  override merge(other: ObserverBase): void {
    const { minVal, maxVal } = requireSameKind<MinMaxObserver>(this, other);
    if (other.hasObserved()) this.update(minVal.item(), maxVal.item());
  }

  /** Forgets everything. Source: `reset_min_max_vals`. */
  resetMinMaxVals(): void {
    this.minVal = scalar(Infinity);
    this.maxVal = scalar(-Infinity);
  }

  /** Takes note of one tensor's smallest and largest value. */
  update(low: number, high: number): void {
    this.minVal = scalar(Math.min(low, this.minVal.data[0]));
    this.maxVal = scalar(Math.max(high, this.maxVal.data[0]));
  }
}
