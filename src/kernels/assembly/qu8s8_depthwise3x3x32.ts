import {
  back, blend, clamped_parts, even_bytes, even_bytes_mask, even_words, even_words_mask, floor, magic_float, odd_bytes, odd_words, rise,
} from "./bytes";
import { dot_s8 } from "./qu8s8_tile";

// Depthwise 3×3 convolution as in qu8s8_depthwise3x3, 32 channels at a time in halves of 16 that take the same steps, for hosts
// that fuse such pairs into vectors of 32 bytes (see bytes.ts): lane j of vector k holds the taps of channel 4j + k.

/** The first products of a vector of sums: `lane` is where its bias stands in the panel, and `at` its weights for all columns. */
// @ts-ignore: decorator
@inline
function begun(p: usize, lane: usize, at: usize, x: v128): v128 {
  return dot_s8(v128.load(p + (lane + at)), x, v128.load(p + lane));
}

/** Those of another column, whose weights are at `at`. */
// @ts-ignore: decorator
@inline
function more(p: usize, lane: usize, at: usize, x: v128, sum: v128): v128 {
  return dot_s8(v128.load(p + (lane + at)), x, sum);
}

/** Sums times scales, which are at `at`, as floats rounded in place. */
// @ts-ignore: decorator
@inline
function rounded(p: usize, lane: usize, at: usize, sum: v128, magic: v128): v128 {
  return f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(sum), v128.load(p + (lane + at))), magic);
}

/** All of the above. */
// @ts-ignore: decorator
@inline
function result(p: usize, lane: usize, at: usize, scale: usize, a: v128, b: v128, c: v128, magic: v128): v128 {
  const sum = more(p, lane, at + 128, b, begun(p, lane, at, a));
  return rounded(p, lane, scale, more(p, lane, at + 256, c, sum), magic);
}

/**
 * Stride 1: `qu8s8_depthwise3x3_u8` for at least 32 channels, with panels of 32 whose last takes channels of the one before
 * where it would not be full. They hold vectors as above: i32 bias[32]; for the rows of a pair, s8 weights[3 columns][32][4]; f32 scale[32],
 * which keeps every product with it within 16 bits.
 */
