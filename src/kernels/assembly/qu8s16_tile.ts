import { bias_bits, low_bits, requantize_lanes, scaled, store_f32_lanes, store_u8_half } from "./requantize";

// u8 activations × i16 weights (already minus their zero point) with the 16-bit dot product of plain SIMD: 4 rows ×
// 8 channels, 2 k per step ("4x8c2"). Exact for every 8-bit weight and zero point.

// @ts-ignore: decorator
@inline
export function dot_s16(w: v128, x: v128, acc: v128): v128 {
  return i32x4.add(acc, i32x4.dot_i16x8_s(w, x));
}

/** Two neighbouring u8 activations as i16, repeated for four channels. */
// @ts-ignore: decorator
@inline
export function pair(p: usize): v128 {
  return i16x8.extend_low_i8x16_u(v128.load16_splat(p));
}

/**
 * Rows [row, end) × 8 channels, 4 rows at a time; rows past the last of a tile repeat it, and store the same values again. Returns the
 * first row that was left: a single one is not worth a tile.
 */
export function tile_4x8<T>(
  input: usize, rowStride: usize, table: usize, taps: i32, channels: i32, row: i32, end: i32,
  panel: usize, out: usize, outStride: usize, n: i32, zeroPoint: i32, min: i32, max: i32, floatBias: usize, floor: f32,
): i32 {
  const last = end - 1;
  for (; row + 1 < end; row += 4) {
    const r1 = row + 1 < last ? row + 1 : last;
    const r2 = row + 2 < last ? row + 2 : last;
    const r3 = row + 3 < last ? row + 3 : last;
    let c00 = v128.load(panel), c01 = v128.load(panel, 16);
    let c10 = c00, c11 = c01, c20 = c00, c21 = c01, c30 = c00, c31 = c01;
    let p = panel + 32;
    for (let t = 0; t < taps; t++) {
      let a0: usize, a1: usize, a2: usize, a3: usize;
      if (table) {
        const entry = table + (t << 2), stride = <usize>taps << 2;
        a0 = input + load<u32>(entry + <usize>row * stride);
        a1 = input + load<u32>(entry + <usize>r1 * stride);
        a2 = input + load<u32>(entry + <usize>r2 * stride);
        a3 = input + load<u32>(entry + <usize>r3 * stride);
      } else {
        a0 = input + <usize>row * rowStride;
        a1 = input + <usize>r1 * rowStride;
        a2 = input + <usize>r2 * rowStride;
        a3 = input + <usize>r3 * rowStride;
      }
      for (let k = channels; k > 0; k -= 2) {
        const b0 = v128.load(p), b1 = v128.load(p, 16);
        p += 32;
        let a = pair(a0);
        a0 += 2;
        c00 = dot_s16(b0, a, c00);
        c01 = dot_s16(b1, a, c01);
        a = pair(a1);
        a1 += 2;
        c10 = dot_s16(b0, a, c10);
        c11 = dot_s16(b1, a, c11);
        a = pair(a2);
        a2 += 2;
        c20 = dot_s16(b0, a, c20);
        c21 = dot_s16(b1, a, c21);
        a = pair(a3);
        a3 += 2;
        c30 = dot_s16(b0, a, c30);
        c31 = dot_s16(b1, a, c31);
      }
    }
    const s0 = v128.load(p), s1 = v128.load(p, 16);
    if (isFloat<T>()) {
      const f0 = v128.load(floatBias), f1 = v128.load(floatBias, 16), least = f32x4.splat(floor);
      store_f32_lanes(out + (<usize>row * outStride << 2), scaled(c00, s0, f0, least), scaled(c01, s1, f1, least), n);
      store_f32_lanes(out + (<usize>r1 * outStride << 2), scaled(c10, s0, f0, least), scaled(c11, s1, f1, least), n);
      store_f32_lanes(out + (<usize>r2 * outStride << 2), scaled(c20, s0, f0, least), scaled(c21, s1, f1, least), n);
      store_f32_lanes(out + (<usize>r3 * outStride << 2), scaled(c30, s0, f0, least), scaled(c31, s1, f1, least), n);
    } else {
      const low = low_bits(min, zeroPoint), bias = bias_bits(zeroPoint), high = i8x16.splat(<i8>max);
      let x = i16x8.narrow_i32x4_s(requantize_lanes(c00, s0, low, bias), requantize_lanes(c01, s1, low, bias));
      let y = i16x8.narrow_i32x4_s(requantize_lanes(c10, s0, low, bias), requantize_lanes(c11, s1, low, bias));
      x = i8x16.min_u(i8x16.narrow_i16x8_u(x, y), high);
      store_u8_half(out + <usize>row * outStride, x, 0, n);
      store_u8_half(out + <usize>r1 * outStride, x, 1, n);
      x = i16x8.narrow_i32x4_s(requantize_lanes(c20, s0, low, bias), requantize_lanes(c21, s1, low, bias));
      y = i16x8.narrow_i32x4_s(requantize_lanes(c30, s0, low, bias), requantize_lanes(c31, s1, low, bias));
      x = i8x16.min_u(i8x16.narrow_i16x8_u(x, y), high);
      store_u8_half(out + <usize>r2 * outStride, x, 0, n);
      store_u8_half(out + <usize>r3 * outStride, x, 1, n);
    }
  }
  return row;
}
