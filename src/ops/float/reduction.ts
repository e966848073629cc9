import type { ReductionOps } from '../signatures/index.ts';

/** Implementations of the reduction operators on plain tensors. */
export const reduction: ReductionOps = {} as ReductionOps;
