import { loadLanes, storeLanes } from "./f32_simd";

/**
 * e^x of four floats, within 1.5 ulp where the result is a normal number: x = n·ln 2 + r with |r| <= ln 2 / 2 (ln 2 in two parts, Cody & Waite),
 * a polynomial for e^r, and 2^n in two factors so that results below the normal range round correctly instead of vanishing.
 */
// @ts-ignore: decorator
@inline
function exp(x: v128): v128 {
  const bounded = f32x4.pmax(f32x4.pmin(x, f32x4.splat(89)), f32x4.splat(-105));
  // Adding 1.5·2^23 rounds to the nearest integer and leaves it in the low mantissa bits.
  const magic = f32x4.splat(12582912);
  const t = f32x4.add(f32x4.mul(bounded, f32x4.splat(1.4426950408889634)), magic);
  const n = f32x4.sub(t, magic);
  let r = f32x4.sub(bounded, f32x4.mul(n, f32x4.splat(0.693359375)));
  r = f32x4.sub(r, f32x4.mul(n, f32x4.splat(-2.12194440e-4)));
  let p = f32x4.splat(1.0 / 5040.0);
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.0 / 720.0));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.0 / 120.0));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.0 / 24.0));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.0 / 6.0));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(0.5));
  p = f32x4.add(f32x4.mul(f32x4.mul(p, r), r), r);
  p = f32x4.add(p, f32x4.splat(1));
  const k = i32x4.sub(t, magic);
  const half = i32x4.shr_s(k, 1);
  const bias = i32x4.splat(127);
  const a = i32x4.shl(i32x4.add(half, bias), 23);
  const b = i32x4.shl(i32x4.add(i32x4.sub(k, half), bias), 23);
  return f32x4.mul(f32x4.mul(p, a), b);
}

/** out = e^x for `n` floats, a multiple of 4. */
export function f32_exp(x: usize, n: i32, out: usize): void {
  const end = x + (<usize>n << 2);
  for (; x < end; x += 16, out += 16) v128.store(out, exp(v128.load(x)));
}

/** Largest number of a row. It passes over NaN, which enters the result through the sum. */
// @ts-ignore: decorator
@inline
function maxOf(x: usize, columns: i32): f32 {
  let m = f32x4.splat(-Infinity);
  let c = columns;
  for (; c >= 4; c -= 4, x += 16) m = f32x4.pmax(m, v128.load(x));
  for (; c > 0; --c, x += 4) m = f32x4.pmax(m, v128.load32_splat(x));
  return max(max(f32x4.extract_lane(m, 0), f32x4.extract_lane(m, 1)), max(f32x4.extract_lane(m, 2), f32x4.extract_lane(m, 3)));
}

/** Both halves of a vector of floats added to a vector of two doubles. */
// @ts-ignore: decorator
@inline
function addDouble(sum: v128, x: v128): v128 {
  const high = v128.shuffle<f32>(x, x, 2, 3, 2, 3);
  return f64x2.add(sum, f64x2.add(f64x2.promote_low_f32x4(x), f64x2.promote_low_f32x4(high)));
}

/** Softmax of every row of [rows][columns]; sums run in double precision. */
export function f32_softmax(x: usize, rows: i32, columns: i32, out: usize): void {
  const rest = columns & 3;
  const whole = columns - rest;
  const valid = i32x4.gt_s(i32x4.splat(rest), i32x4(0, 1, 2, 3));
  for (let r = 0; r < rows; ++r) {
    const shift = f32x4.splat(maxOf(x, columns));
    let sum = f64x2.splat(0);
    for (let c = 0; c < whole; c += 4) {
      const at = <usize>c << 2;
      const e = exp(f32x4.sub(v128.load(x + at), shift));
      v128.store(out + at, e);
      sum = addDouble(sum, e);
    }
    if (rest) {
      const at = <usize>whole << 2;
      const e = v128.and(exp(f32x4.sub(loadLanes(x + at, rest), shift)), valid);
      storeLanes(out + at, e, rest);
      sum = addDouble(sum, e);
    }
    const scale = f32x4.splat(<f32>(1.0 / (f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1))));
    for (let c = 0; c < whole; c += 4) {
      const at = <usize>c << 2;
      v128.store(out + at, f32x4.mul(v128.load(out + at), scale));
    }
    for (let c = whole; c < columns; ++c) {
      const at = <usize>c << 2;
      store<f32>(out + at, load<f32>(out + at) * f32x4.extract_lane(scale, 0));
    }
    x += <usize>columns << 2;
    out += <usize>columns << 2;
  }
}

/** For every row its maximum, and the sum of e^(x − maximum) in double precision: what a log-softmax needs besides a logarithm. */
export function f32_log_softmax_terms(x: usize, rows: i32, columns: i32, maxima: usize, sums: usize): void {
  const rest = columns & 3;
  const valid = i32x4.gt_s(i32x4.splat(rest), i32x4(0, 1, 2, 3));
  for (let r = 0; r < rows; ++r, maxima += 4, sums += 8) {
    const top = maxOf(x, columns);
    const shift = f32x4.splat(top);
    let sum = f64x2.splat(0);
    let c = columns;
    for (; c >= 4; c -= 4, x += 16) sum = addDouble(sum, exp(f32x4.sub(v128.load(x), shift)));
    if (rest) {
      sum = addDouble(sum, v128.and(exp(f32x4.sub(loadLanes(x, rest), shift)), valid));
      x += <usize>rest << 2;
    }
    store<f32>(maxima, top);
    store<f64>(sums, f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1));
  }
}

/** out[r][c] = (x[r][c] − maxima[r]) − logs[r]. */
export function f32_log_softmax_finish(x: usize, rows: i32, columns: i32, maxima: usize, logs: usize, out: usize): void {
  for (let r = 0; r < rows; ++r, maxima += 4, logs += 4) {
    const top = v128.load32_splat(maxima);
    const log = v128.load32_splat(logs);
    let c = columns;
    for (; c >= 4; c -= 4, x += 16, out += 16) v128.store(out, f32x4.sub(f32x4.sub(v128.load(x), top), log));
    for (; c > 0; --c, x += 4, out += 4) store<f32>(out, load<f32>(x) - f32x4.extract_lane(top, 0) - f32x4.extract_lane(log, 0));
  }
}
