import type { LoweringRules } from './rule.ts';

/** Layers that quantize their float input call by call, and recurrent cells. */
export const DYNAMIC_RULES: LoweringRules = {};
