import {
  clamped_parts, even_bytes_mask, even_words_mask, first_bytes_mask, floor, joined_parts, magic_float, raised_part, rise, unit_float,
} from "./bytes";
import { bias_bits, low_bits, quantize_lanes, requantize_lanes, round_lanes, store_u8_lanes } from "./requantize";

// Element-wise int8 kernels. They work on u8 only: signed data is the same bytes with the top bit flipped and the zero
// point raised by 128. Buffers are padded to 16 bytes by the caller, so reads run over the end; stores do not.

/** out[i] = x[i] ^ 0x80, which turns s8 into u8 with the zero point raised by 128, and back. `x` may be `out`. */
export function u8_flip_sign(x: usize, n: usize, out: usize): void {
  const flip = i8x16.splat(-128);
  const end = x + (n & ~15);
  for (; x < end; x += 16, out += 16) v128.store(out, v128.xor(v128.load(x), flip));
  if (n & 15) store_u8_lanes(out, v128.xor(v128.load(x), flip), <i32>(n & 15));
}

/** out[i] = clamp(nearbyint(x[i] * inverseScale) + zeroPoint, min, max); NaN gives min. */
export function qu8_quantize(x: usize, n: usize, inverseScale: f32, zeroPoint: i32, min: i32, max: i32, out: usize): void {
  const inverse = f32x4.splat(inverseScale), least = f32x4.splat(<f32>(min - zeroPoint));
  const low = low_bits(min, zeroPoint), bias = bias_bits(zeroPoint), high = i8x16.splat(<i8>max);
  for (let left = <i32>n; left > 0; left -= 16) {
    const a = i16x8.narrow_i32x4_s(quantize_lanes(x, inverse, least, low, bias), quantize_lanes(x + 16, inverse, least, low, bias));
    const b = i16x8.narrow_i32x4_s(quantize_lanes(x + 32, inverse, least, low, bias), quantize_lanes(x + 48, inverse, least, low, bias));
    store_u8_lanes(out, i8x16.min_u(i8x16.narrow_i16x8_u(a, b), high), left);
    x += 64;
    out += 16;
  }
}

/** (f32)(x - zeroPoint) * scale for four lanes of a widened half. */
// @ts-ignore: decorator
@inline
function dequantize_lanes(x: v128, zeroPoint: v128, scale: v128): v128 {
  return f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(x, zeroPoint)), scale);
}

/** out[i] = (x[i] - zeroPoint) * scale. `out` is padded to 16 floats. */
export function qu8_dequantize(x: usize, n: usize, scale: f32, zeroPoint: i32, out: usize): void {
  const s = f32x4.splat(scale), z = i32x4.splat(zeroPoint);
  for (let end = x + n; x < end; x += 16) {
    const v = v128.load(x);
    const lo = i16x8.extend_low_i8x16_u(v), hi = i16x8.extend_high_i8x16_u(v);
    v128.store(out, dequantize_lanes(i32x4.extend_low_i16x8_u(lo), z, s));
    v128.store(out, dequantize_lanes(i32x4.extend_high_i16x8_u(lo), z, s), 16);
    v128.store(out, dequantize_lanes(i32x4.extend_low_i16x8_u(hi), z, s), 32);
    v128.store(out, dequantize_lanes(i32x4.extend_high_i16x8_u(hi), z, s), 48);
    out += 64;
  }
}

/** 2^23, as much as parts of bytes are raised. */
const UNIT: f32 = 8388608.0;

/** Bits of a rounded float (see requantize.ts) whose integer is clamped. */
// @ts-ignore: decorator
@inline
function clamped_bits(x: v128, magic: v128, low: v128, high: v128): v128 {
  return i32x4.min_s(i32x4.max_s(f32x4.add(x, magic), low), high);
}

/** Part `k` of 16 bytes as numbers. `zero` is 2^23 more than their zero point. */
// @ts-ignore: decorator
@inline
function numbers(x: v128, k: i32, zero: v128, scale: v128, unit: v128, first: v128): v128 {
  return f32x4.mul(f32x4.sub(raised_part(x, k, unit, first), zero), scale);
}

