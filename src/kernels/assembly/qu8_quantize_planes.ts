import { bias_bits, low_bits, quantize_lanes } from "./requantize";

/** 16 floats at `x`, quantized. */
// @ts-ignore: decorator
@inline
function quantized(x: usize, inverse: v128, least: v128, low: v128, bias: v128, high: v128): v128 {
  const a = i16x8.narrow_i32x4_s(quantize_lanes(x, inverse, least, low, bias), quantize_lanes(x + 16, inverse, least, low, bias));
  const b = i16x8.narrow_i32x4_s(quantize_lanes(x + 32, inverse, least, low, bias), quantize_lanes(x + 48, inverse, least, low, bias));
  return i8x16.min_u(i8x16.narrow_i16x8_u(a, b), high);
}

/** Bytes of `v` to every `stride`-th byte, the first `n` (at most 16) of them. */
// @ts-ignore: decorator
@inline
function scatter(v: v128, out: usize, stride: usize, n: i32): void {
  let bits = i64x2.extract_lane(v, 0);
  for (let i = 0; i < n; i++) {
    if (i == 8) bits = i64x2.extract_lane(v, 1);
    store<u8>(out, <u8>bits);
    bits >>= 8;
    out += stride;
  }
}

/**
 * Quantizes planes of floats into channels-last lines: line l of channel c starts at `x + image * imageStride + c * planeStride +
 * (l % lines) * 4 * width` with image = l / lines, and becomes every channels-th byte of line l of `out`, `outLine` bytes each and
 * `left` bytes from its start. The margins become the zero point. Lines [begin, end). May read 60 bytes past a line.
 */
export function qu8_quantize_planes(
  begin: i32, end: i32, x: usize, imageStride: usize, planeStride: usize, lines: i32, channels: i32, width: i32,
  inverseScale: f32, zeroPoint: i32, min: i32, max: i32, out: usize, outLine: i32, left: i32,
): void {
  const inverse = f32x4.splat(inverseScale), least = f32x4.splat(<f32>(min - zeroPoint));
  const low = low_bits(min, zeroPoint), bias = bias_bits(zeroPoint), high = i8x16.splat(<i8>max);
  const right = left + width * channels;
  for (let line = begin; line < end; line++) {
    const image = line / lines;
    const from = x + <usize>image * imageStride + (<usize>((line - image * lines) * width) << 2);
    const start = out + <usize>line * outLine;
    // A few bytes: a bulk fill would cost a call each.
    for (let i = 0; i < left; i++) store<u8>(start + i, <u8>zeroPoint);
    for (let i = right; i < outLine; i++) store<u8>(start + i, <u8>zeroPoint);
    let to = start + left;
    for (let w = 0; w < width; w += 16) {
      const n = width - w < 16 ? width - w : 16;
      const p = from + (<usize>w << 2);
      if (channels == 3 && n == 16) {
        const r = quantized(p, inverse, least, low, bias, high);
        const g = quantized(p + planeStride, inverse, least, low, bias, high);
        const b = quantized(p + 2 * planeStride, inverse, least, low, bias, high);
        let y = i8x16.shuffle(r, g, 0, 16, 0, 1, 17, 0, 2, 18, 0, 3, 19, 0, 4, 20, 0, 5);
        v128.store(to, i8x16.shuffle(y, b, 0, 1, 16, 3, 4, 17, 6, 7, 18, 9, 10, 19, 12, 13, 20, 15));
        y = i8x16.shuffle(r, g, 21, 0, 6, 22, 0, 7, 23, 0, 8, 24, 0, 9, 25, 0, 10, 26);
        v128.store(to, i8x16.shuffle(y, b, 0, 21, 2, 3, 22, 5, 6, 23, 8, 9, 24, 11, 12, 25, 14, 15), 16);
        y = i8x16.shuffle(r, g, 0, 11, 27, 0, 12, 28, 0, 13, 29, 0, 14, 30, 0, 15, 31, 0);
        v128.store(to, i8x16.shuffle(y, b, 26, 1, 2, 27, 4, 5, 28, 7, 8, 29, 10, 11, 30, 13, 14, 31), 32);
      } else if (channels == 1 && n == 16) {
        v128.store(to, quantized(p, inverse, least, low, bias, high));
      } else {
        for (let c = 0; c < channels; c++) scatter(quantized(p + <usize>c * planeStride, inverse, least, low, bias, high), to + c, channels, n);
      }
      to += 16 * channels;
    }
  }
}
