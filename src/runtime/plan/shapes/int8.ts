import {
  convolutionProduct,
  linearProduct,
  type QuantizedProduct,
} from '../../../ops/quantized/convolution.ts';
import type { PackedWeights } from '../../../ops/quantized/packed.ts';
import { channelsLastStrides, contiguousStrides, type Shape } from '../../../tensor/shape.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import type { Meta } from '../value.ts';
import type { ShapeRules } from './rule.ts';

function metaOfProduct({ shape, dtype, output }: QuantizedProduct, strides: Shape): Meta {
  return { shape, dtype, qparams: output, strides };
}

function convolution(rank: 1 | 2 | 3, suffix = '') {
  return (x: Tensor, packed: PackedWeights, scale: number, zeroPoint: number): Meta => {
    const product = convolutionProduct(`quantized::conv${rank}d${suffix}`, rank, x, packed, scale, zeroPoint);
    return metaOfProduct(product, channelsLastStrides(product.shape));
  };
}

function linear(suffix = '') {
  return (x: Tensor, packed: PackedWeights, scale: number, zeroPoint: number): Meta => {
    const product = linearProduct(`quantized::linear${suffix}`, x, packed, scale, zeroPoint);
    return metaOfProduct(product, contiguousStrides(product.shape));
  };
}

/** Results of the costly operators of `rules/int8.ts`. */
export const INT8_SHAPES: ShapeRules = {
  'quantized::conv1d': convolution(1),
  'quantized::conv1d_relu': convolution(1, '_relu'),
  'quantized::conv2d': convolution(2),
  'quantized::conv2d_relu': convolution(2, '_relu'),
  'quantized::conv3d': convolution(3),
  'quantized::conv3d_relu': convolution(3, '_relu'),
  'quantized::linear': linear(),
  'quantized::linear_relu': linear('_relu'),
};