// @ts-ignore: decorator
@inline
function sum_part(
  x: v128, y: v128, k: i32, za: v128, sa: v128, zb: v128, sb: v128, inverse: v128, unit: v128, first: v128, magic: v128, low: v128, high: v128,
): v128 {
  const sum = f32x4.add(numbers(x, k, za, sa, unit, first), numbers(y, k, zb, sb, unit, first));
  return clamped_bits(f32x4.mul(sum, inverse), magic, low, high);
}

// @ts-ignore: decorator
@inline
function sums(
  x: v128, y: v128, za: v128, sa: v128, zb: v128, sb: v128, inverse: v128, unit: v128, first: v128, magic: v128, low: v128, high: v128,
  bytes: v128, words: v128, back: v128,
): v128 {
  const s0 = sum_part(x, y, 0, za, sa, zb, sb, inverse, unit, first, magic, low, high);
  const s1 = sum_part(x, y, 1, za, sa, zb, sb, inverse, unit, first, magic, low, high);
  const s2 = sum_part(x, y, 2, za, sa, zb, sb, inverse, unit, first, magic, low, high);
  const s3 = sum_part(x, y, 3, za, sa, zb, sb, inverse, unit, first, magic, low, high);
  return i8x16.add(joined_parts(s0, s1, s2, s3, bytes, words), back);
}

/**
 * out[i] = clamp(nearbyint(((a[i] - aZero) * aScale + (b[i] - bZero) * bScale) * inverseScale) + zeroPoint, min, max), in
 * floats and without fused multiply-add.
 */
export function qu8_add(
  a: usize, b: usize, n: usize, aScale: f32, aZero: i32, bScale: f32, bZero: i32, inverseScale: f32,
  zeroPoint: i32, min: i32, max: i32, out: usize,
): void {
  const sa = f32x4.splat(aScale), za = f32x4.splat(UNIT + <f32>aZero), sb = f32x4.splat(bScale), zb = f32x4.splat(UNIT + <f32>bZero);
  const inverse = f32x4.splat(inverseScale), unit = unit_float(), first = first_bytes_mask(), magic = magic_float();
  const low = low_bits(min, zeroPoint), high = low_bits(max, zeroPoint), back = i8x16.splat(<i8>zeroPoint);
  const bytes = even_bytes_mask(), words = even_words_mask();
  let left = <i32>n;
  for (; left >= 32; left -= 32, a += 32, b += 32, out += 32) {
    const x0 = v128.load(a), x1 = v128.load(a, 16), y0 = v128.load(b), y1 = v128.load(b, 16);
    v128.store(out, sums(x0, y0, za, sa, zb, sb, inverse, unit, first, magic, low, high, bytes, words, back));
    v128.store(out, sums(x1, y1, za, sa, zb, sb, inverse, unit, first, magic, low, high, bytes, words, back), 16);
  }
  for (; left > 0; left -= 16, a += 16, b += 16, out += 16) {
    const sum = sums(v128.load(a), v128.load(b), za, sa, zb, sb, inverse, unit, first, magic, low, high, bytes, words, back);
    store_u8_lanes(out, sum, left);
  }
}

// @ts-ignore: decorator
@inline
function product_part(
  x: v128, y: v128, k: i32, za: v128, zb: v128, multiplier: v128, unit: v128, first: v128, magic: v128, low: v128, high: v128,
): v128 {
  // The product of two integers of nine bits is exact.
  const a = f32x4.sub(raised_part(x, k, unit, first), za), b = f32x4.sub(raised_part(y, k, unit, first), zb);
  return clamped_bits(f32x4.mul(f32x4.mul(a, b), multiplier), magic, low, high);
}

// @ts-ignore: decorator
@inline
function products(
  x: v128, y: v128, za: v128, zb: v128, multiplier: v128, unit: v128, first: v128, magic: v128, low: v128, high: v128,
  bytes: v128, words: v128, back: v128,
): v128 {
  const p0 = product_part(x, y, 0, za, zb, multiplier, unit, first, magic, low, high);
  const p1 = product_part(x, y, 1, za, zb, multiplier, unit, first, magic, low, high);
  const p2 = product_part(x, y, 2, za, zb, multiplier, unit, first, magic, low, high);
  const p3 = product_part(x, y, 3, za, zb, multiplier, unit, first, magic, low, high);
  return i8x16.add(joined_parts(p0, p1, p2, p3, bytes, words), back);
}

