import type { ReductionOps } from '../signatures/index.ts';
import { along } from './reduction/along.ts';
import { folds } from './reduction/folds.ts';

/** Implementations of the reductions on plain tensors. */
export const reduction: ReductionOps = { ...folds, ...along };
