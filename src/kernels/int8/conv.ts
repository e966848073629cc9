import { DTypeError, KernelError, ShapeError } from '../../core/errors.ts';
import { product } from '../../core/math.ts';
import {
  type ConvGeometry,
  checkGeometry,
  type IndirectionLayout,
  indirectionTable,
  isPointwise,
  sameImageGeometry,
} from '../geometry.ts';
import type { PackedConvWeights } from './pack.ts';
import { bytesKernel, floatsKernel } from './panel-format.ts';
import { flipSignInPlace, isSigned, unsignedEpilogue } from './signedness.ts';

/** What follows the accumulation: `clamp(nearbyint(acc · scale) + zeroPoint, min, max)`, in the range of the data's dtype. */
export interface QuantizedEpilogue {
  readonly zeroPoint: number;
  /** Lower clamp; the zero point for a fused ReLU. */
  readonly min: number;
  readonly max: number;
}

/**
 * How one image lies in the engine's memory for {@link runConv}: `imageBytes` of pixels (with side margins when the kernel
 * reads whole lines), then a row of the input zero point that padding taps read, then slack for vector loads.
 */
export interface StagedLayout {
  /** Distance of images. */
  readonly imageStride: number;
  /** Pixels of one image, where the padding row starts. */
  readonly imageBytes: number;
  readonly paddingBytes: number;
  /** Distance of neighbouring innermost lines. */
  readonly lineBytes: number;
  /** Where the first pixel of a line is. */
  readonly lineOffset: number;
  /** Bytes of a line that hold pixels. */
  readonly lineUsed: number;
  readonly lines: number;
  /** Null when the kernel walks the rows without a table. */
  readonly indirection: { readonly geometry: ConvGeometry; readonly layout: IndirectionLayout } | null;
}

/** Vector loads may run this far over the last row. */
const SLACK = 16;

/** The staged layout of a geometry for these weights. */
export function stagedLayout(packed: PackedConvWeights, geometry: ConvGeometry): StagedLayout {
  const channels = packed.inChannels;
  const { slots, mergedTaps, depthwise, tapChannels } = packed.format;
  const lines = product(geometry.inputSize.slice(0, -1));
  const width = geometry.inputSize.at(-1) ?? 1;
  const lineUsed = width * channels;
  if (isPointwise(geometry) && !depthwise) {
    const imageBytes = lines * lineUsed;
    const dense = {
      imageStride: imageBytes,
      imageBytes,
      paddingBytes: 0,
      lineBytes: lineUsed,
      lineOffset: 0,
    };
    return { ...dense, lineUsed, lines, indirection: null };
  }
  let line = geometry;
  let lineBytes = lineUsed;
  let lineOffset = 0;
  if (mergedTaps > 1) {
    // A kernel line is one contiguous read, so the margins have to be there: the line is as long as its reads reach.
    const stride = geometry.stride.at(-1)!;
    const reach = (geometry.outputSize.at(-1)! - 1) * stride + mergedTaps;
    const left = geometry.padding.at(-1)!;
    const margined = Math.max(reach, left + width);
    lineBytes = margined * channels;
    lineOffset = left * channels;
    const innermost = (list: readonly number[], value: number): number[] => [...list.slice(0, -1), value];
    line = {
      ...geometry,
      inputSize: innermost(geometry.inputSize, margined),
      kernel: innermost(geometry.kernel, 1),
      padding: innermost(geometry.padding, 0),
    };
  }
  const imageBytes = lines * lineBytes;
  const paddingBytes = (mergedTaps > 1 ? tapChannels : channels) + SLACK;
  return {
    imageStride: imageBytes + paddingBytes,
    imageBytes,
    paddingBytes,
    lineBytes,
    lineOffset,
    lineUsed,
    lines,
    indirection: {
      geometry: line,
      layout: { pixelBytes: channels, lineBytes, paddingOffset: imageBytes, slots },
    },
  };
}

/** Bytes that a staged input takes, slack included. */
export function stagedBytes(layout: StagedLayout, batch: number): number {
  return layout.imageStride * batch + SLACK;
}

