import { ArgumentError, DTypeError, ShapeError } from '../../../core/errors.ts';
import { product } from '../../../core/math.ts';
import {
  avgPoolF32,
  avgPoolGradF32,
  maxPoolF32,
  maxPoolGradF32,
  type PoolSizesF32,
} from '../../../kernels/f32/pooling.ts';
import { DTYPES, type TypedArray } from '../../../tensor/dtype.ts';
import { formatShape, type Shape } from '../../../tensor/shape.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import type { AvgPoolGeometry, PoolGeometry } from '../../signatures/layer.ts';
import { allocateLike, channelsLastData, channelsLastTensor, requireFloat } from './channels-last.ts';

/**
 * One window per output pixel as a list of input pixels: those of output pixel `o` are `pixels[starts[o]] …
 * pixels[starts[o + 1] − 1]`, all within one image. `divisors` is what an average divides by.
 */
export interface Windows {
  readonly outSize: readonly number[];
  readonly starts: Int32Array;
  readonly pixels: Int32Array;
  readonly divisors: Float64Array;
}

/** Where the elements of a pooled output came from: input pixels of the image, in the order of the output's storage. */
const argmaxima = new WeakMap<TypedArray, Int32Array>();

/** Max pooling over 1 to 3 spatial dimensions, channels-last. NaN wins. Source: `torch.max_pool2d`. */
export function maxPool(fn: string, x: Tensor, geometry: PoolGeometry): Tensor {
  if (DTYPES[x.dtype].encoded) {
    throw new DTypeError({
      fn,
      argument: 'input',
      expected: 'float32, float64 or an integer type',
      got: x.dtype,
      fix: "Convert it with to('float32').",
    });
  }
  const windows = slidingWindows(fn, x.shape, geometry, true);
  const sizes = sizesOf(x.shape);
  const input = channelsLastData(x);
  const { out, indices } =
    input instanceof Float32Array ? maxPoolF32(input, windows, sizes) : windowMaxima(input, windows, sizes);
  argmaxima.set(out, indices);
  return channelsLastTensor(out, [sizes.batch, sizes.channels, ...windows.outSize], x.dtype);
}

/**
 * Gradient of {@link maxPool}: each output's gradient goes to the element its maximum came from (the first, in a tie).
 * The forward pass has kept those places beside its output.
 */
export function maxPoolGrad(
  fn: string,
  gradOut: Tensor,
  out: Tensor,
  x: Tensor,
  geometry: PoolGeometry,
): Tensor {
  const indices =
    argmaxima.get(out.storage) ?? (argmaxima.get(maxPool(fn, x, geometry).storage) as Int32Array);
  const { batch, inPixels, channels } = sizesOf(x.shape);
  const grad = channelsLastData(gradOut);
  if (grad instanceof Float32Array) {
    const scattered = maxPoolGradF32(grad, indices, { batch, inPixels, channels });
    return channelsLastTensor(scattered, x.shape, x.dtype);
  }
  const gradInput = allocateLike(grad, x.numel);
  const outImage = grad.length / Math.max(1, batch);
  for (let n = 0, i = 0; n < batch; n++) {
    const image = n * inPixels * channels;
    for (const end = i + outImage; i < end; ) {
      for (let c = 0; c < channels; c++, i++) gradInput[image + indices[i] * channels + c] += grad[i];
    }
  }
  return channelsLastTensor(gradInput, x.shape, x.dtype);
}

function windowMaxima<T extends TypedArray>(
  input: T,
  { starts, pixels }: Windows,
  { batch, inPixels, channels }: PoolSizesF32,
): { readonly out: T; readonly indices: Int32Array } {
  const outPixels = starts.length - 1;
  const out = allocateLike(input, batch * outPixels * channels);
  const indices = new Int32Array(out.length);
  for (let n = 0; n < batch; n++) {
    for (let o = 0; o < outPixels; o++) {
      const to = (n * outPixels + o) * channels;
      for (let w = starts[o]; w < starts[o + 1]; w++) {
        const from = (n * inPixels + pixels[w]) * channels;
        for (let c = 0; c < channels; c++) {
          const v = input[from + c];
          if (w > starts[o] && !(v > out[to + c] || Number.isNaN(v))) continue;
          out[to + c] = v;
          indices[to + c] = pixels[w];
        }
      }
    }
  }
  return { out, indices };
}

