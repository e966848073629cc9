import { dot_s8, lanes } from "./qu8s8_tile";
import { bias_bits, low_bits, rounding, scaled, store_f32_lanes, store_u8_half, store_u8_lanes } from "./requantize";

// u8 activations × s8 weights in panels of 16 channels, 4 k per step, for engines that pack pairs of vectors into one of 32 bytes: a row has the pairs
// (c0, c1) and (c2, c3). In 6 rows twelve pairs of sums, two of weights and one broadcast activation are all of V8's 15 vector registers. Narrowing is what
// packing starts from, so the halves of a pair have to meet there; stores of floats are another start, best with the upper half first.

/** 16 requantized sums as bytes, in order; T as in {@link lanes}. */
// @ts-ignore: decorator
@inline
function bytes<T>(c0: v128, c1: v128, c2: v128, c3: v128, scales: usize, low: v128, bias: v128, magic: v128): v128 {
  const even = i16x8.narrow_i32x4_s(lanes<T>(c0, v128.load(scales), low, bias, magic), lanes<T>(c2, v128.load(scales, 32), low, bias, magic));
  const odd = i16x8.narrow_i32x4_s(lanes<T>(c1, v128.load(scales, 16), low, bias, magic), lanes<T>(c3, v128.load(scales, 48), low, bias, magic));
  const x = i8x16.narrow_i16x8_u(even, odd);
  return i8x16.shuffle(x, x, 0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15);
}

// @ts-ignore: decorator
@inline
function clamp(x: v128, least: v128, high: v128): v128 {
  return i8x16.min_u(i8x16.max_u(x, least), high);
}

/** 8 requantized sums as bytes, twice. */
// @ts-ignore: decorator
@inline
function half<T>(c0: v128, c1: v128, s0: v128, s1: v128, low: v128, bias: v128, magic: v128, least: v128, high: v128): v128 {
  const x = i16x8.narrow_i32x4_s(lanes<T>(c0, s0, low, bias, magic), lanes<T>(c1, s1, low, bias, magic));
  return clamp(i8x16.narrow_i16x8_u(x, x), least, high);
}

/** 16 floats of a row. */
// @ts-ignore: decorator
@inline
function store_floats(out: usize, c0: v128, c1: v128, c2: v128, c3: v128, scales: usize, bias: usize, floor: f32, n: i32): void {
  const least = f32x4.splat(floor);
  const x0 = scaled(c0, v128.load(scales), v128.load(bias), least);
  const x1 = scaled(c1, v128.load(scales, 16), v128.load(bias, 16), least);
  const x2 = scaled(c2, v128.load(scales, 32), v128.load(bias, 32), least);
  const x3 = scaled(c3, v128.load(scales, 48), v128.load(bias, 48), least);
  if (n >= 16) {
    v128.store(out, x1, 16);
    v128.store(out, x0);
    v128.store(out, x3, 48);
    v128.store(out, x2, 32);
  } else {
    store_f32_lanes(out, x0, x1, n);
    if (n > 8) store_f32_lanes(out + 32, x2, x3, n - 8);
  }
}

