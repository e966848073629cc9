import type { ElementwiseOps, MovementOps, ReductionOps } from '../../../src/ops/signatures/index.ts';
import { elementwiseSamples } from './elementwise.ts';
import { movementSamples } from './movement.ts';
import { reductionSamples } from './reduction.ts';
import type { SamplesOf } from './sample.ts';

/** Sample arguments of every operator with a gradient check. */
export const SAMPLES: SamplesOf<ElementwiseOps & ReductionOps & MovementOps> = {
  ...elementwiseSamples,
  ...reductionSamples,
  ...movementSamples,
};
