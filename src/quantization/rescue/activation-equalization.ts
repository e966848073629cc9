import { ArgumentError, QuantizationError } from '../../core/errors.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import { Linear } from '../../nn/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import { noGrad } from '../../ops/grad-mode.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { channelExtrema } from '../observers/extrema.ts';
import {
  type ChannelPair,
  consumedRanges,
  type ResolvedPair,
  rescalePair,
  resolvePair,
} from './channel-pairs.ts';
import { channelLayout } from './weighted-layer.ts';

/** Options of {@link activationEqualization}. */
export interface ActivationEqualizationOptions {
  /**
   * How much of the differences between channels moves from activations into weights: 0 none, 1 all (every channel then
   * fills the tensor's range, and weights take the differences); 0.5 where not given.
   */
  readonly strength?: number;
  /** Change the model itself instead of a copy. */
  readonly inplace?: boolean;
}

/**
 * Gives the channels of activations more equal ranges: the producers of channel c are divided, its consumers multiplied by
 * (largest activation)^strength / (weight range)^(1 − strength), normalized to leave the tensor's range alone. The float
 * model computes the same; activations with one scale per tensor lose less on their quiet channels, and the weights pay
 * with wider rows. Batch norms must be folded. Source: Xiao et al., "SmoothQuant" (2022), section 4, for convolutions.
 *
 * @param batches Representative inputs, run through the float model once.
 * @throws {@link QuantizationError} where a pair does not fit together or a producer did not run.
 * @example
 * const smooth = activationEqualization(fused, [['squeeze', ['expand1x1', 'expand3x3']]], batches, { strength: 0.5 });
 */
export function activationEqualization<M extends AnyModule>(
  model: M,
  pairs: readonly ChannelPair[],
  batches: Iterable<Tensor>,
  options: ActivationEqualizationOptions = {},
): M {
  const fn = 'activationEqualization';
  const { strength = 0.5 } = options;
  if (!(strength >= 0 && strength <= 1)) {
    throw new ArgumentError({
      fn,
      argument: 'strength',
      expected: 'a number from 0 to 1',
      got: `${strength}`,
    });
  }
  const target = options.inplace ? model : deepCopy(model);
  const resolved = pairs.map((pair) => resolvePair(target, pair, fn));
  const peaks = observePeaks(target, resolved, batches, fn);
  for (const pair of resolved) {
    const activations = Float32Array.from(pair.producerPaths.flatMap((path) => [...(peaks.get(path) ?? [])]));
    rescalePair(pair, equalizingFactors(activations, consumedRanges(pair), strength));
  }
  return target;
}

/** The largest magnitude of every output channel of every producer. */
function observePeaks(
  model: AnyModule,
  pairs: readonly ResolvedPair[],
  batches: Iterable<Tensor>,
  fn: string,
): Map<string, Float32Array> {
  const peaks = new Map<string, Float32Array>();
  const handles = pairs.flatMap(({ producerPaths, producers }) =>
    producerPaths.map((path, i) => {
      const channels = channelLayout(producers[i]).outChannels;
      const isLinear = producers[i] instanceof Linear;
      return model.getSubmodule(path).registerForwardHook((_module, _inputs, output) => {
        const y = output as Tensor;
        const { lows, highs } = channelExtrema(y, isLinear ? y.ndim - 1 : 1);
        const peak = peaks.get(path) ?? new Float32Array(channels);
        for (let c = 0; c < channels; c++) peak[c] = Math.max(peak[c], -lows[c], highs[c]);
        peaks.set(path, peak);
      });
    }),
  );
  try {
    noGrad(() => {
      for (const batch of batches) model(batch);
    });
  } finally {
    for (const handle of handles) handle.remove();
  }
  for (const path of pairs.flatMap((p) => p.producerPaths)) {
    if (peaks.has(path)) continue;
    throw new QuantizationError({
      fn,
      argument: path,
      expected: 'a layer that runs on the data',
      got: 'one that never ran',
      fix: 'Give at least one batch that reaches it, or leave the pair out.',
    });
  }
  return peaks;
}

function equalizingFactors(activations: Float32Array, weights: Float32Array, strength: number): Float32Array {
  const raw = activations.map((a, c) =>
    a > 0 && weights[c] > 0 ? a ** strength / weights[c] ** (1 - strength) : 0,
  );
  const before = activations.reduce((m, a) => Math.max(m, a), 0);
  let after = 0;
  for (let c = 0; c < raw.length; c++) if (raw[c] > 0) after = Math.max(after, activations[c] / raw[c]);
  // Channels that never speak, or that nobody reads, stay as they are.
  return raw.map((r) => (r > 0 ? (r * after) / before : 1));
}
