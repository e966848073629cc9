import type {
  ElementwiseOps,
  LayerOps,
  MovementOps,
  ReductionOps,
} from '../../../src/ops/signatures/index.ts';
import { elementwiseSamples } from './elementwise.ts';
import { layerSamples } from './layer.ts';
import { movementSamples } from './movement.ts';
import { reductionSamples } from './reduction.ts';
import type { SamplesOf } from './sample.ts';

/** Sample arguments of every operator with a gradient check. */
export const SAMPLES: SamplesOf<ElementwiseOps & ReductionOps & MovementOps & LayerOps> = {
  ...elementwiseSamples,
  ...reductionSamples,
  ...movementSamples,
  ...layerSamples,
};
