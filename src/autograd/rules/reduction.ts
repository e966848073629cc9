import type { ReductionOps } from '../../ops/signatures/index.ts';
import type { RulesOf } from './rule.ts';

/** Gradients of the reduction operators. */
export const reductionRules: RulesOf<ReductionOps> = {} as RulesOf<ReductionOps>;
