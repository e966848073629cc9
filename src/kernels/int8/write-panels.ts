import { ArgumentError } from '../../core/errors.ts';
import { roundHalfEven } from '../../core/math.ts';
import type { Engine, Heap } from '../engine.ts';
import type { ConvQuantization, ConvWeights } from './pack.ts';
import { type PanelFormat, paddedChannel, panelsBytes } from './panel-format.ts';

/**
 * Writes weights as panels to an address: everything but the headers, which are left zero.
 *
 * @returns Σ(w − zero point) per output channel, what an input zero point of one adds to an accumulator.
 */
export function writePanels(
  engine: Engine,
  ptr: number,
  format: PanelFormat,
  weights: ConvWeights,
): Int32Array {
  return (format.depthwise ? writeDepthwisePanels : writeProductPanels)(engine, ptr, format, weights);
}

/** Where the weight of channel k in slot t stands within its row, at `[t * tapChannels + k]`. */
function rowOffsets({ tapChannels, mergedTaps }: PanelFormat, weights: ConvWeights): Int32Array {
  const { taps, inChannelsPerGroup: channels, channelsFirst = false } = weights;
  const offsets = new Int32Array(taps * channels);
  if (!channelsFirst) return offsets.map((_, i) => i);
  for (let i = 0; i < offsets.length; i++) {
    const k = i % tapChannels;
    const tap = Math.floor(i / tapChannels) * mergedTaps + Math.floor(k / channels);
    offsets[i] = (k % channels) * taps + tap;
  }
  return offsets;
}

/** Panels of the convolution kernels, a group at a time. */
function writeProductPanels(
  engine: Engine,
  ptr: number,
  format: PanelFormat,
  weights: ConvWeights,
): Int32Array {
  const { weight, outChannels, weightZeroPoints } = weights;
  const { weightType, slots, tapChannels, panelGroups, panelsPerGroup, panelBytes, columns } = format;
  const { s8_pack_panels, s16_pack_panels } = engine.kernels;
  const pack = weightType === 's8' ? s8_pack_panels : s16_pack_panels;
  const offsets = rowOffsets(format, weights);
  const rows = outChannels / panelGroups;
  const flip = weight instanceof Int8Array ? 128 : 0;
  return engine.scratch((take) => {
    const from = take(weight.length);
    const [places, zeroPoints, sums] = [
      take(4 * offsets.length),
      take(4 * outChannels),
      take(4 * outChannels),
    ];
    const { heap } = engine;
    (flip ? heap.i8 : heap.u8).set(weight, from);
    heap.i32.set(offsets, places >> 2);
    heap.i32.set(Int32Array.from(weightZeroPoints), zeroPoints >> 2);
    for (let g = 0; g < panelGroups; g++) {
      const first = g * rows;
      pack(
        0,
        panelsPerGroup,
        from + first * offsets.length,
        offsets.length,
        places,
        slots,
        tapChannels,
        flip,
        zeroPoints + 4 * first,
        rows,
        ptr + g * panelsPerGroup * panelBytes,
        panelBytes,
        columns,
        sums + 4 * first,
      );
    }
    return heap.i32.slice(sums >> 2, (sums >> 2) + outChannels);
  });
}

/** Panels of the depthwise kernels that read through a table; one input channel a row. */
function writeDepthwisePanels(
  { heap }: Engine,
  ptr: number,
  format: PanelFormat,
  weights: ConvWeights,
): Int32Array {
  const { weight, outChannels, taps, weightZeroPoints } = weights;
  const { columns, panelBytes, step } = format;
  heap.u8.fill(0, ptr, ptr + panelsBytes(format));
  const sums = new Int32Array(outChannels);
  const wide = format.weightType === 's16';
  const memory = wide ? heap.i16 : heap.i8;
  for (let c = 0; c < outChannels; c++) {
    const start = ptr + Math.floor(c / columns) * panelBytes + 4 * columns;
    for (let tap = 0; tap < taps; tap++) {
      const value = weight[c * taps + tap] - weightZeroPoints[c];
      const place = (Math.floor(tap / step) * columns + (c % columns)) * step + (tap % step);
      memory[(wide ? start >> 1 : start) + place] = value;
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

/** Products of sums and scales that the cheaper epilogues still round right. */
const LARGEST_PRODUCT = 1.2e7;

/** Whether no sum over `rowLength` weights, whatever they and the activations are, leaves what the cheaper epilogues round right. */
export function isBounded(
  rowLength: number,
  { biases, scales }: { readonly biases: Int32Array; readonly scales: Float32Array },
): boolean {
  // The sum itself, and the input's zero point times the weights.
  const reach = 2 * 255 * 128 * rowLength;
  return (
    reach < 2 ** 30 && scales.every((scale, c) => scale * (reach + Math.abs(biases[c])) < LARGEST_PRODUCT)
  );
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
