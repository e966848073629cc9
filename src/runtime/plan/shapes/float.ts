import { convolutionResult, convolutionTransposeResult } from '../../../ops/float/layer/conv.ts';
import {
  bmmResult,
  linearResult,
  matmulResult,
  type ProductResult,
} from '../../../ops/float/layer/matmul.ts';
import type { ConvGeometry, ConvTransposeGeometry } from '../../../ops/signatures/layer.ts';
import { channelsLastStrides, contiguousStrides } from '../../../tensor/shape.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import type { Meta } from '../value.ts';
import type { ShapeRules } from './rule.ts';

function convolution(fn: 'conv1d' | 'conv2d' | 'conv3d') {
  return (x: Tensor, weight: Tensor, bias: Tensor | null, geometry: ConvGeometry): Meta => {
    const { shape, dtype } = convolutionResult(fn, x, weight, bias, geometry);
    return { shape, dtype, qparams: null, strides: channelsLastStrides(shape) };
  };
}

function transposed(fn: 'convTranspose1d' | 'convTranspose2d' | 'convTranspose3d') {
  return (x: Tensor, weight: Tensor, bias: Tensor | null, geometry: ConvTransposeGeometry): Meta => {
    const { shape, dtype } = convolutionTransposeResult(fn, x, weight, bias, geometry);
    return { shape, dtype, qparams: null, strides: channelsLastStrides(shape) };
  };
}

function rowMajor({ shape, dtype }: ProductResult): Meta {
  return { shape, dtype, qparams: null, strides: contiguousStrides(shape) };
}

/** Results of the costly operators of `rules/float.ts`. */
export const FLOAT_SHAPES: ShapeRules = {
  conv1d: convolution('conv1d'),
  conv2d: convolution('conv2d'),
  conv3d: convolution('conv3d'),
  convTranspose1d: transposed('convTranspose1d'),
  convTranspose2d: transposed('convTranspose2d'),
  convTranspose3d: transposed('convTranspose3d'),
  matmul: (a, b) => rowMajor(matmulResult(a, b)),
  bmm: (a, b) => rowMajor(bmmResult(a, b)),
  linear: (x, weight, bias) => rowMajor(linearResult(x, weight, bias)),
};
