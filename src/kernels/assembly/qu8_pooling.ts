import { bias_bits, low_bits, requantize_lanes, round_lanes, store_u8_half, store_u8_lanes } from "./requantize";

// Pooling of one window, all channels: `height` rows of `width` pixels, `rowStride` and `pixelStride` bytes apart (so a
// dilated window is a larger stride). Reads whole vectors of 16 channels, stores `channels` bytes.

/** out[c] = largest byte of channel c in the window. */
function u8_window_max(input: usize, height: i32, width: i32, rowStride: usize, pixelStride: usize, channels: i32, out: usize): void {
  let c = 0;
  for (; c + 32 <= channels; c += 32) {
    let low = i8x16.splat(0), high = low;
    let line = input + c;
    for (let h = 0; h < height; h++) {
      let p = line;
      let w = width;
      for (; w >= 3; w -= 3) {
        const q = p + pixelStride, r = q + pixelStride;
        low = i8x16.max_u(i8x16.max_u(low, v128.load(p)), i8x16.max_u(v128.load(q), v128.load(r)));
        high = i8x16.max_u(i8x16.max_u(high, v128.load(p, 16)), i8x16.max_u(v128.load(q, 16), v128.load(r, 16)));
        p = r + pixelStride;
      }
      for (; w > 0; w--) {
        low = i8x16.max_u(low, v128.load(p));
        high = i8x16.max_u(high, v128.load(p, 16));
        p += pixelStride;
      }
      line += rowStride;
    }
    v128.store(out + c, low);
    v128.store(out + c, high, 16);
  }
  for (; c < channels; c += 16) {
    let best = i8x16.splat(0);
    let line = input + c;
    for (let h = 0; h < height; h++) {
      let p = line;
      for (let w = 0; w < width; w++) {
        best = i8x16.max_u(best, v128.load(p));
        p += pixelStride;
      }
      line += rowStride;
    }
    store_u8_lanes(out + c, best, channels - c);
  }
}

/** out[c] = clamp(nearbyint((bias + sum of channel c) * multiplier) + zeroPoint, 0, 255). */
function qu8_window_mean(
  input: usize, height: i32, width: i32, rowStride: usize, pixelStride: usize, channels: i32,
  bias: i32, multiplier: f32, zeroPoint: i32, out: usize,
): void {
  const scale = f32x4.splat(multiplier), low = low_bits(0, zeroPoint), offset = bias_bits(zeroPoint);
  for (let c = 0; c < channels; c += 16) {
    let s0 = i32x4.splat(bias), s1 = s0, s2 = s0, s3 = s0;
    let line = input + c;
    for (let h = 0; h < height; h++) {
      let p = line;
      for (let w = 0; w < width; w++) {
        const v = v128.load(p);
        const lo = i16x8.extend_low_i8x16_u(v), hi = i16x8.extend_high_i8x16_u(v);
        s0 = i32x4.add(s0, i32x4.extend_low_i16x8_u(lo));
        s1 = i32x4.add(s1, i32x4.extend_high_i16x8_u(lo));
        s2 = i32x4.add(s2, i32x4.extend_low_i16x8_u(hi));
        s3 = i32x4.add(s3, i32x4.extend_high_i16x8_u(hi));
        p += pixelStride;
      }
      line += rowStride;
    }
    const x = i16x8.narrow_i32x4_s(requantize_lanes(s0, scale, low, offset), requantize_lanes(s1, scale, low, offset));
    const y = i16x8.narrow_i32x4_s(requantize_lanes(s2, scale, low, offset), requantize_lanes(s3, scale, low, offset));
    store_u8_lanes(out + c, i8x16.narrow_i16x8_u(x, y), channels - c);
  }
}

// Pooling of many output pixels: 16 bytes describe the window of each, i32 offset, i32 height, i32 width, f32 multiplier.

/** {@link u8_window_max} of output pixels [begin, end), stored `outStride` bytes apart. */
export function u8_windows_max(
  begin: i32, end: i32, input: usize, windows: usize, rowStride: usize, pixelStride: usize, channels: i32, out: usize, outStride: usize,
): void {
  for (let i = begin; i < end; i++) {
    const w = windows + (<usize>i << 4);
    u8_window_max(input + load<u32>(w), load<i32>(w, 4), load<i32>(w, 8), rowStride, pixelStride, channels, out + <usize>i * outStride);
  }
}

/** {@link qu8_window_mean} of output pixels [begin, end): clamp(nearbyint(sum of (x - zeroPoint) * multiplier) + zeroPoint, 0, 255). */
export function qu8_windows_mean(
  begin: i32, end: i32, input: usize, windows: usize, rowStride: usize, pixelStride: usize, channels: i32, zeroPoint: i32,
  out: usize, outStride: usize,
): void {
  for (let i = begin; i < end; i++) {
    const w = windows + (<usize>i << 4);
    const height = load<i32>(w, 4), width = load<i32>(w, 8);
    const bias = -zeroPoint * height * width;
    qu8_window_mean(
      input + load<u32>(w), height, width, rowStride, pixelStride, channels, bias, load<f32>(w, 12), zeroPoint, out + <usize>i * outStride,
    );
  }
}

/** Sums of the floats that four channels stand for, over `pixels` pixels, as doubles; exact. Mean, requantized to their own scale. */
// @ts-ignore: decorator
@inline
function mean_lanes(p: usize, pixels: i32, pixelStride: usize, zero: v128, scale: v128, inverse: v128, low: v128, bias: v128): v128 {
  let s0 = f64x2.splat(0), s1 = s0;
  for (let i = 0; i < pixels; i++, p += pixelStride) {
    const q = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(p)));
    const x = f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(q, zero)), scale);
    s0 = f64x2.add(s0, f64x2.promote_low_f32x4(x));
    s1 = f64x2.add(s1, f64x2.promote_low_f32x4(i8x16.shuffle(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15)));
  }
  const count = f64x2.splat(<f64>pixels);
  const m0 = f32x4.demote_f64x2_zero(f64x2.div(s0, count)), m1 = f32x4.demote_f64x2_zero(f64x2.div(s1, count));
  const mean = i8x16.shuffle(m0, m1, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
  return round_lanes(f32x4.mul(mean, inverse), low, bias);
}

/**
 * Means of units [begin, end) of four channels over `pixels` pixels: the floats are averaged, and the mean quantized as they were.
 * `out[c] = clamp(nearbyint(f32(sum of f32((x - zeroPoint) * scale) / pixels) * inverseScale) + zeroPoint, 0, 255)`.
 */
export function qu8_mean_pixels(
  begin: i32, end: i32, input: usize, pixels: i32, pixelStride: usize, channels: i32, scale: f32, inverseScale: f32, zeroPoint: i32,
  out: usize,
): void {
  const zero = i32x4.splat(zeroPoint), s = f32x4.splat(scale), inverse = f32x4.splat(inverseScale);
  const low = low_bits(0, zeroPoint), bias = bias_bits(zeroPoint);
  for (let unit = begin; unit < end; unit++) {
    const c = unit << 2;
    const lanes = mean_lanes(input + c, pixels, pixelStride, zero, s, inverse, low, bias);
    const x = i16x8.narrow_i32x4_s(lanes, lanes);
    store_u8_half(out + c, i8x16.narrow_i16x8_u(x, x), 0, channels - c < 4 ? channels - c : 4);
  }
}
