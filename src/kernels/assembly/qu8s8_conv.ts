import { bias_bits, low_bits, requantize_lanes, store_f32_lanes, store_u8_half } from "./requantize";

// u8 activations × s8 weights with the relaxed 8-bit dot product: 6 rows × 8 channels, 4 k per step ("6x8c4").
// 12 accumulators, two weight vectors and one broadcast activation are all of V8's 15 vector registers; loading the
// weights first and each row just before its use is what keeps them there.

/** Rows between two walks over all panels: their activations stay in the second-level cache. */
const BLOCK: i32 = 96;

// Engines without an exact 8-bit dot product never pack panels of this kind; the baseline copy only has to exist.
// @ts-ignore: decorator
@inline
function dot(w: v128, x: v128, acc: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i32x4.relaxed_dot_i8x16_i7x16_add_s(w, x, acc);
  return unreachable();
}

/** 6 rows × 8 channels; rows past `last` repeat it, and store the same values again. */
function tile_6x8<T>(
  input: usize, rowStride: usize, table: usize, taps: i32, channels: i32, r0: i32, last: i32,
  panel: usize, out: usize, outStride: usize, n: i32, zeroPoint: i32, min: i32, max: i32, floatBias: usize, floor: f32,
): void {
  const r1 = r0 + 1 < last ? r0 + 1 : last;
  const r2 = r0 + 2 < last ? r0 + 2 : last;
  const r3 = r0 + 3 < last ? r0 + 3 : last;
  const r4 = r0 + 4 < last ? r0 + 4 : last;
  const r5 = r0 + 5 < last ? r0 + 5 : last;
  let c00 = v128.load(panel), c01 = v128.load(panel, 16);
  let c10 = c00, c11 = c01, c20 = c00, c21 = c01, c30 = c00, c31 = c01, c40 = c00, c41 = c01, c50 = c00, c51 = c01;
  let p = panel + 32;
  for (let t = 0; t < taps; t++) {
    let a0: usize, a1: usize, a2: usize, a3: usize, a4: usize, a5: usize;
    if (table) {
      const entry = table + (t << 2), stride = <usize>taps << 2;
      a0 = input + load<u32>(entry + <usize>r0 * stride);
      a1 = input + load<u32>(entry + <usize>r1 * stride);
      a2 = input + load<u32>(entry + <usize>r2 * stride);
      a3 = input + load<u32>(entry + <usize>r3 * stride);
      a4 = input + load<u32>(entry + <usize>r4 * stride);
      a5 = input + load<u32>(entry + <usize>r5 * stride);
    } else {
      a0 = input + <usize>r0 * rowStride;
      a1 = input + <usize>r1 * rowStride;
      a2 = input + <usize>r2 * rowStride;
      a3 = input + <usize>r3 * rowStride;
      a4 = input + <usize>r4 * rowStride;
      a5 = input + <usize>r5 * rowStride;
    }
    for (let k = channels; k > 0; k -= 4) {
      const b0 = v128.load(p), b1 = v128.load(p, 16);
      p += 32;
      let a = v128.load32_splat(a0);
      a0 += 4;
      c00 = dot(b0, a, c00);
      c01 = dot(b1, a, c01);
      a = v128.load32_splat(a1);
      a1 += 4;
      c10 = dot(b0, a, c10);
      c11 = dot(b1, a, c11);
      a = v128.load32_splat(a2);
      a2 += 4;
      c20 = dot(b0, a, c20);
      c21 = dot(b1, a, c21);
      a = v128.load32_splat(a3);
      a3 += 4;
      c30 = dot(b0, a, c30);
      c31 = dot(b1, a, c31);
      a = v128.load32_splat(a4);
      a4 += 4;
      c40 = dot(b0, a, c40);
      c41 = dot(b1, a, c41);
      a = v128.load32_splat(a5);
      a5 += 4;
      c50 = dot(b0, a, c50);
      c51 = dot(b1, a, c51);
    }
  }
  const s0 = v128.load(p), s1 = v128.load(p, 16);
  if (isFloat<T>()) {
    const f0 = v128.load(floatBias), f1 = v128.load(floatBias, 16), least = f32x4.splat(floor);
    store_f32_lanes(out + (<usize>r0 * outStride << 2), scaled(c00, s0, f0, least), scaled(c01, s1, f1, least), n);
    store_f32_lanes(out + (<usize>r1 * outStride << 2), scaled(c10, s0, f0, least), scaled(c11, s1, f1, least), n);
    store_f32_lanes(out + (<usize>r2 * outStride << 2), scaled(c20, s0, f0, least), scaled(c21, s1, f1, least), n);
    store_f32_lanes(out + (<usize>r3 * outStride << 2), scaled(c30, s0, f0, least), scaled(c31, s1, f1, least), n);
    store_f32_lanes(out + (<usize>r4 * outStride << 2), scaled(c40, s0, f0, least), scaled(c41, s1, f1, least), n);
    store_f32_lanes(out + (<usize>r5 * outStride << 2), scaled(c50, s0, f0, least), scaled(c51, s1, f1, least), n);
  } else {
    const low = low_bits(min, zeroPoint), bias = bias_bits(zeroPoint), high = i8x16.splat(<i8>max);
    let x = i16x8.narrow_i32x4_s(requantize_lanes(c00, s0, low, bias), requantize_lanes(c01, s1, low, bias));
    let y = i16x8.narrow_i32x4_s(requantize_lanes(c10, s0, low, bias), requantize_lanes(c11, s1, low, bias));
    x = i8x16.min_u(i8x16.narrow_i16x8_u(x, y), high);
    store_u8_half(out + <usize>r0 * outStride, x, 0, n);
    store_u8_half(out + <usize>r1 * outStride, x, 1, n);
    x = i16x8.narrow_i32x4_s(requantize_lanes(c20, s0, low, bias), requantize_lanes(c21, s1, low, bias));
    y = i16x8.narrow_i32x4_s(requantize_lanes(c30, s0, low, bias), requantize_lanes(c31, s1, low, bias));
    x = i8x16.min_u(i8x16.narrow_i16x8_u(x, y), high);
    store_u8_half(out + <usize>r2 * outStride, x, 0, n);
    store_u8_half(out + <usize>r3 * outStride, x, 1, n);
    x = i16x8.narrow_i32x4_s(requantize_lanes(c40, s0, low, bias), requantize_lanes(c41, s1, low, bias));
    y = i16x8.narrow_i32x4_s(requantize_lanes(c50, s0, low, bias), requantize_lanes(c51, s1, low, bias));
    x = i8x16.min_u(i8x16.narrow_i16x8_u(x, y), high);
    store_u8_half(out + <usize>r4 * outStride, x, 0, n);
    store_u8_half(out + <usize>r5 * outStride, x, 1, n);
  }
}

