import { ShapeError } from '../../core/errors.ts';
import { product } from '../../core/math.ts';
import { engine as defaultEngine, type Engine } from '../engine.ts';
import { type ConvGeometry, checkGeometry } from '../geometry.ts';
import { stageBytes, takeBytes, toUnsigned } from './signedness.ts';

/** The part of the input one output pixel reads. */
export interface PoolWindow {
  readonly top: number;
  readonly left: number;
  /** Number of rows and columns that lie inside of the image, `dilation` apart. */
  readonly height: number;
  readonly width: number;
  /** What a mean divides by. */
  readonly divisor: number;
}

/** Distances in bytes of pixels, lines and images. */
export interface PoolLayout {
  readonly pixel: number;
  readonly line: number;
  readonly image: number;
}

/** Vector loads may run this far over the last pixel. */
const SLACK = 16;

/** Taps of a dilated kernel along one dimension that fall inside: the first one's position, and how many. */
function clip(
  start: number,
  kernel: number,
  dilation: number,
  size: number,
): { first: number; count: number } {
  const skipped = start < 0 ? Math.ceil(-start / dilation) : 0;
  const first = start + skipped * dilation;
  const fitting = first < size ? Math.floor((size - 1 - first) / dilation) + 1 : 0;
  return { first, count: Math.max(0, Math.min(kernel - skipped, fitting)) };
}

/** Bytes that describe one window to the kernels. */
const RECORD = 16;

/** Windows of every output pixel of a batch as the kernels read them: offset, height, width, 1 / divisor. */
export function windowTable(
  windows: readonly PoolWindow[],
  layout: PoolLayout,
  batch: number,
): Uint32Array<ArrayBuffer> {
  const table = new Uint32Array((batch * windows.length * RECORD) / 4);
  const floats = new Float32Array(table.buffer);
  let at = 0;
  for (let image = 0; image < batch; image++) {
    for (const { top, left, height, width, divisor } of windows) {
      table[at] = image * layout.image + top * layout.line + left * layout.pixel;
      table[at + 1] = height;
      table[at + 2] = width;
      floats[at + 3] = 1 / divisor;
      at += 4;
    }
  }
  return table;
}

/** Stages a channels-last batch, runs a kernel over all windows, and takes the result out. */
function pool<T extends Uint8Array | Int8Array>(
  fn: string,
  x: T,
  sizes: { readonly batch: number; readonly inputSize: readonly number[]; readonly channels: number },
  windows: readonly PoolWindow[],
  engine: Engine,
  run: (end: number, from: number, table: number, layout: PoolLayout, to: number) => void,
): T {
  const { batch, inputSize, channels } = sizes;
  const imageBytes = product(inputSize) * channels;
  if (x.length !== batch * imageBytes) {
    throw new ShapeError({
      fn,
      argument: 'x',
      expected: `${batch} × [${inputSize}] × ${channels} = ${batch * imageBytes} elements`,
      got: `${x.length}`,
    });
  }
  const layout = { pixel: channels, line: inputSize[1] * channels, image: imageBytes };
  const table = windowTable(windows, layout, batch);
  const pixels = batch * windows.length;
  return engine.scratch((take) => {
    const from = take(x.length + SLACK);
    const to = take(pixels * channels);
    const at = take(table.byteLength);
    stageBytes(engine, x, from);
    engine.heap.u32.set(table, at >> 2);
    run(pixels, from, at, layout, to);
    return takeBytes(engine, to, pixels * channels, x);
  });
}

/**
 * The window of every output pixel of a 2-d geometry. With `countIncludePad`, a mean counts the padding declared by the
 * geometry, but not what ceil mode adds beyond it.
 *
 * @throws ShapeError when sizes do not fit or a window lies in the padding.
 */
export function slidingWindows(fn: string, geometry: ConvGeometry, countIncludePad: boolean): PoolWindow[] {
  checkGeometry(fn, geometry);
  const { inputSize, outputSize, kernel, stride, padding, dilation } = geometry;
  if (inputSize.length !== 2) {
    throw new ShapeError({
      fn,
      argument: 'geometry.inputSize',
      expected: '2 spatial dimensions',
      got: `${inputSize.length}`,
      fix: 'Pool over one dimension with a height of 1.',
    });
  }
  const [rows, columns] = [0, 1].map((d) =>
    Array.from({ length: outputSize[d] }, (_, o) => {
      const start = o * stride[d] - padding[d];
      const padded = Math.min(start + kernel[d], inputSize[d] + padding[d]) - start;
      const { first, count } = clip(start, kernel[d], dilation[d], inputSize[d]);
      return { first, count, counted: countIncludePad ? padded : count };
    }),
  );
  if ([...rows, ...columns].some(({ count }) => count === 0)) {
    throw new ShapeError({
      fn,
      argument: 'geometry',
      expected: 'windows that all touch the input',
      got: `padding [${padding}] for a kernel of [${kernel}]`,
      fix: 'Padding may be at most half of the kernel size.',
    });
  }
  return rows.flatMap((row) =>
    columns.map((column) => ({
      top: row.first,
      left: column.first,
      height: row.count,
      width: column.count,
      divisor: row.counted * column.counted,
    })),
  );
}

