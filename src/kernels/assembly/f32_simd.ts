/**
 * Rows of the largest tile of 8 columns. V8 gives out 15 vector registers: six rows take 12 sums, two panel vectors and one broadcast;
 * without fused multiply-add a product needs one more, which leaves room for five.
 */
export const TILE_ROWS: i32 = ASC_FEATURE_RELAXED_SIMD ? 6 : 5;

/** a * b + c: fused where the build has relaxed SIMD, two roundings otherwise. */
// @ts-ignore: decorator
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    return f32x4.relaxed_madd(a, b, c);
  } else {
    return f32x4.add(f32x4.mul(a, b), c);
  }
}

/** max(lo, min(hi, x)) that lets a NaN in `x` through, in one instruction per bound. */
// @ts-ignore: decorator
@inline
export function clampLanes(x: v128, lo: v128, hi: v128): v128 {
  return f32x4.pmax(f32x4.pmin(x, hi), lo);
}

/** Stores the first `count` (1..3) lanes of `x`. */
// @ts-ignore: decorator
@inline
export function storeLanes(p: usize, x: v128, count: i32): void {
  if (count & 2) {
    v128.store64_lane(p, x, 0);
    if (count & 1) v128.store32_lane(p, x, 2, 8);
  } else if (count & 1) {
    v128.store32_lane(p, x, 0);
  }
}

/** Loads the first `count` (0..3) floats at `p`; the other lanes are zero. */
// @ts-ignore: decorator
@inline
export function loadLanes(p: usize, count: i32): v128 {
  let x = f32x4.splat(0);
  if (count & 2) {
    x = v128.load64_zero(p);
    if (count & 1) x = v128.load32_lane(p, x, 2, 8);
  } else if (count & 1) {
    x = v128.load32_zero(p);
  }
  return x;
}

/**
 * Stores two vectors next to each other. Where V8 compiles to vectors of 32 bytes, such a pair of stores is where it starts to pack operations:
 * both must have come from the same operations in the same order, on neighbouring loads.
 */
// @ts-ignore: decorator
@inline
export function storePair(p: usize, a: v128, b: v128): void {
  v128.store(p, a);
  v128.store(p, b, 16);
}
