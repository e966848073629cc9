import type { LoweringRules } from './rule.ts';

/** Quantized tensors in and out: static int8. */
export const INT8_RULES: LoweringRules = {};
