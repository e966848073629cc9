import { engine as defaultEngine, type Engine } from '../engine.ts';
import { checkLength, checkSizes } from './panels.ts';

/** Floats of images staged at a time; a larger image is taken alone. */
const BLOCK_FLOATS = 64 * 1024;

/**
 * Windows of a pooling as lists, the same for every image: output pixel `o` covers `pixels[starts[o]] … pixels[starts[o + 1] − 1]`.
 * Any number of dimensions, dilation, ceil mode and adaptive sizes come down to this.
 */
export interface PoolWindowsF32 {
  /** One more entry than output pixels. */
  readonly starts: Int32Array;
  /** Flat input pixel numbers, below `inPixels`. */
  readonly pixels: Int32Array;
}

/** Sizes of a pooling over `[batch][inPixels][channels]`. */
export interface PoolSizesF32 {
  readonly batch: number;
  readonly inPixels: number;
  readonly channels: number;
}

/** Result of {@link maxPoolF32}. */
export interface MaxPoolF32 {
  /** `[batch][outPixels][channels]` */
  readonly out: Float32Array;
  /** Number of the input pixel each maximum came from, of the same shape (PyTorch's `return_indices`). */
  readonly indices: Int32Array;
}

/**
 * Maximum of every window; the first of equals, and NaN wins. `torch.max_pool1d/2d/3d` on channels-last data.
 *
 * @param x `[batch][inPixels][channels]`
 * @param windows none may be empty.
 * @throws ShapeError when `x` does not have the length its sizes say.
 * @example
 * const { out, indices } = maxPoolF32(x, windows, { batch: 64, inPixels: 32 * 32, channels: 16 });
 */
export function maxPoolF32(
  x: Float32Array,
  windows: PoolWindowsF32,
  sizes: PoolSizesF32,
  engine: Engine = defaultEngine,
): MaxPoolF32 {
  const { batch, inPixels, channels } = checkPool('maxPoolF32', 'x', x, windows, sizes, sizes.inPixels);
  const outImage = (windows.starts.length - 1) * channels;
  const out = new Float32Array(batch * outImage);
  const indices = new Int32Array(out.length);
  if (out.length === 0) return { out, indices };
  engine.scratch((take) => {
    const tables = stageWindows(engine, take, windows, null);
    const images = imagesPerBlock(batch, inPixels * channels);
    const source = take((images * inPixels * channels + 4) * 4);
    const target = take(images * outImage * 4);
    const where = take(images * outImage * 4);
    const { f32, i32 } = engine.heap;
    for (let n = 0; n < batch; n += images) {
      const count = Math.min(images, batch - n);
      f32.set(x.subarray(n * inPixels * channels, (n + count) * inPixels * channels), source >> 2);
      engine.kernels.f32_window_max(
        source,
        count,
        inPixels,
        channels,
        tables.starts,
        tables.pixels,
        windows.starts.length - 1,
        target,
        where,
      );
      out.set(f32.subarray(target >> 2, (target >> 2) + count * outImage), n * outImage);
      indices.set(i32.subarray(where >> 2, (where >> 2) + count * outImage), n * outImage);
    }
  });
  return { out, indices };
}

/**
 * Gradient of {@link maxPoolF32}: every output gradient goes to the pixel its maximum came from.
 *
 * @param gradOut `[batch][outPixels][channels]`
 * @param indices the forward's
 * @returns `[batch][inPixels][channels]`
 * @throws ShapeError when the lengths do not fit.
 * @example
 * const gradInput = maxPoolGradF32(gradOut, indices, { batch: 64, inPixels: 32 * 32, channels: 16 });
 */
export function maxPoolGradF32(
  gradOut: Float32Array,
  indices: Int32Array,
  sizes: PoolSizesF32,
): Float32Array {
  const { batch, inPixels, channels } = sizes;
  checkSizes('maxPoolGradF32', { batch, inPixels, channels });
  checkLength('maxPoolGradF32', 'indices', indices, gradOut.length);
  const gradInput = new Float32Array(batch * inPixels * channels);
  const outImage = gradOut.length / Math.max(1, batch);
  for (let n = 0, i = 0; n < batch; n++) {
    const image = n * inPixels * channels;
    for (const end = i + outImage; i < end; ) {
      for (let c = 0; c < channels; c++, i++) gradInput[image + indices[i] * channels + c] += gradOut[i];
    }
  }
  return gradInput;
}

/**
 * Sum of every window divided by its divisor: `torch.avg_pool1d/2d/3d` and the adaptive ones, on channels-last data.
 *
 * @param x `[batch][inPixels][channels]`
 * @param divisors one per output pixel: the number of elements that count, with or without padding.
 * @returns `[batch][outPixels][channels]`
 * @throws ShapeError when the lengths do not fit.
 * @example
 * const y = avgPoolF32(x, windows, divisors, { batch: 64, inPixels: 8 * 8, channels: 64 });
 */