/** Rows [row, end) × 16 channels, 6 rows at a time; rows past the last of a tile repeat it. Returns the first row that was left. */
export function tile_6x16<T>(
  input: usize, rowStride: usize, table: usize, taps: i32, channels: i32, row: i32, end: i32,
  panel: usize, out: usize, outStride: usize, n: i32, zeroPoint: i32, min: i32, max: i32, floatBias: usize, floor: f32,
): i32 {
  const begin = row;
  for (; row + 3 < end; row += 6) {
    if (row + 6 > end) {
      if (end - begin < 6) break;
      row = end - 6;
    }
    let c00 = v128.load(panel), c01 = v128.load(panel, 16), c02 = v128.load(panel, 32), c03 = v128.load(panel, 48);
    let c10 = c00, c11 = c01, c12 = c02, c13 = c03, c20 = c00, c21 = c01, c22 = c02, c23 = c03;
    let c30 = c00, c31 = c01, c32 = c02, c33 = c03, c40 = c00, c41 = c01, c42 = c02, c43 = c03;
    let c50 = c00, c51 = c01, c52 = c02, c53 = c03;
    let p = panel + 64;
    let t = 0;
    do {
      let a0: usize, a1: usize, a2: usize, a3: usize, a4: usize, a5: usize;
      if (table) {
        const stride = <usize>taps << 2;
        let entry = table + <usize>row * stride + (t << 2);
        a0 = input + load<u32>(entry);
        a1 = input + load<u32>(entry + stride);
        a2 = input + load<u32>(entry + (stride << 1));
        entry += stride * 3;
        a3 = input + load<u32>(entry);
        a4 = input + load<u32>(entry + stride);
        a5 = input + load<u32>(entry + (stride << 1));
      } else {
        a0 = input + <usize>row * rowStride;
        a1 = a0 + rowStride;
        a2 = a1 + rowStride;
        a3 = a2 + rowStride;
        a4 = a3 + rowStride;
        a5 = a4 + rowStride;
      }
      let k = channels;
      do {
        const b0 = v128.load(p), b1 = v128.load(p, 16), b2 = v128.load(p, 32), b3 = v128.load(p, 48);
        p += 64;
        let a = v128.load32_splat(a0);
        a0 += 4;
        c00 = dot_s8(b0, a, c00);
        c01 = dot_s8(b1, a, c01);
        c02 = dot_s8(b2, a, c02);
        c03 = dot_s8(b3, a, c03);
        a = v128.load32_splat(a1);
        a1 += 4;
        c10 = dot_s8(b0, a, c10);
        c11 = dot_s8(b1, a, c11);
        c12 = dot_s8(b2, a, c12);
        c13 = dot_s8(b3, a, c13);
        a = v128.load32_splat(a2);
        a2 += 4;
        c20 = dot_s8(b0, a, c20);
        c21 = dot_s8(b1, a, c21);
        c22 = dot_s8(b2, a, c22);
        c23 = dot_s8(b3, a, c23);
        a = v128.load32_splat(a3);
        a3 += 4;
        c30 = dot_s8(b0, a, c30);
        c31 = dot_s8(b1, a, c31);
        c32 = dot_s8(b2, a, c32);
        c33 = dot_s8(b3, a, c33);
        a = v128.load32_splat(a4);
        a4 += 4;
        c40 = dot_s8(b0, a, c40);
        c41 = dot_s8(b1, a, c41);
        c42 = dot_s8(b2, a, c42);
        c43 = dot_s8(b3, a, c43);
        a = v128.load32_splat(a5);
        a5 += 4;
        c50 = dot_s8(b0, a, c50);
        c51 = dot_s8(b1, a, c51);
        c52 = dot_s8(b2, a, c52);
        c53 = dot_s8(b3, a, c53);
        k -= 4;
      } while (k > 0);
    } while (++t < taps);
    if (isFloat<T>()) {
      const stride = outStride << 2;
      let to = out + <usize>row * stride;
      store_floats(to, c00, c01, c02, c03, p, floatBias, floor, n);
      to += stride;
      store_floats(to, c10, c11, c12, c13, p, floatBias, floor, n);
      to += stride;
      store_floats(to, c20, c21, c22, c23, p, floatBias, floor, n);
      to += stride;
      store_floats(to, c30, c31, c32, c33, p, floatBias, floor, n);
      to += stride;
      store_floats(to, c40, c41, c42, c43, p, floatBias, floor, n);
      to += stride;
      store_floats(to, c50, c51, c52, c53, p, floatBias, floor, n);
    } else {
      const magic = rounding(), low = low_bits(min, zeroPoint), bias = bias_bits(zeroPoint);
      let x0 = bytes<T>(c00, c01, c02, c03, p, low, bias, magic);
      let x1 = bytes<T>(c10, c11, c12, c13, p, low, bias, magic);
      let x2 = bytes<T>(c20, c21, c22, c23, p, low, bias, magic);
      let x3 = bytes<T>(c30, c31, c32, c33, p, low, bias, magic);
      let x4 = bytes<T>(c40, c41, c42, c43, p, low, bias, magic);
      let x5 = bytes<T>(c50, c51, c52, c53, p, low, bias, magic);
      if (min != 0 || max != 255) {
        const least = i8x16.splat(<i8>min), high = i8x16.splat(<i8>max);
        x0 = clamp(x0, least, high);
        x1 = clamp(x1, least, high);
        x2 = clamp(x2, least, high);
        x3 = clamp(x3, least, high);
        x4 = clamp(x4, least, high);
        x5 = clamp(x5, least, high);
      }
      let to = out + <usize>row * outStride;
      if (n >= 16) {
        v128.store(to, x0);
        to += outStride;
        v128.store(to, x1);
        to += outStride;
        v128.store(to, x2);
        to += outStride;
        v128.store(to, x3);
        to += outStride;
        v128.store(to, x4);
        to += outStride;
        v128.store(to, x5);
      } else {
        store_u8_lanes(to, x0, n);
        to += outStride;
        store_u8_lanes(to, x1, n);
        to += outStride;
        store_u8_lanes(to, x2, n);
        to += outStride;
        store_u8_lanes(to, x3, n);
        to += outStride;
        store_u8_lanes(to, x4, n);
        to += outStride;
        store_u8_lanes(to, x5, n);
      }
    }
  }
  return row;
}

