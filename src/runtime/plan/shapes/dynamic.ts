import type { PackedWeights } from '../../../ops/quantized/packed.ts';
import type { PackedHalfWeights } from '../../../ops/quantized/packed-half.ts';
import { checkFeatures, requireFloat32 } from '../../../ops/quantized/product-input.ts';
import { contiguousStrides } from '../../../tensor/shape.ts';
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

/** Results of the costly operators of `rules/dynamic.ts`. */
export const DYNAMIC_SHAPES: ShapeRules = {
  'quantized::linear_dynamic': linear('quantized::linear_dynamic'),
  'quantized::linear_relu_dynamic': linear('quantized::linear_relu_dynamic'),
  'quantized::linear_dynamic_fp16': linear('quantized::linear_dynamic_fp16'),
  'quantized::linear_relu_dynamic_fp16': linear('quantized::linear_relu_dynamic_fp16'),
};
