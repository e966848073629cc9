import { INT8_PRODUCTS } from './int8/convolution.ts';
import { INT8_CROSSING } from './int8/crossing.ts';
import { INT8_NORMALIZATIONS } from './int8/normalization.ts';
import { INT8_POINTWISE } from './int8/pointwise.ts';
import { INT8_POOLS } from './int8/pooling.ts';
import { INT8_TRANSPOSED } from './int8/transposed.ts';
import type { LoweringRules } from './rule.ts';

/** Quantized tensors in and out: static int8. */
export const INT8_RULES: LoweringRules = {
  ...INT8_CROSSING,
  ...INT8_PRODUCTS,
  ...INT8_TRANSPOSED,
  ...INT8_NORMALIZATIONS,
  ...INT8_POINTWISE,
  ...INT8_POOLS,
};
