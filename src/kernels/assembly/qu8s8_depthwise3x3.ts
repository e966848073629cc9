import { dot_s8 } from "./qu8s8_tile";
import { bias_bits, bounded_lanes, store_u8_half } from "./requantize";

// Depthwise 3×3 convolution of neighbouring taps without a table: u8 activations × s8 weights, 8 channels at a time. Bytes of
// up to four rows of a column are interleaved once, to four taps per channel, and then serve the three outputs that read that column.

/** Bytes of the first or second four channels of four rows, four taps a lane. */
// @ts-ignore: decorator
@inline
function low_taps(x01: v128, x23: v128): v128 {
  return i16x8.shuffle(x01, x23, 0, 8, 1, 9, 2, 10, 3, 11);
}

// @ts-ignore: decorator
@inline
function high_taps(x01: v128, x23: v128): v128 {
  return i16x8.shuffle(x01, x23, 4, 12, 5, 13, 6, 14, 7, 15);
}

/** Eight channels of two rows, interleaved. */
// @ts-ignore: decorator
@inline
function interleaved(row0: usize, row1: usize): v128 {
  return i8x16.shuffle(
    v128.load64_zero(row0), v128.load64_zero(row1), 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23,
  );
}

/**
 * Stride 1. Units [begin, end) are pairs of output rows, `pairs` to an image. Input rows are `line` bytes apart, images `image`,
 * pixels `pixel`; rows outside of the image read `padding`, which is as long as a row and holds the input's zero point, like
 * `edge` for columns. `top` and `left` are the padding. The output is dense.
 *
 * Panels hold 8 channels each: i32 bias[8]; for the rows of a pair, s8 weights[3 columns][8][4] with the taps of a column in the
 * first three places of the first and the last three of the second; f32 scale[8], which keeps every product with it above -1.2e7.
 * Reads whole vectors of 8 channels.
 */
export function qu8s8_depthwise3x3_u8(
  begin: i32, end: i32, input: usize, padding: usize, edge: i32, height: i32, width: i32, line: usize, image: usize, pixel: usize,
  top: i32, left: i32, pairs: i32, outHeight: i32, outWidth: i32, channels: i32, panels: usize, out: usize,
  zeroPoint: i32, min: i32, max: i32,
): void {
  const bias = bias_bits(zeroPoint), least = i8x16.splat(<i8>min), high = i8x16.splat(<i8>max), outside = i8x16.splat(<i8>edge);
  const outLine = <usize>outWidth * channels;
  for (let unit = begin; unit < end; unit++) {
    const n = unit / pairs;
    const oh = (unit - n * pairs) << 1;
    const from = input + <usize>n * image;
    const h = oh - top;
    const line0 = <u32>h < <u32>height ? from + <usize>h * line : padding;
    const line1 = <u32>(h + 1) < <u32>height ? from + <usize>(h + 1) * line : padding;
    const line2 = <u32>(h + 2) < <u32>height ? from + <usize>(h + 2) * line : padding;
    const line3 = <u32>(h + 3) < <u32>height ? from + <usize>(h + 3) * line : padding;
    const both = oh + 1 < outHeight;
    const toLine = out + <usize>(n * outHeight + oh) * outLine;
    let p = panels;
    for (let c = 0; c < channels; c += 8, p += 256) {
      let a0 = outside, a1 = outside, b0 = outside, b1 = outside;
      if (<u32>(0 - left) < <u32>width) {
        const at = c + <usize>(0 - left) * pixel;
        const x01 = interleaved(line0 + at, line1 + at), x23 = interleaved(line2 + at, line3 + at);
        a0 = low_taps(x01, x23);
        a1 = high_taps(x01, x23);
      }
      if (<u32>(1 - left) < <u32>width) {
        const at = c + <usize>(1 - left) * pixel;
        const x01 = interleaved(line0 + at, line1 + at), x23 = interleaved(line2 + at, line3 + at);
        b0 = low_taps(x01, x23);
        b1 = high_taps(x01, x23);
      }
      let to = toLine + c;
      const some = channels - c;
      for (let w = 2 - left, last = w + outWidth; w < last; w++) {
        let c0 = outside, c1 = outside;
        if (<u32>w < <u32>width) {
          const at = c + <usize>w * pixel;
          const x01 = interleaved(line0 + at, line1 + at), x23 = interleaved(line2 + at, line3 + at);
          c0 = low_taps(x01, x23);
          c1 = high_taps(x01, x23);
        }
        let r0 = dot_s8(v128.load(p, 32), a0, v128.load(p)), r1 = dot_s8(v128.load(p, 48), a1, v128.load(p, 16));
        let s0 = dot_s8(v128.load(p, 128), a0, v128.load(p)), s1 = dot_s8(v128.load(p, 144), a1, v128.load(p, 16));
        r0 = dot_s8(v128.load(p, 64), b0, r0);
        r1 = dot_s8(v128.load(p, 80), b1, r1);
        s0 = dot_s8(v128.load(p, 160), b0, s0);
        s1 = dot_s8(v128.load(p, 176), b1, s1);
        r0 = dot_s8(v128.load(p, 96), c0, r0);
        r1 = dot_s8(v128.load(p, 112), c1, r1);
        s0 = dot_s8(v128.load(p, 192), c0, s0);
        s1 = dot_s8(v128.load(p, 208), c1, s1);
        const x = i16x8.narrow_i32x4_s(
          bounded_lanes(r0, v128.load(p, 224), bias), bounded_lanes(r1, v128.load(p, 240), bias),
        );
        const y = i16x8.narrow_i32x4_s(
          bounded_lanes(s0, v128.load(p, 224), bias), bounded_lanes(s1, v128.load(p, 240), bias),
        );
        const z = i8x16.min_u(i8x16.max_u(i8x16.narrow_i16x8_u(x, y), least), high);
        store_u8_half(to, z, 0, some);
        if (both) store_u8_half(to + outLine, z, 1, some);
        to += channels;
        a0 = b0;
        a1 = b1;
        b0 = c0;
        b1 = c1;
      }
    }
  }
}

