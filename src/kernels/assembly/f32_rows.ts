import { loadLanes, storeLanes, storePair } from "./f32_simd";

// Kernels over the rows of a matrix. Sums run in double precision, of up to 32 floats that are added in single precision first.

// @ts-ignore: decorator
@inline
function addDouble(sum: v128, x: v128): v128 {
  const high = v128.shuffle<f32>(x, x, 2, 3, 2, 3);
  return f64x2.add(sum, f64x2.add(f64x2.promote_low_f32x4(x), f64x2.promote_low_f32x4(high)));
}

// @ts-ignore: decorator
@inline
function total(sum: v128): f64 {
  return f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1);
}

/** Sum of eight vectors next to each other. */
// @ts-ignore: decorator
@inline
function sum8(x: usize): v128 {
  const a = f32x4.add(f32x4.add(v128.load(x), v128.load(x, 32)), f32x4.add(v128.load(x, 64), v128.load(x, 96)));
  const b = f32x4.add(f32x4.add(v128.load(x, 16), v128.load(x, 48)), f32x4.add(v128.load(x, 80), v128.load(x, 112)));
  return f32x4.add(a, b);
}

/** (x − m)² of the vector at `x`. */
// @ts-ignore: decorator
@inline
function square(x: usize, m: v128): v128 {
  const d = f32x4.sub(v128.load(x), m);
  return f32x4.mul(d, d);
}

/** {@link sum8} of squares. */
// @ts-ignore: decorator
@inline
function squares8(x: usize, m: v128): v128 {
  const a = f32x4.add(f32x4.add(square(x, m), square(x + 32, m)), f32x4.add(square(x + 64, m), square(x + 96, m)));
  const b = f32x4.add(f32x4.add(square(x + 16, m), square(x + 48, m)), f32x4.add(square(x + 80, m), square(x + 112, m)));
  return f32x4.add(a, b);
}

/** Sum of a row. */
// @ts-ignore: decorator
@inline
function rowSum(x: usize, columns: i32): f64 {
  let sum = f64x2.splat(0);
  let c = columns;
  for (; c >= 32; c -= 32, x += 128) sum = addDouble(sum, sum8(x));
  for (; c > 0; c -= 4, x += 16) sum = addDouble(sum, c >= 4 ? v128.load(x) : loadLanes(x, c));
  return total(sum);
}

/** Σ (x − mean)² of a row. */
// @ts-ignore: decorator
@inline
function rowSquares(x: usize, columns: i32, mean: f32): f64 {
  const m = f32x4.splat(mean);
  let sum = f64x2.splat(0);
  let c = columns;
  for (; c >= 32; c -= 32, x += 128) sum = addDouble(sum, squares8(x, m));
  for (; c >= 4; c -= 4, x += 16) sum = addDouble(sum, square(x, m));
  for (; c > 0; --c, x += 4) {
    const d = load<f32>(x) - mean;
    sum = f64x2.add(sum, f64x2(<f64>(d * d), 0));
  }
  return total(sum);
}

/** Sums of `rows` rows, `stride` bytes apart, times `scale`. */
export function f32_row_sums(x: usize, stride: usize, rows: i32, columns: i32, scale: f64, out: usize): void {
  for (let r = 0; r < rows; ++r, x += stride, out += 4) store<f32>(out, <f32>(rowSum(x, columns) * scale));
}

/** The largest (or smallest) of a row; NaN where it holds one. */
// @ts-ignore: decorator
@inline
function extreme(x: usize, columns: i32, largest: bool): f32 {
  let m = v128.load32_splat(x), m1 = m, m2 = m, m3 = m;
  for (; columns >= 16; columns -= 16, x += 64) {
    m = largest ? f32x4.max(m, v128.load(x)) : f32x4.min(m, v128.load(x));
    m1 = largest ? f32x4.max(m1, v128.load(x, 16)) : f32x4.min(m1, v128.load(x, 16));
    m2 = largest ? f32x4.max(m2, v128.load(x, 32)) : f32x4.min(m2, v128.load(x, 32));
    m3 = largest ? f32x4.max(m3, v128.load(x, 48)) : f32x4.min(m3, v128.load(x, 48));
  }
  m = largest ? f32x4.max(f32x4.max(m, m1), f32x4.max(m2, m3)) : f32x4.min(f32x4.min(m, m1), f32x4.min(m2, m3));
  for (; columns >= 4; columns -= 4, x += 16) m = largest ? f32x4.max(m, v128.load(x)) : f32x4.min(m, v128.load(x));
  for (; columns > 0; --columns, x += 4) m = largest ? f32x4.max(m, v128.load32_splat(x)) : f32x4.min(m, v128.load32_splat(x));
  const a = f32x4.extract_lane(m, 0), b = f32x4.extract_lane(m, 1), c = f32x4.extract_lane(m, 2), d = f32x4.extract_lane(m, 3);
  return largest ? max(max(a, b), max(c, d)) : min(min(a, b), min(c, d));
}

