import { TOUCH_ROWS, touch } from "./panel";
import { dot_s16, pair, tile_4x8 } from "./qu8s16_tile";
import { dot_s8, tile_6x8 } from "./qu8s8_tile";
import { bias_bits, low_bits, requantize_lanes, scaled, store_f32_lanes, store_u8_half } from "./requantize";

// Convolution and matrix product of u8 activations. W is the type of the packed weights: i8 for the relaxed 8-bit dot
// product, i16 for the plain one (weights minus their zero point). T is the type of the result: u8 or f32.

/** Rows between two walks over all panels: their activations stay in the second-level cache. The last walk takes up to half as many more. */
const BLOCK: i32 = 96;

/** Activations a dot product takes at a time. */
// @ts-ignore: decorator
@inline
function steps<W>(): i32 {
  return sizeof<W>() == 1 ? 4 : 2;
}

/** The next activations of a row, repeated for four channels. */
// @ts-ignore: decorator
@inline
function activations<W>(p: usize): v128 {
  return sizeof<W>() == 1 ? v128.load32_splat(p) : pair(p);
}

// @ts-ignore: decorator
@inline
function dot<W>(w: v128, x: v128, acc: v128): v128 {
  return sizeof<W>() == 1 ? dot_s8(w, x, acc) : dot_s16(w, x, acc);
}

/** One row × 8 channels, for matrix-vector products and the last rows: two k-steps at a time hide the latency of the sums. */
function tile_1x8<W, T>(
  input: usize, rowStride: usize, table: usize, taps: i32, channels: i32, row: i32,
  panel: usize, out: usize, outStride: usize, n: i32, zeroPoint: i32, min: i32, max: i32, floatBias: usize, floor: f32,
): void {
  let c0 = v128.load(panel), c1 = v128.load(panel, 16);
  let d0 = i32x4.splat(0), d1 = i32x4.splat(0);
  const step: i32 = steps<W>();
  let p = panel + 32;
  for (let t = 0; t < taps; t++) {
    let q = table ? input + load<u32>(table + (<usize>(row * taps + t) << 2)) : input + <usize>row * rowStride;
    let k = channels;
    for (; k > step; k -= 2 * step) {
      let a = activations<W>(q);
      c0 = dot<W>(v128.load(p), a, c0);
      c1 = dot<W>(v128.load(p, 16), a, c1);
      a = activations<W>(q + step);
      d0 = dot<W>(v128.load(p, 32), a, d0);
      d1 = dot<W>(v128.load(p, 48), a, d1);
      q += 2 * step;
      p += 64;
    }
    if (k > 0) {
      const a = activations<W>(q);
      c0 = dot<W>(v128.load(p), a, c0);
      c1 = dot<W>(v128.load(p, 16), a, c1);
      p += 32;
    }
  }
  c0 = i32x4.add(c0, d0);
  c1 = i32x4.add(c1, d1);
  const s0 = v128.load(p), s1 = v128.load(p, 16);
  if (isFloat<T>()) {
    const least = f32x4.splat(floor);
    store_f32_lanes(out + (<usize>row * outStride << 2), scaled(c0, s0, v128.load(floatBias), least), scaled(c1, s1, v128.load(floatBias, 16), least), n);
  } else {
    const low = low_bits(min, zeroPoint), bias = bias_bits(zeroPoint);
    const x = i16x8.narrow_i32x4_s(requantize_lanes(c0, s0, low, bias), requantize_lanes(c1, s1, low, bias));
    store_u8_half(out + <usize>row * outStride, i8x16.min_u(i8x16.narrow_i16x8_u(x, x), i8x16.splat(<i8>max)), 0, n);
  }
}