/**
 * {@link qu8s8_depthwise3x3_u8} with stride 2. Units are output rows; of the panels, the weights of the first row of a pair are used.
 */
export function qu8s8_depthwise3x3s2_u8(
  begin: i32, end: i32, input: usize, padding: usize, edge: i32, height: i32, width: i32, line: usize, image: usize, pixel: usize,
  top: i32, left: i32, outHeight: i32, outWidth: i32, channels: i32, panels: usize, out: usize, zeroPoint: i32, min: i32, max: i32,
): void {
  const bias = bias_bits(zeroPoint), least = i8x16.splat(<i8>min), high = i8x16.splat(<i8>max), outside = i8x16.splat(<i8>edge);
  for (let unit = begin; unit < end; unit++) {
    const n = unit / outHeight;
    const from = input + <usize>n * image;
    const h = ((unit - n * outHeight) << 1) - top;
    const line0 = <u32>h < <u32>height ? from + <usize>h * line : padding;
    const line1 = <u32>(h + 1) < <u32>height ? from + <usize>(h + 1) * line : padding;
    const line2 = <u32>(h + 2) < <u32>height ? from + <usize>(h + 2) * line : padding;
    const toLine = out + <usize>unit * outWidth * channels;
    let p = panels;
    for (let c = 0; c < channels; c += 8, p += 256) {
      let a0 = outside, a1 = outside;
      if (<u32>(0 - left) < <u32>width) {
        const at = c + <usize>(0 - left) * pixel;
        const x01 = interleaved(line0 + at, line1 + at), x2 = interleaved(line2 + at, line2 + at);
        a0 = low_taps(x01, x2);
        a1 = high_taps(x01, x2);
      }
      let to = toLine + c;
      const some = channels - c;
      for (let w = 1 - left, last = w + 2 * outWidth; w < last; w += 2) {
        let b0 = outside, b1 = outside, c0 = outside, c1 = outside;
        if (<u32>w < <u32>width) {
          const at = c + <usize>w * pixel;
          const x01 = interleaved(line0 + at, line1 + at), x2 = interleaved(line2 + at, line2 + at);
          b0 = low_taps(x01, x2);
          b1 = high_taps(x01, x2);
        }
        if (<u32>(w + 1) < <u32>width) {
          const at = c + <usize>(w + 1) * pixel;
          const x01 = interleaved(line0 + at, line1 + at), x2 = interleaved(line2 + at, line2 + at);
          c0 = low_taps(x01, x2);
          c1 = high_taps(x01, x2);
        }
        let r0 = dot_s8(v128.load(p, 32), a0, v128.load(p)), r1 = dot_s8(v128.load(p, 48), a1, v128.load(p, 16));
        r0 = dot_s8(v128.load(p, 64), b0, r0);
        r1 = dot_s8(v128.load(p, 80), b1, r1);
        r0 = dot_s8(v128.load(p, 96), c0, r0);
        r1 = dot_s8(v128.load(p, 112), c1, r1);
        const x = i16x8.narrow_i32x4_s(
          bounded_lanes(r0, v128.load(p, 224), bias), bounded_lanes(r1, v128.load(p, 240), bias),
        );
        store_u8_half(to, i8x16.min_u(i8x16.max_u(i8x16.narrow_i16x8_u(x, x), least), high), 0, some);
        to += channels;
        a0 = c0;
        a1 = c1;
      }
    }
  }
}
