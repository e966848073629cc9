import type { MovementOps } from '../../ops/signatures/index.ts';
import type { RulesOf } from './rule.ts';

/** Gradients of the movement operators. */
export const movementRules: RulesOf<MovementOps> = {} as RulesOf<MovementOps>;
