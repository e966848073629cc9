import { tile_1x16, tile_6x16, tile_8x8 } from "./qu8s8_tile16";

// The kernels of qu8_conv.ts for panels of 16 channels.

/** Rows between two walks over all panels: their activations stay in the second-level cache. The last walk takes up to half as many more. */
const BLOCK: i32 = 192;

// @ts-ignore: decorator
@inline
function convolve<T>(
  input: usize, rowStride: usize, table: usize, taps: i32, channels: i32, rowBegin: i32, rowEnd: i32,
  panels: usize, outChannels: i32, out: usize, outStride: usize, zeroPoint: i32, min: i32, max: i32, floatBias: usize, floor: f32,
): void {
  const panelBytes: usize = 128 + <usize>taps * ((channels + 3) >> 2) * 64;
  for (let block = rowBegin, blockEnd = block; block < rowEnd; block = blockEnd) {
    blockEnd = block + BLOCK + BLOCK / 2 < rowEnd ? block + BLOCK : rowEnd;
    let panel = panels;
    for (let n = 0; n < outChannels; n += 16) {
      const to = out + (isFloat<T>() ? <usize>n << 2 : <usize>n), bias = floatBias + (<usize>n << 2), left = outChannels - n;
      
      let row = block;
      if (left > 8) {
        row = tile_6x16<T>(input, rowStride, table, taps, channels, row, blockEnd, panel, to, outStride, left, zeroPoint, min, max, bias, floor);
      } else {
        row = tile_8x8<T>(input, rowStride, table, taps, channels, row, blockEnd, panel, to, outStride, left, zeroPoint, min, max, bias, floor);
      }
      for (; row < blockEnd; row++) {
        tile_1x16<T>(input, rowStride, table, taps, channels, row, panel, to, outStride, left, zeroPoint, min, max, bias, floor);
      }
      panel += panelBytes;
    }
  }
}

/**
 * `qu8s8_conv_u8` on panels of 16 output channels each: i32 bias[16], s8 weights[taps][ceil(channels / 4)][16][4], f32 scale[16].
 */
export function qu8s8x16_conv_u8(
  input: usize, rowStride: usize, table: usize, taps: i32, channels: i32, rowBegin: i32, rowEnd: i32,
  panels: usize, outChannels: i32, out: usize, outStride: usize, zeroPoint: i32, min: i32, max: i32,
): void {
  convolve<u8>(input, rowStride, table, taps, channels, rowBegin, rowEnd, panels, outChannels, out, outStride, zeroPoint, min, max, 0, 0);
}

/** {@link qu8s8x16_conv_u8} for panels that keep every `acc * scale` above -1.2e7: a cheaper epilogue gives the same result. */
export function qu8s8x16_conv_u8_bounded(
  input: usize, rowStride: usize, table: usize, taps: i32, channels: i32, rowBegin: i32, rowEnd: i32,
  panels: usize, outChannels: i32, out: usize, outStride: usize, zeroPoint: i32, min: i32, max: i32,
): void {
  convolve<i8>(input, rowStride, table, taps, channels, rowBegin, rowEnd, panels, outChannels, out, outStride, zeroPoint, min, max, 0, 0);
}

/**
 * The same with a float result: max(acc * scale + floatBias[channel], floor). `floatBias` is padded to a multiple of 16 channels and
 * `outStride` counts floats.
 */
export function qu8s8x16_conv_f32(
  input: usize, rowStride: usize, table: usize, taps: i32, channels: i32, rowBegin: i32, rowEnd: i32,
  panels: usize, outChannels: i32, out: usize, outStride: usize, floatBias: usize, floor: f32,
): void {
  convolve<f32>(input, rowStride, table, taps, channels, rowBegin, rowEnd, panels, outChannels, out, outStride, 0, 0, 0, floatBias, floor);
}