/**
 * Copies channels-last activations into the engine's memory as {@link runConv} wants them: margins and padding rows filled
 * with the zero point, signed bytes turned into unsigned ones.
 */
export function stageConvInput(
  packed: PackedConvWeights,
  input: Uint8Array | Int8Array,
  layout: StagedLayout,
  batch: number,
  ptr: number,
  inputZeroPoint: number,
): void {
  const { u8, i8 } = packed.engine.heap;
  const heap = input instanceof Int8Array ? i8 : u8;
  const { imageStride, imageBytes, paddingBytes, lineBytes, lineOffset, lineUsed, lines } = layout;
  // Bytes are flipped after the copy, so what is filled now has to be flipped beforehand.
  const fill = isSigned(input) ? inputZeroPoint ^ 128 : inputZeroPoint;
  const dense = lineBytes === lineUsed;
  const used = lines * lineUsed;
  for (let b = 0; b < batch; b++) {
    const image = ptr + b * imageStride;
    u8.fill(fill, dense ? image + imageBytes : image, image + imageBytes + paddingBytes);
    if (dense) heap.set(input.subarray(b * used, (b + 1) * used), image);
    else {
      for (let i = 0, from = b * used; i < lines; i++, from += lineUsed) {
        heap.set(input.subarray(from, from + lineUsed), image + i * lineBytes + lineOffset);
      }
    }
  }
  if (isSigned(input)) flipSignInPlace(packed.engine, ptr, stagedBytes(layout, batch));
}

/** Address of the table for a geometry, rebuilt only when the geometry is another one than last time. */
function tableFor(packed: PackedConvWeights, layout: StagedLayout): number {
  if (!layout.indirection) return 0;
  const { geometry } = layout.indirection;
  const cached = packed.cachedTable;
  if (cached && sameImageGeometry(cached.geometry, geometry)) return cached.ptr;
  const table = indirectionTable(geometry, layout.indirection.layout);
  const { ptr } = packed.reserve('indirection', table.byteLength);
  packed.engine.heap.u32.set(table, ptr >> 2);
  packed.cachedTable = { geometry, ptr };
  return ptr;
}

/** What {@link runConv} needs beside addresses. */
export interface RunConvOptions {
  /** Unsigned; null for a float output. */
  readonly epilogue: QuantizedEpilogue | null;
  /** Address of the bias of a float output, as `prepare` gave it. */
  readonly floatBias?: number;
  /** Lower bound of a float output; 0 for a fused ReLU. */
  readonly floor?: number;
  /** Distance of output images in elements, when they are not dense. */
  readonly outputStride?: number;
  /** Compute only this share of the output rows, for callers that divide the work. The whole unless given. */
  readonly share?: { readonly index: number; readonly count: number };
}

/** Shares of the work are whole tiles of both kernels. */
const SHARE_ROWS = 12;

/**
 * Runs a convolution between addresses of the engine's memory, unsigned bytes in and out: what {@link qConv} does between its
 * copies, for callers that keep activations in an arena. The panels must be up to date (`packed.prepare`).
 *
 * @param input staged as {@link stagedLayout} says; pointwise geometries need no staging beyond 16 readable bytes behind.
 * @param output `[batch][pixels][outChannels]` bytes, or floats for a float output.
 * @throws KernelError for a float output of depthwise weights.
 */
export function runConv(
  packed: PackedConvWeights,
  layout: StagedLayout,
  geometry: ConvGeometry,
  input: number,
  output: number,
  options: RunConvOptions,
): void {
  const { depthwise } = packed.format;
  if (depthwise && !options.epilogue) throw floatDepthwise();
  const table = tableFor(packed, layout);
  const imagePixels = product(geometry.outputSize);
  const { outputStride = imagePixels * packed.outChannels } = options;
  // Without a table dense images are one matrix.
  const oneRun = table === 0 && outputStride === imagePixels * packed.outChannels;
  const runs = oneRun ? 1 : geometry.batch;
  const rows = oneRun ? geometry.batch * imagePixels : imagePixels;
  const { index, count } = options.share ?? { index: 0, count: 1 };
  const perShare = Math.ceil(rows / count / SHARE_ROWS) * SHARE_ROWS;
  const begin = Math.min(rows, index * perShare);
  const end = Math.min(rows, begin + perShare);
  if (begin === end) return;
  const run = depthwise ? runDepthwise : runPanels;
  for (let b = 0; b < runs; b++) {
    const to = output + b * outputStride * (options.epilogue ? 1 : 4);
    run(packed, table, input + b * layout.imageStride, to, begin, end, options);
  }
}

