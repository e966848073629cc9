import { exp } from "./f32_exp";
import { loadLanes, storeLanes } from "./f32_simd";

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

/** Logarithm of the softmax of every row. */
export function f32_log_softmax(x: usize, rows: i32, columns: i32, out: usize): void {
  const rest = columns & 3;
  const valid = i32x4.gt_s(i32x4.splat(rest), i32x4(0, 1, 2, 3));
  for (let r = 0; r < rows; ++r) {
    const top = f32x4.splat(maxOf(x, columns));
    let sum = f64x2.splat(0);
    let c = columns;
    let p = x;
    for (; c >= 4; c -= 4, p += 16) sum = addDouble(sum, exp(f32x4.sub(v128.load(p), top)));
    if (c) sum = addDouble(sum, v128.and(exp(f32x4.sub(loadLanes(p, c), top)), valid));
    const log = f32x4.splat(<f32>Math.log(f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1)));
    for (c = columns; c > 0; c -= 4, x += 16, out += 16) {
      const y = f32x4.sub(f32x4.sub(c >= 4 ? v128.load(x) : loadLanes(x, c), top), log);
      if (c >= 4) v128.store(out, y);
      else storeLanes(out, y, c);
    }
    if (rest) x -= <usize>(4 - rest) << 2, out -= <usize>(4 - rest) << 2;
  }
}
