import { ArgumentError, ShapeError } from '../../../core/errors.ts';
import { product } from '../../../core/math.ts';
import { formatShape, type Shape } from '../../../tensor/shape.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import type { InterpolateOptions } from '../../signatures/layer.ts';
import { allocateLike, channelsLastData, channelsLastTensor, requireFloat } from './channels-last.ts';

/** For every output place of one dimension, the two input places it mixes and the share of the second. */
interface Taps {
  readonly low: Int32Array;
  readonly high: Int32Array;
  readonly share: Float64Array;
}

/** What {@link interpolate} mixes: for every output pixel `width` input pixels of the image, with their shares. */
export interface Mix {
  readonly width: number;
  readonly pixels: Int32Array;
  readonly shares: Float64Array;
}

/** The mix for an input of some shape; checks the options. */
export function mixOf(shape: Shape, options: InterpolateOptions): Mix {
  return corners(shape, tapsOf(shape, options), options);
}

/** Resizes the spatial dimensions, channels-last. Source: `torch.nn.functional.interpolate`. */
export function interpolate(x: Tensor, options: InterpolateOptions): Tensor {
  const dtype = options.mode === 'nearest' ? x.dtype : requireFloat('interpolate', { input: x });
  const mix = mixOf(x.shape, options);
  const [batch, channels] = x.shape;
  const input = channelsLastData(x);
  const inPixels = product(x.shape.slice(2));
  const outPixels = product(options.size);
  const out = allocateLike(input, batch * outPixels * channels);
  for (let n = 0; n < batch; n++) {
    for (let o = 0; o < outPixels; o++) {
      const to = (n * outPixels + o) * channels;
      if (mix.width === 1) {
        const from = (n * inPixels + mix.pixels[o]) * channels;
        for (let c = 0; c < channels; c++) out[to + c] = input[from + c];
        continue;
      }
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let k = o * mix.width; k < (o + 1) * mix.width; k++) {
          sum += mix.shares[k] * input[(n * inPixels + mix.pixels[k]) * channels + c];
        }
        out[to + c] = sum;
      }
    }
  }
  return channelsLastTensor(out, [batch, channels, ...options.size], dtype);
}

/** Gradient of {@link interpolate} with respect to an input of `inputShape`. */
export function interpolateGrad(gradOut: Tensor, inputShape: Shape, options: InterpolateOptions): Tensor {
  const [batch, channels] = inputShape;
  const grad = channelsLastData(gradOut);
  const inPixels = product(inputShape.slice(2));
  const outPixels = product(options.size);
  const out = allocateLike(grad, product(inputShape));
  const mix = mixOf(inputShape, options);
  for (let n = 0; n < batch; n++) {
    for (let o = 0; o < outPixels; o++) {
      const at = (n * outPixels + o) * channels;
      for (let k = o * mix.width; k < (o + 1) * mix.width; k++) {
        const share = mix.shares[k];
        const to = (n * inPixels + mix.pixels[k]) * channels;
        for (let c = 0; c < channels; c++) out[to + c] += share * grad[at + c];
      }
    }
  }
  return channelsLastTensor(out, inputShape, gradOut.dtype);
}

/** The input pixels that every output pixel mixes: `width` of them (1 for nearest, 2 per dimension for linear), with their shares. */
function corners(shape: Shape, dims: readonly Taps[], options: InterpolateOptions): Mix {
  const rank = dims.length;
  const width = options.mode === 'nearest' ? 1 : 2 ** rank;
  const outPixels = product(options.size);
  const pixels = new Int32Array(outPixels * width);
  const shares = new Float64Array(outPixels * width);
  for (let o = 0; o < outPixels; o++) {
    for (let k = 0; k < width; k++) {
      let pixel = 0;
      let share = 1;
      let rest = o;
      let step = 1;
      for (let d = rank - 1; d >= 0; d--) {
        const place = rest % options.size[d];
        rest = Math.floor(rest / options.size[d]);
        const upper = ((k >> (rank - 1 - d)) & 1) === 1;
        pixel += (upper ? dims[d].high[place] : dims[d].low[place]) * step;
        share *= upper ? dims[d].share[place] : 1 - dims[d].share[place];
        step *= shape[d + 2];
      }
      pixels[o * width + k] = pixel;
      shares[o * width + k] = share;
    }
  }
  return { width, pixels, shares };
}

function tapsOf(shape: Shape, options: InterpolateOptions): Taps[] {
  const { size, mode, alignCorners, scales } = options;
  const rank = size.length;
  const ranks = mode === 'nearest' ? [1, 2, 3] : mode === 'linear' ? [1] : [2];
  if (shape.length !== rank + 2 || !ranks.includes(rank)) {
    throw new ShapeError({
      fn: 'interpolate',
      argument: 'input',
      expected: `${ranks.map((r) => r + 2).join(', ')} dimensions for mode '${mode}', and a size for each spatial one`,
      got: `${formatShape(shape)} with size ${formatShape(size)}`,
    });
  }
  return size.map((count, d) => {
    const from = shape[d + 2];
    if (!Number.isInteger(count) || count < 1 || from < 1) {
      throw new ArgumentError({
        fn: 'interpolate',
        argument: 'size',
        expected: 'positive input and output sizes',
        got: `${from} to ${count}`,
      });
    }
    return mode === 'nearest'
      ? nearestTaps(from, count, scales?.[d])
      : linearTaps(from, count, alignCorners, scales?.[d]);
  });
}

function nearestTaps(from: number, count: number, scale: number | undefined): Taps {
  const step = Math.fround(scale ?? from / count);
  const low = Int32Array.from({ length: count }, (_, o) =>
    Math.min(Math.floor(Math.fround(o * step)), from - 1),
  );
  return { low, high: low, share: new Float64Array(count) };
}

/** Places and shares are found in float32, as PyTorch does for float32 tensors. */
function linearTaps(from: number, count: number, alignCorners: boolean, scale: number | undefined): Taps {
  const step = Math.fround(
    alignCorners ? (count > 1 ? (from - 1) / (count - 1) : 0) : (scale ?? from / count),
  );
  const low = new Int32Array(count);
  const high = new Int32Array(count);
  const share = new Float64Array(count);
  for (let o = 0; o < count; o++) {
    const place = alignCorners
      ? Math.fround(step * o)
      : Math.max(0, Math.fround(Math.fround(step * (o + 0.5)) - 0.5));
    low[o] = Math.min(Math.floor(place), from - 1);
    high[o] = Math.min(low[o] + 1, from - 1);
    share[o] = Math.min(Math.max(Math.fround(place - low[o]), 0), 1);
  }
  return { low, high, share };
}
