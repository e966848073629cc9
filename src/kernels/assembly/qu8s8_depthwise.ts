import { bias_bits, low_bits, requantize_lanes, store_u8_lanes } from "./requantize";

// @ts-ignore: decorator
@inline
function dot(w: v128, x: v128, acc: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i32x4.relaxed_dot_i8x16_i7x16_add_s(w, x, acc);
  return unreachable();
}

/**
 * Depthwise convolution of output pixels [rowBegin, rowEnd), u8 activations × s8 weights: 16 channels at a time, four taps
 * per dot product after interleaving their bytes.
 *
 * Pixel r, tap t reads at `input + table[r * taps + t]`; `taps` is a multiple of 4 (padding taps have zero weights) or one
 * more. Reads and multiplies whole vectors of 16 channels. Panels hold 16 channels each: i32 bias[16],
 * s8 weights[ceil(taps / 4)][16][4], f32 scale[16].
 */
export function qu8s8_depthwise_u8(
  input: usize, table: usize, taps: i32, channels: i32, rowBegin: i32, rowEnd: i32,
  panels: usize, out: usize, outStride: usize, zeroPoint: i32, min: i32, max: i32,
): void {
  const low = low_bits(min, zeroPoint), bias = bias_bits(zeroPoint), high = i8x16.splat(<i8>max);
  const entries = <usize>taps << 2;
  for (let row = rowBegin; row < rowEnd; row++) {
    const first = table + <usize>row * entries, end = first + entries;
    const to = out + <usize>row * outStride;
    let p = panels;
    for (let c = 0; c < channels; c += 16) {
      let c0 = v128.load(p), c1 = v128.load(p, 16), c2 = v128.load(p, 32), c3 = v128.load(p, 48);
      p += 64;
      const from = input + c;
      let e = first;
      for (; e + 4 < end; e += 16) {
        const x0 = v128.load(from + load<u32>(e)), x1 = v128.load(from + load<u32>(e, 4));
        const x2 = v128.load(from + load<u32>(e, 8)), x3 = v128.load(from + load<u32>(e, 12));
        let y0 = i8x16.shuffle(x0, x1, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        let y1 = i8x16.shuffle(x2, x3, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        c0 = dot(v128.load(p), i16x8.shuffle(y0, y1, 0, 8, 1, 9, 2, 10, 3, 11), c0);
        c1 = dot(v128.load(p, 16), i16x8.shuffle(y0, y1, 4, 12, 5, 13, 6, 14, 7, 15), c1);
        y0 = i8x16.shuffle(x0, x1, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        y1 = i8x16.shuffle(x2, x3, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        c2 = dot(v128.load(p, 32), i16x8.shuffle(y0, y1, 0, 8, 1, 9, 2, 10, 3, 11), c2);
        c3 = dot(v128.load(p, 48), i16x8.shuffle(y0, y1, 4, 12, 5, 13, 6, 14, 7, 15), c3);
        p += 64;
      }
      if (e < end) {
        // A single tap left (3×3, 5×5, 7×7): widening it is cheaper than interleaving it with nothing.
        const x0 = v128.load(from + load<u32>(e));
        const y0 = i16x8.extend_low_i8x16_u(x0), y1 = i16x8.extend_high_i8x16_u(x0);
        c0 = dot(v128.load(p), i32x4.extend_low_i16x8_u(y0), c0);
        c1 = dot(v128.load(p, 16), i32x4.extend_high_i16x8_u(y0), c1);
        c2 = dot(v128.load(p, 32), i32x4.extend_low_i16x8_u(y1), c2);
        c3 = dot(v128.load(p, 48), i32x4.extend_high_i16x8_u(y1), c3);
        p += 64;
      }
      const x = i16x8.narrow_i32x4_s(requantize_lanes(c0, v128.load(p), low, bias), requantize_lanes(c1, v128.load(p, 16), low, bias));
      const y = i16x8.narrow_i32x4_s(requantize_lanes(c2, v128.load(p, 32), low, bias), requantize_lanes(c3, v128.load(p, 48), low, bias));
      p += 64;
      store_u8_lanes(to + c, i8x16.min_u(i8x16.narrow_i16x8_u(x, y), high), channels - c);
    }
  }
}
