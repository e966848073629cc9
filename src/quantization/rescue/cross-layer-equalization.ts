import { ArgumentError } from '../../core/errors.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import type { AnyModule } from '../../nn/module.ts';
import {
  type ChannelPair,
  consumedRanges,
  producedRanges,
  type ResolvedPair,
  rescalePair,
  resolvePair,
} from './channel-pairs.ts';

/** Options of {@link crossLayerEqualization}. */
export interface EqualizationOptions {
  /** Stop once a round changes all weights by less than this (sum of L2 norms); 1e-4 where not given. */
  readonly threshold?: number;
  /** Stop after so many rounds over all pairs; 100 where not given. */
  readonly maxRounds?: number;
  /** Change the model itself instead of a copy. */
  readonly inplace?: boolean;
}

/**
 * Gives neighbouring layers the same weight range per channel: factor √(range₁ / range₂) moves from the first layer's
 * outputs to the second layer's inputs, which a ReLU between them lets through. The float model computes the same, and one
 * scale per tensor fits all its channels. Needs no data. Fuse batch norms first: the factors go into folded weights.
 * Source: `torch.ao.quantization._equalize.equalize`; Nagel et al., "Data-Free Quantization Through Weight Equalization and
 * Bias Correction" (2019), section 4.1.
 *
 * @param pairs Neighbouring layers, in the order they run; see {@link ChannelPair} for branches and concatenations.
 * @throws {@link QuantizationError} where a pair does not fit together.
 * @example
 * const equalized = crossLayerEqualization(fuseModules(model, names), [['conv1', 'conv2'], ['conv2', 'conv3']]);
 */
export function crossLayerEqualization<M extends AnyModule>(
  model: M,
  pairs: readonly ChannelPair[],
  options: EqualizationOptions = {},
): M {
  const fn = 'crossLayerEqualization';
  const { threshold = 1e-4, maxRounds = 100 } = options;
  if (!(threshold >= 0) || !(maxRounds >= 1)) {
    throw new ArgumentError({
      fn,
      argument: 'threshold, maxRounds',
      expected: 'a threshold of at least 0 and at least one round',
      got: `${threshold}, ${maxRounds}`,
    });
  }
  const target = options.inplace ? model : deepCopy(model);
  const resolved = pairs.map((pair) => resolvePair(target, pair, fn));
  for (let round = 0; round < maxRounds; round++) {
    const change = resolved.reduce((sum, pair) => sum + equalize(pair), 0);
    if (change < threshold) break;
  }
  return target;
}

/** One step on one pair; returns by how much the weights changed. */
function equalize(pair: ResolvedPair): number {
  const produced = producedRanges(pair);
  const consumed = consumedRanges(pair);
  const factors = produced.map((range, c) => {
    const ratio = Math.fround(range / Math.fround(consumed[c] + 1e-9));
    // A channel that is constantly zero on one side has nothing to equalize.
    return range > 0 && consumed[c] > 0 ? Math.sqrt(ratio) : 1;
  });
  const layers = [...pair.producers, ...pair.consumers];
  const before = layers.map((layer) => (layer.weight.storage as Float32Array).slice());
  rescalePair(pair, factors);
  return layers.reduce((sum, layer, i) => sum + distance(layer.weight.storage as Float32Array, before[i]), 0);
}

function distance(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  return Math.sqrt(sum);
}
