import { exp } from "./f32_exp";
import { clampLanes } from "./f32_simd";

// Functions of one float at a time. Products and sums are rounded separately, so that both builds give the same bits.

// @ts-ignore: decorator
@inline
function poly3(x: v128, a: f32, b: f32, c: f32): v128 {
  return f32x4.add(f32x4.mul(f32x4.add(f32x4.mul(f32x4.splat(a), x), f32x4.splat(b)), x), f32x4.splat(c));
}

// @ts-ignore: decorator
@inline
function next(p: v128, x: v128, c: f32): v128 {
  return f32x4.add(f32x4.mul(p, x), f32x4.splat(c));
}

// @ts-ignore: decorator
@inline
function reciprocal(x: v128): v128 {
  return f32x4.div(f32x4.splat(1), x);
}

// @ts-ignore: decorator
@inline
function sigmoid(x: v128): v128 {
  return reciprocal(f32x4.add(f32x4.splat(1), exp(f32x4.neg(x))));
}

/** Near zero x + x·z·Q(z) with z = x² and a fitted Q (relative error 2e-8), elsewhere ±(1 − 2 / (e^2|x| + 1)). */
// @ts-ignore: decorator
@inline
function tanh(x: v128): v128 {
  const size = f32x4.abs(x);
  const z = f32x4.mul(x, x);
  let q = poly3(z, -0.00605384, 0.02096834, -0.05384504);
  q = next(next(q, z, 0.13332734), z, -0.33333328);
  const near = f32x4.add(x, f32x4.mul(f32x4.mul(x, z), q));
  const e = exp(f32x4.add(size, size));
  const far = f32x4.sub(f32x4.splat(1), f32x4.div(f32x4.splat(2), f32x4.add(e, f32x4.splat(1))));
  const signed = v128.or(far, v128.and(x, i32x4.splat(0x80000000)));
  return v128.bitselect(near, signed, f32x4.lt(size, f32x4.splat(0.625)));
}

/**
 * x·Φ(x) with Φ(x) = 1/2 + x·P(x²) / Q(x²) up to |x| = 5.72, where Φ is 0 or 1 to the last bit. P and Q are fitted to erf(x / √2) / 2, to
 * within 1.3e-8; rounding makes that 1.7e-7.
 */
// @ts-ignore: decorator
@inline
function gelu(x: v128): v128 {
  const near = clampLanes(x, f32x4.splat(-5.72), f32x4.splat(5.72));
  const z = f32x4.mul(near, near);
  let p = poly3(z, 2.1472363e-8, 6.3793871e-6, 1.8056531e-4);
  p = next(next(next(p, z, 4.7479731e-3), z, 3.5059098e-2), z, 0.3989422);
  let q = poly3(z, 1.1621762e-6, 7.7127105e-5, 1.9512347e-3);
  q = next(next(next(q, z, 2.9327953e-2), z, 0.25454554), z, 1);
  const half = clampLanes(f32x4.div(f32x4.mul(near, p), q), f32x4.splat(-0.5), f32x4.splat(0.5));
  // −∞·0 is no number, but the limit is 0.
  const y = f32x4.mul(x, f32x4.add(f32x4.splat(0.5), half));
  return v128.andnot(y, f32x4.eq(x, f32x4.splat(-Infinity)));
}

/** x·σ(2u) with u = √(2/π)·(x + 0.044715·x³), which is x/2·(1 + tanh u). */
// @ts-ignore: decorator
@inline
function geluTanh(x: v128): v128 {
  const cube = f32x4.mul(f32x4.mul(x, x), x);
  const u = f32x4.mul(f32x4.splat(1.5957691216), f32x4.add(x, f32x4.mul(f32x4.splat(0.044715), cube)));
  const y = f32x4.mul(x, sigmoid(u));
  return v128.andnot(y, f32x4.eq(x, f32x4.splat(-Infinity)));
}