export function avgPoolF32(
  x: Float32Array,
  windows: PoolWindowsF32,
  divisors: ArrayLike<number>,
  sizes: PoolSizesF32,
  engine: Engine = defaultEngine,
): Float32Array {
  const { batch, inPixels, channels } = checkPool('avgPoolF32', 'x', x, windows, sizes, sizes.inPixels);
  const outPixels = windows.starts.length - 1;
  checkLength('avgPoolF32', 'divisors', divisors, outPixels);
  const out = new Float32Array(batch * outPixels * channels);
  averageBlocks(engine, windows, divisors, sizes, x, inPixels * channels, out, outPixels * channels, false);
  return out;
}

/**
 * Gradient of {@link avgPoolF32}: every output gradient, divided, goes to all pixels of its window.
 *
 * @param gradOut `[batch][outPixels][channels]`
 * @returns `[batch][inPixels][channels]`
 * @throws ShapeError when the lengths do not fit.
 * @example
 * const gradInput = avgPoolGradF32(gradOut, windows, divisors, { batch: 64, inPixels: 8 * 8, channels: 64 });
 */
export function avgPoolGradF32(
  gradOut: Float32Array,
  windows: PoolWindowsF32,
  divisors: ArrayLike<number>,
  sizes: PoolSizesF32,
  engine: Engine = defaultEngine,
): Float32Array {
  const outPixels = windows.starts.length - 1;
  const { batch, inPixels, channels } = checkPool(
    'avgPoolGradF32',
    'gradOut',
    gradOut,
    windows,
    sizes,
    outPixels,
  );
  checkLength('avgPoolGradF32', 'divisors', divisors, outPixels);
  const gradInput = new Float32Array(batch * inPixels * channels);
  const gradImage = outPixels * channels;
  averageBlocks(engine, windows, divisors, sizes, gradOut, gradImage, gradInput, inPixels * channels, true);
  return gradInput;
}

/** Runs the averaging kernel, or the one of its gradient, over blocks of images. */
function averageBlocks(
  engine: Engine,
  windows: PoolWindowsF32,
  divisors: ArrayLike<number>,
  { batch, inPixels, channels }: PoolSizesF32,
  from: Float32Array,
  fromImage: number,
  to: Float32Array,
  toImage: number,
  gradient: boolean,
): void {
  if (to.length === 0) return;
  engine.scratch((take) => {
    const tables = stageWindows(engine, take, windows, divisors);
    const images = imagesPerBlock(batch, Math.max(fromImage, toImage));
    const source = take((images * fromImage + 4) * 4);
    const target = take((images * toImage + 4) * 4);
    const f32 = engine.heap.f32;
    const kernel = gradient ? engine.kernels.f32_window_mean_grad : engine.kernels.f32_window_mean;
    for (let n = 0; n < batch; n += images) {
      const count = Math.min(images, batch - n);
      f32.set(from.subarray(n * fromImage, (n + count) * fromImage), source >> 2);
      if (gradient) f32.fill(0, target >> 2, (target >> 2) + count * toImage);
      kernel(
        source,
        count,
        inPixels,
        channels,
        tables.starts,
        tables.pixels,
        tables.divisors,
        windows.starts.length - 1,
        target,
      );
      to.set(f32.subarray(target >> 2, (target >> 2) + count * toImage), n * toImage);
    }
  });
}

function checkPool(
  fn: string,
  argument: string,
  data: Float32Array,
  windows: PoolWindowsF32,
  { batch, inPixels, channels }: PoolSizesF32,
  pixels: number,
): PoolSizesF32 {
  checkSizes(fn, { batch, inPixels, channels });
  checkLength(fn, argument, data, batch * pixels * channels);
  checkLength(fn, 'windows.pixels', windows.pixels, windows.starts[windows.starts.length - 1] ?? 0);
  return { batch, inPixels, channels };
}

function imagesPerBlock(batch: number, imageFloats: number): number {
  return Math.max(1, Math.min(batch, Math.floor(BLOCK_FLOATS / Math.max(1, imageFloats))));
}

function stageWindows(
  engine: Engine,
  take: (bytes: number) => number,
  windows: PoolWindowsF32,
  divisorValues: ArrayLike<number> | null,
): { starts: number; pixels: number; divisors: number } {
  const starts = take(windows.starts.length * 4);
  const pixels = take(windows.pixels.length * 4);
  const divisors = divisorValues ? take(divisorValues.length * 4) : 0;
  engine.heap.i32.set(windows.starts, starts >> 2);
  engine.heap.i32.set(windows.pixels, pixels >> 2);
  if (divisorValues) engine.heap.f32.set(divisorValues, divisors >> 2);
  return { starts, pixels, divisors };
}
