import type { Heap } from '../engine.ts';

/** Panels of the 3×3 depthwise kernels, which read their input without a table. */
export interface Depthwise3x3Format {
  readonly channels: number;
  /** Channels of a panel. */
  readonly columns: 8 | 32;
  /** Output rows that a kernel computes at once, each with its own arrangement of the weights. */
  readonly rows: 1 | 2;
  readonly panelBytes: number;
  readonly panels: number;
}

/**
 * The format for these channels.
 *
 * @param wide for `qu8s8_depthwise3x3x32_u8` and its twin for stride 2, where {@link fitsWide}; otherwise for `qu8s8_depthwise3x3_u8`.
 */
export function depthwise3x3Format(channels: number, stride: number, wide: boolean): Depthwise3x3Format {
  const columns = wide ? 32 : 8;
  const rows = wide && stride === 2 ? 1 : 2;
  // Bias and scale of four bytes each, and three columns of four.
  const panelBytes = columns * 4 * (2 + 3 * rows);
  return { channels, columns, rows, panelBytes, panels: Math.ceil(channels / columns) };
}

/** Bytes of all panels. */
export function depthwise3x3Bytes({ panels, panelBytes }: Depthwise3x3Format): number {
  return panels * panelBytes;
}

/** What is written into panels, per channel: `weight` is [channels][3][3], `biases` are without the input's zero point. */
export interface Depthwise3x3Weights {
  readonly weight: Int8Array;
  readonly biases: Int32Array;
  readonly scales: Float32Array;
}

/** Rounding and the zero point may take a product this far from the ends of 16 bits. */
const LARGEST_INTEGER = 2 ** 15 - 512;

/** Whether the kernels for 32 channels at a time can take these: none of their requantized sums leaves 16 bits. */
export function fitsWide({ weight, biases, scales }: Depthwise3x3Weights): boolean {
  if (biases.length < 32) return false;
  return biases.every((bias, c) => {
    let low = bias;
    let high = bias;
    for (let i = 9 * c; i < 9 * c + 9; i++) {
      if (weight[i] < 0) low += 255 * weight[i];
      else high += 255 * weight[i];
    }
    return scales[c] * Math.max(-low, high) < LARGEST_INTEGER;
  });
}

/**
 * Writes panels: `[int32 bias][weights][float32 scale]` for the columns of each. Four bytes hold the taps of a channel in one column,
 * from the first byte on for the upper of two output rows and from the second for the lower. 32 channels stand in the order
 * 0, 4, 8, …, 1, 5, …, and the last panel ends with the last channel.
 */
export function writeDepthwise3x3(
  heap: Heap,
  ptr: number,
  format: Depthwise3x3Format,
  { weight, biases, scales }: Depthwise3x3Weights,
): void {
  const { channels, columns, rows, panelBytes, panels } = format;
  const { u8, i8, i32, f32 } = heap;
  u8.fill(0, ptr, ptr + depthwise3x3Bytes(format));
  for (let p = 0; p < panels; p++) {
    const panel = ptr + p * panelBytes;
    const first = columns === 32 ? Math.min(p * columns, channels - columns) : p * columns;
    for (let i = 0; i < columns && first + i < channels; i++) {
      const c = first + i;
      const place = 4 * (columns === 32 ? (i & 3) * 8 + (i >> 2) : i);
      i32[(panel + place) >> 2] = biases[c];
      f32[(panel + panelBytes - 4 * columns + place) >> 2] = scales[c];
      for (let row = 0; row < rows; row++) {
        const start = panel + (1 + 3 * row) * 4 * columns + place + row;
        for (let tap = 0; tap < 9; tap++) {
          i8[start + (tap % 3) * 4 * columns + Math.floor(tap / 3)] = weight[9 * c + tap];
        }
      }
    }
  }
}
