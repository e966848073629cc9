import { clampLanes, madd, storeLanes } from "./f32_simd";

// Kernels over a matrix [rows][channels] with one parameter per channel. Channels lie in vector lanes; the last vector of a row may read
// up to 12 bytes of the next one, and only its valid lanes are stored. Parameter arrays are padded to a multiple of 4.

/** sums[c] = Σ over rows of x[r][c]. Two sums per channel alternate, which halves both the latency and the rounding. */
export function f32_column_sums(x: usize, rows: i32, channels: i32, sums: usize): void {
  const stride = <usize>channels << 2;
  let c = 0;
  for (; c + 16 <= channels; c += 16) {
    const off = <usize>c << 2;
    let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    let p = x + off;
    let r = rows;
    for (; r >= 2; r -= 2) {
      const q = p + stride;
      a0 = f32x4.add(a0, v128.load(p));
      a1 = f32x4.add(a1, v128.load(p, 16));
      a2 = f32x4.add(a2, v128.load(p, 32));
      a3 = f32x4.add(a3, v128.load(p, 48));
      b0 = f32x4.add(b0, v128.load(q));
      b1 = f32x4.add(b1, v128.load(q, 16));
      b2 = f32x4.add(b2, v128.load(q, 32));
      b3 = f32x4.add(b3, v128.load(q, 48));
      p = q + stride;
    }
    if (r) {
      a0 = f32x4.add(a0, v128.load(p));
      a1 = f32x4.add(a1, v128.load(p, 16));
      a2 = f32x4.add(a2, v128.load(p, 32));
      a3 = f32x4.add(a3, v128.load(p, 48));
    }
    v128.store(sums + off, f32x4.add(a0, b0));
    v128.store(sums + off, f32x4.add(a1, b1), 16);
    v128.store(sums + off, f32x4.add(a2, b2), 32);
    v128.store(sums + off, f32x4.add(a3, b3), 48);
  }
  for (; c < channels; c += 4) {
    const off = <usize>c << 2;
    let a0 = f32x4.splat(0), b0 = a0;
    let p = x + off;
    let r = rows;
    for (; r >= 2; r -= 2) {
      a0 = f32x4.add(a0, v128.load(p));
      b0 = f32x4.add(b0, v128.load(p + stride));
      p += 2 * stride;
    }
    if (r) a0 = f32x4.add(a0, v128.load(p));
    v128.store(sums + off, f32x4.add(a0, b0));
  }
}

/** first[c] = Σ (x[r][c] − mean[c]), second[c] = Σ (x[r][c] − mean[c])². */
export function f32_column_deviations(x: usize, rows: i32, channels: i32, mean: usize, first: usize, second: usize): void {
  const stride = <usize>channels << 2;
  let c = 0;
  for (; c + 16 <= channels; c += 16) {
    const off = <usize>c << 2;
    const m0 = v128.load(mean + off);
    const m1 = v128.load(mean + off, 16);
    const m2 = v128.load(mean + off, 32);
    const m3 = v128.load(mean + off, 48);
    let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    let p = x + off;
    for (let r = 0; r < rows; ++r, p += stride) {
      const d0 = f32x4.sub(v128.load(p), m0);
      a0 = f32x4.add(a0, d0);
      b0 = madd(d0, d0, b0);
      const d1 = f32x4.sub(v128.load(p, 16), m1);
      a1 = f32x4.add(a1, d1);
      b1 = madd(d1, d1, b1);
      const d2 = f32x4.sub(v128.load(p, 32), m2);
      a2 = f32x4.add(a2, d2);
      b2 = madd(d2, d2, b2);
      const d3 = f32x4.sub(v128.load(p, 48), m3);
      a3 = f32x4.add(a3, d3);
      b3 = madd(d3, d3, b3);
    }
    v128.store(first + off, a0);
    v128.store(first + off, a1, 16);
    v128.store(first + off, a2, 32);
    v128.store(first + off, a3, 48);
    v128.store(second + off, b0);
    v128.store(second + off, b1, 16);
    v128.store(second + off, b2, 32);
    v128.store(second + off, b3, 48);
  }
  for (; c < channels; c += 4) {
    const off = <usize>c << 2;
    const m0 = v128.load(mean + off);
    let a0 = f32x4.splat(0), b0 = a0;
    let p = x + off;
    for (let r = 0; r < rows; ++r, p += stride) {
      const d0 = f32x4.sub(v128.load(p), m0);
      a0 = f32x4.add(a0, d0);
      b0 = madd(d0, d0, b0);
    }
    v128.store(first + off, a0);
    v128.store(second + off, b0);
  }
}

/** Rows that go through one group of channels before the next group: their cache lines are still in L1 then. */
const ROWS_TOGETHER: i32 = 8;