// @ts-ignore: decorator
@inline
function convolve<W, T>(
  input: usize, rowStride: usize, table: usize, taps: i32, channels: i32, rowBegin: i32, rowEnd: i32,
  panels: usize, outChannels: i32, out: usize, outStride: usize, zeroPoint: i32, min: i32, max: i32, floatBias: usize, floor: f32,
): void {
  const panelBytes: usize = 64 + <usize>taps * ((channels + steps<W>() - 1) / steps<W>()) * 32;
  for (let block = rowBegin, blockEnd = block; block < rowEnd; block = blockEnd) {
    blockEnd = block + BLOCK + BLOCK / 2 < rowEnd ? block + BLOCK : rowEnd;
    let panel = panels;
    for (let n = 0; n < outChannels; n += 8) {
      const to = out + (isFloat<T>() ? <usize>n << 2 : <usize>n), bias = floatBias + (<usize>n << 2), left = outChannels - n;
      let row = block;
      if (left > 8 && blockEnd - block > TOUCH_ROWS) touch(panel + panelBytes, panelBytes);
      if (sizeof<W>() == 1) {
        row = tile_6x8<T>(input, rowStride, table, taps, channels, row, blockEnd, panel, to, outStride, left, zeroPoint, min, max, bias, floor);
      } else {
        row = tile_4x8<T>(input, rowStride, table, taps, channels, row, blockEnd, panel, to, outStride, left, zeroPoint, min, max, bias, floor);
      }
      for (; row < blockEnd; row++) {
        tile_1x8<W, T>(input, rowStride, table, taps, channels, row, panel, to, outStride, left, zeroPoint, min, max, bias, floor);
      }
      panel += panelBytes;
    }
  }
}

/**
 * Convolution (or matrix product) of output rows [rowBegin, rowEnd), u8 in and out.
 *
 * Row r, tap t reads `channels` bytes at `input + table[r * taps + t]`, or at `input + r * rowStride` when `table` is 0
 * (then `taps` is 1). May read up to 3 bytes past a row: they meet zero weights. Panels hold 8 output channels each:
 * i32 bias[8], s8 weights[taps][ceil(channels / 4)][8][4], f32 scale[8]. Result: clamp(nearbyint(acc * scale) + zeroPoint, min, max).
 */
export function qu8s8_conv_u8(
  input: usize, rowStride: usize, table: usize, taps: i32, channels: i32, rowBegin: i32, rowEnd: i32,
  panels: usize, outChannels: i32, out: usize, outStride: usize, zeroPoint: i32, min: i32, max: i32,
): void {
  convolve<i8, u8>(input, rowStride, table, taps, channels, rowBegin, rowEnd, panels, outChannels, out, outStride, zeroPoint, min, max, 0, 0);
}

/** {@link qu8s8_conv_u8} for panels that keep every `acc * scale` above -1.2e7: a cheaper epilogue gives the same result. */
export function qu8s8_conv_u8_bounded(
  input: usize, rowStride: usize, table: usize, taps: i32, channels: i32, rowBegin: i32, rowEnd: i32,
  panels: usize, outChannels: i32, out: usize, outStride: usize, zeroPoint: i32, min: i32, max: i32,
): void {
  convolve<i8, i8>(input, rowStride, table, taps, channels, rowBegin, rowEnd, panels, outChannels, out, outStride, zeroPoint, min, max, 0, 0);
}

/**
 * The same with a float result: max(acc * scale + floatBias[channel], floor). `floatBias` is padded to a multiple of 8 channels and
 * `outStride` counts floats.
 */
export function qu8s8_conv_f32(
  input: usize, rowStride: usize, table: usize, taps: i32, channels: i32, rowBegin: i32, rowEnd: i32,
  panels: usize, outChannels: i32, out: usize, outStride: usize, floatBias: usize, floor: f32,
): void {
  convolve<i8, f32>(input, rowStride, table, taps, channels, rowBegin, rowEnd, panels, outChannels, out, outStride, 0, 0, 0, floatBias, floor);
}

/**
 * {@link qu8s8_conv_u8} on widened weights: rows may be read 1 byte past their end, and panels hold
 * i32 bias[8], i16 weights[taps][ceil(channels / 2)][8][2], f32 scale[8].
 */
export function qu8s16_conv_u8(
  input: usize, rowStride: usize, table: usize, taps: i32, channels: i32, rowBegin: i32, rowEnd: i32,
  panels: usize, outChannels: i32, out: usize, outStride: usize, zeroPoint: i32, min: i32, max: i32,
): void {
  convolve<i16, u8>(input, rowStride, table, taps, channels, rowBegin, rowEnd, panels, outChannels, out, outStride, zeroPoint, min, max, 0, 0);
}

/** {@link qu8s8_conv_f32} on widened weights. */
export function qu8s16_conv_f32(
  input: usize, rowStride: usize, table: usize, taps: i32, channels: i32, rowBegin: i32, rowEnd: i32,
  panels: usize, outChannels: i32, out: usize, outStride: usize, floatBias: usize, floor: f32,
): void {
  convolve<i16, f32>(input, rowStride, table, taps, channels, rowBegin, rowEnd, panels, outChannels, out, outStride, 0, 0, 0, floatBias, floor);
}