/** e^x − 1, by its series where the difference would cancel. */
// @ts-ignore: decorator
@inline
function expm1(x: v128): v128 {
  let p = poly3(x, 1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0);
  p = next(next(next(p, x, 1.0 / 24.0), x, 1.0 / 6.0), x, 0.5);
  const near = f32x4.add(x, f32x4.mul(f32x4.mul(x, x), p));
  const far = f32x4.sub(exp(x), f32x4.splat(1));
  return v128.bitselect(near, far, f32x4.lt(f32x4.abs(x), f32x4.splat(0.35)));
}

// @ts-ignore: decorator
@inline
function hardsigmoid(x: v128): v128 {
  const shifted = f32x4.add(x, f32x4.splat(3));
  return f32x4.div(clampLanes(shifted, f32x4.splat(0), f32x4.splat(6)), f32x4.splat(6));
}

// @ts-ignore: decorator
@inline
function hardswish(x: v128): v128 {
  const shifted = f32x4.add(x, f32x4.splat(3));
  return f32x4.div(f32x4.mul(x, clampLanes(shifted, f32x4.splat(0), f32x4.splat(6))), f32x4.splat(6));
}

// @ts-ignore: decorator
@inline
function positiveOr(x: v128, other: v128): v128 {
  return v128.bitselect(x, other, f32x4.gt(x, f32x4.splat(0)));
}

// @ts-ignore: decorator
@inline
function apply(op: i32, x: v128, p: v128, q: v128): v128 {
  if (op == 0) return clampLanes(x, p, q);
  if (op == 1) return gelu(x);
  if (op == 2) return geluTanh(x);
  if (op == 3) return sigmoid(x);
  if (op == 4) return tanh(x);
  if (op == 5) return f32x4.mul(x, sigmoid(x));
  if (op == 6) return hardsigmoid(x);
  if (op == 7) return hardswish(x);
  if (op == 8) return positiveOr(x, f32x4.mul(p, expm1(x)));
  if (op == 9) return positiveOr(x, f32x4.mul(x, p));
  if (op == 10) return exp(x);
  if (op == 11) return f32x4.neg(x);
  if (op == 12) return f32x4.abs(x);
  if (op == 13) return f32x4.sqrt(x);
  if (op == 14) return reciprocal(f32x4.sqrt(x));
  if (op == 15) return reciprocal(x);
  if (op == 16) return f32x4.mul(x, x);
  if (op == 17) return f32x4.floor(x);
  if (op == 18) return f32x4.ceil(x);
  return f32x4.nearest(x);
}

// @ts-ignore: decorator
@inline
function loop(op: i32, x: usize, end: usize, out: usize, p: v128, q: v128): void {
  for (; x < end; x += 16, out += 16) v128.store(out, apply(op, v128.load(x), p, q));
}

/** out = f(x) for `n` floats; whole vectors are read and written. `op` counts the functions above. */
export function f32_map(op: i32, x: usize, n: i32, out: usize, p: f32, q: f32): void {
  const end = x + (<usize>n << 2);
  const a = f32x4.splat(p), b = f32x4.splat(q);
  switch (op) {
    case 0: loop(0, x, end, out, a, b); break;
    case 1: loop(1, x, end, out, a, b); break;
    case 2: loop(2, x, end, out, a, b); break;
    case 3: loop(3, x, end, out, a, b); break;
    case 4: loop(4, x, end, out, a, b); break;
    case 5: loop(5, x, end, out, a, b); break;
    case 6: loop(6, x, end, out, a, b); break;
    case 7: loop(7, x, end, out, a, b); break;
    case 8: loop(8, x, end, out, a, b); break;
    case 9: loop(9, x, end, out, a, b); break;
    case 10: loop(10, x, end, out, a, b); break;
    case 11: loop(11, x, end, out, a, b); break;
    case 12: loop(12, x, end, out, a, b); break;
    case 13: loop(13, x, end, out, a, b); break;
    case 14: loop(14, x, end, out, a, b); break;
    case 15: loop(15, x, end, out, a, b); break;
    case 16: loop(16, x, end, out, a, b); break;
    case 17: loop(17, x, end, out, a, b); break;
    case 18: loop(18, x, end, out, a, b); break;
    default: loop(19, x, end, out, a, b);
  }
}