function runDepthwise(
  packed: PackedConvWeights,
  table: number,
  from: number,
  to: number,
  begin: number,
  end: number,
  options: RunConvOptions,
): void {
  const { kernels } = packed.engine;
  const { weightType, slots } = packed.format;
  const { zeroPoint, min, max } = options.epilogue!;
  const run = weightType === 's16' ? kernels.qu8s16_depthwise_u8 : kernels.qu8s8_depthwise_u8;
  const n = packed.outChannels;
  run(from, table, slots, n, begin, end, packed.ptr, to, n, zeroPoint, min, max);
}

function runPanels(
  packed: PackedConvWeights,
  table: number,
  from: number,
  to: number,
  begin: number,
  end: number,
  options: RunConvOptions,
): void {
  const { kernels } = packed.engine;
  const { slots, tapChannels, panelGroups, panelsPerGroup, panelBytes, columns } = packed.format;
  const { outChannels, inChannels } = packed;
  const { epilogue, floatBias = 0, floor = Number.NEGATIVE_INFINITY } = options;
  const perGroup = outChannels / panelGroups;
  for (let g = 0; g < panelGroups; g++) {
    const x = from + g * packed.inChannelsPerGroup;
    const panels = packed.ptr + g * panelsPerGroup * panelBytes;
    const y = to + g * perGroup * (epilogue ? 1 : 4);
    const sources = [x, inChannels, table, slots, tapChannels, begin, end, panels, perGroup] as const;
    if (epilogue) {
      const run = kernels[bytesKernel(packed.format, false)];
      run(...sources, y, outChannels, epilogue.zeroPoint, epilogue.min, epilogue.max);
    } else {
      const run = kernels[floatsKernel(packed.format)];
      run(...sources, y, outChannels, floatBias + g * panelsPerGroup * columns * 4, floor);
    }
  }
}

function floatDepthwise(): KernelError {
  return new KernelError({
    fn: 'qConvFloat',
    argument: 'packed',
    expected: 'weights that are not depthwise',
    got: 'a depthwise convolution, which has no float epilogue',
    fix: 'Quantize its output and dequantize it.',
  });
}

/**
 * Convolution, linear layer or matrix product of quantized activations with packed weights, requantized, clamped and of the
 * input's dtype: `y = clamp(nearbyint((Σ(x − zx)(w − zw) + bias) · sx·sw/sy) + zy, min, max)` in QNNPACK's arithmetic.
 *
 * @param packed from `packConvWeights`, after `setQuantization` with an output.
 * @param input channels-last `[batch][...inputSize][inChannels]`; `Uint8Array` is quint8, `Int8Array` qint8.
 * @param geometry sizes; `linearGeometry(rows)` for a linear layer.
 * @param epilogue zero point and clamp of the output, in the input's dtype.
 * @returns channels-last `[batch][...outputSize][outChannels]`.
 * @throws ShapeError when sizes do not fit together, KernelError for weights without parameters or freed ones.
 * @example
 * const y = qConv(packed, x, convGeometry({ batch: 1, inputSize: [56, 56], kernel: [3, 3], stride: [1, 1], padding: [1, 1], dilation: [1, 1] }),
 *   { zeroPoint: 3, min: 3, max: 255 });
 */
