import { f32_igemm } from "./f32_igemm";
import { clampLanes } from "./f32_simd";

// Winograd's minimal filtering for 3×3 windows, F(2×2, 3×3): a tile of 4×4 pixels and a filter become 16 numbers each, whose products
// give 2×2 results. 16 multiplications do the work of 36. Source: Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks" (2015).
//
// The 16 numbers of every tile lie in 16 planes, `planeBytes` apart, one row of channels per tile: each plane is a matrix, and the products
// over channels are 16 matrix products. Channel numbers are multiples of 8: channels go through most transforms eight at a time, in pairs of
// vectors whose loads come before their stores.

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
      for (let c: usize = 0; c < pixel; c += 32, dst += 32) {
        const r0 = tile + c, r1 = r0 + rowBytes, r2 = r1 + rowBytes, r3 = r2 + rowBytes;
        // One row after the other: all sixteen pixels at once do not fit the registers.
        rowOfFour(r0, r2, false, pixel, dst, planeBytes);
        rowOfFour(r1, r2, true, pixel, dst + plane4, planeBytes);
        rowOfFour(r2, r1, false, pixel, dst + 2 * plane4, planeBytes);
        rowOfFour(r1, r3, false, pixel, dst + 3 * plane4, planeBytes);
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function sumOrDifference(sum: bool, a: v128, b: v128): v128 {
  return sum ? f32x4.add(a, b) : f32x4.sub(a, b);
}

/** The sum or difference of two rows of four pixels, times B, to four neighbouring planes. */
// @ts-ignore: decorator
@inline
function rowOfFour(a: usize, b: usize, sum: bool, pixel: usize, dst: usize, planeBytes: usize): void {
  const s0 = sumOrDifference(sum, v128.load(a), v128.load(b)), t0 = sumOrDifference(sum, v128.load(a, 16), v128.load(b, 16));
  a += pixel, b += pixel;
  const s1 = sumOrDifference(sum, v128.load(a), v128.load(b)), t1 = sumOrDifference(sum, v128.load(a, 16), v128.load(b, 16));
  a += pixel, b += pixel;
  const s2 = sumOrDifference(sum, v128.load(a), v128.load(b)), t2 = sumOrDifference(sum, v128.load(a, 16), v128.load(b, 16));
  a += pixel, b += pixel;
  const s3 = sumOrDifference(sum, v128.load(a), v128.load(b)), t3 = sumOrDifference(sum, v128.load(a, 16), v128.load(b, 16));
  storePair(dst, f32x4.sub(s0, s2), f32x4.sub(t0, t2));
  dst += planeBytes;
  storePair(dst, f32x4.add(s1, s2), f32x4.add(t1, t2));
  dst += planeBytes;
  storePair(dst, f32x4.sub(s2, s1), f32x4.sub(t2, t1));
  storePair(dst + planeBytes, f32x4.sub(s1, s3), f32x4.sub(t1, t3));
}

// @ts-ignore: decorator
@inline
function storePair(p: usize, x: v128, y: v128): void {
  v128.store(p, x);
  v128.store(p, y, 16);
}

// @ts-ignore: decorator
@inline
function putResult(to: usize, x: v128, extra: usize, lower: v128, upper: v128): void {
  v128.store(to, clampLanes(extra ? f32x4.add(x, v128.load(to + extra)) : x, lower, upper));
}

/**
 * clamp(Aᵀ·m·A + bias) of every tile: its 2×2 results, to an image of `height` × `width` pixels that may end inside the last row or column of tiles.
 * Where `extra` is not 0, it is the distance from there to another image that is added before the bounds apply.
 */
export function f32_winograd_results(
  src: usize, planeBytes: usize, tilesY: i32, tilesX: i32, channels: i32, dst: usize, height: i32, width: i32, bias: usize, lo: f32, hi: f32,
  extra: usize,
): void {
  const lower = f32x4.splat(lo);
  const upper = f32x4.splat(hi);
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
        const b = v128.load(bias + c);
        putResult(to, f32x4.add(f32x4.add(f32x4.add(u0, u1), u2), b), extra, lower, upper);
        if (right) putResult(to + pixel, f32x4.add(f32x4.sub(f32x4.sub(u1, u2), u3), b), extra, lower, upper);
        if (below) {
          putResult(to + rowBytes, f32x4.add(f32x4.add(f32x4.add(v0, v1), v2), b), extra, lower, upper);
          if (right) putResult(to + rowBytes + pixel, f32x4.add(f32x4.sub(f32x4.sub(v1, v2), v3), b), extra, lower, upper);
        }
      }
    }
  }
}

