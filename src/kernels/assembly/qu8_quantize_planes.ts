import { magic_float } from "./bytes";
import { bias_bits, low_bits, quantize_lanes } from "./requantize";

/** 16 floats at `x`, quantized. */
// @ts-ignore: decorator
@inline
function quantized(x: usize, inverse: v128, least: v128, low: v128, bias: v128, high: v128): v128 {
  const a = i16x8.narrow_i32x4_s(quantize_lanes(x, inverse, least, low, bias), quantize_lanes(x + 16, inverse, least, low, bias));
  const b = i16x8.narrow_i32x4_s(quantize_lanes(x + 32, inverse, least, low, bias), quantize_lanes(x + 48, inverse, least, low, bias));
  return i8x16.min_u(i8x16.narrow_i16x8_u(a, b), high);
}

/** Four floats as integers, not below the least. */
// @ts-ignore: decorator
@inline
function integers(x: v128, inverse: v128, least: v128, magic: v128, bias: v128): v128 {
  return i32x4.sub(f32x4.add(f32x4.pmax(least, f32x4.mul(x, inverse)), magic), bias);
}

/** Four pixels of three planes: red, green and blue bytes, each four in a row. */
// @ts-ignore: decorator
@inline
function pixels(r: v128, g: v128, b: v128, inverse: v128, least: v128, magic: v128, bias: v128, high: v128): v128 {
  const blue = integers(b, inverse, least, magic, bias);
  const both = i16x8.narrow_i32x4_s(integers(r, inverse, least, magic, bias), integers(g, inverse, least, magic, bias));
  return i8x16.min_u(i8x16.narrow_i16x8_u(both, i16x8.narrow_i32x4_s(blue, blue)), high);
}

/** Eight pixels of {@link pixels}, interleaved. */
// @ts-ignore: decorator
@inline
function store_pixels(to: usize, x: v128, y: v128): void {
  v128.store(to, i8x16.shuffle(x, y, 0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11, 16, 20, 24, 17));
  v128.store64_lane(to, i8x16.shuffle(y, y, 5, 9, 2, 6, 10, 3, 7, 11, 0, 0, 0, 0, 0, 0, 0, 0), 0, 16);
}

/** A line of three planes, of at least 8 pixels. */
// @ts-ignore: decorator
@inline
function interleave(
  x: usize, planeStride: usize, width: i32, inverse: v128, least: v128, magic: v128, bias: v128, high: v128, to: usize,
): void {
  const green = x + planeStride, blue = green + planeStride;
  for (let w = 0; w < width; w += 8) {
    if (w + 8 > width) w = width - 8;
    const at = <usize>w << 2;
    const p = pixels(v128.load(x + at), v128.load(green + at), v128.load(blue + at), inverse, least, magic, bias, high);
    const q = pixels(v128.load(x + at, 16), v128.load(green + at, 16), v128.load(blue + at, 16), inverse, least, magic, bias, high);
    store_pixels(to + 3 * <usize>w, p, q);
  }
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
  const low = low_bits(min, zeroPoint), bias = bias_bits(zeroPoint), high = i8x16.splat(<i8>max), magic = magic_float();
  const right = left + width * channels;
  for (let line = begin; line < end; line++) {
    const image = line / lines;
    const from = x + <usize>image * imageStride + (<usize>((line - image * lines) * width) << 2);
    const start = out + <usize>line * outLine;
    // A few bytes: a bulk fill would cost a call each.
    for (let i = 0; i < left; i++) store<u8>(start + i, <u8>zeroPoint);
    for (let i = right; i < outLine; i++) store<u8>(start + i, <u8>zeroPoint);
    let to = start + left;
    if (channels == 3 && width >= 8) {
      interleave(from, planeStride, width, inverse, least, magic, bias, high, to);
      continue;
    }
    for (let w = 0; w < width; w += 16) {
      const n = width - w < 16 ? width - w : 16;
      const p = from + (<usize>w << 2);
      if (channels == 1 && n == 16) {
        v128.store(to, quantized(p, inverse, least, low, bias, high));
      } else {
        for (let c = 0; c < channels; c++) scatter(quantized(p + <usize>c * planeStride, inverse, least, low, bias, high), to + c, channels, n);
      }
      to += 16 * channels;
    }
  }
}
