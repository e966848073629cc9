import { bias_bits, low_bits, round_lanes, store_u8_half } from "./requantize";

// Normalizations of integers by their own mean and variance, which come exactly from sums of integers. Elements are
// `byte - offset`: 0 for quint8, 128 for qint8, whose signed numbers are what PyTorch rounds on the way.

/** Vectors whose squares cannot overflow 32 bits. */
const MOST_VECTORS: i32 = 4096;

let sum: i64 = 0;
let squares: i64 = 0;
let mean: f32 = 0;
let factor: f32 = 0;

// @ts-ignore: decorator
@inline
function total(x: v128): i64 {
  return <i64>i32x4.extract_lane(x, 0) + <i64>i32x4.extract_lane(x, 1) + <i64>i32x4.extract_lane(x, 2) + <i64>i32x4.extract_lane(x, 3);
}

/** Adds `n` elements, and their squares, to the globals. */
function addMoments(p: usize, n: i32, offset: i32): void {
  const o = i16x8.splat(<i16>offset);
  while (n >= 16) {
    let s = i32x4.splat(0), q = s;
    for (let i = min(n >> 4, MOST_VECTORS); i > 0; i--, p += 16, n -= 16) {
      const v = v128.load(p);
      const lo = i16x8.sub(i16x8.extend_low_i8x16_u(v), o), hi = i16x8.sub(i16x8.extend_high_i8x16_u(v), o);
      s = i32x4.add(s, i32x4.extadd_pairwise_i16x8_s(i16x8.add(lo, hi)));
      q = i32x4.add(q, i32x4.add(i32x4.dot_i16x8_s(lo, lo), i32x4.dot_i16x8_s(hi, hi)));
    }
    sum += total(s);
    squares += total(q);
  }
  for (; n > 0; n--, p++) {
    const v = <i32>load<u8>(p) - offset;
    sum += v;
    squares += v * v;
  }
}

/** Mean and factor of `count` elements with these sums, into the globals: in single precision but for the root, as PyTorch rounds. */
function choose(elements: f32, ofSquares: f32, count: f64, zero: f32, scale: f32, eps: f64): void {
  const shifted = <f32>(<f64>elements / count);
  mean = shifted - zero;
  const spread = <f32>(<f64>ofSquares / count) - shifted * shifted;
  const variance: f32 = spread > 0 ? spread : 0;
  factor = <f32>(<f64>scale / Math.sqrt(<f64>(variance * scale * scale) + eps));
}

/** clamp(nearbyint(((q - zero - mean) * factor * gain + shift) * inverseScale) + zeroPoint) of four integers less their zero point; NaN gives the least. */
// @ts-ignore: decorator
@inline
function lanes(q: v128, mean: v128, factor: v128, gain: v128, shift: v128, inverse: v128, least: v128, low: v128, bias: v128): v128 {
  const y = f32x4.mul(f32x4.mul(f32x4.sub(f32x4.convert_i32x4_s(q), mean), factor), gain);
  return round_lanes(f32x4.pmax(least, f32x4.mul(f32x4.add(y, shift), inverse)), low, bias);
}

/**
 * Rows [begin, end) of `columns` bytes, each normalized by itself, times a gain plus a shift for each column (both padded to 8), requantized.
 * `zero` is the input's zero point in 0..255.
 */
export function qu8_layer_norm(
  begin: i32, end: i32, x: usize, columns: i32, offset: i32, zero: i32, scale: f32, eps: f64, gains: usize, shifts: usize,
  inverseScale: f32, zeroPoint: i32, out: usize,
): void {
  const z = i16x8.splat(<i16>zero), inverse = f32x4.splat(inverseScale);
  const least = f32x4.splat(<f32>-zeroPoint), low = low_bits(0, zeroPoint), bias = bias_bits(zeroPoint);
  for (let row = begin; row < end; row++) {
    const from = x + <usize>row * columns, to = out + <usize>row * columns;
    sum = 0;
    squares = 0;
    addMoments(from, columns, offset);
    choose(<f32>sum, <f32>squares, <f64>columns, <f32>(zero - offset), scale, eps);
    const m = f32x4.splat(mean), f = f32x4.splat(factor);
    for (let c = 0; c < columns; c += 8) {
      const q = i16x8.sub(i16x8.extend_low_i8x16_u(v128.load64_zero(from + c)), z);
      const g = gains + (<usize>c << 2), s = shifts + (<usize>c << 2);
      const a = lanes(i32x4.extend_low_i16x8_s(q), m, f, v128.load(g), v128.load(s), inverse, least, low, bias);
      const b = lanes(i32x4.extend_high_i16x8_s(q), m, f, v128.load(g, 16), v128.load(s, 16), inverse, least, low, bias);
      const y = i16x8.narrow_i32x4_s(a, b);
      store_u8_half(to + c, i8x16.narrow_i16x8_u(y, y), 0, columns - c);
    }
  }
}

/** Adds four sums to doubles in memory, 16 bytes apart. */
// @ts-ignore: decorator
@inline
function spill(p: usize, x: v128): void {
  store<f64>(p, load<f64>(p) + <f64>i32x4.extract_lane(x, 0));
  store<f64>(p, load<f64>(p, 16) + <f64>i32x4.extract_lane(x, 1), 16);
  store<f64>(p, load<f64>(p, 32) + <f64>i32x4.extract_lane(x, 2), 32);
  store<f64>(p, load<f64>(p, 48) + <f64>i32x4.extract_lane(x, 3), 48);
}

