import { QuantizationError } from '../../core/errors.ts';
import { Linear } from '../../nn/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import { dispatch } from '../../ops/dispatch.ts';
import { noGrad } from '../../ops/grad-mode.ts';
import { fromStorage, type Tensor } from '../../tensor/tensor.ts';
import { type ChannelLayout, channelLayout, type WeightedLayer } from './weighted-layer.ts';

/** What a layer's weights were multiplied with: every output is a row of weights times one of many columns of inputs. */
export interface InputStatistics {
  /** Number of columns seen. */
  readonly count: number;
  /** Mean of every column entry, group after group: [groups · inPerGroup · taps]. */
  readonly mean: Float64Array;
  /** Σ x·xᵀ for every group, [inPerGroup · taps] squared; empty where it was not asked for. */
  readonly gram: readonly Float64Array[];
}

/** Options of {@link observeInputs}. */
export interface ObserveInputsOptions {
  /** Collect the products of inputs as well, which take K² numbers for a row of K weights. */
  readonly gram?: boolean;
  /** Cut each run short once this layer was reached, the last one of interest. */
  readonly until?: string;
}

/** Thrown to end a run early; never leaves this file. */
class Reached extends Error {}

/**
 * Runs `model` over data and collects the statistics of what the layers at `layers` read, whether as float or quantized
 * tensors.
 *
 * @param layers By dotted path of the module whose inputs to look at: the float layer that says how it reads them.
 * @throws {@link QuantizationError} where one of them did not run.
 */
export function observeInputs(
  model: AnyModule,
  layers: ReadonlyMap<string, WeightedLayer>,
  batches: Iterable<Tensor>,
  fn: string,
  options: ObserveInputsOptions = {},
): Map<string, InputStatistics> {
  const collectors = new Map<string, Collector>();
  const handles = [...layers].map(([path, layer]) =>
    model.getSubmodule(path).registerForwardPreHook((_module, [x]) => {
      const collector = collectors.get(path) ?? new Collector(layer, options.gram ?? false);
      collectors.set(path, collector);
      collector.add(dispatch('dequantize', x as Tensor));
      if (path === options.until) throw new Reached();
      return undefined;
    }),
  );
  try {
    noGrad(() => {
      for (const batch of batches) runUntilReached(model, batch);
    });
  } finally {
    for (const handle of handles) handle.remove();
  }
  const found = new Map<string, InputStatistics>();
  for (const path of layers.keys()) {
    const collector = collectors.get(path);
    if (!collector) {
      throw new QuantizationError({
        fn,
        argument: path,
        expected: 'a layer that runs on the data',
        got: 'one that never ran',
        fix: 'Give at least one batch that reaches it.',
      });
    }
    found.set(path, collector.statistics());
  }
  return found;
}

function runUntilReached(model: AnyModule, batch: Tensor): void {
  try {
    model(batch);
  } catch (error) {
    if (!(error instanceof Reached)) throw error;
  }
}

/** Sums over the columns of one layer. */
class Collector {
  readonly #layer: WeightedLayer;
  readonly #layout: ChannelLayout;
  readonly #sum: Float64Array;
  readonly #gram: Float64Array[];
  #count = 0;

  constructor(layer: WeightedLayer, gram: boolean) {
    this.#layer = layer;
    this.#layout = channelLayout(layer);
    const { groups, inPerGroup, taps } = this.#layout;
    const rows = inPerGroup * taps;
    this.#sum = new Float64Array(groups * rows);
    this.#gram = gram ? Array.from({ length: groups }, () => new Float64Array(rows * rows)) : [];
  }

