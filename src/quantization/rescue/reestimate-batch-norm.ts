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
   * Round the weights of convolutions and linear layers as this observer says while the statistics are taken, so that they
   * fit the quantized model that is made next. Weights are put back afterwards.
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
 * @param batches Representative inputs of a training batch's size or more each.
 * @throws {@link QuantizationError} where the model has no batch normalization with running statistics, or no batch came.
 * @example
 * const tuned = reestimateBatchNorm(model, batches, { weight: getDefaultQConfig().weight });
 * const fused = tuned.fuseModel();
 */
export function reestimateBatchNorm<M extends AnyModule>(
  model: M,
  batches: Iterable<Tensor>,
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
  const modes = target.modules().map((m) => [m, m.training] as const);
  const momenta = norms.map((m) => m.momentum);
  const restore = options.weight ? roundWeights(target, options.weight, fn) : () => {};
  let count = 0;
  try {
    target.eval();
    for (const norm of norms) {
      norm.resetRunningStats();
      norm.momentum = null;
      norm.training = true;
    }
    noGrad(() => {
      for (const batch of batches) {
        target(batch);
        count++;
      }
    });
  } finally {
    restore();
    for (const [module, training] of modes) module.training = training;
    norms.forEach((norm, i) => {
      norm.momentum = momenta[i];
    });
  }
  if (count > 0) return target;
  throw new QuantizationError({ fn, argument: 'batches', expected: 'at least one batch', got: 'none' });
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
