import type { ElementwiseOps } from '../../ops/signatures/index.ts';
import type { RulesOf } from './rule.ts';

/** Gradients of the elementwise operators. */
export const elementwiseRules: RulesOf<ElementwiseOps> = {} as RulesOf<ElementwiseOps>;