  add(x: Tensor): void {
    const { groups, inPerGroup, taps } = this.#layout;
    const rows = inPerGroup * taps;
    for (const sample of samplesOf(x, this.#layer)) {
      for (let g = 0; g < groups; g++) {
        const columns = columnsOf(sample, this.#layer, g * inPerGroup, inPerGroup, taps);
        const width = columns.length / rows;
        for (let r = 0; r < rows; r++) {
          let sum = 0;
          for (let i = r * width; i < (r + 1) * width; i++) sum += columns[i];
          this.#sum[g * rows + r] += sum;
        }
        if (this.#gram.length > 0) accumulateGram(this.#gram[g], columns, rows, width);
        if (g === 0) this.#count += width;
      }
    }
  }

  statistics(): InputStatistics {
    return { count: this.#count, mean: this.#sum.map((s) => s / this.#count), gram: this.#gram };
  }
}

function accumulateGram(gram: Float64Array, columns: Float32Array, rows: number, width: number): void {
  const a = fromStorage(columns, [rows, width], 'float32');
  const product = dispatch('linear', a, a, null).data;
  for (let i = 0; i < gram.length; i++) gram[i] += product[i];
}

/** One sample as a layer reads it: values by channel, then by [depth, height, width] (1 where a dimension is missing). */
interface Sample {
  readonly values: Float32Array;
  readonly size: readonly [number, number, number];
}

function samplesOf(x: Tensor, layer: WeightedLayer): Sample[] {
  if (layer instanceof Linear) {
    // All rows of a batch at once: features become channels, rows the positions.
    const rows = dispatch('reshape', x, [-1, x.shape[x.ndim - 1]]);
    const values = dispatch('contiguous', dispatch('transpose', rows, 0, 1), 'contiguous')
      .data as Float32Array;
    return [{ values, size: [1, 1, rows.shape[0]] }];
  }
  const data = x.data as Float32Array;
  const spatial = x.shape.slice(2);
  const size = [...new Array<number>(3 - spatial.length).fill(1), ...spatial] as [number, number, number];
  const length = data.length / x.shape[0];
  return Array.from({ length: x.shape[0] }, (_, n) => ({
    values: data.subarray(n * length, (n + 1) * length),
    size,
  }));
}

/** The window under every output position as a column, [channels · taps, positions]. */
function columnsOf(
  { values, size }: Sample,
  layer: WeightedLayer,
  firstChannel: number,
  channels: number,
  taps: number,
): Float32Array {
  const plane = size[0] * size[1] * size[2];
  if (layer instanceof Linear) return values;
  const three = (v: readonly number[], missing: number): number[] => [
    ...new Array<number>(3 - v.length).fill(missing),
    ...v,
  ];
  const kernel = three(layer.kernelSize, 1);
  const stride = three(layer.stride, 1);
  const dilation = three(layer.dilation, 1);
  const [before, total] = paddingOf(layer);
  const low = three(before, 0);
  const both = three(total, 0);
  const out = size.map(
    (s, d) => Math.floor((s + both[d] - dilation[d] * (kernel[d] - 1) - 1) / stride[d]) + 1,
  );
  const positions = out[0] * out[1] * out[2];
  const columns = new Float32Array(channels * taps * positions);
  const inside = wrapper(layer);
  let to = 0;
  for (let c = firstChannel; c < firstChannel + channels; c++) {
    for (let tap = 0; tap < taps; tap++) {
      const kx = tap % kernel[2];
      const ky = Math.floor(tap / kernel[2]) % kernel[1];
      const kz = Math.floor(tap / (kernel[2] * kernel[1]));
      for (let z = 0; z < out[0]; z++) {
        const iz = inside(z * stride[0] - low[0] + kz * dilation[0], size[0]);
        for (let y = 0; y < out[1]; y++) {
          const iy = inside(y * stride[1] - low[1] + ky * dilation[1], size[1]);
          const row = c * plane + (iz * size[1] + iy) * size[2];
          for (let x = 0; x < out[2]; x++, to++) {
            const ix = inside(x * stride[2] - low[2] + kx * dilation[2], size[2]);
            if (iz >= 0 && iy >= 0 && ix >= 0) columns[to] = values[row + ix];
          }
        }
      }
    }
  }
  return columns;
}

/** Padding before, and before and after together, per dimension. */
function paddingOf(layer: Exclude<WeightedLayer, Linear>): [before: number[], total: number[]] {
  const { padding, kernelSize, dilation } = layer;
  if (padding === 'valid') return [kernelSize.map(() => 0), kernelSize.map(() => 0)];
  if (padding === 'same') {
    const total = kernelSize.map((k, d) => dilation[d] * (k - 1));
    return [total.map((t) => t >> 1), total];
  }
  return [[...padding], padding.map((p) => 2 * p)];
}

/** Where a padded position reads from: −1 for zeros. */
function wrapper(layer: Exclude<WeightedLayer, Linear>): (i: number, size: number) => number {
  switch (layer.paddingMode) {
    case 'reflect':
      return (i, size) => (i < 0 ? -i : i >= size ? 2 * size - 2 - i : i);
    case 'replicate':
      return (i, size) => Math.min(Math.max(i, 0), size - 1);
    case 'circular':
      return (i, size) => (i + size) % size;
    default:
      return (i, size) => (i < size ? i : -1);
  }
}
