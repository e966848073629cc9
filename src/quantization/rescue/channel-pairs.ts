import { QuantizationError } from '../../core/errors.ts';
import type { AnyModule } from '../../nn/module.ts';
import { channelLayout, forEachKernel, type WeightedLayer, weightedLayer } from './weighted-layer.ts';

/**
 * Layers that hand channels to one another: what the first writes is what the second reads, with nothing between them but
 * operations that commute with a positive factor per channel (ReLU, pooling, concatenation, dropout, flattening to one
 * value per channel). A list of producers is concatenated along the channels, in order; a list of consumers reads the same
 * tensor. Every consumer of the tensor must be named, or the model changes.
 */
export type ChannelPair = readonly [
  producers: string | readonly string[],
  consumers: string | readonly string[],
];

/** A pair with its layers looked up, and as many channels on both sides. */
export interface ResolvedPair {
  readonly producerPaths: readonly string[];
  readonly producers: readonly WeightedLayer[];
  readonly consumers: readonly WeightedLayer[];
  readonly channels: number;
}

/**
 * Looks up the layers of a pair.
 *
 * @throws {@link QuantizationError} where one is no weighted layer or the numbers of channels differ.
 */
export function resolvePair(model: AnyModule, pair: ChannelPair, fn: string): ResolvedPair {
  const [producerPaths, consumerPaths] = pair.map((p) => (typeof p === 'string' ? [p] : p));
  const producers = producerPaths.map((p) => weightedLayer(model, p, fn));
  const consumers = consumerPaths.map((p) => weightedLayer(model, p, fn));
  const channels = producers.reduce((sum, p) => sum + channelLayout(p).outChannels, 0);
  for (const [i, consumer] of consumers.entries()) {
    const { inChannels } = channelLayout(consumer);
    if (inChannels === channels) continue;
    throw new QuantizationError({
      fn,
      argument: `${producerPaths.join(' + ')} → ${consumerPaths[i]}`,
      expected: `a consumer of ${channels} channels`,
      got: `one of ${inChannels}`,
      fix: 'Pair layers that directly follow one another, and list all producers of a concatenation.',
    });
  }
  return { producerPaths, producers, consumers, channels };
}

/** Largest minus smallest weight of every channel the producers write. */
export function producedRanges({ producers, channels }: ResolvedPair): Float32Array {
  const ranges = new RunningRanges(channels);
  let first = 0;
  for (const layer of producers) {
    const layout = channelLayout(layer);
    const weight = layer.weight.data as Float32Array;
    forEachKernel(layout, (start, output) =>
      ranges.add(first + output, weight.subarray(start, start + layout.taps)),
    );
    first += layout.outChannels;
  }
  return ranges.widths();
}

/** Largest minus smallest weight with which the consumers read every channel. */
export function consumedRanges({ consumers, channels }: ResolvedPair): Float32Array {
  const ranges = new RunningRanges(channels);
  for (const layer of consumers) {
    const layout = channelLayout(layer);
    const weight = layer.weight.data as Float32Array;
    forEachKernel(layout, (start, _output, input) =>
      ranges.add(input, weight.subarray(start, start + layout.taps)),
    );
  }
  return ranges.widths();
}

/**
 * Divides what the producers write by `factors` and multiplies what the consumers read by them, in float32, in place: the
 * pair as a whole computes the same.
 */
export function rescalePair({ producers, consumers }: ResolvedPair, factors: Float32Array): void {
  const inverse = factors.map((f) => 1 / f);
  let first = 0;
  for (const layer of producers) {
    const layout = channelLayout(layer);
    const weight = contiguousStorage(layer);
    forEachKernel(layout, (start, output) => {
      for (let i = start; i < start + layout.taps; i++) weight[i] *= inverse[first + output];
    });
    const bias = layer.bias?.storage;
    if (bias) for (let o = 0; o < layout.outChannels; o++) bias[o] *= inverse[first + o];
    first += layout.outChannels;
  }
  for (const layer of consumers) {
    const layout = channelLayout(layer);
    const weight = contiguousStorage(layer);
    forEachKernel(layout, (start, _output, input) => {
      for (let i = start; i < start + layout.taps; i++) weight[i] *= factors[input];
    });
  }
}

/** A layer's weight as it lies in memory: parameters are contiguous. */
function contiguousStorage(layer: WeightedLayer): Float32Array {
  return layer.weight.storage as Float32Array;
}

class RunningRanges {
  readonly #low: Float32Array;
  readonly #high: Float32Array;

  constructor(channels: number) {
    this.#low = new Float32Array(channels).fill(Number.POSITIVE_INFINITY);
    this.#high = new Float32Array(channels).fill(Number.NEGATIVE_INFINITY);
  }

  add(channel: number, values: Float32Array): void {
    for (const v of values) {
      if (v < this.#low[channel]) this.#low[channel] = v;
      if (v > this.#high[channel]) this.#high[channel] = v;
    }
  }

  widths(): Float32Array {
    return this.#high.map((high, c) => high - this.#low[c]);
  }
}
