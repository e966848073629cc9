import { ArgumentError, ShapeError } from '../../../core/errors.ts';
import { formatShape } from '../../../tensor/shape.ts';
import { Tensor } from '../../../tensor/tensor.ts';
import type { Reduction } from '../../signatures/layer.ts';
import { allocateLike, channelsLastData, channelsLastTensor, requireFloat } from './channels-last.ts';

/** Minus the log-probability of each target class, weighted and folded. Source: `torch.nn.functional.nll_loss`. */
export function nllLoss(
  logProbabilities: Tensor,
  target: Tensor,
  weight: Tensor | null,
  ignoreIndex: number,
  reduction: Reduction,
): Tensor {
  const dtype = requireFloat('nllLoss', { input: logProbabilities, weight });
  const { input, targets, classes } = checkLoss(logProbabilities, target, weight, ignoreIndex);
  const w = weight?.data;
  const losses = allocateLike(input, reduction === 'none' ? targets.length : 1);
  let sum = 0;
  let total = 0;
  for (let i = 0; i < targets.length; i++) {
    const t = targets[i];
    if (t === ignoreIndex) continue;
    const share = w ? w[t] : 1;
    const loss = -input[i * classes + t] * share;
    if (reduction === 'none') losses[i] = loss;
    sum += loss;
    total += share;
  }
  if (reduction === 'none') return new Tensor({ storage: losses, shape: target.shape, dtype });
  losses[0] = reduction === 'mean' ? sum / total : sum;
  return new Tensor({ storage: losses, shape: [], dtype });
}

/** Gradient of {@link nllLoss} with respect to the log-probabilities. */
export function nllLossGrad(
  gradOut: Tensor,
  logProbabilities: Tensor,
  target: Tensor,
  weight: Tensor | null,
  ignoreIndex: number,
  reduction: Reduction,
): Tensor {
  const { input, targets, classes } = checkLoss(logProbabilities, target, weight, ignoreIndex);
  const w = weight?.data;
  const out = allocateLike(input, input.length);
  const grad = gradOut.data;
  let total = 1;
  if (reduction === 'mean') {
    total = 0;
    for (let i = 0; i < targets.length; i++) {
      if (targets[i] !== ignoreIndex) total += w ? w[targets[i]] : 1;
    }
  }
  for (let i = 0; i < targets.length; i++) {
    const t = targets[i];
    if (t === ignoreIndex) continue;
    out[i * classes + t] = (-(w ? w[t] : 1) * grad[reduction === 'none' ? i : 0]) / total;
  }
  return logProbabilities.ndim === 1
    ? new Tensor({ storage: out, shape: logProbabilities.shape, dtype: logProbabilities.dtype })
    : channelsLastTensor(out, logProbabilities.shape, logProbabilities.dtype);
}

/** Log-probabilities as rows of classes, and one checked target a row. */
function checkLoss(
  x: Tensor,
  target: Tensor,
  weight: Tensor | null,
  ignoreIndex: number,
): { readonly input: Tensor['storage']; readonly targets: Tensor['storage']; readonly classes: number } {
  const expected = x.ndim === 1 ? [] : [x.shape[0], ...x.shape.slice(2)];
  if (x.ndim === 0 || target.shape.join() !== expected.join()) {
    throw new ShapeError({
      fn: 'nllLoss',
      argument: 'target',
      expected: `shape ${formatShape(expected)} for an input of ${formatShape(x.shape)} ([N, classes, …])`,
      got: formatShape(target.shape),
    });
  }
  const classes = x.ndim === 1 ? x.shape[0] : x.shape[1];
  if (weight && (weight.ndim !== 1 || weight.shape[0] !== classes)) {
    throw new ShapeError({
      fn: 'nllLoss',
      argument: 'weight',
      expected: `shape [${classes}]`,
      got: formatShape(weight.shape),
    });
  }
  const targets = target.data;
  for (let i = 0; i < targets.length; i++) {
    const t = targets[i];
    if (t === ignoreIndex || (t >= 0 && t < classes && Number.isInteger(t))) continue;
    throw new ArgumentError({
      fn: 'nllLoss',
      argument: 'target',
      expected: `classes from 0 to ${classes - 1}, or ignoreIndex ${ignoreIndex}`,
      got: `${t} at place ${i}`,
    });
  }
  return { input: x.ndim === 1 ? x.data : channelsLastData(x), targets, classes };
}
