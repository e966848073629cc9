import { f32_at } from "./constant";
import { exp } from "./f32_exp";
import { next, poly3, reciprocal, sigmoid, tanh, WHOLE } from "./f32_sigmoid";
import { clampLanes, madd, storePair } from "./f32_simd";

// Functions of one float at a time. But for gelu, products and sums are rounded separately, so that all builds give the same bits.

/** P, Q, and the bounds of x and of the result of gelu. */
const GELU_P: usize = memory.data<f32>([2.1472363e-8, 6.3793871e-6, 1.8056531e-4, 4.7479731e-3, 3.5059098e-2, 0.3989422]);
const GELU_Q: usize = memory.data<f32>([1.1621762e-6, 7.7127105e-5, 1.9512347e-3, 2.9327953e-2, 0.25454554, 1]);
const GELU_BOUNDS: usize = memory.data<f32>([-5.72, 5.72, -0.5, 0.5, -Infinity]);

/** Six numbers of a table as coefficients of x⁵ to 1, fused where the build has it. */
// @ts-ignore: decorator
@inline
function poly6(x: v128, table: usize): v128 {
  let p = madd(f32_at(table, 0), x, f32_at(table, 1));
  p = madd(p, x, f32_at(table, 2));
  p = madd(p, x, f32_at(table, 3));
  p = madd(p, x, f32_at(table, 4));
  return madd(p, x, f32_at(table, 5));
}

/**
 * x·Φ(x) with Φ(x) = 1/2 + x·P(x²) / Q(x²) up to |x| = 5.72, where Φ is 0 or 1 to the last bit. P and Q are fitted to erf(x / √2) / 2, to
 * within 1.3e-8; rounding makes that 1.7e-7.
 */
// @ts-ignore: decorator
@inline
function gelu(x: v128): v128 {
  const near = clampLanes(x, f32_at(GELU_BOUNDS, 0), f32_at(GELU_BOUNDS, 1));
  const z = f32x4.mul(near, near);
  const p = poly6(z, GELU_P), q = poly6(z, GELU_Q);
  const upper = f32_at(GELU_BOUNDS, 3);
  const half = clampLanes(f32x4.div(f32x4.mul(near, p), q), f32_at(GELU_BOUNDS, 2), upper);
  // −∞·0 is no number, but the limit is 0.
  const y = f32x4.mul(x, f32x4.add(upper, half));
  return v128.andnot(y, f32x4.eq(x, f32_at(GELU_BOUNDS, 4)));
}

/** √(2/π)·2, the factor of the cube, and −∞. */
const GELU_TANH: usize = memory.data<f32>([1.5957691216, 0.044715, -Infinity]);

/** x·σ(2u) with u = √(2/π)·(x + 0.044715·x³), which is x/2·(1 + tanh u). */
// @ts-ignore: decorator
@inline
function geluTanh(x: v128): v128 {
  const cube = f32x4.mul(f32x4.mul(x, x), x);
  const u = f32x4.mul(f32_at(GELU_TANH, 0), f32x4.add(x, f32x4.mul(f32_at(GELU_TANH, 1), cube)));
  const y = f32x4.mul(x, sigmoid(u));
  return v128.andnot(y, f32x4.eq(x, f32_at(GELU_TANH, 2)));
}

/** The series of (e^x − 1 − x) / x², and the size up to which it is used. */
const EXPM1: usize = memory.data<f32>([1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 0.35]);

/** e^x − 1, by its series where the difference would cancel. */
// @ts-ignore: decorator
@inline
function expm1(x: v128): v128 {
  const p = next(next(next(poly3(x, EXPM1), x, EXPM1, 3), x, EXPM1, 4), x, EXPM1, 5);
  const near = f32x4.add(x, f32x4.mul(f32x4.mul(x, x), p));
  const far = f32x4.sub(exp(x), f32_at(WHOLE, 1));
  return v128.bitselect(near, far, f32x4.lt(f32x4.abs(x), f32_at(EXPM1, 6)));
}

/** Terms of 2 · artanh(s) from s⁹ down to s³. */
const ARTANH: usize = memory.data<f32>([2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0]);

