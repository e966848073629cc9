import { ArgumentError, ShapeError } from '../../../core/errors.ts';
import { product } from '../../../core/math.ts';
import { formatShape } from '../../../tensor/shape.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { dispatch } from '../../dispatch.ts';
import { noGrad } from '../../grad-mode.ts';

/** Scale, shift and epsilon of a normalization. */
export interface AffineOptions {
  /** Scale after normalizing; 1 where null. */
  readonly weight?: Tensor | null;
  /** Shift after scaling; 0 where null. */
  readonly bias?: Tensor | null;
  /** Added to the variance; 1e-5. */
  readonly eps?: number;
}

/** Options of {@link batchNorm}. */
export interface BatchNormOptions extends AffineOptions {
  /** Normalize by the batch's statistics, and update the running ones; false. */
  readonly training?: boolean;
  /** Share of the batch in the running statistics; 0.1. */
  readonly momentum?: number;
}

/** Options of {@link instanceNorm}. */
export interface InstanceNormOptions extends AffineOptions {
  readonly runningMean?: Tensor | null;
  readonly runningVar?: Tensor | null;
  /** Normalize by every sample's own statistics (true) or by the running ones. */
  readonly useInputStats?: boolean;
  readonly momentum?: number;
}

/**
 * Batch normalization of [N, C, …] over every dimension but C. While training the running statistics, where given, are
 * updated in place: `running = (1 − momentum)·running + momentum·batch`, with the unbiased variance.
 * Source: `torch.nn.functional.batch_norm`; Ioffe and Szegedy (2015).
 *
 * @throws ShapeError for one value per channel while training; ArgumentError without running statistics in evaluation.
 * @example
 * batchNorm(randn([8, 16, 4, 4]), runningMean, runningVar, { weight, bias, training: true });
 */
export function batchNorm(
  x: Tensor,
  runningMean: Tensor | null,
  runningVar: Tensor | null,
  options: BatchNormOptions = {},
): Tensor {
  const { weight = null, bias = null, training = false, momentum = 0.1, eps = 1e-5 } = options;
  if (!training) {
    const [mean, variance] = requireRunning('batchNorm', runningMean, runningVar);
    return dispatch('batchNormEval', x, mean, variance, weight, bias, eps);
  }
  const samples = x.numel / x.shape[1];
  if (samples <= 1) {
    throw new ShapeError({
      fn: 'batchNorm',
      argument: 'input',
      expected: 'more than one value per channel when training',
      got: formatShape(x.shape),
    });
  }
  const [out, mean, variance] = dispatch('batchNormTrain', x, weight, bias, eps);
  if (runningMean) updateRunning(runningMean, mean, momentum, 1);
  if (runningVar) updateRunning(runningVar, variance, momentum, samples / (samples - 1));
  return out;
}

/**
 * Normalizes every channel of every sample of [N, C, spatial…] by itself. Running statistics, where given, are averages
 * over the samples. Source: `torch.nn.functional.instance_norm`.
 *
 * @throws ShapeError for a single spatial element; ArgumentError without running statistics when they are to be used.
 * @example
 * instanceNorm(randn([2, 3, 8, 8]), { weight, bias });
 */
export function instanceNorm(x: Tensor, options: InstanceNormOptions = {}): Tensor {
  const { runningMean = null, runningVar = null, useInputStats = true, momentum = 0.1 } = options;
  const { weight = null, bias = null, eps = 1e-5 } = options;
  if (!useInputStats) {
    const [mean, variance] = requireRunning('instanceNorm', runningMean, runningVar);
    return dispatch('batchNormEval', x, mean, variance, weight, bias, eps);
  }
  if (product(x.shape.slice(2)) <= 1) {
    throw new ShapeError({
      fn: 'instanceNorm',
      argument: 'input',
      expected: 'more than one spatial element',
      got: formatShape(x.shape),
    });
  }
  if (runningMean || runningVar) {
    const spatial = x.shape.slice(2).map((_, d) => d + 2);
    noGrad(() => {
      const overSamples = (t: Tensor): Tensor => dispatch('mean', t, 0, false);
      if (runningMean) {
        updateRunning(runningMean, overSamples(dispatch('mean', x, spatial, false)), momentum, 1);
      }
      if (runningVar) {
        updateRunning(runningVar, overSamples(dispatch('var', x, spatial, 1, false)), momentum, 1);
      }
    });
  }
  // A group of one channel is an instance.
  return dispatch('groupNorm', x, x.shape[1], weight, bias, eps);
}

/**
 * Normalizes over the trailing dimensions named by `normalizedShape`, with weight and bias of that shape.
 * Source: `torch.nn.functional.layer_norm`; Ba, Kiros and Hinton (2016).
 *
 * @throws ShapeError where the trailing dimensions differ.
 * @example
 * layerNorm(randn([2, 128, 768]), [768], { weight, bias, eps: 1e-12 });
 */
export function layerNorm(
  x: Tensor,
  normalizedShape: number | readonly number[],
  options: AffineOptions = {},
): Tensor {
  const shape = typeof normalizedShape === 'number' ? [normalizedShape] : normalizedShape;
  const { weight = null, bias = null, eps = 1e-5 } = options;
  return dispatch('layerNorm', x, shape, weight, bias, eps);
}

/**
 * Normalizes [N, C, …] over `groups` groups of channels and all spatial elements of a sample; weight and bias are [C].
 * Source: `torch.nn.functional.group_norm`; Wu and He (2018).
 *
 * @throws ArgumentError where `groups` does not divide the channels.
 * @example
 * groupNorm(randn([2, 6, 4, 4]), 3);
 */
export function groupNorm(x: Tensor, groups: number, options: AffineOptions = {}): Tensor {
  const { weight = null, bias = null, eps = 1e-5 } = options;
  return dispatch('groupNorm', x, groups, weight, bias, eps);
}

function requireRunning(fn: string, mean: Tensor | null, variance: Tensor | null): [Tensor, Tensor] {
  if (mean && variance) return [mean, variance];
  throw new ArgumentError({
    fn,
    argument: mean ? 'runningVar' : 'runningMean',
    expected: 'running statistics in evaluation',
    got: 'null',
    fix: fn === 'batchNorm' ? 'Pass them, or training: true.' : 'Pass them, or useInputStats: true.',
  });
}

function updateRunning(running: Tensor, batch: Tensor, momentum: number, factor: number): void {
  const values = batch.numbers();
  const step = running.strides[0];
  for (let c = 0, at = running.offset; c < values.length; c++, at += step) {
    running.storage[at] = (1 - momentum) * running.storage[at] + momentum * (values[c] * factor);
  }
}
