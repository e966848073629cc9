// Bytes in vectors without shuffles: those of two neighbouring vectors do not fuse into one of 32 bytes, while shifts and blends
// do. Lane j of part k belongs to byte 4j + k.

const TABLE: usize = memory.data<i32>([0x00FF00FF, 0x0000FFFF, 0x000000FF, 0x4B000000, 0x4B400000]);

/** A constant of the table, which V8 keeps in a register, unlike one that it knows. */
// @ts-ignore: decorator
@inline
function constant(i: usize): v128 {
  return i32x4.splat(load<i32>(TABLE + (i << 2)));
}

/** Mask of even bytes. */
// @ts-ignore: decorator
@inline
export function even_bytes_mask(): v128 {
  return constant(0);
}

/** Mask of even 16-bit lanes. */
// @ts-ignore: decorator
@inline
export function even_words_mask(): v128 {
  return constant(1);
}

/** Mask of the first byte of every lane. */
// @ts-ignore: decorator
@inline
export function first_bytes_mask(): v128 {
  return constant(2);
}

/** 2^23, whose bits with an integer below it in the place of the mantissa are their sum. */
// @ts-ignore: decorator
@inline
export function unit_float(): v128 {
  return constant(3);
}

/** 1.5 · 2^23, which leaves the nearest integer in the mantissa of a sum (see requantize.ts). */
// @ts-ignore: decorator
@inline
export function magic_float(): v128 {
  return constant(4);
}

/** Bits of `a` where the mask has ones, of `b` elsewhere; masks are of whole bytes. */
// @ts-ignore: decorator
@inline
export function blend(a: v128, b: v128, mask: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i8x16.relaxed_laneselect(a, b, mask);
  return v128.bitselect(a, b, mask);
}

/** Even bytes of two vectors, in turns. */
// @ts-ignore: decorator
@inline
export function even_bytes(a: v128, b: v128, mask: v128): v128 {
  return blend(a, i16x8.shl(b, 8), mask);
}

// @ts-ignore: decorator
@inline
export function odd_bytes(a: v128, b: v128, mask: v128): v128 {
  return blend(i16x8.shr_u(a, 8), b, mask);
}

/** Even 16-bit lanes of two vectors, in turns. */
// @ts-ignore: decorator
@inline
export function even_words(a: v128, b: v128, mask: v128): v128 {
  return blend(a, i32x4.shl(b, 16), mask);
}

// @ts-ignore: decorator
@inline
export function odd_words(a: v128, b: v128, mask: v128): v128 {
  return blend(i32x4.shr_u(a, 16), b, mask);
}

/** Part `k` of the bytes of `x`, as floats and 2^23 too large. `unit` and `first` are {@link unit_float} and {@link first_bytes_mask}. */
// @ts-ignore: decorator
@inline
export function raised_part(x: v128, k: i32, unit: v128, first: v128): v128 {
  if (k == 3) return v128.or(i32x4.shr_u(x, 24), unit);
  const part = k ? i32x4.shr_u(x, k << 3) : x;
  return ASC_FEATURE_RELAXED_SIMD ? blend(part, unit, first) : v128.or(v128.and(part, first), unit);
}

/** The first bytes of the lanes of four parts, put back. */
// @ts-ignore: decorator
@inline
export function joined_parts(x0: v128, x1: v128, x2: v128, x3: v128, bytes: v128, words: v128): v128 {
  return even_bytes(even_words(x0, x2, words), even_words(x1, x3, words), bytes);
}

/**
 * {@link joined_parts} of integers within 16 bits, clamped to bytes that are `back` too large: {@link rise} takes the upper clamp to the
 * largest of 16 bits, where {@link floor} is the lower one.
 */
// @ts-ignore: decorator
@inline
export function clamped_parts(x0: v128, x1: v128, x2: v128, x3: v128, rise: v128, floor: v128, bytes: v128, words: v128): v128 {
  const even = i16x8.max_s(i16x8.add_sat_s(even_words(x0, x2, words), rise), floor);
  const odd = i16x8.max_s(i16x8.add_sat_s(even_words(x1, x3, words), rise), floor);
  return even_bytes(even, odd, bytes);
}

// @ts-ignore: decorator
@inline
export function rise(max: i32, zeroPoint: i32): v128 {
  return i16x8.splat(<i16>(0x7FFF - max + zeroPoint));
}

// @ts-ignore: decorator
@inline
export function floor(min: i32, max: i32): v128 {
  return i16x8.splat(<i16>(0x7FFF - max + min));
}

/** What is added to the bytes of {@link clamped_parts}; nothing where `max` is 255. */
// @ts-ignore: decorator
@inline
export function back(max: i32): v128 {
  return i8x16.splat(<i8>(max + 1));
}