export function qConv<T extends Uint8Array | Int8Array>(
  packed: PackedConvWeights,
  input: T,
  geometry: ConvGeometry,
  epilogue: QuantizedEpilogue,
): T {
  const fn = 'qConv';
  checkInput(fn, packed, input, geometry);
  const signed = isSigned(input);
  const { engine } = packed;
  const { inputZeroPoint, floatBias } = packed.prepare(fn, signed);
  if (floatBias) throw wrongOutput(fn, 'a quantized output', 'parameters for a float output (output: null)');
  const unsigned = unsignedEpilogue(fn, epilogue, signed);
  const layout = stagedLayout(packed, geometry);
  const outputBytes = geometry.batch * product(geometry.outputSize) * packed.outChannels;
  tableFor(packed, layout);
  return engine.scratch((take) => {
    const from = take(stagedBytes(layout, geometry.batch));
    const to = take(outputBytes);
    stageConvInput(packed, input, layout, geometry.batch, from, inputZeroPoint);
    runConv(packed, layout, geometry, from, to, { epilogue: unsigned });
    if (signed) flipSignInPlace(engine, to, outputBytes);
    const heap = signed ? engine.heap.i8 : engine.heap.u8;
    return heap.slice(to, to + outputBytes) as T;
  });
}

/**
 * The same with a float32 result, for weights set up with `output: null`: `y = Σ(x − zx)(w − zw) · sx·sw + bias`.
 *
 * @throws KernelError for depthwise weights, which have no float epilogue.
 */
export function qConvFloat(
  packed: PackedConvWeights,
  input: Uint8Array | Int8Array,
  geometry: ConvGeometry,
): Float32Array<ArrayBuffer> {
  const fn = 'qConvFloat';
  checkInput(fn, packed, input, geometry);
  const { engine } = packed;
  const { inputZeroPoint, floatBias } = packed.prepare(fn, isSigned(input));
  if (!floatBias) throw wrongOutput(fn, 'a float output (output: null)', 'parameters for a quantized output');
  const layout = stagedLayout(packed, geometry);
  const length = geometry.batch * product(geometry.outputSize) * packed.outChannels;
  tableFor(packed, layout);
  return engine.scratch((take) => {
    const from = take(stagedBytes(layout, geometry.batch));
    const to = take(4 * length);
    stageConvInput(packed, input, layout, geometry.batch, from, inputZeroPoint);
    runConv(packed, layout, geometry, from, to, { epilogue: null, floatBias });
    return engine.heap.f32.slice(to >> 2, (to >> 2) + length);
  });
}

function wrongOutput(fn: string, expected: string, got: string): KernelError {
  return new KernelError({ fn, argument: 'packed', expected: `setQuantization for ${expected}`, got });
}

function checkInput(
  fn: string,
  packed: PackedConvWeights,
  input: Uint8Array | Int8Array,
  geometry: ConvGeometry,
): void {
  if (!(input instanceof Uint8Array || input instanceof Int8Array)) {
    throw new DTypeError({ fn, argument: 'input', expected: 'a Uint8Array or Int8Array', got: typeof input });
  }
  checkGeometry(fn, geometry);
  const taps = product(geometry.kernel);
  if (taps !== packed.taps) {
    throw new ShapeError({
      fn,
      argument: 'geometry.kernel',
      expected: `${packed.taps} taps`,
      got: `[${geometry.kernel}]`,
    });
  }
  const { mergedTaps } = packed.format;
  if (mergedTaps > 1 && (geometry.kernel.at(-1) !== mergedTaps || geometry.dilation.at(-1) !== 1)) {
    throw new ShapeError({
      fn,
      argument: 'geometry',
      expected: `an innermost kernel size of ${mergedTaps} with dilation 1, as packed (contiguousTaps)`,
      got: `kernel [${geometry.kernel}] with dilation [${geometry.dilation}]`,
    });
  }
  const length = geometry.batch * product(geometry.inputSize) * packed.inChannels;
  if (input.length !== length) {
    throw new ShapeError({
      fn,
      argument: 'input',
      expected: `${geometry.batch} × [${geometry.inputSize}] × ${packed.inChannels} = ${length} elements`,
      got: `${input.length}`,
    });
  }
}
