import type { ShapeRules } from './rule.ts';

/** Results of the costly operators of `rules/float.ts`. */
export const FLOAT_SHAPES: ShapeRules = {};
