import type { ShapeRules } from './rule.ts';

/** Results of the costly operators of `rules/dynamic.ts`. */
export const DYNAMIC_SHAPES: ShapeRules = {};
