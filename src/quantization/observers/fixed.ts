import type { QuantizedDType } from '../../tensor/dtype.ts';
import type { QScheme } from '../../tensor/qparams.ts';
import { fromStorage, type Tensor } from '../../tensor/tensor.ts';
import { type ObservedQParams, ObserverBase, requireSameKind, vector } from './observer.ts';

/** Options of {@link FixedQParamsObserver}. */
export interface FixedQParamsOptions {
  readonly scale: number;
  readonly zeroPoint: number;
  readonly dtype?: QuantizedDType;
  readonly qscheme?: QScheme;
  readonly quantMin?: number;
  readonly quantMax?: number;
}

/**
 * Gives the same parameters whatever it sees: for outputs whose range is known, such as those of sigmoid and tanh.
 * Source: `torch.ao.quantization.FixedQParamsObserver`.
 *
 * @example
 * new FixedQParamsObserver({ scale: 1 / 256, zeroPoint: 0 }).calculateQParams();
 */
export class FixedQParamsObserver extends ObserverBase {
  static override readonly stateNames: Readonly<Record<string, string>> = { zeroPoint: 'zero_point' };

  declare readonly dtype: QuantizedDType;
  override readonly qscheme: QScheme;
  readonly quantMin: number;
  readonly quantMax: number;
  declare scale: Tensor;
  declare zeroPoint: Tensor;

  constructor(options: FixedQParamsOptions) {
    super(options.dtype ?? 'quint8');
    this.qscheme = options.qscheme ?? 'per_tensor_affine';
    this.quantMin = options.quantMin ?? 0;
    this.quantMax = options.quantMax ?? 255;
    this.registerBuffer('scale', vector(Float32Array.of(options.scale)));
    this.registerBuffer('zeroPoint', fromStorage(Int32Array.of(options.zeroPoint), [1], 'int32'));
  }

  override forward(x: Tensor): Tensor {
    return x;
  }

  override calculateQParams(): ObservedQParams {
    return { scale: this.scale, zeroPoint: this.zeroPoint };
  }

  override hasObserved(): boolean {
    return true;
  }

  override merge(other: ObserverBase): void {
    requireSameKind(this, other);
  }
}
