import type { LoweringRules } from './rule.ts';

/** Views and copies, for elements of any type. */
export const MOVEMENT_RULES: LoweringRules = {};
