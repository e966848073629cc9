// Winograd's minimal filtering for 3×3 windows, F(2×2, 3×3): a tile of 4×4 pixels and a filter become 16 numbers each, whose products
// give 2×2 results. 16 multiplications do the work of 36. Source: Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks" (2015).
//
// The 16 numbers of every tile lie in 16 planes, `planeBytes` apart, one row of channels per tile: each plane is a matrix, and the products
// over channels are 16 matrix products. Channel numbers are multiples of 4.

/**
 * Bᵀ·d·B of every tile: 4×4 pixels, two pixels apart, of a frame whose rows are `rowBytes` long. Tile t of plane p goes to
 * dst + p·planeBytes + t·channels·4.
 */
export function f32_winograd_pixels(
  frame: usize, rowBytes: usize, tilesY: i32, tilesX: i32, channels: i32, dst: usize, planeBytes: usize,
): void {
  const pixel = <usize>channels << 2;
  const plane4 = planeBytes << 2;
  for (let y = 0; y < tilesY; ++y, frame += 2 * rowBytes) {
    let tile = frame;
    for (let x = 0; x < tilesX; ++x, tile += 2 * pixel) {
      for (let c: usize = 0; c < pixel; c += 16, dst += 16) {
        const r0 = tile + c, r1 = r0 + rowBytes, r2 = r1 + rowBytes, r3 = r2 + rowBytes;
        // Rows 0, 1 with 2, and 3 one after the other: all sixteen pixels at once do not fit the registers.
        rowOfFour(f32x4.sub(v128.load(r0), v128.load(r2)), f32x4.sub(v128.load(r0 + pixel), v128.load(r2 + pixel)),
          f32x4.sub(v128.load(r0 + 2 * pixel), v128.load(r2 + 2 * pixel)), f32x4.sub(v128.load(r0 + 3 * pixel), v128.load(r2 + 3 * pixel)),
          dst, planeBytes);
        const p0 = v128.load(r1), p1 = v128.load(r1 + pixel), p2 = v128.load(r1 + 2 * pixel), p3 = v128.load(r1 + 3 * pixel);
        const q0 = v128.load(r2), q1 = v128.load(r2 + pixel), q2 = v128.load(r2 + 2 * pixel), q3 = v128.load(r2 + 3 * pixel);
        rowOfFour(f32x4.add(p0, q0), f32x4.add(p1, q1), f32x4.add(p2, q2), f32x4.add(p3, q3), dst + plane4, planeBytes);
        rowOfFour(f32x4.sub(q0, p0), f32x4.sub(q1, p1), f32x4.sub(q2, p2), f32x4.sub(q3, p3), dst + 2 * plane4, planeBytes);
        rowOfFour(f32x4.sub(v128.load(r1), v128.load(r3)), f32x4.sub(v128.load(r1 + pixel), v128.load(r3 + pixel)),
          f32x4.sub(v128.load(r1 + 2 * pixel), v128.load(r3 + 2 * pixel)), f32x4.sub(v128.load(r1 + 3 * pixel), v128.load(r3 + 3 * pixel)),
          dst + 3 * plane4, planeBytes);
      }
    }
  }
}

/** One row times B, to four neighbouring planes. */
// @ts-ignore: decorator
@inline
function rowOfFour(t0: v128, t1: v128, t2: v128, t3: v128, dst: usize, planeBytes: usize): void {
  v128.store(dst, f32x4.sub(t0, t2));
  v128.store(dst + planeBytes, f32x4.add(t1, t2));
  v128.store(dst + 2 * planeBytes, f32x4.sub(t2, t1));
  v128.store(dst + 3 * planeBytes, f32x4.sub(t1, t3));
}

/**
 * Aᵀ·m·A of every tile: its 2×2 results, to an image of `height` × `width` pixels that may end inside the last row or column of tiles.
 */
