import { ArgumentError, ShapeError } from '../../../core/errors.ts';
import { isFloatDType } from '../../../tensor/dtype.ts';
import { formatShape } from '../../../tensor/shape.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { dispatch } from '../../dispatch.ts';
import type { Reduction } from '../../signatures/layer.ts';

/** How a loss folds its elements: mean where not given. */
export interface LossOptions {
  readonly reduction?: Reduction;
}

/** Options of {@link nllLoss}. */
export interface NllLossOptions extends LossOptions {
  /** A factor per class, [classes]. The mean divides by the factors of the targets. */
  readonly weight?: Tensor | null;
  /** A target that does not count; −100. */
  readonly ignoreIndex?: number;
}

/** Options of {@link crossEntropy}. */
export interface CrossEntropyOptions extends NllLossOptions {
  /** Share of the target that is spread evenly over all classes, from 0 to 1; 0. */
  readonly labelSmoothing?: number;
}

/** Options of {@link binaryCrossEntropyWithLogits}. */
export interface BceOptions extends LossOptions {
  /** A factor per element, broadcast to the input. */
  readonly weight?: Tensor | null;
  /** A factor of the positive part, broadcast to the input. */
  readonly posWeight?: Tensor | null;
}

/**
 * Minus the log-probability of the target class: input [N, C, …] (or [C]) of log-probabilities, target [N, …] of class
 * indices. Source: `torch.nn.functional.nll_loss`.
 *
 * @throws ShapeError where the target does not fit; ArgumentError for a class out of range.
 * @example
 * nllLoss(logSoftmax(logits, 1), labels);
 */
export function nllLoss(input: Tensor, target: Tensor, options: NllLossOptions = {}): Tensor {
  const { weight = null, ignoreIndex = -100, reduction = 'mean' } = options;
  return dispatch('nllLoss', input, target, weight, ignoreIndex, reduction);
}

/**
 * Cross-entropy of logits [N, C, …] (or [C]) against class indices [N, …] or, for a float target, class probabilities in
 * the input's shape. Source: `torch.nn.functional.cross_entropy`; label smoothing: Szegedy et al. (2016).
 *
 * @throws ShapeError where the target does not fit; ArgumentError for a class or a smoothing out of range.
 * @example
 * backward(crossEntropy(model(images), labels, { labelSmoothing: 0.1 }));
 */
export function crossEntropy(input: Tensor, target: Tensor, options: CrossEntropyOptions = {}): Tensor {
  const { weight = null, ignoreIndex = -100, reduction = 'mean', labelSmoothing = 0 } = options;
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1)) {
    throw new ArgumentError({
      fn: 'crossEntropy',
      argument: 'labelSmoothing',
      expected: 'a share from 0 to 1',
      got: String(labelSmoothing),
    });
  }
  const classDim = input.ndim === 1 ? 0 : 1;
  const classes = input.shape[classDim];
  const logProbabilities = dispatch('logSoftmax', input, classDim);
  const weighted = weight
    ? dispatch(
        'mul',
        logProbabilities,
        dispatch('reshape', weight, [-1, ...input.shape.slice(2).map(() => 1)]),
      )
    : logProbabilities;
  if (isFloatDType(target.dtype)) {
    requireSameShape('crossEntropy', input, target);
    const mixed =
      labelSmoothing > 0
        ? dispatch('add', dispatch('mul', target, 1 - labelSmoothing), labelSmoothing / classes, 1)
        : target;
    const losses = dispatch('neg', dispatch('sum', dispatch('mul', weighted, mixed), classDim, false));
    // The mean is over samples; class weights do not enter the divisor here.
    return fold(losses, reduction);
  }
  const nll = dispatch('nllLoss', logProbabilities, target, weight, ignoreIndex, reduction);
  if (labelSmoothing === 0) return nll;
  const ignored = dispatch('eq', target, ignoreIndex);
  const spread = dispatch(
    'maskedFill',
    dispatch('neg', dispatch('sum', weighted, classDim, false)),
    ignored,
    0,
  );
  let smooth = spread;
  if (reduction !== 'none') smooth = dispatch('sum', spread, undefined, false);
  if (reduction === 'mean') smooth = dispatch('div', smooth, targetWeight(target, ignoreIndex, weight));
  return dispatch(
    'add',
    dispatch('mul', nll, 1 - labelSmoothing),
    dispatch('mul', smooth, labelSmoothing / classes),
    1,
  );
}

/**
 * Mean squared difference. Operands broadcast. Source: `torch.nn.functional.mse_loss`.
 *
 * @example
 * mseLoss(tensor([1, 2]), tensor([0, 0])).item(); // 2.5
 */
export function mseLoss(input: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  return fold(dispatch('square', dispatch('sub', input, target, 1)), options.reduction);
}

