import { type AnyModule, Module, type StateLoader } from '../../../nn/module.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import { tensor } from '../../../tensor/creation.ts';
import type { QuantizedDType } from '../../../tensor/dtype.ts';
import type { StateDict } from '../../../tensor/state.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { observedQParams } from '../../observed-qparams.ts';
import { loadOutputQParams } from '../state.ts';

/**
 * Quantizes a float tensor with fixed parameters: what a QuantStub becomes. Float in, quantized out.
 * Source: `torch.ao.nn.quantized.Quantize`.
 *
 * @example
 * const quantize = new Quantize(0.0409, 61, 'quint8');
 * quantize(tensor([1])).intRepr(); // [85]
 */
export class Quantize extends Module {
  scale: number;
  zeroPoint: number;
  readonly dtype: QuantizedDType;

  constructor(scale: number, zeroPoint: number, dtype: QuantizedDType) {
    super();
    this.scale = scale;
    this.zeroPoint = zeroPoint;
    this.dtype = dtype;
  }

  /** Takes the parameters that were observed on a prepared QuantStub. */
  static fromFloat(module: AnyModule): Quantize {
    const { scale, zeroPoint, dtype } = observedQParams(module.activationPostProcess, 'Quantize.fromFloat');
    return new Quantize(scale, zeroPoint, dtype);
  }

  forward(x: Tensor): Tensor {
    return dispatch('quantizePerTensor', x, this.scale, this.zeroPoint, this.dtype);
  }

  override extraRepr(): string {
    const scale = String(tensor([this.scale]));
    return `scale=${scale}, zero_point=${tensor([this.zeroPoint], { dtype: 'int64' })}, dtype=torch.${this.dtype}`;
  }

  override saveToStateDict(into: StateDict, prefix: string): void {
    into.set(`${prefix}scale`, tensor([this.scale]));
    into.set(`${prefix}zero_point`, tensor([this.zeroPoint], { dtype: 'int64' }));
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    loadOutputQParams(this, loader, prefix);
  }
}

/**
 * Back to float: what a DeQuantStub becomes. A float tensor passes through. Source: `torch.ao.nn.quantized.DeQuantize`.
 */
export class DeQuantize extends Module {
  static fromFloat(_module: AnyModule): DeQuantize {
    return new DeQuantize();
  }

  forward(x: Tensor): Tensor {
    return dispatch('dequantize', x);
  }
}
