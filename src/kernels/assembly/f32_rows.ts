import { loadLanes } from "./f32_simd";

// Kernels over the rows of a matrix. Sums run in double precision.

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

/** Sum of a row. */
// @ts-ignore: decorator
@inline
function rowSum(x: usize, columns: i32): f64 {
  let a = f64x2.splat(0), b = a;
  let c = columns;
  for (; c >= 8; c -= 8, x += 32) {
    a = addDouble(a, v128.load(x));
    b = addDouble(b, v128.load(x, 16));
  }
  for (; c > 0; c -= 4, x += 16) a = addDouble(a, c >= 4 ? v128.load(x) : loadLanes(x, c));
  return total(f64x2.add(a, b));
}

/** Σ (x − mean)² of a row. */
// @ts-ignore: decorator
@inline
function rowSquares(x: usize, columns: i32, mean: f32): f64 {
  const m = f32x4.splat(mean);
  let a = f64x2.splat(0), b = a;
  let c = columns;
  for (; c >= 8; c -= 8, x += 32) {
    const d = f32x4.sub(v128.load(x), m), e = f32x4.sub(v128.load(x, 16), m);
    a = addDouble(a, f32x4.mul(d, d));
    b = addDouble(b, f32x4.mul(e, e));
  }
  for (; c > 0; --c, x += 4) {
    const d = load<f32>(x) - mean;
    a = f64x2.add(a, f64x2(<f64>(d * d), 0));
  }
  return total(f64x2.add(a, b));
}

/** Sums of `rows` rows, `stride` bytes apart, times `scale`. */
export function f32_row_sums(x: usize, stride: usize, rows: i32, columns: i32, scale: f64, out: usize): void {
  for (let r = 0; r < rows; ++r, x += stride, out += 4) store<f32>(out, <f32>(rowSum(x, columns) * scale));
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
      for (; c + 16 <= rowBytes; c += 16) v128.store(out + c, f32x4.add(v128.load(x + c), v128.load(other + c)));
      for (; c < rowBytes; c += 4) store<f32>(out + c, load<f32>(x + c) + load<f32>(other + c));
      other += rowBytes;
      from = out;
    }
    const mean = <f32>(rowSum(from, columns) / columns);
    const scale = <f32>(1.0 / Math.sqrt(rowSquares(from, columns, mean) / columns + eps));
    const m = f32x4.splat(mean), s = f32x4.splat(scale);
    let c: usize = 0;
    for (; c + 16 <= rowBytes; c += 16) {
      const y = f32x4.mul(f32x4.sub(v128.load(from + c), m), s);
      v128.store(out + c, f32x4.add(f32x4.mul(y, v128.load(weight + c)), v128.load(bias + c)));
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

/** Bytes (booleans among them) as floats. */
export function f32_from_u8(x: usize, n: i32, out: usize): void {
  for (; n > 0; --n, ++x, out += 4) store<f32>(out, <f32>load<u8>(x));
}
