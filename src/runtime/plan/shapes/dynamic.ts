import { dynamicConvolution } from '../../../ops/quantized/dynamic.ts';
import type { PackedWeights } from '../../../ops/quantized/packed.ts';
import type { PackedHalfWeights } from '../../../ops/quantized/packed-half.ts';
import { checkFeatures, requireFloat32 } from '../../../ops/quantized/product-input.ts';
import { type PackedTransposedWeights, transposedShape } from '../../../ops/quantized/transposed.ts';
import { channelsLastStrides, contiguousStrides } from '../../../tensor/shape.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import type { Meta } from '../value.ts';
import type { ShapeRules } from './rule.ts';

const linear =
  (fn: keyof ShapeRules) =>
  (x: Tensor, packed: PackedWeights | PackedHalfWeights): Meta => {
    requireFloat32(x, fn);
    checkFeatures(x, packed, fn);
    const shape = [...x.shape.slice(0, -1), packed.weight.shape[0]];
    return { shape, dtype: 'float32', qparams: null, strides: contiguousStrides(shape) };
  };

function convolution(rank: 1 | 2 | 3) {
  const fn = `quantized::conv${rank}d_dynamic`;
  return (x: Tensor, packed: PackedWeights): Meta => {
    const { shape } = dynamicConvolution(fn, rank, x, packed);
    return { shape, dtype: 'float32', qparams: null, strides: channelsLastStrides(shape) };
  };
}

function transposed(rank: 1 | 2 | 3) {
  const fn = `quantized::conv_transpose${rank}d_dynamic`;
  return (x: Tensor, packed: PackedTransposedWeights): Meta => {
    requireFloat32(x, fn);
    const shape = transposedShape(fn, rank, x, packed);
    return { shape, dtype: 'float32', qparams: null, strides: channelsLastStrides(shape) };
  };
}

/** Results of the costly operators of `rules/dynamic.ts` and `rules/dynamic-convolution.ts`. */
export const DYNAMIC_SHAPES: ShapeRules = {
  'quantized::conv1d_dynamic': convolution(1),
  'quantized::conv2d_dynamic': convolution(2),
  'quantized::conv3d_dynamic': convolution(3),
  'quantized::conv_transpose1d_dynamic': transposed(1),
  'quantized::conv_transpose2d_dynamic': transposed(2),
  'quantized::conv_transpose3d_dynamic': transposed(3),
  'quantized::linear_dynamic': linear('quantized::linear_dynamic'),
  'quantized::linear_relu_dynamic': linear('quantized::linear_relu_dynamic'),
  'quantized::linear_dynamic_fp16': linear('quantized::linear_dynamic_fp16'),
  'quantized::linear_relu_dynamic_fp16': linear('quantized::linear_relu_dynamic_fp16'),
};