export function f32_winograd_results(
  src: usize, planeBytes: usize, tilesY: i32, tilesX: i32, channels: i32, dst: usize, height: i32, width: i32,
): void {
  const pixel = <usize>channels << 2;
  const rowBytes = <usize>width * pixel;
  const plane4 = planeBytes << 2;
  for (let y = 0; y < tilesY; ++y) {
    const below = 2 * y + 1 < height;
    let tile = dst + <usize>(2 * y) * rowBytes;
    for (let x = 0; x < tilesX; ++x, tile += 2 * pixel) {
      const right = 2 * x + 1 < width;
      for (let c: usize = 0; c < pixel; c += 16, src += 16) {
        let p = src;
        let m0 = v128.load(p), m1 = v128.load(p + plane4), m2 = v128.load(p + 2 * plane4), m3 = v128.load(p + 3 * plane4);
        const u0 = f32x4.add(f32x4.add(m0, m1), m2), v0 = f32x4.sub(f32x4.sub(m1, m2), m3);
        p += planeBytes;
        m0 = v128.load(p), m1 = v128.load(p + plane4), m2 = v128.load(p + 2 * plane4), m3 = v128.load(p + 3 * plane4);
        const u1 = f32x4.add(f32x4.add(m0, m1), m2), v1 = f32x4.sub(f32x4.sub(m1, m2), m3);
        p += planeBytes;
        m0 = v128.load(p), m1 = v128.load(p + plane4), m2 = v128.load(p + 2 * plane4), m3 = v128.load(p + 3 * plane4);
        const u2 = f32x4.add(f32x4.add(m0, m1), m2), v2 = f32x4.sub(f32x4.sub(m1, m2), m3);
        p += planeBytes;
        m0 = v128.load(p), m1 = v128.load(p + plane4), m2 = v128.load(p + 2 * plane4), m3 = v128.load(p + 3 * plane4);
        const u3 = f32x4.add(f32x4.add(m0, m1), m2), v3 = f32x4.sub(f32x4.sub(m1, m2), m3);
        const to = tile + c;
        v128.store(to, f32x4.add(f32x4.add(u0, u1), u2));
        if (right) v128.store(to + pixel, f32x4.sub(f32x4.sub(u1, u2), u3));
        if (below) {
          v128.store(to + rowBytes, f32x4.add(f32x4.add(v0, v1), v2));
          if (right) v128.store(to + rowBytes + pixel, f32x4.sub(f32x4.sub(v1, v2), v3));
        }
      }
    }
  }
}

/**
 * A·z·Aᵀ of every tile of 2×2 gradients in a frame, the transpose of `f32_winograd_results`. Each plane becomes the panels of a right-hand
 * matrix: dst + p·planeBytes + (c / 8)·panelBytes + t·32. The channels are a multiple of 8.
 */
export function f32_winograd_gradients(
  frame: usize, rowBytes: usize, tilesY: i32, tilesX: i32, channels: i32, dst: usize, planeBytes: usize, panelBytes: usize,
): void {
  const pixel = <usize>channels << 2;
  for (let y = 0; y < tilesY; ++y, frame += 2 * rowBytes) {
    let tile = frame;
    for (let x = 0; x < tilesX; ++x, tile += 2 * pixel, dst += 32) {
      let to = dst;
      for (let c: usize = 0; c < pixel; c += 32, to += panelBytes) {
        for (let half: usize = 0; half < 32; half += 16) {
          const from = tile + c + half;
          const a0 = v128.load(from), a1 = v128.load(from + pixel);
          const b0 = v128.load(from + rowBytes), b1 = v128.load(from + rowBytes + pixel);
          let p = to + half;
          rowOfTwo(a0, a1, p, planeBytes);
          p += planeBytes << 2;
          rowOfTwo(f32x4.add(a0, b0), f32x4.add(a1, b1), p, planeBytes);
          p += planeBytes << 2;
          rowOfTwo(f32x4.sub(a0, b0), f32x4.sub(a1, b1), p, planeBytes);
          p += planeBytes << 2;
          rowOfTwo(f32x4.neg(b0), f32x4.neg(b1), p, planeBytes);
        }
      }
    }
  }
}

/** One row times Aᵀ, to four neighbouring planes. */
// @ts-ignore: decorator
@inline
function rowOfTwo(z0: v128, z1: v128, dst: usize, planeBytes: usize): void {
  v128.store(dst, z0);
  v128.store(dst + planeBytes, f32x4.add(z0, z1));
  v128.store(dst + 2 * planeBytes, f32x4.sub(z0, z1));
  v128.store(dst + 3 * planeBytes, f32x4.neg(z1));
}

