import { f32_at } from "./constant";

/** Bounds of x, log2 e, 1.5·2^23 (also the integer of its bits), ln 2 in two parts. */
const RANGE: usize = memory.data<f32>([89, -105, 1.4426950408889634, 12582912, 0.693359375, -2.12194440e-4]);
const SERIES: usize = memory.data<f32>([1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1]);
const BIAS: usize = memory.data<i32>([127]);

/**
 * e^x of four floats, within 1.5 ulp where the result is a normal number: x = n·ln 2 + r with |r| <= ln 2 / 2 (ln 2 in two parts, Cody & Waite),
 * a polynomial for e^r, and 2^n in two factors so that results below the normal range round correctly instead of vanishing.
 */
// @ts-ignore: decorator
@inline
export function exp(x: v128): v128 {
  const bounded = f32x4.pmax(f32x4.pmin(x, f32_at(RANGE, 0)), f32_at(RANGE, 1));
  // Adding 1.5·2^23 rounds to the nearest integer and leaves it in the low mantissa bits.
  const magic = f32_at(RANGE, 3);
  const t = f32x4.add(f32x4.mul(bounded, f32_at(RANGE, 2)), magic);
  const n = f32x4.sub(t, magic);
  let r = f32x4.sub(bounded, f32x4.mul(n, f32_at(RANGE, 4)));
  r = f32x4.sub(r, f32x4.mul(n, f32_at(RANGE, 5)));
  let p = f32_at(SERIES, 0);
  p = f32x4.add(f32x4.mul(p, r), f32_at(SERIES, 1));
  p = f32x4.add(f32x4.mul(p, r), f32_at(SERIES, 2));
  p = f32x4.add(f32x4.mul(p, r), f32_at(SERIES, 3));
  p = f32x4.add(f32x4.mul(p, r), f32_at(SERIES, 4));
  p = f32x4.add(f32x4.mul(p, r), f32_at(SERIES, 5));
  p = f32x4.add(f32x4.mul(f32x4.mul(p, r), r), r);
  p = f32x4.add(p, f32_at(SERIES, 6));
  const k = i32x4.sub(t, magic);
  const half = i32x4.shr_s(k, 1);
  const bias = f32_at(BIAS, 0);
  const a = i32x4.shl(i32x4.add(half, bias), 23);
  const b = i32x4.shl(i32x4.add(i32x4.sub(k, half), bias), 23);
  return f32x4.mul(f32x4.mul(p, a), b);
}
