import { QuantizationError } from '../../core/errors.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import { BatchNorm, Conv1d, Conv2d, Conv3d, Linear } from '../../nn/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import { dispatch } from '../../ops/dispatch.ts';
import { noGrad } from '../../ops/grad-mode.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { quantizeWeight } from '../layers/weights.ts';
import type { ObserverFactory } from '../observers/observer.ts';

/** Options of {@link reestimateBatchNorm}. */
export interface BatchNormOptions {
  /**
   * Take only the change that rounding makes: statistics are measured twice, with float weights and with weights of
   * convolutions and linear layers rounded as this observer says, and the old ones move by the difference (variances by
   * the ratio). What sets the data apart from the training data, such as augmentation, then cancels. Weights stay float.
   */
  readonly weight?: ObserverFactory;
  /** Change the model itself instead of a copy. */
  readonly inplace?: boolean;
}

/**
 * Takes the running mean and variance of every batch normalization anew, as the plain average over `batches`: after weights
 * changed (rounding, training with another batch size, other data) the old ones no longer describe what arrives. Before
 * fusing, since fused batch norms have no statistics. Models in training for quantization work too.
 * Source: Wu and Johnson, "Rethinking 'Batch' in BatchNorm" (2021), section 3; Sun et al., "Hybrid 8-bit Floating Point
 * Training and Inference" (2019), section 3.3, for re-tuning after quantization.
 *
 * @param batches Inputs like those of training, of a training batch's size or more each; iterated once, with `weight` twice.
 * @throws {@link QuantizationError} where the model has no batch normalization with running statistics, or no batch came.
 * @example
 * const tuned = reestimateBatchNorm(model, batches, { weight: getDefaultQConfig().weight });
 * const fused = tuned.fuseModel();
 */
export function reestimateBatchNorm<M extends AnyModule>(
  model: M,
  batches: readonly Tensor[],
  options: BatchNormOptions = {},
): M {
  const fn = 'reestimateBatchNorm';
  const target = options.inplace ? model : deepCopy(model);
  const norms = target.modules().filter((m): m is BatchNorm => m instanceof BatchNorm && m.trackRunningStats);
  if (norms.length === 0) {
    throw new QuantizationError({
      fn,
      argument: 'model',
      expected: 'batch normalizations with running statistics',
      got: `${target.typeName} without any`,
      fix: 'Call it before fuseModules, which folds them into weights.',
    });
  }
  if (batches.length === 0) {
    throw new QuantizationError({ fn, argument: 'batches', expected: 'at least one batch', got: 'none' });
  }
  if (!options.weight) {
    measure(target, norms, batches);
    return target;
  }
  const old = norms.map(statistics);
  measure(target, norms, batches);
  const float = norms.map(statistics);
  const restore = roundWeights(target, options.weight, fn);
  try {
    measure(target, norms, batches);
  } finally {
    restore();
  }
  for (const [i, norm] of norms.entries()) {
    const [mean, variance] = running(norm);
    for (let c = 0; c < mean.length; c++) {
      mean[c] = old[i].mean[c] + (mean[c] - float[i].mean[c]);
      variance[c] = float[i].variance[c] > 0 ? old[i].variance[c] * (variance[c] / float[i].variance[c]) : 0;
    }
  }
  return target;
}

/** Replaces the running statistics of `norms` by the averages over `batches`; everything else runs in evaluation mode. */
function measure(model: AnyModule, norms: readonly BatchNorm[], batches: readonly Tensor[]): void {
  const modes = model.modules().map((m) => [m, m.training] as const);
  const momenta = norms.map((m) => m.momentum);
  try {
    model.eval();
    for (const norm of norms) {
      norm.resetRunningStats();
      norm.momentum = null;
      norm.training = true;
    }
    noGrad(() => {
      for (const batch of batches) model(batch);
    });
  } finally {
    for (const [module, training] of modes) module.training = training;
    norms.forEach((norm, i) => {
      norm.momentum = momenta[i];
    });
  }
}

/** The running mean and variance in memory. */
function running(norm: BatchNorm): [mean: Float32Array, variance: Float32Array] {
  return [norm.runningMean?.storage as Float32Array, norm.runningVar?.storage as Float32Array];
}

function statistics(norm: BatchNorm): { readonly mean: Float32Array; readonly variance: Float32Array } {
  const [mean, variance] = running(norm);
  return { mean: mean.slice(), variance: variance.slice() };
}

/** Replaces weights by their rounded values; the function returned puts the float ones back. */
function roundWeights(model: AnyModule, factory: ObserverFactory, fn: string): () => void {
  const undo: (() => void)[] = [];
  for (const layer of model.modules()) {
    if (
      !(
        layer instanceof Conv1d ||
        layer instanceof Conv2d ||
        layer instanceof Conv3d ||
        layer instanceof Linear
      )
    )
      continue;
    const { storage } = layer.weight;
    const before = storage.slice();
    const observer = factory();
    noGrad(() => {
      observer(layer.weight);
      storage.set(dispatch('dequantize', quantizeWeight(layer.weight, observer, fn)).data);
    });
    undo.push(() => storage.set(before));
  }
  return () => {
    for (const put of undo) put();
  };
}
