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

/**
 * out[i] = clamp(nearbyint(((a[i] - aZero) * aScale + (b[i] - bZero) * bScale) * inverseScale) + zeroPoint, min, max), in
 * floats and without fused multiply-add.
 */
export function qu8_add(
  a: usize, b: usize, n: usize, aScale: f32, aZero: i32, bScale: f32, bZero: i32, inverseScale: f32,
  zeroPoint: i32, min: i32, max: i32, out: usize,
): void {
  const sa = f32x4.splat(aScale), za = i32x4.splat(aZero), sb = f32x4.splat(bScale), zb = i32x4.splat(bZero);
  const inverse = f32x4.splat(inverseScale);
  const low = low_bits(min, zeroPoint), bias = bias_bits(zeroPoint), high = i8x16.splat(<i8>max);
  for (let left = <i32>n; left > 0; left -= 16) {
    const x = v128.load(a), y = v128.load(b);
    let p = i16x8.extend_low_i8x16_u(x), q = i16x8.extend_low_i8x16_u(y);
    const r0 = f32x4.add(dequantize_lanes(i32x4.extend_low_i16x8_u(p), za, sa), dequantize_lanes(i32x4.extend_low_i16x8_u(q), zb, sb));
    const r1 = f32x4.add(dequantize_lanes(i32x4.extend_high_i16x8_u(p), za, sa), dequantize_lanes(i32x4.extend_high_i16x8_u(q), zb, sb));
    const lo = i16x8.narrow_i32x4_s(round_lanes(f32x4.mul(r0, inverse), low, bias), round_lanes(f32x4.mul(r1, inverse), low, bias));
    p = i16x8.extend_high_i8x16_u(x);
    q = i16x8.extend_high_i8x16_u(y);
    const r2 = f32x4.add(dequantize_lanes(i32x4.extend_low_i16x8_u(p), za, sa), dequantize_lanes(i32x4.extend_low_i16x8_u(q), zb, sb));
    const r3 = f32x4.add(dequantize_lanes(i32x4.extend_high_i16x8_u(p), za, sa), dequantize_lanes(i32x4.extend_high_i16x8_u(q), zb, sb));
    const hi = i16x8.narrow_i32x4_s(round_lanes(f32x4.mul(r2, inverse), low, bias), round_lanes(f32x4.mul(r3, inverse), low, bias));
    store_u8_lanes(out, i8x16.min_u(i8x16.narrow_i16x8_u(lo, hi), high), left);
    a += 16;
    b += 16;
    out += 16;
  }
}

/** Product of two widened halves less their zero points, requantized. */
// @ts-ignore: decorator
@inline
function multiplied(a: v128, b: v128, multiplier: v128, low: v128, bias: v128): v128 {
  return i16x8.narrow_i32x4_s(
    requantize_lanes(i32x4.extmul_low_i16x8_s(a, b), multiplier, low, bias),
    requantize_lanes(i32x4.extmul_high_i16x8_s(a, b), multiplier, low, bias),
  );
}

/** out[i] = clamp(nearbyint((a[i] - aZero) * (b[i] - bZero) * multiplier) + zeroPoint, min, max), the product rounded to a float once. */
export function qu8_mul(
  a: usize, b: usize, n: usize, aZero: i32, bZero: i32, multiplier: f32, zeroPoint: i32, min: i32, max: i32, out: usize,
): void {
  const za = i16x8.splat(<i16>aZero), zb = i16x8.splat(<i16>bZero), m = f32x4.splat(multiplier);
  const low = low_bits(min, zeroPoint), bias = bias_bits(zeroPoint), high = i8x16.splat(<i8>max);
  for (let left = <i32>n; left > 0; left -= 16) {
    const x = v128.load(a), y = v128.load(b);
    const lo = multiplied(i16x8.sub(i16x8.extend_low_i8x16_u(x), za), i16x8.sub(i16x8.extend_low_i8x16_u(y), zb), m, low, bias);
    const hi = multiplied(i16x8.sub(i16x8.extend_high_i8x16_u(x), za), i16x8.sub(i16x8.extend_high_i8x16_u(y), zb), m, low, bias);
    store_u8_lanes(out, i8x16.min_u(i8x16.narrow_i16x8_u(lo, hi), high), left);
    a += 16;
    b += 16;
    out += 16;
  }
}

/** out[i] = clamp(x[i], min, max). */
export function u8_clamp(x: usize, n: usize, min: i32, max: i32, out: usize): void {
  const lo = i8x16.splat(<i8>min), hi = i8x16.splat(<i8>max);
  for (let left = <i32>n; left > 0; left -= 16) {
    store_u8_lanes(out, i8x16.min_u(i8x16.max_u(v128.load(x), lo), hi), left);
    x += 16;
    out += 16;
  }
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
