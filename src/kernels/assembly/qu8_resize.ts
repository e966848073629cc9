import { store_u8_half } from "./requantize";
import { u8_copy_rows } from "./qu8_elementwise";

/** Output pixels [begin, end) of `bytes` bytes, each copied from its offset in a table of u32. */
export function u8_pick_pixels(begin: i32, end: i32, x: usize, table: usize, bytes: i32, out: usize): void {
  for (let i = begin; i < end; i++) {
    u8_copy_rows(0, 1, x + load<u32>(table + (<usize>i << 2)), 0, bytes, out + <usize>i * bytes, 0);
  }
}

/** first * a + second * b in single precision, two roundings more than a fused one. */
// @ts-ignore: decorator
@inline
function mixed(a: v128, first: v128, b: v128, second: v128): v128 {
  return f32x4.add(f32x4.mul(a, first), f32x4.mul(b, second));
}

/** Four elements less the offset, as floats. */
// @ts-ignore: decorator
@inline
function floats(p: usize, offset: v128): v128 {
  return f32x4.convert_i32x4_s(i32x4.sub(i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(p))), offset));
}

/**
 * Lines [begin, end) of images mixed from four neighbours each, in floats. `lines` has u32 top, u32 bottom, f32 share of the bottom for every line;
 * `columns` u32 left, u32 right, f32 share of the right for every pixel. Elements are `byte - offset`, and `zeroPoint` is that of their numbers.
 */
export function qu8_bilinear(
  begin: i32, end: i32, x: usize, lines: usize, columns: usize, width: i32, channels: i32, offset: i32, zeroPoint: i32, out: usize,
): void {
  const o = i32x4.splat(offset), zero = f32x4.splat(<f32>zeroPoint), back = i32x4.splat(zeroPoint + offset), one = f32x4.splat(1);
  for (let line = begin; line < end; line++) {
    const entry = lines + <usize>line * 12;
    const top = x + load<u32>(entry), bottom = x + load<u32>(entry, 4);
    const below = v128.load32_splat(entry, 8), above = f32x4.sub(one, below);
    let to = out + <usize>line * width * channels;
    for (let i = 0; i < width; i++) {
      const column = columns + <usize>i * 12;
      const a = <usize>load<u32>(column), b = <usize>load<u32>(column, 4);
      const right = v128.load32_splat(column, 8), left = f32x4.sub(one, right);
      for (let c = 0; c < channels; c += 4) {
        const upper = mixed(left, floats(top + a + c, o), right, floats(top + b + c, o));
        const lower = mixed(left, floats(bottom + a + c, o), right, floats(bottom + b + c, o));
        const y = f32x4.nearest(f32x4.sub(mixed(above, upper, below, lower), zero));
        const q = i32x4.add(i32x4.trunc_sat_f32x4_s(y), back);
        const half = i16x8.narrow_i32x4_s(q, q);
        store_u8_half(to + c, i8x16.narrow_i16x8_u(half, half), 0, min(channels - c, 4));
      }
      to += channels;
    }
  }
}
