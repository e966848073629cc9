import { QuantizationError } from '../../core/errors.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import { Linear } from '../../nn/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import { Parameter } from '../../nn/parameter.ts';
import { noGrad } from '../../ops/grad-mode.ts';
import { fromStorage, type Tensor } from '../../tensor/tensor.ts';
import { floatValues } from '../observers/extrema.ts';
import { type ChannelPair, type ResolvedPair, resolvePair } from './channel-pairs.ts';
import { channelLayout, forEachKernel, type WeightedLayer } from './weighted-layer.ts';

/** Options of {@link absorbHighBias}. */
export interface AbsorbOptions {
  /** How many standard deviations below its mean a channel may still be taken to stay above zero; 3 where not given. */
  readonly sigmas?: number;
  /** Change the model itself instead of a copy. */
  readonly inplace?: boolean;
}

/** What {@link absorbHighBias} did. */
export interface AbsorbResult<M> {
  readonly model: M;
  /** One row per pair, in the order given: how many channels gave something off, of how many, or why none did. */
  readonly pairs: readonly {
    readonly absorbed: number;
    readonly channels: number;
    readonly skipped: string;
  }[];
}

/**
 * Moves what a channel never falls below from one layer's bias into the next layer's: c = max(0, mean − 3σ) is taken off
 * the first and W·c added to the second, so the range between them shrinks. Where values stay above c the ReLU lets the
 * shift through and the float model computes the same; for a bell-shaped channel that is 99.865 % of them. Mostly after
 * {@link crossLayerEqualization}, which can raise biases. Pairs whose consumer pads its input are skipped and named: at
 * the border, zeros take part that nothing was taken off.
 * Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019), section 4.1.3, with
 * statistics from data instead of batch norms.
 *
 * @param batches Representative inputs, run through the float model once.
 * @throws {@link QuantizationError} where a pair does not fit together.
 * @example
 * const { model: absorbed } = absorbHighBias(equalized, [['conv1', 'conv2']], batches);
 */
export function absorbHighBias<M extends AnyModule>(
  model: M,
  pairs: readonly ChannelPair[],
  batches: Iterable<Tensor>,
  options: AbsorbOptions = {},
): AbsorbResult<M> {
  const fn = 'absorbHighBias';
  const { sigmas = 3 } = options;
  const target = options.inplace ? model : deepCopy(model);
  const resolved = pairs.map((pair) => resolvePair(target, pair, fn));
  const moments = observeMoments(new Set(resolved.flatMap((p) => p.producers)), target, batches);
  const report = resolved.map((pair) => {
    const { channels } = pair;
    const skipped = obstacle(pair, moments);
    if (skipped !== '') return { absorbed: 0, channels, skipped };
    const shift = Float32Array.from(
      pair.producers.flatMap((layer) => [...(moments.get(layer) as Moments).lowerBounds(sigmas)]),
    );
    moveBias(pair, shift);
    return { absorbed: shift.reduce((n, c) => n + (c > 0 ? 1 : 0), 0), channels, skipped };
  });
  return { model: target, pairs: report };
}

/** Why a pair cannot absorb; empty where it can. */
function obstacle(pair: ResolvedPair, moments: ReadonlyMap<WeightedLayer, Moments>): string {
  if (pair.producers.some((p) => p.bias === null)) return 'a producer has no bias';
  if (pair.producers.some((p) => !moments.has(p))) return 'a producer did not run on the data';
  const pads = (layer: WeightedLayer): boolean =>
    !(layer instanceof Linear) &&
    (layer.padding === 'same' || (layer.padding !== 'valid' && layer.padding.some((p) => p > 0)));
  return pair.consumers.some(pads) ? 'a consumer pads its input' : '';
}

function moveBias({ producers, consumers }: ResolvedPair, shift: Float32Array): void {
  let first = 0;
  for (const layer of producers) {
    const bias = layer.bias?.storage as Float32Array;
    for (let o = 0; o < bias.length; o++) bias[o] -= shift[first + o];
    first += bias.length;
  }
  for (const layer of consumers) {
    const layout = channelLayout(layer);
    const weight = layer.weight.storage;
    const total = new Float64Array(layout.outChannels);
    forEachKernel(layout, (start, output, input) => {
      for (let t = start; t < start + layout.taps; t++) total[output] += weight[t] * shift[input];
    });
    const bias = Float32Array.from(total, (v, o) => v + (layer.bias?.storage[layer.bias.offset + o] ?? 0));
    layer.bias = new Parameter(fromStorage(bias, [bias.length], 'float32'), layer.weight.requiresGrad);
  }
}

/** Mean and variance per channel of what layers put out before their ReLU. */
function observeMoments(
  layers: ReadonlySet<WeightedLayer>,
  model: AnyModule,
  batches: Iterable<Tensor>,
): Map<WeightedLayer, Moments> {
  const moments = new Map<WeightedLayer, Moments>();
  const handles = [...layers].map((layer) =>
    layer.registerForwardHook((_module, _inputs, output) => {
      const found = moments.get(layer) ?? new Moments(channelLayout(layer).outChannels);
      moments.set(layer, found);
      const y = output as Tensor;
      found.add(y, layer instanceof Linear ? y.ndim - 1 : 1);
    }),
  );
  try {
    noGrad(() => {
      for (const batch of batches) model(batch);
    });
  } finally {
    for (const handle of handles) handle.remove();
  }
  if (moments.size === 0) {
    throw new QuantizationError({
      fn: 'absorbHighBias',
      argument: 'batches',
      expected: 'data that reaches the producers',
      got: 'none that did',
    });
  }
  return moments;
}

class Moments {
  readonly #sum: Float64Array;
  readonly #squares: Float64Array;
  #count = 0;

  constructor(channels: number) {
    this.#sum = new Float64Array(channels);
    this.#squares = new Float64Array(channels);
  }

  add(y: Tensor, axis: number): void {
    const channels = this.#sum.length;
    const { values, inner } = floatValues(y, axis);
    for (let start = 0, c = 0; start < values.length; start += inner, c = (c + 1) % channels) {
      for (let i = start; i < start + inner; i++) {
        this.#sum[c] += values[i];
        this.#squares[c] += values[i] * values[i];
      }
    }
    this.#count += values.length / channels;
  }

  /** max(0, mean − sigmas · σ) of every channel. */
  lowerBounds(sigmas: number): Float32Array {
    return Float32Array.from(this.#sum, (sum, c) => {
      const mean = sum / this.#count;
      const variance = Math.max(0, this.#squares[c] / this.#count - mean * mean);
      return Math.max(0, mean - sigmas * Math.sqrt(variance));
    });
  }
}
