import { exp } from "./f32_exp";
import { loadLanes, storeLanes, storePair } from "./f32_simd";

/** out = e^x for `n` floats; whole pairs of vectors are read and written. */
export function f32_exp(x: usize, n: i32, out: usize): void {
  const end = x + (<usize>n << 2);
  for (; x < end; x += 32, out += 32) storePair(out, exp(v128.load(x)), exp(v128.load(x, 16)));
}

/** Largest number of a row. It passes over NaN, which enters the result through the sum. */
// @ts-ignore: decorator
@inline
function maxOf(x: usize, columns: i32): f32 {
  let m = f32x4.splat(-Infinity), m1 = m, m2 = m, m3 = m;
  let c = columns;
  for (; c >= 16; c -= 16, x += 64) {
    m = f32x4.pmax(m, v128.load(x));
    m1 = f32x4.pmax(m1, v128.load(x, 16));
    m2 = f32x4.pmax(m2, v128.load(x, 32));
    m3 = f32x4.pmax(m3, v128.load(x, 48));
  }
  for (; c >= 4; c -= 4, x += 16) m = f32x4.pmax(m, v128.load(x));
  for (; c > 0; --c, x += 4) m1 = f32x4.pmax(m1, v128.load32_splat(x));
  m = f32x4.pmax(f32x4.pmax(m, m1), f32x4.pmax(m2, m3));
  return max(max(f32x4.extract_lane(m, 0), f32x4.extract_lane(m, 1)), max(f32x4.extract_lane(m, 2), f32x4.extract_lane(m, 3)));
}

/** Sum of four floats in double precision. */
// @ts-ignore: decorator
@inline
function total(x: v128): f64 {
  const high = v128.shuffle<f32>(x, x, 2, 3, 2, 3);
  const sum = f64x2.add(f64x2.promote_low_f32x4(x), f64x2.promote_low_f32x4(high));
  return f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1);
}

/** Floats that are summed up in single precision before they enter the sum in double. */
const BLOCK: i32 = 256;

/** Lanes that are among the first `count`. */
// @ts-ignore: decorator
@inline
function firstLanes(count: i32): v128 {
  return i32x4.gt_s(i32x4.splat(count), i32x4(0, 1, 2, 3));
}

/** Σ e^(x − shift) of a row; the powers go to `out`. */
// @ts-ignore: decorator
@inline
function powers(x: usize, columns: i32, shift: v128, out: usize): f64 {
  let sum: f64 = 0;
  let c = columns;
  while (c >= 8) {
    let block = f32x4.splat(0);
    const end = x + (<usize>(min(c, BLOCK) & ~7) << 2);
    c -= <i32>((end - x) >> 2);
    for (; x < end; x += 32, out += 32) {
      const a = exp(f32x4.sub(v128.load(x), shift)), b = exp(f32x4.sub(v128.load(x, 16), shift));
      storePair(out, a, b);
      block = f32x4.add(block, f32x4.add(a, b));
    }
    sum += total(block);
  }
  for (; c > 0; c -= 4, x += 16, out += 16) {
    const e = exp(f32x4.sub(c >= 4 ? v128.load(x) : loadLanes(x, c), shift));
    if (c >= 4) v128.store(out, e);
    else storeLanes(out, e, c);
    sum += total(v128.and(e, firstLanes(c)));
  }
  return sum;
}

/** Softmax of every row of [rows][columns]. */
export function f32_softmax(x: usize, rows: i32, columns: i32, out: usize): void {
  const rowBytes = <usize>columns << 2;
  for (let r = 0; r < rows; ++r, x += rowBytes) {
    const sum = powers(x, columns, f32x4.splat(maxOf(x, columns)), out);
    const scale = f32x4.splat(<f32>(1.0 / sum));
    const end = out + rowBytes;
    for (; out + 32 <= end; out += 32) storePair(out, f32x4.mul(v128.load(out), scale), f32x4.mul(v128.load(out, 16), scale));
    for (; out < end; out += 4) v128.store32_lane(out, f32x4.mul(v128.load32_zero(out), scale), 0);
  }
}

/** Logarithm of the softmax of every row. */
export function f32_log_softmax(x: usize, rows: i32, columns: i32, out: usize): void {
  const rowBytes = <usize>columns << 2;
  for (let r = 0; r < rows; ++r) {
    const top = f32x4.splat(maxOf(x, columns));
    const log = f32x4.splat(<f32>Math.log(powers(x, columns, top, out)));
    const end = x + rowBytes;
    for (; x + 32 <= end; x += 32, out += 32) {
      storePair(out, f32x4.sub(f32x4.sub(v128.load(x), top), log), f32x4.sub(f32x4.sub(v128.load(x, 16), top), log));
    }
    for (; x < end; x += 4, out += 4) v128.store32_lane(out, f32x4.sub(f32x4.sub(v128.load32_zero(x), top), log), 0);
  }
}