export function qu8s8_depthwise3x3x32_u8(
  begin: i32, end: i32, input: usize, padding: usize, edge: i32, height: i32, width: i32, line: usize, image: usize, pixel: usize,
  top: i32, left: i32, pairs: i32, outHeight: i32, outWidth: i32, channels: i32, panels: usize, out: usize,
  zeroPoint: i32, min: i32, max: i32,
): void {
  const magic = magic_float(), bytes = even_bytes_mask(), words = even_words_mask(), outside = i8x16.splat(<i8>edge);
  const up = rise(max, zeroPoint), least = floor(min, max), offset = back(max);
  const outLine = <usize>outWidth * channels, start = 0 - left, first = start + 2, last = first + outWidth;
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
    for (let rest = channels; rest > 0; rest -= 32, p += 1024) {
      const channel = <usize>(rest < 32 ? channels - 32 : channels - rest);
      let to = toLine + channel;
      let a00 = outside, a01 = outside, a10 = outside, a11 = outside, a20 = outside, a21 = outside, a30 = outside, a31 = outside;
      let b00 = outside, b01 = outside, b10 = outside, b11 = outside, b20 = outside, b21 = outside, b30 = outside, b31 = outside;
      for (let w = start; w < first; w++) {
        let c00 = outside, c01 = outside, c10 = outside, c11 = outside, c20 = outside, c21 = outside, c30 = outside, c31 = outside;
        if (<u32>w < <u32>width) {
          const at = channel + <usize>w * pixel;
          const x0 = v128.load(line0 + at), y0 = v128.load(line0 + at, 16);
          const x1 = v128.load(line1 + at), y1 = v128.load(line1 + at, 16);
          const x2 = v128.load(line2 + at), y2 = v128.load(line2 + at, 16);
          const x3 = v128.load(line3 + at), y3 = v128.load(line3 + at, 16);
          const x01 = even_bytes(x0, x1, bytes), x10 = odd_bytes(x0, x1, bytes);
          const x23 = even_bytes(x2, x3, bytes), x32 = odd_bytes(x2, x3, bytes);
          const y01 = even_bytes(y0, y1, bytes), y10 = odd_bytes(y0, y1, bytes);
          const y23 = even_bytes(y2, y3, bytes), y32 = odd_bytes(y2, y3, bytes);
          c00 = even_words(x01, x23, words);
          c10 = even_words(x10, x32, words);
          c20 = odd_words(x01, x23, words);
          c30 = odd_words(x10, x32, words);
          c01 = even_words(y01, y23, words);
          c11 = even_words(y10, y32, words);
          c21 = odd_words(y01, y23, words);
          c31 = odd_words(y10, y32, words);
        }
        a00 = b00;
        a01 = b01;
        a10 = b10;
        a11 = b11;
        a20 = b20;
        a21 = b21;
        a30 = b30;
        a31 = b31;
        b00 = c00;
        b01 = c01;
        b10 = c10;
        b11 = c11;
        b20 = c20;
        b21 = c21;
        b30 = c30;
        b31 = c31;
      }
      for (let w = first; w < last; w++) {
        let c00 = outside, c01 = outside, c10 = outside, c11 = outside, c20 = outside, c21 = outside, c30 = outside, c31 = outside;
        if (<u32>w < <u32>width) {
          const at = channel + <usize>w * pixel;
          const x0 = v128.load(line0 + at), y0 = v128.load(line0 + at, 16);
          const x1 = v128.load(line1 + at), y1 = v128.load(line1 + at, 16);
          const x2 = v128.load(line2 + at), y2 = v128.load(line2 + at, 16);
          const x3 = v128.load(line3 + at), y3 = v128.load(line3 + at, 16);
          const x01 = even_bytes(x0, x1, bytes), x10 = odd_bytes(x0, x1, bytes);
          const x23 = even_bytes(x2, x3, bytes), x32 = odd_bytes(x2, x3, bytes);
          const y01 = even_bytes(y0, y1, bytes), y10 = odd_bytes(y0, y1, bytes);
          const y23 = even_bytes(y2, y3, bytes), y32 = odd_bytes(y2, y3, bytes);
          c00 = even_words(x01, x23, words);
          c10 = even_words(x10, x32, words);
          c20 = odd_words(x01, x23, words);
          c30 = odd_words(x10, x32, words);
          c01 = even_words(y01, y23, words);
          c11 = even_words(y10, y32, words);
          c21 = odd_words(y01, y23, words);
          c31 = odd_words(y10, y32, words);
        }
        const r00 = result(p, 0, 128, 896, a00, b00, c00, magic), r01 = result(p, 16, 128, 896, a01, b01, c01, magic);
        const r10 = result(p, 32, 128, 896, a10, b10, c10, magic), r11 = result(p, 48, 128, 896, a11, b11, c11, magic);
        const r20 = result(p, 64, 128, 896, a20, b20, c20, magic), r21 = result(p, 80, 128, 896, a21, b21, c21, magic);
        const r30 = result(p, 96, 128, 896, a30, b30, c30, magic), r31 = result(p, 112, 128, 896, a31, b31, c31, magic);
        const r0 = clamped_parts(r00, r10, r20, r30, up, least, bytes, words);
        const r1 = clamped_parts(r01, r11, r21, r31, up, least, bytes, words);
        v128.store(to, i8x16.add(r0, offset));
        v128.store(to, i8x16.add(r1, offset), 16);
        if (both) {
          const lower = to + outLine;
          const s00 = result(p, 0, 512, 896, a00, b00, c00, magic), s01 = result(p, 16, 512, 896, a01, b01, c01, magic);
          const s10 = result(p, 32, 512, 896, a10, b10, c10, magic), s11 = result(p, 48, 512, 896, a11, b11, c11, magic);
          const s20 = result(p, 64, 512, 896, a20, b20, c20, magic), s21 = result(p, 80, 512, 896, a21, b21, c21, magic);
          const s30 = result(p, 96, 512, 896, a30, b30, c30, magic), s31 = result(p, 112, 512, 896, a31, b31, c31, magic);
          const s0 = clamped_parts(s00, s10, s20, s30, up, least, bytes, words);
          const s1 = clamped_parts(s01, s11, s21, s31, up, least, bytes, words);
          v128.store(lower, i8x16.add(s0, offset));
          v128.store(lower, i8x16.add(s1, offset), 16);
        }
        to += channels;
        a00 = b00;
        a01 = b01;
        a10 = b10;
        a11 = b11;
        a20 = b20;
        a21 = b21;
        a30 = b30;
        a31 = b31;
        b00 = c00;
        b01 = c01;
        b10 = c10;
        b11 = c11;
        b20 = c20;
        b21 = c21;
        b30 = c30;
        b31 = c31;
      }
    }
  }
}