/**
 * A convolution on tiles, from frames to results, in strips of tile rows. `plan` holds i32s: tile rows of an image, tile columns, tile rows of a
 * strip, strips of an image, channels in and out, height and width of the results; in bytes a frame row, a frame, a plane of pixels, a plane of
 * products, and what a unit takes of `scratch`; strips of a unit, and of all images; and whether
 * products take panels in pairs. A call uses the scratch of its first unit for all of them,
 * so that it stays in cache.
 */
export function f32_winograd(
  begin: i32, end: i32, plan: usize, frames: usize, rowTable: usize, outTable: usize, runTable: usize, scratch: usize, filters: usize, zeros: usize,
  bias: usize, residual: usize, output: usize, lo: f32, hi: f32,
): void {
  const tilesY = load<i32>(plan), tilesX = load<i32>(plan, 4), stripRows = load<i32>(plan, 8), strips = load<i32>(plan, 12);
  const inChannels = load<i32>(plan, 16), outChannels = load<i32>(plan, 20), height = load<i32>(plan, 24), width = load<i32>(plan, 28);
  const rowBytes = <usize>load<i32>(plan, 32), frameBytes = <usize>load<i32>(plan, 36);
  const pixelPlane = <usize>load<i32>(plan, 40), productPlane = <usize>load<i32>(plan, 44);
  const pixels = scratch + <usize>begin * <usize>load<i32>(plan, 48);
  const products = pixels + 16 * pixelPlane;
  const filterPlane = <usize>(inChannels * outChannels) << 2;
  const perUnit = load<i32>(plan, 52);
  const paired = load<i32>(plan, 60) != 0;
  const last = min(end * perUnit, load<i32>(plan, 56));
  for (let strip = begin * perUnit; strip < last; ++strip) {
    const image = strip / strips;
    const first = (strip - image * strips) * stripRows;
    const rows = min(stripRows, tilesY - first);
    const tiles = rows * tilesX;
    f32_winograd_pixels(
      frames + <usize>image * frameBytes + <usize>(2 * first) * rowBytes, rowBytes, rows, tilesX, inChannels, pixels, pixelPlane,
    );
    for (let plane: usize = 0; plane < 16; ++plane) {
      f32_igemm(
        tiles, rowTable, pixels + plane * pixelPlane, outTable, products + plane * productPlane, runTable, 1, inChannels,
        filters + plane * filterPlane, <usize>inChannels << 5, outChannels, zeros, false, -Infinity, Infinity, tiles, paired,
      );
    }
    const out = output + (<usize>((image * height + 2 * first) * width * outChannels) << 2);
    f32_winograd_results(
      products, productPlane, rows, tilesX, outChannels, out, min(2 * rows, height - 2 * first), width, bias, lo, hi,
      residual ? residual - output : 0,
    );
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
        const a = tile + c, b = a + rowBytes;
        const a0 = v128.load(a), a1 = v128.load(a + pixel), b0 = v128.load(b), b1 = v128.load(b + pixel);
        const c0 = v128.load(a, 16), c1 = v128.load(a + pixel, 16), d0 = v128.load(b, 16), d1 = v128.load(b + pixel, 16);
        const plane4 = planeBytes << 2;
        rowOfTwo(a0, c0, a1, c1, to, planeBytes);
        rowOfTwo(f32x4.add(a0, b0), f32x4.add(c0, d0), f32x4.add(a1, b1), f32x4.add(c1, d1), to + plane4, planeBytes);
        rowOfTwo(f32x4.sub(a0, b0), f32x4.sub(c0, d0), f32x4.sub(a1, b1), f32x4.sub(c1, d1), to + 2 * plane4, planeBytes);
        rowOfTwo(f32x4.neg(b0), f32x4.neg(d0), f32x4.neg(b1), f32x4.neg(d1), to + 3 * plane4, planeBytes);
      }
    }
  }
}

