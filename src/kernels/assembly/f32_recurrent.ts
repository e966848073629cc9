import { loadLanes, storeLanes, storePair } from "./f32_simd";
import { sigmoid, tanh } from "./f32_sigmoid";

// The element-wise half of recurrent steps.

/** The sum of two vectors. */
// @ts-ignore: decorator
@inline
function sum(p: usize, q: usize): v128 {
  return f32x4.add(v128.load(p), v128.load(q));
}

/** The first `n` lanes of a vector. */
// @ts-ignore: decorator
@inline
function lanes(p: usize, n: i32): v128 {
  return n >= 4 ? v128.load(p) : loadLanes(p, n);
}

/** {@link sum} of the first `n` lanes. */
// @ts-ignore: decorator
@inline
function sumOf(p: usize, q: usize, n: i32): v128 {
  return f32x4.add(lanes(p, n), lanes(q, n));
}

// @ts-ignore: decorator
@inline
function storeFirst(p: usize, x: v128, n: i32): void {
  if (n >= 4) v128.store(p, x);
  else storeLanes(p, x, n);
}

/** The next cell state of gates i, f, g and the one before. */
// @ts-ignore: decorator
@inline
function cell(i: v128, f: v128, g: v128, before: v128): v128 {
  return f32x4.add(f32x4.mul(sigmoid(f), before), f32x4.mul(sigmoid(i), tanh(g)));
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
    let i = a + row * aStride, j = b + row * bStride, before = c + row * cStride, out = h + row * hStride, after = next + row * nextStride;
    let left = hidden;
    for (; left >= 8; left -= 8, i += 32, j += 32, before += 32, out += 32, after += 32) {
      const f = i + gate, g = f + gate, o = g + gate, F = j + gate, G = F + gate, O = G + gate;
      const s = cell(sum(i, j), sum(f, F), sum(g, G), v128.load(before));
      const t = cell(sum(i + 16, j + 16), sum(f + 16, F + 16), sum(g + 16, G + 16), v128.load(before, 16));
      const y = f32x4.mul(sigmoid(sum(o, O)), tanh(s)), z = f32x4.mul(sigmoid(sum(o + 16, O + 16)), tanh(t));
      storePair(after, s, t);
      storePair(out, y, z);
    }
    for (; left > 0; left -= 4, i += 16, j += 16, before += 16, out += 16, after += 16) {
      const f = i + gate, g = f + gate, o = g + gate, F = j + gate, G = F + gate, O = G + gate;
      const s = cell(sumOf(i, j, left), sumOf(f, F, left), sumOf(g, G, left), lanes(before, left));
      storeFirst(after, s, left);
      storeFirst(out, f32x4.mul(sigmoid(sumOf(o, O, left)), tanh(s)), left);
    }
  }
}

/** The next state: n + z·(h − n), n = tanh(x + r·y). */
// @ts-ignore: decorator
@inline
function blend(r: v128, z: v128, x: v128, y: v128, before: v128): v128 {
  const candidate = tanh(f32x4.add(x, f32x4.mul(sigmoid(r), y)));
  return f32x4.add(f32x4.mul(f32x4.sub(before, candidate), sigmoid(z)), candidate);
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
    let left = hidden;
    for (; left >= 8; left -= 8, p += 32, q += 32, before += 32, out += 32) {
      const z = p + gate, n = z + gate, Z = q + gate, N = Z + gate;
      storePair(
        out,
        blend(sum(p, q), sum(z, Z), v128.load(n), v128.load(N), v128.load(before)),
        blend(sum(p + 16, q + 16), sum(z + 16, Z + 16), v128.load(n, 16), v128.load(N, 16), v128.load(before, 16)),
      );
    }
    for (; left > 0; left -= 4, p += 16, q += 16, before += 16, out += 16) {
      const z = p + gate, n = z + gate, Z = q + gate, N = Z + gate;
      storeFirst(out, blend(sumOf(p, q, left), sumOf(z, Z, left), lanes(n, left), lanes(N, left), lanes(before, left)), left);
    }
  }
}
