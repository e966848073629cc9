import type { Tensor } from '../../tensor/tensor.ts';
import type { PackedWeights } from '../quantized/packed.ts';
import type { PackedHalfWeights } from '../quantized/packed-half.ts';

/**
 * Operators that exist for quantized tensors only, under PyTorch's names (`torch.ops.quantized.*`). `scale` and
 * `zeroPoint` are those of the output.
 */
export interface QuantizedOps {
  'quantized::conv1d'(x: Tensor, packed: PackedWeights, scale: number, zeroPoint: number): Tensor;
  'quantized::conv1d_relu'(x: Tensor, packed: PackedWeights, scale: number, zeroPoint: number): Tensor;
  'quantized::conv2d'(x: Tensor, packed: PackedWeights, scale: number, zeroPoint: number): Tensor;
  'quantized::conv2d_relu'(x: Tensor, packed: PackedWeights, scale: number, zeroPoint: number): Tensor;
  'quantized::conv3d'(x: Tensor, packed: PackedWeights, scale: number, zeroPoint: number): Tensor;
  'quantized::conv3d_relu'(x: Tensor, packed: PackedWeights, scale: number, zeroPoint: number): Tensor;
  'quantized::linear'(x: Tensor, packed: PackedWeights, scale: number, zeroPoint: number): Tensor;
  'quantized::linear_relu'(x: Tensor, packed: PackedWeights, scale: number, zeroPoint: number): Tensor;
  'quantized::linear_dynamic'(x: Tensor, packed: PackedWeights, reduceRange: boolean): Tensor;
  'quantized::linear_relu_dynamic'(x: Tensor, packed: PackedWeights, reduceRange: boolean): Tensor;
  'quantized::linear_dynamic_fp16'(x: Tensor, packed: PackedHalfWeights): Tensor;
  'quantized::linear_relu_dynamic_fp16'(x: Tensor, packed: PackedHalfWeights): Tensor;
  'quantized::conv1d_dynamic'(x: Tensor, packed: PackedWeights, reduceRange: boolean): Tensor;
  'quantized::conv2d_dynamic'(x: Tensor, packed: PackedWeights, reduceRange: boolean): Tensor;
  'quantized::conv3d_dynamic'(x: Tensor, packed: PackedWeights, reduceRange: boolean): Tensor;
  'quantized::add'(a: Tensor, b: Tensor, scale: number, zeroPoint: number): Tensor;
  'quantized::add_relu'(a: Tensor, b: Tensor, scale: number, zeroPoint: number): Tensor;
  'quantized::add_scalar'(a: Tensor, b: number): Tensor;
  'quantized::mul'(a: Tensor, b: Tensor, scale: number, zeroPoint: number): Tensor;
  'quantized::mul_relu'(a: Tensor, b: Tensor, scale: number, zeroPoint: number): Tensor;
  'quantized::mul_scalar'(a: Tensor, b: number): Tensor;
  'quantized::cat'(tensors: readonly Tensor[], scale: number, zeroPoint: number, dim: number): Tensor;
}