/** Average pooling over 1 to 3 spatial dimensions, channels-last. Source: `torch.avg_pool2d`. */
export function avgPool(fn: string, x: Tensor, geometry: AvgPoolGeometry): Tensor {
  return average(fn, x, slidingWindows(fn, x.shape, geometry, geometry.countIncludePad));
}

/** Gradient of {@link avgPool} with respect to an input of `inputShape`. */
export function avgPoolGrad(
  fn: string,
  gradOut: Tensor,
  inputShape: Shape,
  geometry: AvgPoolGeometry,
): Tensor {
  return averageGrad(gradOut, inputShape, slidingWindows(fn, inputShape, geometry, geometry.countIncludePad));
}

/** Averages over `outputSize` windows that share the input as evenly as can be. Source: `torch.adaptive_avg_pool2d`. */
export function adaptiveAvgPool(fn: string, x: Tensor, outputSize: readonly number[]): Tensor {
  return average(fn, x, adaptiveWindows(fn, x.shape, outputSize));
}

/** Gradient of {@link adaptiveAvgPool} with respect to an input of `inputShape`. */
export function adaptiveAvgPoolGrad(
  fn: string,
  gradOut: Tensor,
  inputShape: Shape,
  outputSize: readonly number[],
): Tensor {
  return averageGrad(gradOut, inputShape, adaptiveWindows(fn, inputShape, outputSize));
}

/** Means over windows of a float tensor, channels-last: sums, divided by each window's divisor. */
export function average(fn: string, x: Tensor, windows: Windows): Tensor {
  const dtype = requireFloat(fn, { input: x });
  const { batch, inPixels, channels } = sizesOf(x.shape);
  const { starts, pixels, divisors } = windows;
  const shape = [batch, channels, ...windows.outSize];
  const input = channelsLastData(x);
  if (input instanceof Float32Array) {
    const pooled = avgPoolF32(input, windows, divisors, { batch, inPixels, channels });
    return channelsLastTensor(pooled, shape, dtype);
  }
  const outPixels = starts.length - 1;
  const out = allocateLike(input, batch * outPixels * channels);
  const sums = new Float64Array(channels);
  for (let n = 0; n < batch; n++) {
    for (let o = 0; o < outPixels; o++) {
      sums.fill(0);
      for (let w = starts[o]; w < starts[o + 1]; w++) {
        const from = (n * inPixels + pixels[w]) * channels;
        for (let c = 0; c < channels; c++) sums[c] += input[from + c];
      }
      const to = (n * outPixels + o) * channels;
      const divisor = divisors[o];
      for (let c = 0; c < channels; c++) out[to + c] = sums[c] / divisor;
    }
  }
  return channelsLastTensor(out, shape, dtype);
}

function averageGrad(gradOut: Tensor, inputShape: Shape, windows: Windows): Tensor {
  const { batch, inPixels, channels } = sizesOf(inputShape);
  const { starts, pixels, divisors } = windows;
  const outPixels = starts.length - 1;
  const grad = channelsLastData(gradOut);
  if (grad instanceof Float32Array) {
    const spread = avgPoolGradF32(grad, windows, divisors, { batch, inPixels, channels });
    return channelsLastTensor(spread, inputShape, gradOut.dtype);
  }
  const out = allocateLike(grad, product(inputShape));
  for (let n = 0; n < batch; n++) {
    for (let o = 0; o < outPixels; o++) {
      const at = (n * outPixels + o) * channels;
      const share = 1 / divisors[o];
      for (let w = starts[o]; w < starts[o + 1]; w++) {
        const to = (n * inPixels + pixels[w]) * channels;
        for (let c = 0; c < channels; c++) out[to + c] += grad[at + c] * share;
      }
    }
  }
  return channelsLastTensor(out, inputShape, gradOut.dtype);
}

function sizesOf(shape: Shape): PoolSizesF32 {
  return { batch: shape[0], channels: shape[1], inPixels: product(shape.slice(2)) };
}

/** First input place, end (exclusive) and step of every window along one dimension, and the size an average counts. */
interface Span {
  readonly start: number;
  readonly end: number;
  readonly step: number;
  readonly counted: number;
}

