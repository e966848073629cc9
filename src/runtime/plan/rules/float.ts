import type { LoweringRules } from './rule.ts';

/** Float convolutions, products, normalizations, pools and element-wise operators. */
export const FLOAT_RULES: LoweringRules = {};
