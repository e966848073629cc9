import { DYNAMIC_RULES } from './dynamic.ts';
import { DYNAMIC_CONVOLUTION_RULES } from './dynamic-convolution.ts';
import { FLOAT_RULES, FUSED_FLOAT_RULES } from './float.ts';
import { INT8_RULES } from './int8.ts';
import { MOVEMENT_RULES } from './movement.ts';
import { QUANTIZED_TABLE_RULES } from './quantized-tables.ts';
import { RESIZE_RULES } from './resize.ts';
import type { LoweringRule, LoweringRules } from './rule.ts';

/** Tables in the order they are asked: an operator on quantized tensors has another rule than on float ones. */
const TABLES: readonly LoweringRules[] = [
  MOVEMENT_RULES,
  INT8_RULES,
  QUANTIZED_TABLE_RULES,
  RESIZE_RULES,
  DYNAMIC_RULES,
  DYNAMIC_CONVOLUTION_RULES,
  FUSED_FLOAT_RULES,
  FLOAT_RULES,
];

/** The rules for an operator; the first that applies takes it. */
export function rulesFor(target: unknown): readonly LoweringRule[] {
  return TABLES.flatMap((table) => (table as Readonly<Record<string, LoweringRule>>)[target as string] ?? []);
}
