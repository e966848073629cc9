import { batchNormEvalGrad, batchNormTrainGrad } from '../../../ops/float/layer/batch-norm.ts';
import { groupNormGrad, layerNormGrad } from '../../../ops/float/layer/layer-norm.ts';
import type { LayerOps } from '../../../ops/signatures/index.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import type { RulesOf } from '../rule.ts';

/** Gradients of normalizations. Statistics of a batch are outputs for bookkeeping: no gradient flows back through them. */
export const normRules: RulesOf<
  Pick<LayerOps, 'batchNormTrain' | 'batchNormEval' | 'layerNorm' | 'groupNorm'>
> = {
  batchNormTrain:
    ([, mean, variance], x, weight, bias, eps) =>
    ([grad]) => {
      if (!grad) return [];
      const [gx, gw, gb] = batchNormTrainGrad(grad, x, mean, variance, weight, eps);
      return [gx, ...affine(weight, gw, bias, gb)];
    },
  batchNormEval: (_out, x, mean, variance, weight, bias, eps) => (grad) => {
    const [gx, gw, gb] = batchNormEvalGrad(grad, x, mean, variance, weight, eps);
    return [gx, null, null, ...affine(weight, gw, bias, gb)];
  },
  layerNorm: (_out, x, normalizedShape, weight, bias, eps) => (grad) => {
    const [gx, gw, gb] = layerNormGrad(grad, x, normalizedShape, weight, eps);
    return [gx, ...affine(weight, gw, bias, gb)];
  },
  groupNorm: (_out, x, groups, weight, bias, eps) => (grad) => {
    const [gx, gw, gb] = groupNormGrad(grad, x, groups, weight, eps);
    return [gx, ...affine(weight, gw, bias, gb)];
  },
};

/** Gradients stand in the order of the tensor arguments: an absent weight or bias has no place. */
function affine(weight: Tensor | null, gradWeight: Tensor, bias: Tensor | null, gradBias: Tensor): Tensor[] {
  return [...(weight ? [gradWeight] : []), ...(bias ? [gradBias] : [])];
}
