/** The row that place `i` of a list of ids names, or -1 where it names none; ids are f64 or i32. */
// @ts-ignore: decorator
@inline
function rowOf(ids: usize, idBytes: i32, i: i32, rows: i32): i32 {
  if (idBytes == 4) {
    const row = load<i32>(ids + (<usize>i << 2));
    return row >= 0 && row < rows ? row : -1;
  }
  const id = load<f64>(ids + (<usize>i << 3));
  return id >= 0 && id < <f64>rows && nearest(id) == id ? <i32>id : -1;
}

/** Four integers as floats: `q * scale + offset`, rounded once. */
// @ts-ignore: decorator
@inline
function decode(out: usize, q: v128, scale: v128, offset: v128): void {
  const high = i8x16.shuffle(q, q, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
  const a = f64x2.add(f64x2.mul(f64x2.convert_low_i32x4_s(q), scale), offset);
  const b = f64x2.add(f64x2.mul(f64x2.convert_low_i32x4_s(high), scale), offset);
  const x = f32x4.demote_f64x2_zero(a), y = f32x4.demote_f64x2_zero(b);
  v128.store(out, i8x16.shuffle(x, y, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23));
}

/**
 * Rows of a table of bytes by number, as floats: (byte - base) * scale[row] + offset[row], for ids [begin, end). An id without a row sets
 * `status`. Four floats may be written past the last row.
 */
export function qu8_pick_rows(
  begin: i32, end: i32, ids: usize, idBytes: i32, table: usize, rows: i32, width: i32, base: i32, scales: usize, offsets: usize,
  out: usize, status: usize,
): void {
  const b = i32x4.splat(base);
  for (let i = begin; i < end; i++) {
    const row = rowOf(ids, idBytes, i, rows);
    if (row < 0) {
      store<i32>(status, 1);
      continue;
    }
    const s = f64x2.splat(<f64>load<f32>(scales + (<usize>row << 2))), o = f64x2.splat(<f64>load<f32>(offsets + (<usize>row << 2)));
    const from = table + <usize>row * width, to = out + (<usize>i * width << 2);
    let c = 0;
    for (; c + 4 <= width; c += 4) {
      decode(to + (<usize>c << 2), i32x4.sub(i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(from + c))), b), s, o);
    }
    for (; c < width; c++) {
      const q = <f64>(<i32>load<u8>(from + c) - base);
      store<f32>(to + (<usize>c << 2), <f32>(q * f64x2.extract_lane(s, 0) + f64x2.extract_lane(o, 0)));
    }
  }
}

/** {@link qu8_pick_rows} of a table of two elements a byte, the lower four bits first; rows follow one another without gaps. */
export function qu4_pick_rows(
  begin: i32, end: i32, ids: usize, idBytes: i32, table: usize, rows: i32, width: i32, scales: usize, offsets: usize, out: usize, status: usize,
): void {
  for (let i = begin; i < end; i++) {
    const row = rowOf(ids, idBytes, i, rows);
    if (row < 0) {
      store<i32>(status, 1);
      continue;
    }
    const s = f64x2.splat(<f64>load<f32>(scales + (<usize>row << 2))), o = f64x2.splat(<f64>load<f32>(offsets + (<usize>row << 2)));
    const first = <usize>row * width, to = out + (<usize>i * width << 2);
    let c = 0;
    if (!(first & 1)) {
      for (; c + 4 <= width; c += 4) {
        const two = <i32>load<u16>(table + ((first + c) >> 1));
        decode(to + (<usize>c << 2), i32x4(two & 15, (two >> 4) & 15, (two >> 8) & 15, two >> 12), s, o);
      }
    }
    for (; c < width; c++) {
      const at = first + c;
      const q = <f64>((load<u8>(table + (at >> 1)) >> <u8>((at & 1) << 2)) & 15);
      store<f32>(to + (<usize>c << 2), <f32>(q * f64x2.extract_lane(s, 0) + f64x2.extract_lane(o, 0)));
    }
  }
}
