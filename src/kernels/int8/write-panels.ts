import { ArgumentError } from '../../core/errors.ts';
import { roundHalfEven } from '../../core/math.ts';
import type { Heap } from '../engine.ts';
import type { ConvQuantization, ConvWeights } from './pack.ts';
import { type PanelFormat, paddedChannel, panelsBytes, weightIndex } from './panel-format.ts';

/**
 * Writes weights as panels to an address: everything but the headers, which are left zero.
 *
 * @returns Σ(w − zero point) per output channel, what an input zero point of one adds to an accumulator.
 */
export function writePanels(heap: Heap, ptr: number, format: PanelFormat, weights: ConvWeights): Int32Array {
  if (format.direct) return writeDirectPanels(heap, ptr, format, weights);
  const { weight, outChannels, taps, inChannelsPerGroup, weightZeroPoints } = weights;
  const { columns, panelBytes, tapChannels } = format;
  heap.u8.fill(0, ptr, ptr + panelsBytes(format));
  const sums = new Int32Array(outChannels);
  // Where each weight of a row goes is the same in every row but for its column.
  const rowLength = taps * inChannelsPerGroup;
  const offsets = new Int32Array(rowLength);
  const slots = rowLength / tapChannels;
  for (let slot = 0; slot < slots; slot++) {
    for (let k = 0; k < tapChannels; k++) offsets[slot * tapChannels + k] = weightIndex(format, 0, slot, k);
  }
  const wide = format.weightType === 's16';
  const memory = wide ? heap.i16 : heap.i8;
  for (let c = 0; c < outChannels; c++) {
    const padded = paddedChannel(format, outChannels, c);
    const start = ptr + Math.floor(padded / columns) * panelBytes + 4 * columns;
    const base = (wide ? start >> 1 : start) + (padded % columns) * format.step;
    const zeroPoint = weightZeroPoints[c];
    let sum = 0;
    for (let i = 0, from = c * rowLength; i < rowLength; i++, from++) {
      const value = weight[from] - zeroPoint;
      memory[base + offsets[i]] = value;
      sum += value;
    }
    sums[c] = sum;
  }
  return sums;
}

/** Panels of `qu8s8_depthwise3x3_u8`: a lane holds the taps of a column, from its first byte on or from its second. */
function writeDirectPanels(heap: Heap, ptr: number, format: PanelFormat, weights: ConvWeights): Int32Array {
  const { weight, outChannels } = weights;
  const { u8, i8 } = heap;
  u8.fill(0, ptr, ptr + panelsBytes(format));
  const sums = new Int32Array(outChannels);
  for (let c = 0; c < outChannels; c++) {
    const first = ptr + (c >> 3) * format.panelBytes + 32 + (c & 7) * 4;
    for (let tap = 0; tap < 9; tap++) {
      const value = weight[c * 9 + tap];
      const at = first + (tap % 3) * 32 + Math.floor(tap / 3);
      i8[at] = value;
      i8[at + 97] = value;
      sums[c] += value;
    }
  }
  return sums;
}

/** Writes the integer bias and the float scale of every output channel into its panel. */
export function writePanelHeaders(
  heap: Heap,
  ptr: number,
  format: PanelFormat,
  biases: Int32Array,
  scales: Float32Array,
): void {
  const { columns, panelBytes } = format;
  const { i32, f32 } = heap;
  for (let c = 0; c < biases.length; c++) {
    const padded = paddedChannel(format, biases.length, c);
    const panel = ptr + Math.floor(padded / columns) * panelBytes;
    i32[(panel >> 2) + (padded % columns)] = biases[c];
    f32[((panel + panelBytes) >> 2) - columns + (padded % columns)] = scales[c];
  }
}

/**
 * What a panel's header holds, but for the input's zero point: the integer bias is `nearbyint(bias · (1 / (inputScale ·
 * weightScale)))`, clamped to int32 (0 for a float output), the scale `weightScale · inputScale · (1 / output.scale)`, every
 * step in float32. Source: PyTorch's `quantize_val` and, for qnnpack, `generate_requantization_scales`, whose products
 * with inverses a quotient would miss by a bit.
 *
 * @throws ArgumentError for scales that are not positive and finite.
 */
export function foldQuantization(
  fn: string,
  { bias, weightScales, output, ...input }: ConvQuantization,
): { readonly biases: Int32Array; readonly scales: Float32Array } {
  const inputScale = positiveScale(fn, 'inputScale', input.inputScale);
  const outputScale = output && positiveScale(fn, 'output.scale', output.scale);
  const n = weightScales.length;
  const biases = new Int32Array(n);
  const scales = new Float32Array(n);
  for (let c = 0; c < n; c++) {
    const accScale = Math.fround(positiveScale(fn, `weightScales[${c}]`, weightScales[c]) * inputScale);
    const rounded = bias && outputScale ? roundHalfEven(Math.fround(bias[c] * Math.fround(1 / accScale))) : 0;
    biases[c] = Math.min(Math.max(rounded, -(2 ** 31)), 2 ** 31 - 1);
    scales[c] = outputScale ? Math.fround(accScale * Math.fround(1 / outputScale)) : accScale;
  }
  return { biases, scales };
}

/** Biases from which the contribution of the input's zero point (0..255) is taken away. */
export function foldZeroPoint(biases: Int32Array, zeroPoint: number, weightSums: Int32Array): Int32Array {
  return biases.map((bias, c) => bias - Math.imul(zeroPoint, weightSums[c]));
}

/** A scale as float32. */
export function positiveScale(fn: string, argument: string, value: number): number {
  const scale = Math.fround(value);
  if (scale > 0 && scale < Number.POSITIVE_INFINITY) return scale;
  throw new ArgumentError({ fn, argument, expected: 'a positive finite float32', got: String(value) });
}