/**
 * Rows [row, end) × the first 8 channels of a panel of 16, for the last panel where no more are left: 8 rows at a time, whose pairs (c0, c1) are
 * enough to hide the latency of the sums. Returns the first row that was left.
 */
export function tile_8x8<T>(
  input: usize, rowStride: usize, table: usize, taps: i32, channels: i32, row: i32, end: i32,
  panel: usize, out: usize, outStride: usize, n: i32, zeroPoint: i32, min: i32, max: i32, floatBias: usize, floor: f32,
): i32 {
  const begin = row;
  for (; row + 2 < end; row += 8) {
    if (row + 8 > end) {
      if (end - begin < 8) break;
      row = end - 8;
    }
    let c00 = v128.load(panel), c01 = v128.load(panel, 16);
    let c10 = c00, c11 = c01, c20 = c00, c21 = c01, c30 = c00, c31 = c01, c40 = c00, c41 = c01, c50 = c00, c51 = c01, c60 = c00, c61 = c01, c70 = c00, c71 = c01;
    let p = panel + 64;
    let t = 0;
    do {
      let a0: usize, a1: usize, a2: usize, a3: usize, a4: usize, a5: usize, a6: usize, a7: usize;
      if (table) {
        const stride = <usize>taps << 2;
        let entry = table + <usize>row * stride + (t << 2);
        a0 = input + load<u32>(entry);
        entry += stride;
        a1 = input + load<u32>(entry);
        entry += stride;
        a2 = input + load<u32>(entry);
        entry += stride;
        a3 = input + load<u32>(entry);
        entry += stride;
        a4 = input + load<u32>(entry);
        entry += stride;
        a5 = input + load<u32>(entry);
        entry += stride;
        a6 = input + load<u32>(entry);
        entry += stride;
        a7 = input + load<u32>(entry);
      } else {
        a0 = input + <usize>row * rowStride;
        a1 = a0 + rowStride;
        a2 = a1 + rowStride;
        a3 = a2 + rowStride;
        a4 = a3 + rowStride;
        a5 = a4 + rowStride;
        a6 = a5 + rowStride;
        a7 = a6 + rowStride;
      }
      let k = channels;
      do {
        const b0 = v128.load(p), b1 = v128.load(p, 16);
        p += 64;
        let a = v128.load32_splat(a0);
        a0 += 4;
        c00 = dot_s8(b0, a, c00);
        c01 = dot_s8(b1, a, c01);
        a = v128.load32_splat(a1);
        a1 += 4;
        c10 = dot_s8(b0, a, c10);
        c11 = dot_s8(b1, a, c11);
        a = v128.load32_splat(a2);
        a2 += 4;
        c20 = dot_s8(b0, a, c20);
        c21 = dot_s8(b1, a, c21);
        a = v128.load32_splat(a3);
        a3 += 4;
        c30 = dot_s8(b0, a, c30);
        c31 = dot_s8(b1, a, c31);
        a = v128.load32_splat(a4);
        a4 += 4;
        c40 = dot_s8(b0, a, c40);
        c41 = dot_s8(b1, a, c41);
        a = v128.load32_splat(a5);
        a5 += 4;
        c50 = dot_s8(b0, a, c50);
        c51 = dot_s8(b1, a, c51);
        a = v128.load32_splat(a6);
        a6 += 4;
        c60 = dot_s8(b0, a, c60);
        c61 = dot_s8(b1, a, c61);
        a = v128.load32_splat(a7);
        a7 += 4;
        c70 = dot_s8(b0, a, c70);
        c71 = dot_s8(b1, a, c71);
        k -= 4;
      } while (k > 0);
    } while (++t < taps);
    const s0 = v128.load(p), s1 = v128.load(p, 16);
    if (isFloat<T>()) {
      const f0 = v128.load(floatBias), f1 = v128.load(floatBias, 16), least = f32x4.splat(floor), stride = outStride << 2;
      let to = out + <usize>row * stride;
      store_f32_lanes(to, scaled(c00, s0, f0, least), scaled(c01, s1, f1, least), n);
      to += stride;
      store_f32_lanes(to, scaled(c10, s0, f0, least), scaled(c11, s1, f1, least), n);
      to += stride;
      store_f32_lanes(to, scaled(c20, s0, f0, least), scaled(c21, s1, f1, least), n);
      to += stride;
      store_f32_lanes(to, scaled(c30, s0, f0, least), scaled(c31, s1, f1, least), n);
      to += stride;
      store_f32_lanes(to, scaled(c40, s0, f0, least), scaled(c41, s1, f1, least), n);
      to += stride;
      store_f32_lanes(to, scaled(c50, s0, f0, least), scaled(c51, s1, f1, least), n);
      to += stride;
      store_f32_lanes(to, scaled(c60, s0, f0, least), scaled(c61, s1, f1, least), n);
      to += stride;
      store_f32_lanes(to, scaled(c70, s0, f0, least), scaled(c71, s1, f1, least), n);
    } else {
      const magic = rounding(), low = low_bits(min, zeroPoint), bias = bias_bits(zeroPoint), least = i8x16.splat(<i8>min), high = i8x16.splat(<i8>max);
      let to = out + <usize>row * outStride;
      store_u8_half(to, half<T>(c00, c01, s0, s1, low, bias, magic, least, high), 0, n);
      to += outStride;
      store_u8_half(to, half<T>(c10, c11, s0, s1, low, bias, magic, least, high), 0, n);
      to += outStride;
      store_u8_half(to, half<T>(c20, c21, s0, s1, low, bias, magic, least, high), 0, n);
      to += outStride;
      store_u8_half(to, half<T>(c30, c31, s0, s1, low, bias, magic, least, high), 0, n);
      to += outStride;
      store_u8_half(to, half<T>(c40, c41, s0, s1, low, bias, magic, least, high), 0, n);
      to += outStride;
      store_u8_half(to, half<T>(c50, c51, s0, s1, low, bias, magic, least, high), 0, n);
      to += outStride;
      store_u8_half(to, half<T>(c60, c61, s0, s1, low, bias, magic, least, high), 0, n);
      to += outStride;
      store_u8_half(to, half<T>(c70, c71, s0, s1, low, bias, magic, least, high), 0, n);
    }
  }
  return row;
}