/** 2 · artanh(s) for |s| up to 0.18: 2s + s³·(2/3 + 2/5·s² + …). */
// @ts-ignore: decorator
@inline
function doubleArtanh(s: v128): v128 {
  const z = f32x4.mul(s, s);
  const p = next(poly3(z, ARTANH), z, ARTANH, 3);
  return f32x4.add(f32x4.add(s, s), f32x4.mul(f32x4.mul(s, z), p));
}

/** ln x: x = 2^k · m with m in [√½, √2), ln m = 2·artanh((m − 1) / (m + 1)). */
// @ts-ignore: decorator
@inline
function log(x: v128): v128 {
  // Numbers below the normal range are scaled up by 2^24 first.
  const small = f32x4.lt(x, f32x4.splat(1.17549435e-38));
  const y = v128.bitselect(f32x4.mul(x, f32x4.splat(16777216)), x, small);
  const magic = i32x4.sub(y, i32x4.splat(0x3f3504f3));
  const k = i32x4.add(i32x4.shr_s(magic, 23), v128.and(small, i32x4.splat(-24)));
  const m = i32x4.add(v128.and(magic, i32x4.splat(0x007fffff)), i32x4.splat(0x3f3504f3));
  const one = f32x4.splat(1);
  const s = f32x4.div(f32x4.sub(m, one), f32x4.add(m, one));
  const n = f32x4.convert_i32x4_s(k);
  const low = f32x4.add(doubleArtanh(s), f32x4.mul(n, f32x4.splat(-2.12194440e-4)));
  let r = f32x4.add(low, f32x4.mul(n, f32x4.splat(0.693359375)));
  r = v128.bitselect(f32x4.splat(-Infinity), r, f32x4.eq(x, f32x4.splat(0)));
  r = v128.bitselect(x, r, f32x4.eq(x, f32x4.splat(Infinity)));
  return v128.bitselect(r, f32x4.splat(NaN), f32x4.ge(x, f32x4.splat(0)));
}

/** ln(1 + x), by 2·artanh(x / (2 + x)) where 1 + x would lose digits of x. */
// @ts-ignore: decorator
@inline
function log1p(x: v128): v128 {
  const near = doubleArtanh(f32x4.div(x, f32x4.add(x, f32x4.splat(2))));
  const inside = v128.and(f32x4.gt(x, f32x4.splat(-0.29)), f32x4.lt(x, f32x4.splat(0.41)));
  return v128.bitselect(near, log(f32x4.add(x, f32x4.splat(1))), inside);
}

/** ln(1 + e^(p·x)) / p, and x itself where p·x is above q. */
// @ts-ignore: decorator
@inline
function softplus(x: v128, p: v128, q: v128): v128 {
  const y = f32x4.mul(x, p);
  return v128.bitselect(x, f32x4.div(log1p(exp(y)), p), f32x4.gt(y, q));
}

// @ts-ignore: decorator
@inline
function hardsigmoid(x: v128): v128 {
  const shifted = f32x4.add(x, f32_at(WHOLE, 3));
  return f32x4.div(clampLanes(shifted, f32x4.splat(0), f32_at(WHOLE, 6)), f32_at(WHOLE, 6));
}

// @ts-ignore: decorator
@inline
function hardswish(x: v128): v128 {
  const shifted = f32x4.add(x, f32_at(WHOLE, 3));
  return f32x4.div(f32x4.mul(x, clampLanes(shifted, f32x4.splat(0), f32_at(WHOLE, 6))), f32_at(WHOLE, 6));
}

// @ts-ignore: decorator
@inline
function positiveOr(x: v128, other: v128): v128 {
  return v128.bitselect(x, other, f32x4.gt(x, f32x4.splat(0)));
}

