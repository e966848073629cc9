import type { Tensor } from '../../tensor/tensor.ts';
import type { PackedWeights } from '../quantized/packed.ts';
import type { PackedHalfWeights } from '../quantized/packed-half.ts';
import type { PackedTransposedWeights } from '../quantized/transposed.ts';

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
  /** Computed in float on the dequantized operands, as in PyTorch. */
  'quantized::matmul'(a: Tensor, b: Tensor, scale: number, zeroPoint: number): Tensor;
  'quantized::cat'(tensors: readonly Tensor[], scale: number, zeroPoint: number, dim: number): Tensor;

  'quantized::conv_transpose1d'(
    x: Tensor,
    packed: PackedTransposedWeights,
    scale: number,
    zeroPoint: number,
  ): Tensor;
  'quantized::conv_transpose2d'(
    x: Tensor,
    packed: PackedTransposedWeights,
    scale: number,
    zeroPoint: number,
  ): Tensor;
  'quantized::conv_transpose3d'(
    x: Tensor,
    packed: PackedTransposedWeights,
    scale: number,
    zeroPoint: number,
  ): Tensor;
  'quantized::conv_transpose1d_dynamic'(
    x: Tensor,
    packed: PackedTransposedWeights,
    reduceRange: boolean,
  ): Tensor;
  'quantized::conv_transpose2d_dynamic'(
    x: Tensor,
    packed: PackedTransposedWeights,
    reduceRange: boolean,
  ): Tensor;
  'quantized::conv_transpose3d_dynamic'(
    x: Tensor,
    packed: PackedTransposedWeights,
    reduceRange: boolean,
  ): Tensor;

  'quantized::sigmoid'(x: Tensor, scale: number, zeroPoint: number): Tensor;
  'quantized::tanh'(x: Tensor, scale: number, zeroPoint: number): Tensor;
  'quantized::hardswish'(x: Tensor, scale: number, zeroPoint: number): Tensor;
  'quantized::elu'(x: Tensor, scale: number, zeroPoint: number, alpha: number): Tensor;
  'quantized::celu'(x: Tensor, scale: number, zeroPoint: number, alpha: number): Tensor;
  'quantized::leaky_relu'(x: Tensor, negativeSlope: number, scale: number, zeroPoint: number): Tensor;
  /** `weight`: quantized slopes, one or one per channel. */
  'quantized::prelu'(x: Tensor, weight: Tensor, scale: number, zeroPoint: number): Tensor;
  'quantized::softmax'(x: Tensor, dim: number, scale: number, zeroPoint: number): Tensor;
  /** x where it is above `threshold`, `value` elsewhere; the parameters stay. */
  'quantized::threshold'(x: Tensor, threshold: number, value: number): Tensor;

  'quantized::batch_norm2d'(...args: QuantizedBatchNormArgs): Tensor;
  'quantized::batch_norm2d_relu'(...args: QuantizedBatchNormArgs): Tensor;
  'quantized::batch_norm3d'(...args: QuantizedBatchNormArgs): Tensor;
  'quantized::batch_norm3d_relu'(...args: QuantizedBatchNormArgs): Tensor;
  'quantized::layer_norm'(
    x: Tensor,
    normalizedShape: readonly number[],
    weight: Tensor | null,
    bias: Tensor | null,
    eps: number,
    scale: number,
    zeroPoint: number,
  ): Tensor;
  'quantized::group_norm'(
    x: Tensor,
    groups: number,
    weight: Tensor | null,
    bias: Tensor | null,
    eps: number,
    scale: number,
    zeroPoint: number,
  ): Tensor;
  'quantized::instance_norm'(
    x: Tensor,
    weight: Tensor | null,
    bias: Tensor | null,
    eps: number,
    scale: number,
    zeroPoint: number,
  ): Tensor;
}

/** Arguments of the quantized batch normalizations; statistics, gains and shifts are float. */
export type QuantizedBatchNormArgs = [
  x: Tensor,
  weight: Tensor | null,
  bias: Tensor | null,
  mean: Tensor,
  variance: Tensor,
  eps: number,
  scale: number,
  zeroPoint: number,
];
