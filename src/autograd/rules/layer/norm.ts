import { dispatch } from '../../../ops/dispatch.ts';
import { batchNormEvalGrad, batchNormTrainGrad } from '../../../ops/float/layer/batch-norm.ts';
import { groupNormGrad, layerNormGrad } from '../../../ops/float/layer/layer-norm.ts';
import type { LayerOps } from '../../../ops/signatures/index.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import type { RulesOf } from '../rule.ts';

/** Gradients of normalizations. */
export const normRules: RulesOf<
  Pick<LayerOps, 'batchNormTrain' | 'batchNormEval' | 'layerNorm' | 'groupNorm'>
> = {
  batchNormTrain:
    ([, mean, variance], x, weight, bias, eps) =>
    ([grad, gradMean, gradVariance]) => {
      const throughStatistics = statisticsGrad(x, mean, gradMean, gradVariance);
      if (!grad) return [throughStatistics];
      const [gx, gw, gb] = batchNormTrainGrad(grad, x, mean, variance, weight, eps);
      const total = throughStatistics ? dispatch('add', gx, throughStatistics, 1) : gx;
      return [total, ...affine(weight, gw, bias, gb)];
    },
  batchNormEval: (_out, x, mean, variance, weight, bias, eps) => (grad) => {
    const [gx, gm, gv, gw, gb] = batchNormEvalGrad(grad, x, mean, variance, weight, eps);
    return [gx, gm, gv, ...affine(weight, gw, bias, gb)];
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

/** What flows to the input through the mean and the biased variance, where a model computes with them: rarely anything. */
function statisticsGrad(
  x: Tensor,
  mean: Tensor,
  gradMean: Tensor | null,
  gradVariance: Tensor | null,
): Tensor | null {
  const count = x.numel / x.shape[1];
  const perChannel = (t: Tensor): Tensor => dispatch('reshape', t, [-1, ...x.shape.slice(2).map(() => 1)]);
  const share = (t: Tensor, factor: number): Tensor => perChannel(dispatch('mul', t, factor / count));
  let total: Tensor | null = null;
  if (gradMean) total = dispatch('expand', share(gradMean, 1), x.shape);
  if (gradVariance) {
    const centred = dispatch('sub', x, perChannel(mean), 1);
    const flow = dispatch('mul', centred, share(gradVariance, 2));
    total = total ? dispatch('add', flow, total, 1) : flow;
  }
  return total;
}
