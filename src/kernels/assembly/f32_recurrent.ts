// The element-wise half of recurrent steps. Exponentials are computed in double precision, two at a time, operation by
// operation as the float implementation in TypeScript does, so that both give the same bits.

/** 2^k of whole doubles in −1023..1023; 0 for −1023. */
// @ts-ignore: decorator
@inline
function power(k: v128): v128 {
  const bounded = f64x2.max(k, f64x2.splat(-1023));
  const whole = i64x2.extend_low_i32x4_s(i32x4.trunc_sat_f64x2_s_zero(bounded));
  return i64x2.shl(i64x2.add(whole, i64x2.splat(1023)), 52);
}

// @ts-ignore: decorator
@inline
function bounded(x: v128, low: f64, high: f64): v128 {
  return f64x2.min(f64x2.max(x, f64x2.splat(low)), f64x2.splat(high));
}

/** The nearest whole number to x · log2 e. */
// @ts-ignore: decorator
@inline
function wholes(x: v128): v128 {
  const magic = f64x2.splat(6755399441055744);
  return f64x2.sub(f64x2.add(f64x2.mul(x, f64x2.splat(Math.LOG2E)), magic), magic);
}

/** r⁴ · (terms 4 to 9 of e^r). */
// @ts-ignore: decorator
@inline
function highTerms(r: v128, r2: v128): v128 {
  const r4 = f64x2.mul(r2, r2);
  const middle = f64x2.add(
    f64x2.add(f64x2.splat(1.0 / 24.0), f64x2.mul(r, f64x2.splat(1.0 / 120.0))),
    f64x2.mul(r2, f64x2.add(f64x2.splat(1.0 / 720.0), f64x2.mul(r, f64x2.splat(1.0 / 5040.0)))),
  );
  const high = f64x2.add(f64x2.splat(1.0 / 40320.0), f64x2.mul(r, f64x2.splat(1.0 / 362880.0)));
  return f64x2.mul(r4, f64x2.add(middle, f64x2.mul(r4, high)));
}

/** r² · (1/2 + r/6). */
// @ts-ignore: decorator
@inline
function lowTerms(r: v128, r2: v128): v128 {
  return f64x2.mul(r2, f64x2.add(f64x2.splat(1.0 / 2.0), f64x2.mul(r, f64x2.splat(1.0 / 6.0))));
}

/** 1 / (1 + e^−x). */
// @ts-ignore: decorator
@inline
function sigmoid(x: v128): v128 {
  const y = bounded(f64x2.neg(x), -740, 709);
  const k = wholes(y);
  const r = f64x2.sub(y, f64x2.mul(k, f64x2.splat(Math.LN2)));
  const r2 = f64x2.mul(r, r);
  const low = f64x2.add(f64x2.add(f64x2.splat(1), r), lowTerms(r, r2));
  const e = f64x2.mul(f64x2.add(low, highTerms(r, r2)), power(k));
  return f64x2.div(f64x2.splat(1), f64x2.add(f64x2.splat(1), e));
}

/** (e^2x − 1) / (e^2x + 1), with e^2x − 1 summed without its leading 1. */
// @ts-ignore: decorator
@inline
function tanh(x: v128): v128 {
  const y = bounded(f64x2.mul(f64x2.splat(2), x), -40, 40);
  const k = wholes(y);
  const r = f64x2.sub(y, f64x2.mul(k, f64x2.splat(Math.LN2)));
  const r2 = f64x2.mul(r, r);
  const low = f64x2.add(r, lowTerms(r, r2));
  const p = power(k);
  const minusOne = f64x2.add(f64x2.mul(f64x2.add(low, highTerms(r, r2)), p), f64x2.sub(p, f64x2.splat(1)));
  return f64x2.div(minusOne, f64x2.add(minusOne, f64x2.splat(2)));
}

/** Two floats as doubles. */
// @ts-ignore: decorator
@inline
function pair(p: usize): v128 {
  return f64x2.promote_low_f32x4(v128.load64_zero(p));
}

/** The sum of two pairs of floats, rounded to floats, as doubles. */
// @ts-ignore: decorator
@inline
function sum(p: usize, q: usize): v128 {
  return f64x2.promote_low_f32x4(f32x4.add(v128.load64_zero(p), v128.load64_zero(q)));
}

/** Stores two doubles as floats; one of them at the end of an odd row. */
// @ts-ignore: decorator
@inline
function storePair(p: usize, x: v128, both: bool): void {
  const y = f32x4.demote_f64x2_zero(x);
  if (both) v128.store64_lane(p, y, 0);
  else v128.store32_lane(p, y, 0);
}

/**
 * Rows [begin, end) of an LSTM step: gates i, f, g, o are the sums of two rows of 4·hidden floats, c the cell state; writes
 * the next output and cell state. Strides are in bytes; a stride of 0 repeats a row.
 */
export function f32_lstm_pointwise(
  a: usize, aStride: usize, b: usize, bStride: usize, c: usize, cStride: usize, hidden: i32, h: usize, hStride: usize, next: usize, nextStride: usize,
  begin: i32, end: i32,
): void {
  const gate = <usize>hidden << 2;
  for (let row = <usize>begin; row < <usize>end; row++) {
    let p = a + row * aStride, q = b + row * bStride, before = c + row * cStride, out = h + row * hStride, after = next + row * nextStride;
    for (let left = hidden; left > 0; left -= 2, p += 8, q += 8, before += 8, out += 8, after += 8) {
      const kept = f64x2.mul(sigmoid(sum(p + gate, q + gate)), pair(before));
      const state = f64x2.add(kept, f64x2.mul(sigmoid(sum(p, q)), tanh(sum(p + 2 * gate, q + 2 * gate))));
      storePair(after, state, left > 1);
      const rounded = f64x2.promote_low_f32x4(f32x4.demote_f64x2_zero(state));
      storePair(out, f64x2.mul(sigmoid(sum(p + 3 * gate, q + 3 * gate)), tanh(rounded)), left > 1);
    }
  }
}

/**
 * Rows [begin, end) of a GRU step: gates r, z, n of the input (`x`) and of the state (`y`), 3·hidden floats each, and the
 * state; writes the next state. Strides are in bytes.
 */
export function f32_gru_pointwise(
  x: usize, xStride: usize, y: usize, yStride: usize, state: usize, stateStride: usize, hidden: i32, next: usize, nextStride: usize, begin: i32, end: i32,
): void {
  const gate = <usize>hidden << 2;
  for (let row = <usize>begin; row < <usize>end; row++) {
    let p = x + row * xStride, q = y + row * yStride, before = state + row * stateStride, out = next + row * nextStride;
    for (let left = hidden; left > 0; left -= 2, p += 8, q += 8, before += 8, out += 8) {
      const reset = sigmoid(f64x2.add(pair(p), pair(q)));
      const update = sigmoid(f64x2.add(pair(p + gate), pair(q + gate)));
      const candidate = tanh(f64x2.add(pair(p + 2 * gate), f64x2.mul(reset, pair(q + 2 * gate))));
      storePair(out, f64x2.add(f64x2.mul(f64x2.sub(pair(before), candidate), update), candidate), left > 1);
    }
  }
}