/** How many windows fit along spatial dimension `d` of `size` elements. Throws where none does or the padding is too large. */
export function windowCount(fn: string, size: number, geometry: PoolGeometry, d: number): number {
  const k = geometry.kernelSize[d];
  const stride = geometry.stride[d];
  const padding = geometry.padding[d];
  const reach = geometry.dilation[d] * (k - 1) + 1;
  if (padding * 2 > k || padding < 0) {
    throw new ArgumentError({
      fn,
      argument: 'padding',
      expected: `from 0 to half of the window (${k})`,
      got: String(padding),
    });
  }
  const span = size + 2 * padding - reach;
  let count = (geometry.ceilMode ? Math.ceil(span / stride) : Math.floor(span / stride)) + 1;
  // The last window of ceil mode must start inside the input or its left padding.
  if (geometry.ceilMode && (count - 1) * stride >= size + padding) count--;
  if (count < 1) {
    throw new ShapeError({
      fn,
      argument: 'input',
      expected: `a padded size of at least ${reach} in dimension ${d + 2}`,
      got: String(size + 2 * padding),
    });
  }
  return count;
}

/** The windows of a pool, checked. */
export function slidingWindows(
  fn: string,
  shape: Shape,
  geometry: PoolGeometry,
  countPadding: boolean,
): Windows {
  const { kernelSize, stride, padding, dilation } = geometry;
  checkRank(fn, shape, kernelSize.length);
  const spans = kernelSize.map((k, d): Span[] => {
    const size = shape[d + 2];
    const reach = dilation[d] * (k - 1) + 1;
    const count = windowCount(fn, size, geometry, d);
    return Array.from({ length: count }, (_, o) => {
      const from = o * stride[d] - padding[d];
      const padded = Math.min(from + k, size + padding[d]) - from;
      const start = from < 0 ? from + Math.ceil(-from / dilation[d]) * dilation[d] : from;
      const end = Math.min(from + reach, size);
      return { start, end, step: dilation[d], counted: countPadding ? padded : end - start };
    });
  });
  return combine(shape, spans);
}

/** Windows that share the input as evenly as can be, checked. */
export function adaptiveWindows(fn: string, shape: Shape, outputSize: readonly number[]): Windows {
  checkRank(fn, shape, outputSize.length);
  const spans = outputSize.map((count, d) => {
    if (!Number.isInteger(count) || count < 1) {
      throw new ArgumentError({
        fn,
        argument: 'outputSize',
        expected: 'positive whole numbers',
        got: String(count),
      });
    }
    const size = shape[d + 2];
    return Array.from({ length: count }, (_, o): Span => {
      const start = Math.floor((o * size) / count);
      const end = Math.ceil(((o + 1) * size) / count);
      return { start, end, step: 1, counted: end - start };
    });
  });
  return combine(shape, spans);
}

function combine(shape: Shape, spans: readonly (readonly Span[])[]): Windows {
  const outSize = spans.map((s) => s.length);
  const outPixels = product(outSize);
  const starts = new Int32Array(outPixels + 1);
  const divisors = new Float64Array(outPixels);
  const one: Span = { start: 0, end: 1, step: 1, counted: 1 };
  // One to three dimensions are walked as three, the missing leading ones of size one.
  const [zs, ys, xs] = [...new Array<readonly Span[]>(3 - spans.length).fill([one]), ...spans];
  const height = spans.length >= 2 ? shape[shape.length - 2] : 1;
  const width = shape[shape.length - 1];
  const places = (list: readonly Span[]): number =>
    list.reduce((sum, s) => sum + Math.max(0, Math.ceil((s.end - s.start) / s.step)), 0);
  const pixels = new Int32Array(places(zs) * places(ys) * places(xs));
  let o = 0;
  let at = 0;
  for (const sz of zs) {
    for (const sy of ys) {
      for (const sx of xs) {
        for (let z = sz.start; z < sz.end; z += sz.step) {
          for (let y = sy.start; y < sy.end; y += sy.step) {
            for (let x = sx.start; x < sx.end; x += sx.step) pixels[at++] = (z * height + y) * width + x;
          }
        }
        divisors[o] = sz.counted * sy.counted * sx.counted;
        starts[++o] = at;
      }
    }
  }
  return { outSize, starts, pixels, divisors };
}

function checkRank(fn: string, shape: Shape, spatial: number): void {
  if (shape.length === spatial + 2) return;
  throw new ShapeError({
    fn,
    argument: 'input',
    expected: `${spatial + 2} dimensions (batch, channels and ${spatial} spatial)`,
    got: formatShape(shape),
  });
}