/** Windows that share an image as evenly as can be: output o reads rows floor(o·in/out) to ceil((o+1)·in/out). */
export function adaptiveWindows(inputSize: readonly number[], outputSize: readonly number[]): PoolWindow[] {
  const [rows, columns] = [0, 1].map((d) =>
    Array.from({ length: outputSize[d] }, (_, o) => {
      const first = Math.floor((o * inputSize[d]) / outputSize[d]);
      return { first, count: Math.ceil(((o + 1) * inputSize[d]) / outputSize[d]) - first };
    }),
  );
  return rows.flatMap((row) =>
    columns.map((column) => ({
      top: row.first,
      left: column.first,
      height: row.count,
      width: column.count,
      divisor: row.count * column.count,
    })),
  );
}

/**
 * Max pooling of quantized data (`torch.nn.functional.max_pool2d`). Padding never wins; quantization stays the same.
 *
 * @param x channels-last `[batch][height][width][channels]`, quint8 or qint8.
 * @param geometry two spatial dimensions; `outputSize` decides about ceil mode.
 * @throws ShapeError when sizes do not fit or a window lies in the padding.
 * @example
 * qMaxPool2d(x, 64, convGeometry({ batch: 1, inputSize: [112, 112], kernel: [3, 3], stride: [2, 2], padding: [1, 1], dilation: [1, 1] }));
 */
export function qMaxPool2d<T extends Uint8Array | Int8Array>(
  x: T,
  channels: number,
  geometry: ConvGeometry,
  engine: Engine = defaultEngine,
): T {
  const fn = 'qMaxPool2d';
  const windows = slidingWindows(fn, geometry, false);
  const [down, right] = geometry.dilation;
  return pool(fn, x, { ...geometry, channels }, windows, engine, (end, from, table, { line, pixel }, to) => {
    const { u8_windows_max } = engine.kernels;
    u8_windows_max(0, end, from, table, line * down, pixel * right, channels, to, channels);
  });
}

/** Means over windows: `(Σ(x − z)) / divisor + z` for every channel. */
function meanPool<T extends Uint8Array | Int8Array>(
  fn: string,
  x: T,
  sizes: { readonly batch: number; readonly inputSize: readonly number[]; readonly channels: number },
  windows: readonly PoolWindow[],
  signedZeroPoint: number,
  engine: Engine,
): T {
  const { channels } = sizes;
  const zeroPoint = toUnsigned(fn, 'zeroPoint', signedZeroPoint, x instanceof Int8Array);
  return pool(fn, x, sizes, windows, engine, (end, from, table, { line, pixel }, to) => {
    const { qu8_windows_mean } = engine.kernels;
    qu8_windows_mean(0, end, from, table, line, pixel, channels, zeroPoint, to, channels);
  });
}

/** Options of {@link qAvgPool2d}. */
export interface QAvgPoolOptions {
  readonly zeroPoint: number;
  /** Whether padding counts as zeros in the mean. True unless given. */
  readonly countIncludePad?: boolean;
  /** Divide by this instead of the number of elements. */
  readonly divisorOverride?: number | null;
  readonly engine?: Engine;
}

/**
 * Average pooling of quantized data (`torch.nn.functional.avg_pool2d`): `nearbyint(Σ(x − z) · f32(1/n)) + z`, saturating;
 * quantization stays the same.
 *
 * With `countIncludePad`, n counts the padding declared by the geometry, but not what ceil mode adds beyond it.
 *
 * @param x channels-last `[batch][height][width][channels]`, quint8 or qint8.
 * @param geometry two spatial dimensions with dilation 1; `outputSize` decides about ceil mode.
 * @throws ShapeError when sizes do not fit or a window lies in the padding.
 */
export function qAvgPool2d<T extends Uint8Array | Int8Array>(
  x: T,
  channels: number,
  geometry: ConvGeometry,
  options: QAvgPoolOptions,
): T {
  const fn = 'qAvgPool2d';
  const { countIncludePad = true, divisorOverride, engine = defaultEngine } = options;
  if (geometry.dilation.some((d) => d !== 1)) {
    throw new ShapeError({
      fn,
      argument: 'geometry.dilation',
      expected: '[1, 1]',
      got: `[${geometry.dilation}]`,
    });
  }
  const windows = slidingWindows(fn, geometry, countIncludePad).map((window) => ({
    ...window,
    divisor: divisorOverride ?? window.divisor,
  }));
  return meanPool(fn, x, { ...geometry, channels }, windows, options.zeroPoint, engine);
}

/**
 * Adaptive average pooling of quantized data (`torch.nn.functional.adaptive_avg_pool2d`); `outputSize: [1, 1]` is global
 * average pooling. Output pixel o reads rows floor(o·in/out) to ceil((o+1)·in/out). Quantization stays the same.
 *
 * @param x channels-last `[batch][...inputSize][channels]`, quint8 or qint8.
 * @example
 * qAdaptiveAvgPool2d(x, { batch: 1, inputSize: [7, 7], outputSize: [1, 1], channels: 512, zeroPoint: 0 });
 */
export function qAdaptiveAvgPool2d<T extends Uint8Array | Int8Array>(
  x: T,
  options: {
    readonly batch: number;
    readonly inputSize: readonly [number, number];
    readonly outputSize: readonly [number, number];
    readonly channels: number;
    readonly zeroPoint: number;
    readonly engine?: Engine;
  },
): T {
  const fn = 'qAdaptiveAvgPool2d';
  const { inputSize, outputSize, zeroPoint, engine = defaultEngine } = options;
  return meanPool(fn, x, options, adaptiveWindows(inputSize, outputSize), zeroPoint, engine);
}
