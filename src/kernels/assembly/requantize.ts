// Epilogues shared by the int8 kernels.

/** 1.5 · 2^23: adding it to a float below 2^22 leaves the integer nearest to it (ties to even) in the low mantissa bits. */
const MAGIC: f32 = 12582912.0;
const MAGIC_BITS: i32 = 0x4B400000;
const MAGIC_AT: usize = memory.data<f32>([12582912.0]);

/** What the functions below add to round, for kernels that keep it in a register: a constant would be made anew at every use. */
// @ts-ignore: decorator
@inline
export function rounding(): v128 {
  return v128.load32_splat(MAGIC_AT);
}

/** Lower clamp as {@link round_lanes} wants it: the bits of `MAGIC + (min - zeroPoint)`. */
// @ts-ignore: decorator
@inline
export function low_bits(min: i32, zeroPoint: i32): v128 {
  return i32x4.splat(MAGIC_BITS + min - zeroPoint);
}

/** What turns the bits of a rounded float into `integer + zeroPoint`. */
// @ts-ignore: decorator
@inline
export function bias_bits(zeroPoint: i32): v128 {
  return i32x4.splat(MAGIC_BITS - zeroPoint);
}

/**
 * max(nearbyint(x) + zeroPoint, min) for 4 floats, as i32. Floats order like their bits, so the integer maximum is right
 * for any finite x; a value far above every clamp stays large and positive, and the narrowing that follows saturates it.
 */
// @ts-ignore: decorator
@inline
export function round_lanes(x: v128, low: v128, bias: v128, magic: v128 = f32x4.splat(MAGIC)): v128 {
  return i32x4.sub(i32x4.max_s(f32x4.add(x, magic), low), bias);
}

/** Four floats at `x`, divided by the scale and rounded. A NaN becomes the lower clamp. */
// @ts-ignore: decorator
@inline
export function quantize_lanes(x: usize, inverseScale: v128, least: v128, low: v128, bias: v128): v128 {
  return round_lanes(f32x4.pmax(least, f32x4.mul(v128.load(x), inverseScale)), low, bias);
}

/** {@link round_lanes} of f32(acc) · scale. */
// @ts-ignore: decorator
@inline
export function requantize_lanes(acc: v128, scale: v128, low: v128, bias: v128, magic: v128 = f32x4.splat(MAGIC)): v128 {
  return round_lanes(f32x4.mul(f32x4.convert_i32x4_s(acc), scale), low, bias, magic);
}

/**
 * {@link requantize_lanes} without the lower clamp, which is left to bytes: for products above -MAGIC, whose sum with it is positive.
 */
// @ts-ignore: decorator
@inline
export function bounded_lanes(acc: v128, scale: v128, bias: v128, magic: v128 = f32x4.splat(MAGIC)): v128 {
  return i32x4.sub(f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(acc), scale), magic), bias);
}

/** Stores the first `n` (1.., at most 8 are stored) bytes of one half of `x` (`half` 0 or 1). */
// @ts-ignore: decorator
@inline
export function store_u8_half(out: usize, x: v128, half: i32, n: i32): void {
  if (n >= 8) {
    if (half == 0) v128.store64_lane(out, x, 0);
    else v128.store64_lane(out, x, 1);
    return;
  }
  let bits = half == 0 ? i64x2.extract_lane(x, 0) : i64x2.extract_lane(x, 1);
  if (n & 4) {
    store<i32>(out, <i32>bits);
    out += 4;
    bits >>= 32;
  }
  if (n & 2) {
    store<i16>(out, <i16>bits);
    out += 2;
    bits >>= 16;
  }
  if (n & 1) store<u8>(out, <u8>bits);
}

/** Stores the first `n` (1.., at most 16 are stored) bytes of `x`. */
// @ts-ignore: decorator
@inline
export function store_u8_lanes(out: usize, x: v128, n: i32): void {
  if (n >= 16) {
    v128.store(out, x);
    return;
  }
  store_u8_half(out, x, 0, n);
  if (n > 8) store_u8_half(out + 8, x, 1, n - 8);
}

/** Stores the first `n` (1.., at most 8 are stored) floats of the pair (lo, hi). */
// @ts-ignore: decorator
@inline
export function store_f32_lanes(out: usize, lo: v128, hi: v128, n: i32): void {
  if (n >= 8) {
    v128.store(out, lo);
    v128.store(out, hi, 16);
    return;
  }
  let x = lo;
  if (n & 4) {
    v128.store(out, x);
    out += 16;
    x = hi;
  }
  if (n & 2) {
    v128.store64_lane(out, x, 0);
    out += 8;
    x = i8x16.shuffle(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
  }
  if (n & 1) v128.store32_lane(out, x, 0);
}

/** max(f32(acc) * scale + bias, least), without fused multiply-add; NaN passes. */
// @ts-ignore: decorator
@inline
export function scaled(acc: v128, scale: v128, bias: v128, least: v128): v128 {
  return f32x4.pmax(f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(acc), scale), bias), least);
}
