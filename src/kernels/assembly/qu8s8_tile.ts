import { bias_bits, bounded_lanes, low_bits, requantize_lanes, rounding, scaled, store_f32_lanes, store_u8_half } from "./requantize";

// u8 activations × s8 weights with the relaxed 8-bit dot product: 6 rows × 8 channels, 4 k per step ("6x8c4").
// 12 accumulators, two weight vectors and one broadcast activation are all of V8's 15 vector registers; loading the
// weights first and each row just before its use is what keeps them there.

// Engines without an exact 8-bit dot product never pack panels of this kind; the baseline copy only has to exist.
// @ts-ignore: decorator
@inline
export function dot_s8(w: v128, x: v128, acc: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i32x4.relaxed_dot_i8x16_i7x16_add_s(w, x, acc);
  return unreachable();
}

/** Requantized sums; T is u8, or i8 (the same bytes) where {@link bounded_lanes} are good enough. */
// @ts-ignore: decorator
@inline
export function lanes<T>(acc: v128, scale: v128, low: v128, bias: v128, magic: v128): v128 {
  return isSigned<T>() ? bounded_lanes(acc, scale, bias, magic) : requantize_lanes(acc, scale, low, bias, magic);
}

/** What is left of clamping. */
// @ts-ignore: decorator
@inline
function clamped<T>(x: v128, least: v128, high: v128): v128 {
  return i8x16.min_u(isSigned<T>() ? i8x16.max_u(x, least) : x, high);
}

/**
 * Rows [row, end) × 8 channels, 6 rows at a time; rows past the last of a tile repeat it, and store the same values again. Returns the
 * first row that was left: fewer than 3 are not worth a tile.
 */
export function tile_6x8<T>(
  input: usize, rowStride: usize, table: usize, taps: i32, channels: i32, row: i32, end: i32,
  panel: usize, out: usize, outStride: usize, n: i32, zeroPoint: i32, min: i32, max: i32, floatBias: usize, floor: f32,
): i32 {
  const last = end - 1;
  for (; row + 2 < end; row += 6) {
    const r1 = row + 1 < last ? row + 1 : last;
    const r2 = row + 2 < last ? row + 2 : last;
    const r3 = row + 3 < last ? row + 3 : last;
    const r4 = row + 4 < last ? row + 4 : last;
    const r5 = row + 5 < last ? row + 5 : last;
    let c00 = v128.load(panel), c01 = v128.load(panel, 16);
    let c10 = c00, c11 = c01, c20 = c00, c21 = c01, c30 = c00, c31 = c01, c40 = c00, c41 = c01, c50 = c00, c51 = c01;
    let p = panel + 32;
    for (let t = 0; t < taps; t++) {
      let a0: usize, a1: usize, a2: usize, a3: usize, a4: usize, a5: usize;
      if (table) {
        const entry = table + (t << 2), stride = <usize>taps << 2;
        a0 = input + load<u32>(entry + <usize>row * stride);
        a1 = input + load<u32>(entry + <usize>r1 * stride);
        a2 = input + load<u32>(entry + <usize>r2 * stride);
        a3 = input + load<u32>(entry + <usize>r3 * stride);
        a4 = input + load<u32>(entry + <usize>r4 * stride);
        a5 = input + load<u32>(entry + <usize>r5 * stride);
      } else {
        a0 = input + <usize>row * rowStride;
        a1 = input + <usize>r1 * rowStride;
        a2 = input + <usize>r2 * rowStride;
        a3 = input + <usize>r3 * rowStride;
        a4 = input + <usize>r4 * rowStride;
        a5 = input + <usize>r5 * rowStride;
      }
      for (let k = channels; k > 0; k -= 4) {
        const b0 = v128.load(p), b1 = v128.load(p, 16);
        p += 32;
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
      }
    }
    const s0 = v128.load(p), s1 = v128.load(p, 16);
    if (isFloat<T>()) {
      const f0 = v128.load(floatBias), f1 = v128.load(floatBias, 16), least = f32x4.splat(floor);
      store_f32_lanes(out + (<usize>row * outStride << 2), scaled(c00, s0, f0, least), scaled(c01, s1, f1, least), n);
      store_f32_lanes(out + (<usize>r1 * outStride << 2), scaled(c10, s0, f0, least), scaled(c11, s1, f1, least), n);
      store_f32_lanes(out + (<usize>r2 * outStride << 2), scaled(c20, s0, f0, least), scaled(c21, s1, f1, least), n);
      store_f32_lanes(out + (<usize>r3 * outStride << 2), scaled(c30, s0, f0, least), scaled(c31, s1, f1, least), n);
      store_f32_lanes(out + (<usize>r4 * outStride << 2), scaled(c40, s0, f0, least), scaled(c41, s1, f1, least), n);
      store_f32_lanes(out + (<usize>r5 * outStride << 2), scaled(c50, s0, f0, least), scaled(c51, s1, f1, least), n);
    } else {
      const magic = rounding();
      const low = low_bits(min, zeroPoint), bias = bias_bits(zeroPoint), least = i8x16.splat(<i8>min), high = i8x16.splat(<i8>max);
      let x = i16x8.narrow_i32x4_s(lanes<T>(c00, s0, low, bias, magic), lanes<T>(c01, s1, low, bias, magic));
      let y = i16x8.narrow_i32x4_s(lanes<T>(c10, s0, low, bias, magic), lanes<T>(c11, s1, low, bias, magic));
      x = clamped<T>(i8x16.narrow_i16x8_u(x, y), least, high);
      store_u8_half(out + <usize>row * outStride, x, 0, n);
      store_u8_half(out + <usize>r1 * outStride, x, 1, n);
      x = i16x8.narrow_i32x4_s(lanes<T>(c20, s0, low, bias, magic), lanes<T>(c21, s1, low, bias, magic));
      y = i16x8.narrow_i32x4_s(lanes<T>(c30, s0, low, bias, magic), lanes<T>(c31, s1, low, bias, magic));
      x = clamped<T>(i8x16.narrow_i16x8_u(x, y), least, high);
      store_u8_half(out + <usize>r2 * outStride, x, 0, n);
      store_u8_half(out + <usize>r3 * outStride, x, 1, n);
      x = i16x8.narrow_i32x4_s(lanes<T>(c40, s0, low, bias, magic), lanes<T>(c41, s1, low, bias, magic));
      y = i16x8.narrow_i32x4_s(lanes<T>(c50, s0, low, bias, magic), lanes<T>(c51, s1, low, bias, magic));
      x = clamped<T>(i8x16.narrow_i16x8_u(x, y), least, high);
      store_u8_half(out + <usize>r4 * outStride, x, 0, n);
      store_u8_half(out + <usize>r5 * outStride, x, 1, n);
    }
  }
  return row;
}
