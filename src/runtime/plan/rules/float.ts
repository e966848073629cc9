import { CONV_RULES } from './float/conv.ts';
import { CONV_TRANSPOSE_RULES } from './float/conv-transpose.ts';
import { ELEMENTWISE_RULES } from './float/elementwise.ts';
import { EMBEDDING_RULES } from './float/embedding.ts';
import { FOLD_RULES } from './float/fold.ts';
import { FUSED_NORMALIZE_RULES, NORMALIZE_RULES } from './float/normalize.ts';
import { POOL_RULES } from './float/pool.ts';
import { PRODUCT_RULES } from './float/product.ts';
import type { LoweringRules } from './rule.ts';

/** Float convolutions, products, normalizations, pools and element-wise operators. */
export const FLOAT_RULES: LoweringRules = {
  ...CONV_RULES,
  ...CONV_TRANSPOSE_RULES,
  ...PRODUCT_RULES,
  ...ELEMENTWISE_RULES,
  ...NORMALIZE_RULES,
  ...FOLD_RULES,
  ...POOL_RULES,
  ...EMBEDDING_RULES,
};

/** Rules that take up the operator behind, asked before the plain ones. */
export const FUSED_FLOAT_RULES: LoweringRules = FUSED_NORMALIZE_RULES;
