import { ShapeError } from '../../core/errors.ts';
import { product } from '../../core/math.ts';
import { engine as defaultEngine, type Engine } from '../engine.ts';
import { type ConvGeometry, checkGeometry } from '../geometry.ts';
import { stageBytes, takeBytes, toUnsigned } from './signedness.ts';

/** The part of the input one output pixel reads: rows [top, bottom) and columns [left, right), every `dilation`-th. */
interface Window {
  readonly top: number;
  readonly left: number;
  /** Number of rows and columns that lie inside of the image. */
  readonly height: number;
  readonly width: number;
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

/** Stages a channels-last batch, calls `run` for every output pixel, and takes the result out. */
function pool<T extends Uint8Array | Int8Array>(
  fn: string,
  x: T,
  batch: number,
  inputSize: readonly number[],
  outputSize: readonly number[],
  channels: number,
  engine: Engine,
  run: (image: number, oh: number, ow: number, out: number) => void,
): T {
  const imageBytes = product(inputSize) * channels;
  if (x.length !== batch * imageBytes) {
    throw new ShapeError({
      fn,
      argument: 'x',
      expected: `${batch} × [${inputSize}] × ${channels} = ${batch * imageBytes} elements`,
      got: `${x.length}`,
    });
  }
  const length = batch * product(outputSize) * channels;
  return engine.scratch((take) => {
    const from = take(x.length + SLACK);
    const to = take(length);
    stageBytes(engine, x, from);
    let out = to;
    for (let b = 0; b < batch; b++) {
      for (let oh = 0; oh < outputSize[0]; oh++) {
        for (let ow = 0; ow < outputSize[1]; ow++, out += channels) run(from + b * imageBytes, oh, ow, out);
      }
    }
    return takeBytes(engine, to, length, x);
  });
}

/** Checks a 2-d geometry and returns the window of each output pixel. */
function windows(fn: string, geometry: ConvGeometry): (oh: number, ow: number) => Window {
  checkGeometry(fn, geometry);
  if (geometry.inputSize.length !== 2) {
    throw new ShapeError({
      fn,
      argument: 'geometry.inputSize',
      expected: '2 spatial dimensions',
      got: `${geometry.inputSize.length}`,
      fix: 'Pool over one dimension with a height of 1.',
    });
  }
  const along =
    (d: number) =>
    (o: number): { first: number; count: number } => {
      const start = o * geometry.stride[d] - geometry.padding[d];
      return clip(start, geometry.kernel[d], geometry.dilation[d], geometry.inputSize[d]);
    };
  const rows = Array.from({ length: geometry.outputSize[0] }, (_, o) => along(0)(o));
  const columns = Array.from({ length: geometry.outputSize[1] }, (_, o) => along(1)(o));
  if ([...rows, ...columns].some(({ count }) => count === 0)) {
    throw new ShapeError({
      fn,
      argument: 'geometry',
      expected: 'windows that all touch the input',
      got: `padding [${geometry.padding}] for a kernel of [${geometry.kernel}]`,
      fix: 'Padding may be at most half of the kernel size.',
    });
  }
  return (oh, ow) => ({
    top: rows[oh].first,
    left: columns[ow].first,
    height: rows[oh].count,
    width: columns[ow].count,
  });
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
  const windowOf = windows(fn, geometry);
  const { batch, inputSize, outputSize, dilation } = geometry;
  const line = inputSize[1] * channels;
  return pool(fn, x, batch, inputSize, outputSize, channels, engine, (image, oh, ow, out) => {
    const { top, left, height, width } = windowOf(oh, ow);
    const first = image + top * line + left * channels;
    engine.kernels.u8_window_max(
      first,
      height,
      width,
      line * dilation[0],
      channels * dilation[1],
      channels,
      out,
    );
  });
}

/** Means over windows of images `columns` wide: `(Σ(x − z)) / divisor + z` for every channel of one output pixel. */
function windowMean(
  engine: Engine,
  columns: number,
  channels: number,
  zeroPoint: number,
): (image: number, window: Window, divisor: number, out: number) => void {
  const line = columns * channels;
  return (image, { top, left, height, width }, divisor, out) => {
    const first = image + top * line + left * channels;
    const bias = -zeroPoint * height * width;
    const multiplier = Math.fround(1 / divisor);
    const { qu8_window_mean } = engine.kernels;
    qu8_window_mean(first, height, width, line, channels, channels, bias, multiplier, zeroPoint, out);
  };
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
  const windowOf = windows(fn, geometry);
  if (geometry.dilation.some((d) => d !== 1)) {
    throw new ShapeError({
      fn,
      argument: 'geometry.dilation',
      expected: '[1, 1]',
      got: `[${geometry.dilation}]`,
    });
  }
  const { batch, inputSize, outputSize, kernel, stride, padding } = geometry;
  const zeroPoint = toUnsigned(fn, 'zeroPoint', options.zeroPoint, x instanceof Int8Array);
  const paddedExtent = (o: number, d: number): number => {
    const start = o * stride[d] - padding[d];
    return Math.min(start + kernel[d], inputSize[d] + padding[d]) - start;
  };
  const meanOf = windowMean(engine, inputSize[1], channels, zeroPoint);
  return pool(fn, x, batch, inputSize, outputSize, channels, engine, (image, oh, ow, out) => {
    const window = windowOf(oh, ow);
    const counted = countIncludePad
      ? paddedExtent(oh, 0) * paddedExtent(ow, 1)
      : window.height * window.width;
    meanOf(image, window, divisorOverride ?? counted, out);
  });
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
  const { batch, inputSize, outputSize, channels, engine = defaultEngine } = options;
  const zeroPoint = toUnsigned(fn, 'zeroPoint', options.zeroPoint, x instanceof Int8Array);
  const span = (o: number, d: 0 | 1): [start: number, count: number] => {
    const start = Math.floor((o * inputSize[d]) / outputSize[d]);
    return [start, Math.ceil(((o + 1) * inputSize[d]) / outputSize[d]) - start];
  };
  const meanOf = windowMean(engine, inputSize[1], channels, zeroPoint);
  return pool(fn, x, batch, inputSize, outputSize, channels, engine, (image, oh, ow, out) => {
    const [top, height] = span(oh, 0);
    const [left, width] = span(ow, 1);
    meanOf(image, { top, left, height, width }, height * width, out);
  });
}