/**
 * G·g·Gᵀ of k × n filters of nine taps, as 16 planes of panels for a matrix product: dst[plane][n/8][k][n%8]. Filter (i, j) starts at
 * src + i·kBytes + j·nBytes; `flip` reads its taps backwards, as the gradient of the input does. `n` is a multiple of 8.
 */
export function f32_winograd_filters(src: usize, kBytes: usize, nBytes: usize, flip: bool, k: i32, n: i32, dst: usize): void {
  const planeBytes = <usize>(k * n) << 2;
  const step: isize = flip ? -4 : 4;
  for (let i = 0; i < k; ++i) {
    for (let j = 0; j < n; ++j) {
      let from = src + <usize>i * kBytes + <usize>j * nBytes + (flip ? 32 : 0);
      let to = dst + (<usize>((j >> 3) * k + i) << 5) + (<usize>(j & 7) << 2);
      const g00 = load<f32>(from), g01 = load<f32>(from + step), g02 = load<f32>(from + 2 * step);
      from += 3 * step;
      const g10 = load<f32>(from), g11 = load<f32>(from + step), g12 = load<f32>(from + 2 * step);
      from += 3 * step;
      const g20 = load<f32>(from), g21 = load<f32>(from + step), g22 = load<f32>(from + 2 * step);
      filterRow(g00, g01, g02, to, planeBytes);
      to += planeBytes << 2;
      const s0: f32 = 0.5 * (g00 + g20), s1: f32 = 0.5 * (g01 + g21), s2: f32 = 0.5 * (g02 + g22);
      const h0: f32 = 0.5 * g10, h1: f32 = 0.5 * g11, h2: f32 = 0.5 * g12;
      filterRow(s0 + h0, s1 + h1, s2 + h2, to, planeBytes);
      to += planeBytes << 2;
      filterRow(s0 - h0, s1 - h1, s2 - h2, to, planeBytes);
      to += planeBytes << 2;
      filterRow(g20, g21, g22, to, planeBytes);
    }
  }
}

// @ts-ignore: decorator
@inline
function filterRow(a: f32, b: f32, c: f32, dst: usize, planeBytes: usize): void {
  const outer: f32 = 0.5 * (a + c), middle: f32 = 0.5 * b;
  store<f32>(dst, a);
  store<f32>(dst + planeBytes, outer + middle);
  store<f32>(dst + 2 * planeBytes, outer - middle);
  store<f32>(dst + 3 * planeBytes, c);
}

/** Gᵀ·u·G: k × n filters of nine taps, dst[n][k][9], from 16 planes src[plane][k][n], the transpose of `f32_winograd_filters`. */
export function f32_winograd_taps(src: usize, k: i32, n: i32, dst: usize): void {
  const plane = <usize>(k * n) << 2;
  for (let j = 0; j < n; ++j) {
    for (let i = 0; i < k; ++i, dst += 36) {
      const from = src + (<usize>(i * n + j) << 2);
      for (let c: usize = 0; c < 3; ++c) {
        const u0 = tapOf(from, plane, c), u1 = tapOf(from + 4 * plane, plane, c);
        const u2 = tapOf(from + 8 * plane, plane, c), u3 = tapOf(from + 12 * plane, plane, c);
        const to = dst + (c << 2);
        store<f32>(to, u0 + 0.5 * (u1 + u2));
        store<f32>(to, 0.5 * (u1 - u2), 12);
        store<f32>(to, 0.5 * (u1 + u2) + u3, 24);
      }
    }
  }
}

/** Entry `c` of one row of four planes times G. */
// @ts-ignore: decorator
@inline
function tapOf(from: usize, plane: usize, c: usize): f32 {
  const u1 = load<f32>(from + plane), u2 = load<f32>(from + 2 * plane);
  if (c == 0) return load<f32>(from) + 0.5 * (u1 + u2);
  if (c == 1) return 0.5 * (u1 - u2);
  return 0.5 * (u1 + u2) + load<f32>(from + 3 * plane);
}
