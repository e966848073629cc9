import { QuantizationError, ShapeError } from '../../../core/errors.ts';
import type { BatchNorm, BatchNormState } from '../../../nn/index.ts';
import * as init from '../../../nn/init.ts';
import type { AnyModule } from '../../../nn/module.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import type { ObserverBase } from '../../observers/observer.ts';

/** A layer of quantization-aware training with a batch normalization folded into its weight. */
export interface FoldedBatchNorm {
  readonly bn: BatchNorm;
  /** True while the running statistics stay as they are, whatever mode the model is in. */
  freezeBn: boolean;
  /** Normalizes by running statistics from now on, and keeps them. Source: `freeze_bn_stats`. */
  freezeBnStats(): this;
  /** Normalizes by batch statistics in training mode again. Source: `update_bn_stats`. */
  updateBnStats(): this;
  /** Weight and bias of the one layer that computes the same in evaluation mode. */
  foldedParameters(): { readonly weight: Tensor; readonly bias: Tensor | null };
}

/**
 * Freezes the statistics of a folded batch normalization; other modules are left alone: `model.apply(freezeBnStats)`
 * for the last epochs of training, so that they see the network that will be deployed.
 * Source: `torch.ao.nn.intrinsic.qat.freeze_bn_stats`, here for LinearBn1d too.
 */
export function freezeBnStats(module: AnyModule): void {
  if (hasFoldedBatchNorm(module)) module.freezeBnStats();
}

/**
 * Lets a folded batch normalization use batch statistics in training mode again: `model.apply(updateBnStats)`.
 * Source: `torch.ao.nn.intrinsic.qat.update_bn_stats`, here for LinearBn1d too.
 */
export function updateBnStats(module: AnyModule): void {
  if (hasFoldedBatchNorm(module)) module.updateBnStats();
}

/** True for the layers that {@link FoldedBatchNorm} describes. */
export function hasFoldedBatchNorm(module: AnyModule): module is AnyModule & FoldedBatchNorm {
  return 'freezeBnStats' in module;
}

/**
 * Gives the batch normalization back if it can be trained folded into a layer of so many outputs.
 *
 * @throws {@link QuantizationError} where it learns no scale or keeps no running statistics; {@link ShapeError} where
 * the channels differ.
 */
export function foldable<B extends BatchNorm>(bn: B, outputs: number, fn: string): B {
  if (bn.numFeatures !== outputs) {
    throw new ShapeError({
      fn,
      argument: 'bn',
      expected: `${outputs} channels`,
      got: String(bn.numFeatures),
    });
  }
  if (!bn.affine || !bn.trackRunningStats) {
    throw new QuantizationError({
      fn,
      argument: 'bn',
      expected: 'a batch normalization with affine and trackRunningStats (as by default)',
      got: String(bn),
      fix: 'Leave this layer out of the fused sequences, or construct it with both.',
    });
  }
  return bn;
}

/** Scale, shift and running statistics of a foldable batch normalization. */
export function stateOf(bn: BatchNorm): BatchNormState & { readonly weight: Tensor } {
  const { runningMean, runningVar, eps, weight, bias } = bn;
  return {
    runningMean: runningMean as Tensor,
    runningVar: runningVar as Tensor,
    eps,
    weight: weight as Tensor,
    bias,
  };
}

/**
 * γ / √(σ² + ε) per channel, from the running statistics: what weights are multiplied with before they are rounded, and
 * what the result is divided by before it is normalized. Folding by running rather than batch statistics keeps the
 * weights' scale from jumping between batches. Source: Krishnamoorthi, arXiv:1806.08342, section 3.2.2.
 *
 * @throws {@link QuantizationError} where γ is 0, for there the division has no result.
 */
function scaleFactor(bn: BatchNorm, fn: string): Tensor {
  const { weight, runningVar, eps } = stateOf(bn);
  const zero = weight.data.indexOf(0);
  if (zero >= 0) {
    throw new QuantizationError({
      fn,
      argument: 'bn.weight',
      expected: 'a scale other than 0 in every channel',
      got: `0 in channel ${zero}`,
      fix: 'Start training from another scale (init.ones_(bn.weight)), or leave this batch norm unfused.',
    });
  }
  return dispatch('div', weight, dispatch('sqrt', dispatch('add', runningVar, eps, 1)));
}

/** A vector over the channels, shaped to broadcast along dimension `axis` of `ndim`. */
function alongChannels(values: Tensor, axis: 0 | 1, ndim: number): Tensor {
  return dispatch(
    'reshape',
    values,
    Array.from({ length: ndim }, (_, d) => (d === axis ? -1 : 1)),
  );
}

/** A layer of training with its folded batch normalization, and what both act on. */
type FoldedLayer = AnyModule &
  FoldedBatchNorm & {
    readonly weight: Tensor;
    readonly bias: Tensor | null;
    readonly weightFakeQuant: ObserverBase;
  };

/**
 * What a folded layer computes: `product` with the scaled and rounded weight, scaled back, the layer's own bias added,
 * then normalized.
 */
export function forwardFolded(layer: FoldedLayer, product: (weight: Tensor) => Tensor): Tensor {
  const { bn, bias } = layer;
  const { ndim } = layer.weight;
  const factor = scaleFactor(bn, layer.typeName);
  const weight = layer.weightFakeQuant(dispatch('mul', layer.weight, alongChannels(factor, 0, ndim)));
  const y = dispatch('div', product(weight), alongChannels(factor, 1, ndim));
  return bn(bias ? dispatch('add', y, alongChannels(bias, 1, ndim), 1) : y);
}

/** The weight as {@link forwardFolded} rounds it, before rounding. */
export function scaledWeight(layer: FoldedLayer, fn: string): Tensor {
  const factor = scaleFactor(layer.bn, fn);
  return dispatch('mul', layer.weight, alongChannels(factor, 0, layer.weight.ndim));
}

/** Fresh statistics, a shift of 0 and a scale drawn from 0…1, as PyTorch's folded layers begin. */
export function resetBnParameters(bn: BatchNorm): void {
  const { weight } = stateOf(bn);
  bn.resetRunningStats();
  init.uniform_(weight);
  if (bn.bias) init.zeros_(bn.bias);
}

/** Sets a folded layer's mode; a frozen batch normalization stays in evaluation mode. */
export function trainFolded(layer: AnyModule & FoldedBatchNorm, mode: boolean): void {
  layer.training = mode;
  if (!layer.freezeBn) for (const child of layer.children()) child.train(mode);
}

/** Makes a folded layer's batch normalization share parameters and statistics with a float one. */
export function adoptBatchNorm(into: BatchNorm, from: BatchNorm): void {
  into.weight = from.weight;
  into.bias = from.bias;
  into.runningMean = from.runningMean;
  into.runningVar = from.runningVar;
  into.numBatchesTracked = from.numBatchesTracked;
}