/** {@link qu8s8_depthwise3x3x32_u8} with stride 2. Units are output rows; panels hold the weights of the first row of a pair alone. */
export function qu8s8_depthwise3x3s2x32_u8(
  begin: i32, end: i32, input: usize, padding: usize, edge: i32, height: i32, width: i32, line: usize, image: usize, pixel: usize,
  top: i32, left: i32, outHeight: i32, outWidth: i32, channels: i32, panels: usize, out: usize, zeroPoint: i32, min: i32, max: i32,
): void {
  const magic = magic_float(), bytes = even_bytes_mask(), words = even_words_mask(), outside = i8x16.splat(<i8>edge);
  const up = rise(max, zeroPoint), least = floor(min, max), offset = back(max);
  const start = 0 - left, last = start + 1 + 2 * outWidth;
  for (let unit = begin; unit < end; unit++) {
    const n = unit / outHeight;
    const from = input + <usize>n * image;
    const h = ((unit - n * outHeight) << 1) - top;
    const line0 = <u32>h < <u32>height ? from + <usize>h * line : padding;
    const line1 = <u32>(h + 1) < <u32>height ? from + <usize>(h + 1) * line : padding;
    const line2 = <u32>(h + 2) < <u32>height ? from + <usize>(h + 2) * line : padding;
    const toLine = out + <usize>unit * outWidth * channels;
    let p = panels;
    for (let rest = channels; rest > 0; rest -= 32, p += 640) {
      const channel = <usize>(rest < 32 ? channels - 32 : channels - rest);
      let to = toLine + channel;
      let a00 = outside, a01 = outside, a10 = outside, a11 = outside, a20 = outside, a21 = outside, a30 = outside, a31 = outside;
      if (<u32>start < <u32>width) {
        const at = channel + <usize>start * pixel;
        const x0 = v128.load(line0 + at), y0 = v128.load(line0 + at, 16);
        const x1 = v128.load(line1 + at), y1 = v128.load(line1 + at, 16);
        const x2 = v128.load(line2 + at), y2 = v128.load(line2 + at, 16);
        const x01 = even_bytes(x0, x1, bytes), x10 = odd_bytes(x0, x1, bytes);
        const y01 = even_bytes(y0, y1, bytes), y10 = odd_bytes(y0, y1, bytes);
        a00 = even_words(x01, x2, words);
        a10 = blend(x10, i32x4.shl(x2, 8), words);
        a20 = odd_words(x01, x2, words);
        a30 = odd_words(x10, i32x4.shr_u(x2, 8), words);
        a01 = even_words(y01, y2, words);
        a11 = blend(y10, i32x4.shl(y2, 8), words);
        a21 = odd_words(y01, y2, words);
        a31 = odd_words(y10, i32x4.shr_u(y2, 8), words);
      }
      for (let w = start + 1; w < last; w += 2) {
        let b00 = outside, b01 = outside, b10 = outside, b11 = outside, b20 = outside, b21 = outside, b30 = outside, b31 = outside;
        let c00 = outside, c01 = outside, c10 = outside, c11 = outside, c20 = outside, c21 = outside, c30 = outside, c31 = outside;
        if (<u32>w < <u32>width) {
          const at = channel + <usize>w * pixel;
          const x0 = v128.load(line0 + at), y0 = v128.load(line0 + at, 16);
          const x1 = v128.load(line1 + at), y1 = v128.load(line1 + at, 16);
          const x2 = v128.load(line2 + at), y2 = v128.load(line2 + at, 16);
          const x01 = even_bytes(x0, x1, bytes), x10 = odd_bytes(x0, x1, bytes);
          const y01 = even_bytes(y0, y1, bytes), y10 = odd_bytes(y0, y1, bytes);
          b00 = even_words(x01, x2, words);
          b10 = blend(x10, i32x4.shl(x2, 8), words);
          b20 = odd_words(x01, x2, words);
          b30 = odd_words(x10, i32x4.shr_u(x2, 8), words);
          b01 = even_words(y01, y2, words);
          b11 = blend(y10, i32x4.shl(y2, 8), words);
          b21 = odd_words(y01, y2, words);
          b31 = odd_words(y10, i32x4.shr_u(y2, 8), words);
        }
        if (<u32>(w + 1) < <u32>width) {
          const at = channel + <usize>(w + 1) * pixel;
          const x0 = v128.load(line0 + at), y0 = v128.load(line0 + at, 16);
          const x1 = v128.load(line1 + at), y1 = v128.load(line1 + at, 16);
          const x2 = v128.load(line2 + at), y2 = v128.load(line2 + at, 16);
          const x01 = even_bytes(x0, x1, bytes), x10 = odd_bytes(x0, x1, bytes);
          const y01 = even_bytes(y0, y1, bytes), y10 = odd_bytes(y0, y1, bytes);
          c00 = even_words(x01, x2, words);
          c10 = blend(x10, i32x4.shl(x2, 8), words);
          c20 = odd_words(x01, x2, words);
          c30 = odd_words(x10, i32x4.shr_u(x2, 8), words);
          c01 = even_words(y01, y2, words);
          c11 = blend(y10, i32x4.shl(y2, 8), words);
          c21 = odd_words(y01, y2, words);
          c31 = odd_words(y10, i32x4.shr_u(y2, 8), words);
        }
        let r00 = begun(p, 0, 128, a00), r01 = begun(p, 16, 128, a01);
        let r10 = begun(p, 32, 128, a10), r11 = begun(p, 48, 128, a11);
        let r20 = begun(p, 64, 128, a20), r21 = begun(p, 80, 128, a21);
        let r30 = begun(p, 96, 128, a30), r31 = begun(p, 112, 128, a31);
        r00 = more(p, 0, 256, b00, r00);
        r01 = more(p, 16, 256, b01, r01);
        r10 = more(p, 32, 256, b10, r10);
        r11 = more(p, 48, 256, b11, r11);
        r20 = more(p, 64, 256, b20, r20);
        r21 = more(p, 80, 256, b21, r21);
        r30 = more(p, 96, 256, b30, r30);
        r31 = more(p, 112, 256, b31, r31);
        r00 = more(p, 0, 384, c00, r00);
        r01 = more(p, 16, 384, c01, r01);
        r10 = more(p, 32, 384, c10, r10);
        r11 = more(p, 48, 384, c11, r11);
        r20 = more(p, 64, 384, c20, r20);
        r21 = more(p, 80, 384, c21, r21);
        r30 = more(p, 96, 384, c30, r30);
        r31 = more(p, 112, 384, c31, r31);
        r00 = rounded(p, 0, 512, r00, magic);
        r01 = rounded(p, 16, 512, r01, magic);
        r10 = rounded(p, 32, 512, r10, magic);
        r11 = rounded(p, 48, 512, r11, magic);
        r20 = rounded(p, 64, 512, r20, magic);
        r21 = rounded(p, 80, 512, r21, magic);
        r30 = rounded(p, 96, 512, r30, magic);
        r31 = rounded(p, 112, 512, r31, magic);
        const r0 = clamped_parts(r00, r10, r20, r30, up, least, bytes, words);
        const r1 = clamped_parts(r01, r11, r21, r31, up, least, bytes, words);
        v128.store(to, i8x16.add(r0, offset));
        v128.store(to, i8x16.add(r1, offset), 16);
        to += channels;
        a00 = c00;
        a01 = c01;
        a10 = c10;
        a11 = c11;
        a20 = c20;
        a21 = c21;
        a30 = c30;
        a31 = c31;
      }
    }
  }
}
