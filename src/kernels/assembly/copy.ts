// Copies between strided blocks, for elements of 1, 2, 4 or 8 bytes.

/** One element from `src` to `dst`; `flip` turns the top bit of single bytes. */
// @ts-ignore: decorator
@inline
function move<T>(src: usize, dst: usize, flip: u8): void {
  if (sizeof<T>() == 1) store<u8>(dst, load<u8>(src) ^ flip);
  else store<T>(dst, load<T>(src));
}

/** A line of neighbouring elements. */
// @ts-ignore: decorator
@inline
function moveLine<T>(src: usize, dst: usize, cols: i32, flip: u8): void {
  let left = <usize>cols * sizeof<T>();
  if (sizeof<T>() == 1 && flip) {
    const mask = i8x16.splat(<i8>flip);
    for (; left >= 16; left -= 16, src += 16, dst += 16) v128.store(dst, v128.xor(v128.load(src), mask));
  } else {
    if (left >= 256) {
      memory.copy(dst, src, left);
      return;
    }
    for (; left >= 16; left -= 16, src += 16, dst += 16) v128.store(dst, v128.load(src));
  }
  for (; left > 0; left -= sizeof<T>(), src += sizeof<T>(), dst += sizeof<T>()) move<T>(src, dst, flip);
}

/** Four by four floats from rows of `src` to columns of `dst`. */
// @ts-ignore: decorator
@inline
function turn4x4(src: usize, srcCol: usize, dst: usize, dstRow: usize): void {
  const a = v128.load(src), b = v128.load(src + srcCol), c = v128.load(src + 2 * srcCol), d = v128.load(src + 3 * srcCol);
  const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5), cd = v128.shuffle<f32>(c, d, 0, 4, 1, 5);
  const AB = v128.shuffle<f32>(a, b, 2, 6, 3, 7), CD = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
  v128.store(dst, v128.shuffle<f64>(ab, cd, 0, 2));
  v128.store(dst + dstRow, v128.shuffle<f64>(ab, cd, 1, 3));
  v128.store(dst + 2 * dstRow, v128.shuffle<f64>(AB, CD, 0, 2));
  v128.store(dst + 3 * dstRow, v128.shuffle<f64>(AB, CD, 1, 3));
}

/** A rectangle of rows and columns. Where `src` runs along the rows and `dst` along the columns, it is turned block by block. */
// @ts-ignore: decorator
@inline
function moveRectangle<T>(
  src: usize, srcRow: usize, srcCol: usize, dst: usize, dstRow: usize, dstCol: usize, rows: i32, cols: i32, flip: u8,
): void {
  const size = sizeof<T>();
  if (srcCol == size && dstCol == size) {
    for (; rows > 0; --rows, src += srcRow, dst += dstRow) moveLine<T>(src, dst, cols, flip);
    return;
  }
  if (size == 4 && srcRow == 4 && dstCol == 4 && cols >= 4) {
    for (; rows >= 4; rows -= 4, src += 16, dst += 4 * dstRow) {
      let from = src, to = dst;
      let c = cols;
      for (; c >= 4; c -= 4, from += 4 * srcCol, to += 16) turn4x4(from, srcCol, to, dstRow);
      for (; c > 0; --c, from += srcCol, to += 4) {
        store<u32>(to, load<u32>(from));
        store<u32>(to + dstRow, load<u32>(from, 4));
        store<u32>(to + 2 * dstRow, load<u32>(from, 8));
        store<u32>(to + 3 * dstRow, load<u32>(from, 12));
      }
    }
  }
  // Sixteen rows at a time: what they read of a column shares cache lines where rows are neighbours.
  while (rows > 0) {
    const some = min(rows, 16);
    let from = src, to = dst;
    for (let c = 0; c < cols; ++c, from += srcCol, to += dstCol) {
      let s = from, d = to;
      for (let r = 0; r < some; ++r, s += srcRow, d += dstRow) move<T>(s, d, flip);
    }
    src += <usize>some * srcRow;
    dst += <usize>some * dstRow;
    rows -= some;
  }
}

/**
 * Copies units [begin, end) of a strided block. `plan` holds i32s, strides in bytes: levels, blocks of rows per rectangle, rows per block,
 * rows, columns, srcRow, dstRow, srcCol, dstCol, then size, src stride and dst stride of every level, the innermost first. A unit is
 * one block of rows of one rectangle. `flip` (128 or 0) is xored to elements of one byte.
 */
export function copy_strided(begin: i32, end: i32, src: usize, dst: usize, plan: usize, bytes: i32, flip: i32): void {
  const levels = load<i32>(plan);
  const blocks = load<i32>(plan, 4);
  const perBlock = load<i32>(plan, 8);
  const allRows = load<i32>(plan, 12);
  const cols = load<i32>(plan, 16);
  const srcRow = <usize>load<i32>(plan, 20), dstRow = <usize>load<i32>(plan, 24);
  const srcCol = <usize>load<i32>(plan, 28), dstCol = <usize>load<i32>(plan, 32);
  const bits = <u8>flip;
  for (let unit = begin; unit < end; ++unit) {
    let rest = unit / blocks;
    const first = (unit - rest * blocks) * perBlock;
    const rows = min(perBlock, allRows - first);
    let s = src + <usize>first * srcRow, d = dst + <usize>first * dstRow;
    let level = plan + 36;
    for (let l = 0; l < levels; ++l, level += 12) {
      const size = load<i32>(level);
      const next = rest / size;
      const at = rest - next * size;
      s += <usize>at * <usize>load<i32>(level, 4);
      d += <usize>at * <usize>load<i32>(level, 8);
      rest = next;
    }
    if (bytes == 1) moveRectangle<u8>(s, srcRow, srcCol, d, dstRow, dstCol, rows, cols, bits);
    else if (bytes == 2) moveRectangle<u16>(s, srcRow, srcCol, d, dstRow, dstCol, rows, cols, bits);
    else if (bytes == 4) moveRectangle<u32>(s, srcRow, srcCol, d, dstRow, dstCol, rows, cols, bits);
    else moveRectangle<u64>(s, srcRow, srcCol, d, dstRow, dstCol, rows, cols, bits);
  }
}

/** Fills `bytes` (whole elements of at most 8) with a pattern of 8 bytes, given as two halves. */
export function fill_pattern(dst: usize, bytes: i32, low: i32, high: i32): void {
  const end = dst + <usize>bytes;
  const vector = i32x4(low, high, low, high);
  for (; dst + 16 <= end; dst += 16) v128.store(dst, vector);
  const both = <u64>(<u32>low) | (<u64>(<u32>high) << 32);
  for (let shift: u64 = 0; dst < end; ++dst, shift += 8) store<u8>(dst, <u8>(both >> (shift & 63)));
}