/** One row × 16 channels, for matrix-vector products and the last rows: four k-steps at a time hide the latency of the sums. */
export function tile_1x16<T>(
  input: usize, rowStride: usize, table: usize, taps: i32, channels: i32, row: i32,
  panel: usize, out: usize, outStride: usize, n: i32, zeroPoint: i32, min: i32, max: i32, floatBias: usize, floor: f32,
): void {
  let c0 = v128.load(panel), c1 = v128.load(panel, 16), c2 = v128.load(panel, 32), c3 = v128.load(panel, 48);
  const zero = i32x4.splat(0);
  let d0 = zero, d1 = zero, d2 = zero, d3 = zero, e0 = zero, e1 = zero, e2 = zero, e3 = zero, f0 = zero, f1 = zero, f2 = zero, f3 = zero;
  let p = panel + 64;
  for (let t = 0; t < taps; t++) {
    let q = table ? input + load<u32>(table + (<usize>(row * taps + t) << 2)) : input + <usize>row * rowStride;
    let k = channels;
    for (; k > 12; k -= 16) {
      let a = v128.load32_splat(q);
      c0 = dot_s8(v128.load(p), a, c0);
      c1 = dot_s8(v128.load(p, 16), a, c1);
      c2 = dot_s8(v128.load(p, 32), a, c2);
      c3 = dot_s8(v128.load(p, 48), a, c3);
      a = v128.load32_splat(q, 4);
      d0 = dot_s8(v128.load(p, 64), a, d0);
      d1 = dot_s8(v128.load(p, 80), a, d1);
      d2 = dot_s8(v128.load(p, 96), a, d2);
      d3 = dot_s8(v128.load(p, 112), a, d3);
      a = v128.load32_splat(q, 8);
      e0 = dot_s8(v128.load(p, 128), a, e0);
      e1 = dot_s8(v128.load(p, 144), a, e1);
      e2 = dot_s8(v128.load(p, 160), a, e2);
      e3 = dot_s8(v128.load(p, 176), a, e3);
      a = v128.load32_splat(q, 12);
      f0 = dot_s8(v128.load(p, 192), a, f0);
      f1 = dot_s8(v128.load(p, 208), a, f1);
      f2 = dot_s8(v128.load(p, 224), a, f2);
      f3 = dot_s8(v128.load(p, 240), a, f3);
      q += 16;
      p += 256;
    }
    for (; k > 0; k -= 4) {
      const a = v128.load32_splat(q);
      c0 = dot_s8(v128.load(p), a, c0);
      c1 = dot_s8(v128.load(p, 16), a, c1);
      c2 = dot_s8(v128.load(p, 32), a, c2);
      c3 = dot_s8(v128.load(p, 48), a, c3);
      q += 4;
      p += 64;
    }
  }
  c0 = i32x4.add(i32x4.add(c0, d0), i32x4.add(e0, f0));
  c1 = i32x4.add(i32x4.add(c1, d1), i32x4.add(e1, f1));
  c2 = i32x4.add(i32x4.add(c2, d2), i32x4.add(e2, f2));
  c3 = i32x4.add(i32x4.add(c3, d3), i32x4.add(e3, f3));
  if (isFloat<T>()) {
    store_floats(out + (<usize>row * outStride << 2), c0, c1, c2, c3, p, floatBias, floor, n);
  } else {
    const x = bytes<T>(c0, c1, c2, c3, p, low_bits(min, zeroPoint), bias_bits(zeroPoint), rounding());
    store_u8_lanes(out + <usize>row * outStride, clamp(x, i8x16.splat(<i8>min), i8x16.splat(<i8>max)), n);
  }
}
