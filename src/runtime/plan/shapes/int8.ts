import {
  activationQParams,
  convolutionProduct,
  linearProduct,
  type QuantizedProduct,
} from '../../../ops/quantized/convolution.ts';
import type { PackedWeights } from '../../../ops/quantized/packed.ts';
import { type PackedTransposedWeights, transposedShape } from '../../../ops/quantized/transposed.ts';
import { perTensorQParams } from '../../../tensor/qparams.ts';
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

function transposed(rank: 1 | 2 | 3) {
  const fn = `quantized::conv_transpose${rank}d`;
  return (x: Tensor, packed: PackedTransposedWeights, scale: number, zeroPoint: number): Meta => {
    activationQParams(x, fn);
    const shape = transposedShape(fn, rank, x, packed);
    const qparams = perTensorQParams(scale, zeroPoint, x.dtype as 'quint8' | 'qint8', fn);
    return { shape, dtype: x.dtype, qparams, strides: channelsLastStrides(shape) };
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
  'quantized::conv_transpose1d': transposed(1),
  'quantized::conv_transpose2d': transposed(2),
  'quantized::conv_transpose3d': transposed(3),
  'quantized::linear': linear(),
  'quantized::linear_relu': linear('_relu'),
};