/** out = f(x) for `n` floats; whole pairs of vectors are read and written. `op` counts `MAP_FUNCTIONS` of `f32/map.ts`. */
export function f32_map(op: i32, x: usize, n: i32, out: usize, p: f32, q: f32): void {
  const end = x + (<usize>n << 2);
  const a = f32x4.splat(p), b = f32x4.splat(q);
  // A loop for each: one loop that is inlined with the number of its function comes back from the optimizer with the choice inside.
  switch (op) {
    case 0:
      for (; x < end; x += 32, out += 32) storePair(out, clampLanes(v128.load(x), a, b), clampLanes(v128.load(x, 16), a, b));
      break;
    case 1:
      for (; x < end; x += 32, out += 32) storePair(out, gelu(v128.load(x)), gelu(v128.load(x, 16)));
      break;
    case 2:
      for (; x < end; x += 32, out += 32) storePair(out, geluTanh(v128.load(x)), geluTanh(v128.load(x, 16)));
      break;
    case 3:
      for (; x < end; x += 32, out += 32) storePair(out, sigmoid(v128.load(x)), sigmoid(v128.load(x, 16)));
      break;
    case 4:
      for (; x < end; x += 32, out += 32) storePair(out, tanh(v128.load(x)), tanh(v128.load(x, 16)));
      break;
    case 5:
      for (; x < end; x += 32, out += 32) {
        const v = v128.load(x), w = v128.load(x, 16);
        storePair(out, f32x4.mul(v, sigmoid(v)), f32x4.mul(w, sigmoid(w)));
      }
      break;
    case 6:
      for (; x < end; x += 32, out += 32) storePair(out, hardsigmoid(v128.load(x)), hardsigmoid(v128.load(x, 16)));
      break;
    case 7:
      for (; x < end; x += 32, out += 32) storePair(out, hardswish(v128.load(x)), hardswish(v128.load(x, 16)));
      break;
    case 8:
      for (; x < end; x += 32, out += 32) {
        const v = v128.load(x), w = v128.load(x, 16);
        storePair(out, positiveOr(v, f32x4.mul(a, expm1(v))), positiveOr(w, f32x4.mul(a, expm1(w))));
      }
      break;
    case 9:
      for (; x < end; x += 32, out += 32) {
        const v = v128.load(x), w = v128.load(x, 16);
        storePair(out, positiveOr(v, f32x4.mul(v, a)), positiveOr(w, f32x4.mul(w, a)));
      }
      break;
    case 10:
      for (; x < end; x += 32, out += 32) storePair(out, exp(v128.load(x)), exp(v128.load(x, 16)));
      break;
    case 11:
      for (; x < end; x += 32, out += 32) storePair(out, f32x4.neg(v128.load(x)), f32x4.neg(v128.load(x, 16)));
      break;
    case 12:
      for (; x < end; x += 32, out += 32) storePair(out, f32x4.abs(v128.load(x)), f32x4.abs(v128.load(x, 16)));
      break;
    case 13:
      for (; x < end; x += 32, out += 32) storePair(out, f32x4.sqrt(v128.load(x)), f32x4.sqrt(v128.load(x, 16)));
      break;
    case 14:
      for (; x < end; x += 32, out += 32) storePair(out, reciprocal(f32x4.sqrt(v128.load(x))), reciprocal(f32x4.sqrt(v128.load(x, 16))));
      break;
    case 15:
      for (; x < end; x += 32, out += 32) storePair(out, reciprocal(v128.load(x)), reciprocal(v128.load(x, 16)));
      break;
    case 16:
      for (; x < end; x += 32, out += 32) {
        const v = v128.load(x), w = v128.load(x, 16);
        storePair(out, f32x4.mul(v, v), f32x4.mul(w, w));
      }
      break;
    case 17:
      for (; x < end; x += 32, out += 32) storePair(out, f32x4.floor(v128.load(x)), f32x4.floor(v128.load(x, 16)));
      break;
    case 18:
      for (; x < end; x += 32, out += 32) storePair(out, f32x4.ceil(v128.load(x)), f32x4.ceil(v128.load(x, 16)));
      break;
    case 19:
      for (; x < end; x += 32, out += 32) storePair(out, f32x4.nearest(v128.load(x)), f32x4.nearest(v128.load(x, 16)));
      break;
    case 20:
      for (; x < end; x += 32, out += 32) storePair(out, log(v128.load(x)), log(v128.load(x, 16)));
      break;
    case 21:
      for (; x < end; x += 32, out += 32) storePair(out, log1p(v128.load(x)), log1p(v128.load(x, 16)));
      break;
    case 22:
      for (; x < end; x += 32, out += 32) storePair(out, expm1(v128.load(x)), expm1(v128.load(x, 16)));
      break;
    default:
      for (; x < end; x += 32, out += 32) storePair(out, softplus(v128.load(x), a, b), softplus(v128.load(x, 16), a, b));
  }
}