/** Extremes of `rows` rows, next to each other: their values, and (where `places` is not 0) the columns of the first that has them, as doubles. */
export function f32_row_extremes(x: usize, rows: i32, columns: i32, largest: bool, values: usize, places: usize): void {
  const rowBytes = <usize>columns << 2;
  for (let r = 0; r < rows; ++r, x += rowBytes) {
    let best = largest ? extreme(x, columns, true) : extreme(x, columns, false);
    if (places) {
      let at = 0;
      for (; at < columns; ++at) {
        const value = load<f32>(x + (<usize>at << 2));
        if (value == best || value != value) break;
      }
      best = load<f32>(x + (<usize>at << 2));
      store<f64>(places + (<usize>r << 3), <f64>at);
    }
    store<f32>(values + (<usize>r << 2), best);
  }
}

/** Σ (x − mean)² / divisor of `rows` rows, next to each other, or its root. */
export function f32_row_variances(x: usize, rows: i32, columns: i32, divisor: f64, root: bool, out: usize): void {
  const rowBytes = <usize>columns << 2;
  for (let r = 0; r < rows; ++r, x += rowBytes, out += 4) {
    const mean = rowSum(x, columns) / columns;
    const rounded = <f32>mean;
    const rest = mean - <f64>rounded;
    const variance = max(0.0, rowSquares(x, columns, rounded) - rest * rest * columns) / divisor;
    store<f32>(out, <f32>(root ? Math.sqrt(variance) : variance));
  }
}

/**
 * Groups [begin, end) of images of channels-last pixels: each is normalized over its channels and all pixels of its image, then times `weight`
 * plus `bias` (one per channel). Groups of one image follow each other.
 */
export function f32_group_norm(
  begin: i32, end: i32, x: usize, pixels: i32, channels: i32, groups: i32, weight: usize, bias: usize, eps: f64, out: usize,
): void {
  const width = channels / groups;
  const rest = width & 3;
  const whole = <usize>(width - rest) << 2;
  const pitch = <usize>channels << 2;
  for (let unit = begin; unit < end; ++unit) {
    const image = unit / groups;
    const first = <usize>((unit - image * groups) * width) << 2;
    const from = <usize>image * <usize>pixels * pitch + first;
    let sum = f64x2.splat(0);
    for (let i = 0, p = x + from; i < pixels; ++i, p += pitch) {
      for (let c: usize = 0; c < whole; c += 16) sum = addDouble(sum, v128.load(p + c));
      if (rest) sum = addDouble(sum, loadLanes(p + whole, rest));
    }
    const count = <f64>pixels * width;
    const mean = total(sum) / count;
    const rounded = <f32>mean;
    const m = f32x4.splat(rounded);
    const valid = i32x4.gt_s(i32x4.splat(rest), i32x4(0, 1, 2, 3));
    sum = f64x2.splat(0);
    for (let i = 0, p = x + from; i < pixels; ++i, p += pitch) {
      for (let c: usize = 0; c < whole; c += 16) {
        const d = f32x4.sub(v128.load(p + c), m);
        sum = addDouble(sum, f32x4.mul(d, d));
      }
      if (rest) {
        const d = v128.and(f32x4.sub(loadLanes(p + whole, rest), m), valid);
        sum = addDouble(sum, f32x4.mul(d, d));
      }
    }
    const off = mean - <f64>rounded;
    const variance = max(0.0, total(sum) - off * off * count) / count;
    const s = f32x4.splat(<f32>(1.0 / Math.sqrt(variance + eps)));
    const w = weight + first, b = bias + first;
    for (let i = 0, p = x + from, o = out + from; i < pixels; ++i, p += pitch, o += pitch) {
      for (let c: usize = 0; c < whole; c += 16) {
        const y = f32x4.mul(f32x4.sub(v128.load(p + c), m), s);
        v128.store(o + c, f32x4.add(f32x4.mul(y, v128.load(w + c)), v128.load(b + c)));
      }
      if (rest) {
        const y = f32x4.mul(f32x4.sub(loadLanes(p + whole, rest), m), s);
        storeLanes(o + whole, f32x4.add(f32x4.mul(y, loadLanes(w + whole, rest)), loadLanes(b + whole, rest)), rest);
      }
    }
  }
}