/** out[i] = clamp(nearbyint((a[i] - aZero) * (b[i] - bZero) * multiplier) + zeroPoint, min, max), the product rounded to a float once. */
export function qu8_mul(
  a: usize, b: usize, n: usize, aZero: i32, bZero: i32, multiplier: f32, zeroPoint: i32, min: i32, max: i32, out: usize,
): void {
  const za = f32x4.splat(UNIT + <f32>aZero), zb = f32x4.splat(UNIT + <f32>bZero), m = f32x4.splat(multiplier);
  const unit = unit_float(), first = first_bytes_mask(), magic = magic_float();
  const low = low_bits(min, zeroPoint), high = low_bits(max, zeroPoint), back = i8x16.splat(<i8>zeroPoint);
  const bytes = even_bytes_mask(), words = even_words_mask();
  let left = <i32>n;
  for (; left >= 32; left -= 32, a += 32, b += 32, out += 32) {
    const x0 = v128.load(a), x1 = v128.load(a, 16), y0 = v128.load(b), y1 = v128.load(b, 16);
    v128.store(out, products(x0, y0, za, zb, m, unit, first, magic, low, high, bytes, words, back));
    v128.store(out, products(x1, y1, za, zb, m, unit, first, magic, low, high, bytes, words, back), 16);
  }
  for (; left > 0; left -= 16, a += 16, b += 16, out += 16) {
    store_u8_lanes(out, products(v128.load(a), v128.load(b), za, zb, m, unit, first, magic, low, high, bytes, words, back), left);
  }
}

// @ts-ignore: decorator
@inline
function requantized_part(x: v128, k: i32, zero: v128, multiplier: v128, unit: v128, first: v128, magic: v128): v128 {
  return f32x4.add(numbers(x, k, zero, multiplier, unit, first), magic);
}

// @ts-ignore: decorator
@inline
function requantized(
  x: v128, zero: v128, multiplier: v128, unit: v128, first: v128, magic: v128, up: v128, least: v128, bytes: v128, words: v128,
): v128 {
  const x0 = requantized_part(x, 0, zero, multiplier, unit, first, magic), x1 = requantized_part(x, 1, zero, multiplier, unit, first, magic);
  const x2 = requantized_part(x, 2, zero, multiplier, unit, first, magic), x3 = requantized_part(x, 3, zero, multiplier, unit, first, magic);
  return clamped_parts(x0, x1, x2, x3, up, least, bytes, words);
}

/**
 * Rows [begin, end) of `bytes` bytes: clamp(nearbyint((x - zero) * multiplier) + zeroPoint, 0, 255), for multipliers below 120. Reads whole
 * vectors.
 */
export function qu8_requantize_rows(
  begin: i32, end: i32, x: usize, rowStride: usize, bytes: i32, zero: i32, multiplier: f32, zeroPoint: i32, out: usize, outStride: usize,
): void {
  const z = f32x4.splat(UNIT + <f32>zero), m = f32x4.splat(multiplier), up = rise(255, zeroPoint), least = floor(0, 255);
  const unit = unit_float(), first = first_bytes_mask(), magic = magic_float(), even = even_bytes_mask(), words = even_words_mask();
  for (let row = begin; row < end; row++) {
    let from = x + <usize>row * rowStride, to = out + <usize>row * outStride;
    let left = bytes;
    for (; left >= 32; left -= 32, from += 32, to += 32) {
      const x0 = v128.load(from), x1 = v128.load(from, 16);
      v128.store(to, requantized(x0, z, m, unit, first, magic, up, least, even, words));
      v128.store(to, requantized(x1, z, m, unit, first, magic, up, least, even, words), 16);
    }
    for (; left > 0; left -= 16, from += 16, to += 16) {
      store_u8_lanes(to, requantized(v128.load(from), z, m, unit, first, magic, up, least, even, words), left);
    }
  }
}

