import { bias_bits, low_bits, requantize_lanes, store_u8_half } from "./requantize";

/**
 * Depthwise convolution of output pixels [rowBegin, rowEnd), u8 activations × i16 weights (already minus their zero
 * point): 8 channels at a time, two taps per 16-bit dot product.
 *
 * Pixel r, tap t reads at `input + table[r * taps + t]`; `taps` is even (a padding tap has zero weights). Reads whole
 * vectors of 8 channels. Panels hold 8 channels each: i32 bias[8], i16 weights[taps / 2][8][2], f32 scale[8].
 */
export function qu8s16_depthwise_u8(
  input: usize, table: usize, taps: i32, channels: i32, rowBegin: i32, rowEnd: i32,
  panels: usize, out: usize, outStride: usize, zeroPoint: i32, min: i32, max: i32,
): void {
  const low = low_bits(min, zeroPoint), bias = bias_bits(zeroPoint), high = i8x16.splat(<i8>max);
  const entries = <usize>taps << 2;
  for (let row = rowBegin; row < rowEnd; row++) {
    const first = table + <usize>row * entries, end = first + entries;
    const to = out + <usize>row * outStride;
    let p = panels;
    for (let c = 0; c < channels; c += 8) {
      let c0 = v128.load(p), c1 = v128.load(p, 16);
      p += 32;
      const from = input + c;
      for (let e = first; e < end; e += 8) {
        const x0 = v128.load64_zero(from + load<u32>(e)), x1 = v128.load64_zero(from + load<u32>(e, 4));
        const y = i8x16.shuffle(x0, x1, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        c0 = i32x4.add(c0, i32x4.dot_i16x8_s(v128.load(p), i16x8.extend_low_i8x16_u(y)));
        c1 = i32x4.add(c1, i32x4.dot_i16x8_s(v128.load(p, 16), i16x8.extend_high_i8x16_u(y)));
        p += 32;
      }
      const x = i16x8.narrow_i32x4_s(requantize_lanes(c0, v128.load(p), low, bias), requantize_lanes(c1, v128.load(p, 16), low, bias));
      p += 32;
      store_u8_half(to + c, i8x16.min_u(i8x16.narrow_i16x8_u(x, x), high), 0, channels - c);
    }
  }
}