/**
 * Mean absolute difference. Operands broadcast. Source: `torch.nn.functional.l1_loss`.
 *
 * @example
 * l1Loss(tensor([1, 2]), tensor([0, 0])).item(); // 1.5
 */
export function l1Loss(input: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  return fold(dispatch('abs', dispatch('sub', input, target, 1)), options.reduction);
}

/**
 * d²/(2·beta) for differences below `beta` (1), |d| − beta/2 above. Source: `torch.nn.functional.smooth_l1_loss`;
 * Girshick (2015).
 *
 * @throws ArgumentError for a negative beta.
 * @example
 * smoothL1Loss(tensor([0.5, 3]), tensor([0, 0]), { reduction: 'none' }); // [0.125, 2.5]
 */
export function smoothL1Loss(
  input: Tensor,
  target: Tensor,
  options: LossOptions & { readonly beta?: number } = {},
): Tensor {
  const { beta = 1 } = options;
  if (!(beta >= 0)) {
    throw new ArgumentError({
      fn: 'smoothL1Loss',
      argument: 'beta',
      expected: 'a number from 0',
      got: String(beta),
    });
  }
  if (beta === 0) return l1Loss(input, target, options);
  const difference = dispatch('sub', input, target, 1);
  const size = dispatch('abs', difference);
  const near = dispatch('mul', dispatch('square', difference), 0.5 / beta);
  const far = dispatch('sub', size, 0.5 * beta, 1);
  return fold(dispatch('where', dispatch('lt', size, beta), near, far), options.reduction);
}

/**
 * Cross-entropy of independent yes/no logits against targets from 0 to 1, computed so that large logits do not overflow.
 * Source: `torch.nn.functional.binary_cross_entropy_with_logits`.
 *
 * @throws ShapeError where input and target differ in shape.
 * @example
 * binaryCrossEntropyWithLogits(randn([8, 3]), ones([8, 3]));
 */
export function binaryCrossEntropyWithLogits(
  input: Tensor,
  target: Tensor,
  options: BceOptions = {},
): Tensor {
  const { weight = null, posWeight = null, reduction } = options;
  requireSameShape('binaryCrossEntropyWithLogits', input, target);
  // −t·log σ(x) − (1 − t)·log(1 − σ(x)) = (1 − t)·x + softplus(−x), where softplus carries the weight of positives.
  const negatives = dispatch('mul', dispatch('add', dispatch('neg', target), 1, 1), input);
  let positives = dispatch('softplus', dispatch('neg', input), 1, 20);
  if (posWeight) {
    const factor = dispatch('add', dispatch('mul', dispatch('sub', posWeight, 1, 1), target), 1, 1);
    positives = dispatch('mul', positives, factor);
  }
  const losses = dispatch('add', negatives, positives, 1);
  return fold(weight ? dispatch('mul', losses, weight) : losses, reduction);
}

/**
 * Kullback-Leibler divergence target·(log target − input), with `input` in log space, and `target` too with `logTarget`.
 * `batchmean` divides the sum by the first size, which is the mathematical definition. Source: `torch.nn.functional.kl_div`.
 *
 * @example
 * klDiv(logSoftmax(student, 1), softmax(teacher, 1), { reduction: 'batchmean' });
 */
export function klDiv(
  input: Tensor,
  target: Tensor,
  options: { readonly reduction?: Reduction | 'batchmean'; readonly logTarget?: boolean } = {},
): Tensor {
  const { reduction = 'mean', logTarget = false } = options;
  const probability = logTarget ? dispatch('exp', target) : target;
  // 0·log 0 is 0: the smallest normal float32 keeps the logarithm finite.
  const logProbability = logTarget ? target : dispatch('log', dispatch('clamp', target, 2 ** -126, null));
  const losses = dispatch('mul', probability, dispatch('sub', logProbability, input, 1));
  if (reduction !== 'batchmean') return fold(losses, reduction);
  return dispatch('div', fold(losses, 'sum'), input.shape[0]);
}

function fold(losses: Tensor, reduction: Reduction = 'mean'): Tensor {
  if (reduction === 'none') return losses;
  return dispatch(reduction, losses, undefined, false);
}

/** What the mean over index targets divides by: the weights of the targets that count. */
function targetWeight(target: Tensor, ignoreIndex: number, weight: Tensor | null): number {
  const factors = weight?.numbers();
  let total = 0;
  for (const t of target.data) if (t !== ignoreIndex) total += factors ? factors[t] : 1;
  return total;
}

function requireSameShape(fn: string, input: Tensor, target: Tensor): void {
  if (input.shape.join() === target.shape.join()) return;
  throw new ShapeError({
    fn,
    argument: 'target',
    expected: `shape ${formatShape(input.shape)}, like the input`,
    got: formatShape(target.shape),
  });
}