/** One row of two times Aᵀ, to four neighbouring planes. */
// @ts-ignore: decorator
@inline
function rowOfTwo(x0: v128, y0: v128, x1: v128, y1: v128, dst: usize, planeBytes: usize): void {
  storePair(dst, x0, y0);
  dst += planeBytes;
  storePair(dst, f32x4.add(x0, x1), f32x4.add(y0, y1));
  dst += planeBytes;
  storePair(dst, f32x4.sub(x0, x1), f32x4.sub(y0, y1));
  storePair(dst + planeBytes, f32x4.neg(x1), f32x4.neg(y1));
}

/**
 * G·g·Gᵀ of k × n filters of nine taps, as 16 planes of panels for a matrix product: dst[plane][n/8][k][n%8]. Filter (i, j) starts at
 * src + i·kBytes + j·nBytes; `flip` reads its taps backwards, as the gradient of the input does. `n` is a multiple of 8.
 */
export function f32_winograd_filters(src: usize, kBytes: usize, nBytes: usize, flip: bool, k: i32, n: i32, dst: usize): void {
  const planeBytes = <usize>(k * n) << 2;
  const first: usize = flip ? 32 : 0;
  const step: usize = flip ? -4 : 4;
  for (let j = 0; j < n; j += 4) {
    let from = src + <usize>j * nBytes + first;
    let to = dst + (<usize>((j >> 3) * k) << 5) + (<usize>(j & 4) << 2);
    for (let i = 0; i < k; ++i, from += kBytes, to += 32) {
      const row1 = from + 3 * step, row2 = row1 + 3 * step;
      for (let c: usize = 0; c < 4; ++c) {
        // Columns of G·g, then times Gᵀ: plane = 4·row + column.
        const g0 = columnOf(from, nBytes, step, c), g1 = columnOf(row1, nBytes, step, c), g2 = columnOf(row2, nBytes, step, c);
        const half = f32x4.splat(0.5);
        const outer = f32x4.mul(half, f32x4.add(g0, g2));
        const middle = f32x4.mul(half, g1);
        const at = to + c * planeBytes;
        v128.store(at, g0);
        v128.store(at + 4 * planeBytes, f32x4.add(outer, middle));
        v128.store(at + 8 * planeBytes, f32x4.sub(outer, middle));
        v128.store(at + 12 * planeBytes, g2);
      }
    }
  }
}

/** Entry `c` of a row of three taps times Gᵀ, for four filters. */
// @ts-ignore: decorator
@inline
function columnOf(row: usize, nBytes: usize, step: usize, c: usize): v128 {
  if (c == 0) return tapOfFour(row, nBytes);
  if (c == 3) return tapOfFour(row + 2 * step, nBytes);
  const half = f32x4.splat(0.5);
  const outer = f32x4.mul(half, f32x4.add(tapOfFour(row, nBytes), tapOfFour(row + 2 * step, nBytes)));
  const middle = f32x4.mul(half, tapOfFour(row + step, nBytes));
  return c == 1 ? f32x4.add(outer, middle) : f32x4.sub(outer, middle);
}

/** The same tap of four filters. */
// @ts-ignore: decorator
@inline
function tapOfFour(at: usize, nBytes: usize): v128 {
  let x = v128.load32_zero(at);
  x = v128.load32_lane(at + nBytes, x, 1);
  x = v128.load32_lane(at + 2 * nBytes, x, 2);
  return v128.load32_lane(at + 3 * nBytes, x, 3);
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
