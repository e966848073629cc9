import { gruPointwiseGrad, lstmPointwiseGrad } from '../../../ops/float/layer/recurrent.ts';
import type { LayerOps } from '../../../ops/signatures/index.ts';
import type { RulesOf } from '../rule.ts';

/** Gradients of the pointwise halves of recurrent cells. */
export const recurrentRules: RulesOf<Pick<LayerOps, 'lstmPointwise' | 'gruPointwise'>> = {
  lstmPointwise:
    ([, after], gates, c) =>
    ([gradH, gradC]) =>
      lstmPointwiseGrad(gradH, gradC, gates, c, after),
  gruPointwise: (_out, inputGates, hiddenGates, h) => (grad) =>
    gruPointwiseGrad(grad, inputGates, hiddenGates, h),
};
