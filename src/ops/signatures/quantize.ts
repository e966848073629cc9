import type { QuantizedDType } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/** Operators that cross between float and quantized tensors, or simulate it in float. */
export interface QuantizeOps {
  quantizePerTensor(x: Tensor, scale: number, zeroPoint: number, dtype: QuantizedDType): Tensor;
  quantizePerChannel(
    x: Tensor,
    scales: Tensor,
    zeroPoints: Tensor,
    axis: number,
    dtype: QuantizedDType,
  ): Tensor;
  /** The float values of a quantized tensor; a float tensor passes through. */
  dequantize(x: Tensor): Tensor;
  /** The integers of a quantized tensor. */
  intRepr(x: Tensor): Tensor;
  fakeQuantizePerTensor(x: Tensor, scale: number, zeroPoint: number, qmin: number, qmax: number): Tensor;
  fakeQuantizePerChannel(
    x: Tensor,
    scales: Tensor,
    zeroPoints: Tensor,
    axis: number,
    qmin: number,
    qmax: number,
  ): Tensor;
}