/**
 * Normalizes every row to mean 0 and variance 1, then times `weight` plus `bias` (one per column). Where `other` is not 0, the
 * rows are first added to its rows; the sum is only kept inside. All rows lie next to each other.
 */
export function f32_layer_norm(
  x: usize, other: usize, rows: i32, columns: i32, weight: usize, bias: usize, eps: f64, out: usize,
): void {
  const rowBytes = <usize>columns << 2;
  for (let r = 0; r < rows; ++r, x += rowBytes, out += rowBytes) {
    let from = x;
    if (other) {
      let c: usize = 0;
      for (; c + 32 <= rowBytes; c += 32) {
        const p = x + c, q = other + c;
        storePair(out + c, f32x4.add(v128.load(p), v128.load(q)), f32x4.add(v128.load(p, 16), v128.load(q, 16)));
      }
      for (; c < rowBytes; c += 4) store<f32>(out + c, load<f32>(x + c) + load<f32>(other + c));
      other += rowBytes;
      from = out;
    }
    const mean = <f32>(rowSum(from, columns) / columns);
    const scale = <f32>(1.0 / Math.sqrt(rowSquares(from, columns, mean) / columns + eps));
    const m = f32x4.splat(mean), s = f32x4.splat(scale);
    let c: usize = 0;
    for (; c + 32 <= rowBytes; c += 32) {
      const p = from + c, w = weight + c, b = bias + c;
      const y = f32x4.mul(f32x4.sub(v128.load(p), m), s), z = f32x4.mul(f32x4.sub(v128.load(p, 16), m), s);
      storePair(out + c, f32x4.add(f32x4.mul(y, v128.load(w)), v128.load(b)), f32x4.add(f32x4.mul(z, v128.load(w, 16)), v128.load(b, 16)));
    }
    for (; c < rowBytes; c += 4) {
      store<f32>(out + c, (load<f32>(from + c) - mean) * scale * load<f32>(weight + c) + load<f32>(bias + c));
    }
  }
}

/**
 * Rows of a table by number: out[i] = table[ids[i]]. A number outside of the table sets the word at `status` to 1 and leaves its row as it is.
 * Numbers are doubles where `idBytes` is 8, 32-bit integers where it is 4.
 */
export function f32_pick_rows(
  ids: usize, idBytes: i32, count: i32, table: usize, rows: i32, rowBytes: usize, out: usize, status: usize,
): void {
  for (let i = 0; i < count; ++i, out += rowBytes) {
    const id = idBytes == 8 ? load<f64>(ids + (<usize>i << 3)) : <f64>load<i32>(ids + (<usize>i << 2));
    if (id >= 0 && id < <f64>rows && Math.floor(id) == id) memory.copy(out, table + <usize>(<i32>id) * rowBytes, rowBytes);
    else store<i32>(status, 1);
  }
}

/** Whole numbers that are stored as doubles, or doubles, as floats. */
export function f32_from_f64(x: usize, n: i32, out: usize): void {
  for (; n >= 2; n -= 2, x += 16, out += 8) v128.store64_lane(out, f32x4.demote_f64x2_zero(v128.load(x)), 0);
  if (n) store<f32>(out, <f32>load<f64>(x));
}

/** What is not 0, as booleans. */
export function bool_from_f32(x: usize, n: i32, out: usize): void {
  for (; n > 0; --n, x += 4, ++out) store<u8>(out, load<f32>(x) != 0 ? 1 : 0);
}

/** Bytes (booleans among them) as floats. */
export function f32_from_u8(x: usize, n: i32, out: usize): void {
  for (; n > 0; --n, ++x, out += 4) store<f32>(out, <f32>load<u8>(x));
}
