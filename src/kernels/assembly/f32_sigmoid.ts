import { f32_at } from "./constant";
import { exp } from "./f32_exp";

// Logistic function and hyperbolic tangent, and what functions that are made of polynomials share.

/** Numbers 0 to 6. */
export const WHOLE: usize = memory.data<f32>([0, 1, 2, 3, 4, 5, 6]);

/** First number, second and third of a table as coefficients of x², x and 1. */
// @ts-ignore: decorator
@inline
export function poly3(x: v128, table: usize): v128 {
  return next(f32x4.add(f32x4.mul(f32_at(table, 0), x), f32_at(table, 1)), x, table, 2);
}

/** p·x and number `i` of a table. */
// @ts-ignore: decorator
@inline
export function next(p: v128, x: v128, table: usize, i: usize): v128 {
  return f32x4.add(f32x4.mul(p, x), f32_at(table, i));
}

// @ts-ignore: decorator
@inline
export function reciprocal(x: v128): v128 {
  return f32x4.div(f32_at(WHOLE, 1), x);
}

/** 1 / (1 + e^−x). */
// @ts-ignore: decorator
@inline
export function sigmoid(x: v128): v128 {
  return reciprocal(f32x4.add(f32_at(WHOLE, 1), exp(f32x4.neg(x))));
}

/** Q of tanh, the size up to which it is used, and the sign. */
const TANH: usize = memory.data<f32>([-0.00605384, 0.02096834, -0.05384504, 0.13332734, -0.33333328, 0.625, -0.0]);

/** Near zero x + x·z·Q(z) with z = x² and a fitted Q (relative error 2e-8), elsewhere ±(1 − 2 / (e^2|x| + 1)). */
// @ts-ignore: decorator
@inline
export function tanh(x: v128): v128 {
  const size = f32x4.abs(x);
  const z = f32x4.mul(x, x);
  const q = next(next(poly3(z, TANH), z, TANH, 3), z, TANH, 4);
  const near = f32x4.add(x, f32x4.mul(f32x4.mul(x, z), q));
  const e = exp(f32x4.add(size, size));
  const one = f32_at(WHOLE, 1);
  const far = f32x4.sub(one, f32x4.div(f32_at(WHOLE, 2), f32x4.add(e, one)));
  const signed = v128.or(far, v128.and(x, f32_at(TANH, 6)));
  return v128.bitselect(near, signed, f32x4.lt(size, f32_at(TANH, 5)));
}
