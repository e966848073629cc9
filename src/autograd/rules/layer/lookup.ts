import { embeddingBagGrad, embeddingGrad } from '../../../ops/float/layer/embedding.ts';
import { nllLossGrad } from '../../../ops/float/layer/loss.ts';
import type { LayerOps } from '../../../ops/signatures/index.ts';
import type { RulesOf } from '../rule.ts';

/** Gradients of what reads by index: tables of embeddings, and the target's log-probability. */
export const lookupRules: RulesOf<Pick<LayerOps, 'embedding' | 'embeddingBag' | 'nllLoss'>> = {
  embedding: (_out, indices, weight, paddingIdx) => (grad) => [
    null,
    embeddingGrad(grad, indices, weight.shape, paddingIdx),
  ],
  embeddingBag: (_out, indices, weight, offsets, mode, perSampleWeights) => (grad) => {
    const [table, shares] = embeddingBagGrad(grad, indices, weight, offsets, mode, perSampleWeights);
    return [null, table, null, shares];
  },
  nllLoss: (_out, logProbabilities, target, weight, ignoreIndex, reduction) => (grad) => [
    nllLossGrad(grad, logProbabilities, target, weight, ignoreIndex, reduction),
  ],
};