/**
 * Sums and sums of squares over the pixels of every channel, as pairs of doubles. A unit is one of the `blocks` of 16 channels of an image;
 * images are `imageStride` bytes apart.
 */
export function qu8_channel_moments(
  begin: i32, end: i32, x: usize, imageStride: usize, pixels: i32, pixelStride: usize, blocks: i32, offset: i32, out: usize,
): void {
  const o = i16x8.splat(<i16>offset);
  for (let unit = begin; unit < end; unit++) {
    const image = unit / blocks;
    let p = x + <usize>image * imageStride + (<usize>(unit - image * blocks) << 4);
    const to = out + (<usize>unit << 8);
    memory.fill(to, 0, 256);
    for (let left = pixels; left > 0; left -= MOST_VECTORS) {
      let s0 = i32x4.splat(0), s1 = s0, s2 = s0, s3 = s0, q0 = s0, q1 = s0, q2 = s0, q3 = s0;
      for (let i = min(left, MOST_VECTORS); i > 0; i--, p += pixelStride) {
        const v = v128.load(p);
        const lo = i16x8.sub(i16x8.extend_low_i8x16_u(v), o), hi = i16x8.sub(i16x8.extend_high_i8x16_u(v), o);
        s0 = i32x4.add(s0, i32x4.extend_low_i16x8_s(lo));
        s1 = i32x4.add(s1, i32x4.extend_high_i16x8_s(lo));
        s2 = i32x4.add(s2, i32x4.extend_low_i16x8_s(hi));
        s3 = i32x4.add(s3, i32x4.extend_high_i16x8_s(hi));
        q0 = i32x4.add(q0, i32x4.extmul_low_i16x8_s(lo, lo));
        q1 = i32x4.add(q1, i32x4.extmul_high_i16x8_s(lo, lo));
        q2 = i32x4.add(q2, i32x4.extmul_low_i16x8_s(hi, hi));
        q3 = i32x4.add(q3, i32x4.extmul_high_i16x8_s(hi, hi));
      }
      spill(to, s0);
      spill(to + 64, s1);
      spill(to + 128, s2);
      spill(to + 192, s3);
      spill(to + 8, q0);
      spill(to + 72, q1);
      spill(to + 136, q2);
      spill(to + 200, q3);
    }
  }
}

/**
 * Mean and factor of every channel from the moments of its group: unit u is group `u % groups` of image `u / groups`. Images have
 * `padded` channels in all three arrays; `count` is the number of elements of a group.
 */
export function qu8_group_factors(
  begin: i32, end: i32, moments: usize, padded: i32, groups: i32, perGroup: i32, count: f64, zero: f32, scale: f32, eps: f64,
  means: usize, factors: usize,
): void {
  for (let unit = begin; unit < end; unit++) {
    const image = unit / groups;
    const first = image * padded + (unit - image * groups) * perGroup;
    let s: f64 = 0, q: f64 = 0;
    for (let c = 0; c < perGroup; c++) {
      const p = moments + (<usize>(first + c) << 4);
      s += load<f64>(p);
      q += load<f64>(p, 8);
    }
    choose(<f32>s, <f32>q, count, zero, scale, eps);
    for (let c = 0; c < perGroup; c++) {
      const at = <usize>(first + c) << 2;
      store<f32>(means + at, mean);
      store<f32>(factors + at, factor);
    }
  }
}

/** Pixels [begin, end) of channels, normalized by the means and factors of their image, times gain plus shift, requantized; dense. */
export function qu8_normalize_pixels(
  begin: i32, end: i32, x: usize, imageStride: usize, pixels: i32, pixelStride: usize, channels: i32, padded: i32, means: usize, factors: usize,
  gains: usize, shifts: usize, zero: i32, inverseScale: f32, zeroPoint: i32, out: usize,
): void {
  const z = i16x8.splat(<i16>zero), inverse = f32x4.splat(inverseScale);
  const least = f32x4.splat(<f32>-zeroPoint), low = low_bits(0, zeroPoint), bias = bias_bits(zeroPoint);
  for (let pixel = begin; pixel < end; pixel++) {
    const image = pixel / pixels;
    const from = x + <usize>image * imageStride + <usize>(pixel - image * pixels) * pixelStride;
    const to = out + <usize>pixel * channels;
    const own = <usize>(image * padded) << 2;
    for (let c = 0; c < channels; c += 8) {
      const q = i16x8.sub(i16x8.extend_low_i8x16_u(v128.load64_zero(from + c)), z);
      const at = <usize>c << 2, m = means + own + at, f = factors + own + at, g = gains + at, s = shifts + at;
      const a = lanes(i32x4.extend_low_i16x8_s(q), v128.load(m), v128.load(f), v128.load(g), v128.load(s), inverse, least, low, bias);
      const b = lanes(i32x4.extend_high_i16x8_s(q), v128.load(m, 16), v128.load(f, 16), v128.load(g, 16), v128.load(s, 16), inverse, least, low, bias);
      const y = i16x8.narrow_i32x4_s(a, b);
      store_u8_half(to + c, i8x16.narrow_i16x8_u(y, y), 0, channels - c);
    }
  }
}

/** Means of rows [begin, end) of `columns` integers, rounded: `nearbyint(f32(sum) / columns)`. */
export function qu8_mean_rows(begin: i32, end: i32, x: usize, columns: i32, offset: i32, out: usize): void {
  for (let row = begin; row < end; row++) {
    sum = 0;
    addMoments(x + <usize>row * columns, columns, offset);
    store<u8>(out + row, <u8>(<i32>nearest(<f32>(<f64><f32>sum / <f64>columns)) + offset));
  }
}