/** out[i] = clamp(x[i], min, max). */
export function u8_clamp(x: usize, n: usize, min: i32, max: i32, out: usize): void {
  const lo = i8x16.splat(<i8>min), hi = i8x16.splat(<i8>max);
  let left = <i32>n;
  for (; left >= 32; left -= 32, x += 32, out += 32) {
    const x0 = v128.load(x), x1 = v128.load(x, 16);
    v128.store(out, i8x16.min_u(i8x16.max_u(x0, lo), hi));
    v128.store(out, i8x16.min_u(i8x16.max_u(x1, lo), hi), 16);
  }
  for (; left > 0; left -= 16, x += 16, out += 16) store_u8_lanes(out, i8x16.min_u(i8x16.max_u(v128.load(x), lo), hi), left);
}

/** Copies rows [begin, end) of `bytes` bytes. */
export function u8_copy_rows(begin: i32, end: i32, x: usize, rowStride: usize, bytes: i32, out: usize, outStride: usize): void {
  x += <usize>begin * rowStride;
  out += <usize>begin * outStride;
  for (let row = begin; row < end; row++) {
    let i = 0;
    for (; i + 16 <= bytes; i += 16) v128.store(out + i, v128.load(x + i));
    if (i < bytes) store_u8_lanes(out + i, v128.load(x + i), bytes - i);
    x += rowStride;
    out += outStride;
  }
}

/** {@link u8_lookup} on rows [begin, end) of `bytes` bytes. */
export function u8_lookup_rows(
  begin: i32, end: i32, x: usize, rowStride: usize, bytes: usize, table: usize, out: usize, outStride: usize,
): void {
  x += <usize>begin * rowStride;
  out += <usize>begin * outStride;
  for (let row = begin; row < end; row++) {
    u8_lookup(x, bytes, table, out);
    x += rowStride;
    out += outStride;
  }
}

/** Rows [begin, end) of neighbouring channels, each through its own table of 256 bytes. */
export function u8_lookup_channels(
  begin: i32, end: i32, x: usize, rowStride: usize, channels: i32, tables: usize, out: usize, outStride: usize,
): void {
  for (let row = begin; row < end; row++) {
    const from = x + <usize>row * rowStride, to = out + <usize>row * outStride;
    for (let c = 0; c < channels; c++) store<u8>(to + c, load<u8>(tables + (<usize>c << 8) + load<u8>(from + c)));
  }
}

/**
 * out[i] = table[x[i]], a table of 256 bytes. Byte loads beat sixteen vector swizzles (i8x16.swizzle) per vector by two.
 */
export function u8_lookup(x: usize, n: usize, table: usize, out: usize): void {
  const end = x + (n & ~3);
  for (; x < end; x += 4, out += 4) {
    const v = load<u32>(x);
    store<u8>(out, load<u8>(table + (v & 255)));
    store<u8>(out, load<u8>(table + ((v >> 8) & 255)), 1);
    store<u8>(out, load<u8>(table + ((v >> 16) & 255)), 2);
    store<u8>(out, load<u8>(table + (v >> 24)), 3);
  }
  for (let left = n & 3; left > 0; left--, x++, out++) store<u8>(out, load<u8>(table + load<u8>(x)));
}

/**
 * Copies lines [begin, end) of `bytes` bytes into longer ones of `outLine` bytes, `left` bytes from their start; the margins
 * become `fill`. Both are dense.
 */
export function u8_stage_lines(begin: i32, end: i32, x: usize, bytes: i32, out: usize, outLine: i32, left: i32, fill: i32): void {
  x += <usize>begin * bytes;
  out += <usize>begin * outLine;
  const right = left + bytes;
  for (let line = begin; line < end; line++) {
    // A few bytes: bulk operations would cost a call each.
    for (let i = 0; i < left; i++) store<u8>(out + i, <u8>fill);
    u8_copy_rows(0, 1, x, 0, bytes, out + left, 0);
    for (let i = right; i < outLine; i++) store<u8>(out + i, <u8>fill);
    x += bytes;
    out += outLine;
  }
}