/** One row × 8 channels, for matrix-vector products and the last rows: two k-steps at a time hide the latency of the sums. */
function tile_1x8<T>(
  input: usize, rowStride: usize, table: usize, taps: i32, channels: i32, row: i32,
  panel: usize, out: usize, outStride: usize, n: i32, zeroPoint: i32, min: i32, max: i32, floatBias: usize, floor: f32,
): void {
  let c0 = v128.load(panel), c1 = v128.load(panel, 16);
  let d0 = i32x4.splat(0), d1 = i32x4.splat(0);
  let p = panel + 32;
  for (let t = 0; t < taps; t++) {
    let q = table ? input + load<u32>(table + (<usize>(row * taps + t) << 2)) : input + <usize>row * rowStride;
    let k = channels;
    for (; k > 4; k -= 8) {
      let a = v128.load32_splat(q);
      c0 = dot(v128.load(p), a, c0);
      c1 = dot(v128.load(p, 16), a, c1);
      a = v128.load32_splat(q + 4);
      d0 = dot(v128.load(p, 32), a, d0);
      d1 = dot(v128.load(p, 48), a, d1);
      q += 8;
      p += 64;
    }
    if (k > 0) {
      const a = v128.load32_splat(q);
      c0 = dot(v128.load(p), a, c0);
      c1 = dot(v128.load(p, 16), a, c1);
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

/** max(f32(acc) * scale + bias, least), without fused multiply-add; NaN passes. */
// @ts-ignore: decorator
@inline
function scaled(acc: v128, scale: v128, bias: v128, least: v128): v128 {
  return f32x4.pmax(f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(acc), scale), bias), least);
}

// @ts-ignore: decorator
@inline
function convolve<T>(
  input: usize, rowStride: usize, table: usize, taps: i32, channels: i32, rowBegin: i32, rowEnd: i32,
  panels: usize, outChannels: i32, out: usize, outStride: usize, zeroPoint: i32, min: i32, max: i32, floatBias: usize, floor: f32,
): void {
  const panelBytes: usize = 64 + <usize>taps * ((channels + 3) >> 2) * 32;
  for (let block = rowBegin; block < rowEnd; block += BLOCK) {
    const blockEnd = block + BLOCK < rowEnd ? block + BLOCK : rowEnd;
    let panel = panels;
    for (let n = 0; n < outChannels; n += 8) {
      const to = out + (isFloat<T>() ? <usize>n << 2 : <usize>n), bias = floatBias + (<usize>n << 2), left = outChannels - n;
      let row = block;
      for (; row + 2 < blockEnd; row += 6) {
        tile_6x8<T>(input, rowStride, table, taps, channels, row, blockEnd - 1, panel, to, outStride, left, zeroPoint, min, max, bias, floor);
      }
      for (; row < blockEnd; row++) {
        tile_1x8<T>(input, rowStride, table, taps, channels, row, panel, to, outStride, left, zeroPoint, min, max, bias, floor);
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
  convolve<u8>(input, rowStride, table, taps, channels, rowBegin, rowEnd, panels, outChannels, out, outStride, zeroPoint, min, max, 0, 0);
}

/**
 * The same with a float result: max(acc * scale + floatBias[channel], floor). `floatBias` is padded to a multiple of 8 channels and
 * `outStride` counts floats.
 */
export function qu8s8_conv_f32(
  input: usize, rowStride: usize, table: usize, taps: i32, channels: i32, rowBegin: i32, rowEnd: i32,
  panels: usize, outChannels: i32, out: usize, outStride: usize, floatBias: usize, floor: f32,
): void {
  convolve<f32>(input, rowStride, table, taps, channels, rowBegin, rowEnd, panels, outChannels, out, outStride, 0, 0, 0, floatBias, floor);
}
