import type { ShapeRules } from './rule.ts';

/** Results of the costly operators of `rules/int8.ts`. */
export const INT8_SHAPES: ShapeRules = {};