/** out[r][c] = clamp((x[r][c] − mean[c]) · scale[c] + shift[c]). */
export function f32_center_scale(
  x: usize, rows: i32, channels: i32, mean: usize, scale: usize, shift: usize, out: usize, lo: f32, hi: f32,
): void {
  const stride = <usize>channels << 2;
  const lower = f32x4.splat(lo);
  const upper = f32x4.splat(hi);
  const step = ROWS_TOGETHER * stride;
  for (let left = rows; left > 0; left -= ROWS_TOGETHER, x += step, out += step) {
    const count = min(left, ROWS_TOGETHER);
    let c = 0;
    for (; c + 8 <= channels; c += 8) {
      const off = <usize>c << 2;
      const m0 = v128.load(mean + off), m1 = v128.load(mean + off, 16);
      const s0 = v128.load(scale + off), s1 = v128.load(scale + off, 16);
      const t0 = v128.load(shift + off), t1 = v128.load(shift + off, 16);
      let p = x + off;
      let o = out + off;
      for (let r = count; r > 0; --r, p += stride, o += stride) {
        const y0 = madd(f32x4.sub(v128.load(p), m0), s0, t0);
        const y1 = madd(f32x4.sub(v128.load(p, 16), m1), s1, t1);
        v128.store(o, clampLanes(y0, lower, upper));
        v128.store(o, clampLanes(y1, lower, upper), 16);
      }
    }
    for (; c < channels; c += 4) {
      const off = <usize>c << 2;
      const m = v128.load(mean + off);
      const s = v128.load(scale + off);
      const t = v128.load(shift + off);
      let p = x + off;
      let o = out + off;
      for (let r = count; r > 0; --r, p += stride, o += stride) {
        storeUpTo4(o, clampLanes(madd(f32x4.sub(v128.load(p), m), s, t), lower, upper), channels - c);
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function storeUpTo4(p: usize, x: v128, left: i32): void {
  if (left >= 4) v128.store(p, x);
  else storeLanes(p, x, left);
}

/** first[c] = Σ g[r][c], second[c] = Σ g[r][c] · (x[r][c] − mean[c]): what the gradient of a normalization needs. */
export function f32_column_grad_sums(
  g: usize, x: usize, rows: i32, channels: i32, mean: usize, first: usize, second: usize,
): void {
  const stride = <usize>channels << 2;
  let c = 0;
  for (; c + 16 <= channels; c += 16) {
    const off = <usize>c << 2;
    const m0 = v128.load(mean + off);
    const m1 = v128.load(mean + off, 16);
    const m2 = v128.load(mean + off, 32);
    const m3 = v128.load(mean + off, 48);
    let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    let p = x + off;
    let q = g + off;
    for (let r = 0; r < rows; ++r, p += stride, q += stride) {
      const g0 = v128.load(q);
      a0 = f32x4.add(a0, g0);
      b0 = madd(g0, f32x4.sub(v128.load(p), m0), b0);
      const g1 = v128.load(q, 16);
      a1 = f32x4.add(a1, g1);
      b1 = madd(g1, f32x4.sub(v128.load(p, 16), m1), b1);
      const g2 = v128.load(q, 32);
      a2 = f32x4.add(a2, g2);
      b2 = madd(g2, f32x4.sub(v128.load(p, 32), m2), b2);
      const g3 = v128.load(q, 48);
      a3 = f32x4.add(a3, g3);
      b3 = madd(g3, f32x4.sub(v128.load(p, 48), m3), b3);
    }
    v128.store(first + off, a0);
    v128.store(first + off, a1, 16);
    v128.store(first + off, a2, 32);
    v128.store(first + off, a3, 48);
    v128.store(second + off, b0);
    v128.store(second + off, b1, 16);
    v128.store(second + off, b2, 32);
    v128.store(second + off, b3, 48);
  }
  for (; c < channels; c += 4) {
    const off = <usize>c << 2;
    const m0 = v128.load(mean + off);
    let a0 = f32x4.splat(0), b0 = a0;
    let p = x + off;
    let q = g + off;
    for (let r = 0; r < rows; ++r, p += stride, q += stride) {
      const g0 = v128.load(q);
      a0 = f32x4.add(a0, g0);
      b0 = madd(g0, f32x4.sub(v128.load(p), m0), b0);
    }
    v128.store(first + off, a0);
    v128.store(second + off, b0);
  }
}

/** out[r][c] = g[r][c] · gScale[c] + (x[r][c] − mean[c]) · xScale[c] + shift[c]. */
export function f32_center_scale_grad(
  g: usize, x: usize, rows: i32, channels: i32, mean: usize, gScale: usize, xScale: usize, shift: usize, out: usize,
): void {
  const stride = <usize>channels << 2;
  const step = ROWS_TOGETHER * stride;
  for (let left = rows; left > 0; left -= ROWS_TOGETHER, x += step, g += step, out += step) {
    const count = min(left, ROWS_TOGETHER);
    let c = 0;
    for (; c + 8 <= channels; c += 8) {
      const off = <usize>c << 2;
      const m0 = v128.load(mean + off), m1 = v128.load(mean + off, 16);
      const s0 = v128.load(gScale + off), s1 = v128.load(gScale + off, 16);
      const u0 = v128.load(xScale + off), u1 = v128.load(xScale + off, 16);
      const t0 = v128.load(shift + off), t1 = v128.load(shift + off, 16);
      let p = x + off;
      let q = g + off;
      let o = out + off;
      for (let r = count; r > 0; --r, p += stride, q += stride, o += stride) {
        const y0 = madd(v128.load(q), s0, madd(f32x4.sub(v128.load(p), m0), u0, t0));
        const y1 = madd(v128.load(q, 16), s1, madd(f32x4.sub(v128.load(p, 16), m1), u1, t1));
        v128.store(o, y0);
        v128.store(o, y1, 16);
      }
    }
    for (; c < channels; c += 4) {
      const off = <usize>c << 2;
      const m = v128.load(mean + off);
      const s = v128.load(gScale + off);
      const u = v128.load(xScale + off);
      const t = v128.load(shift + off);
      let p = x + off;
      let q = g + off;
      let o = out + off;
      for (let r = count; r > 0; --r, p += stride, q += stride, o += stride) {
        storeUpTo4(o, madd(v128.load(q), s, madd(f32x4.sub(v128.load(p), m), u, t)), channels - c);
      }
    }
  }
}
