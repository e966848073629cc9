// Weights of convolutions and linear layers to the panels of their kernels.

/** One row's weights to its column of a panel; returns their sum without zero point. */
// @ts-ignore: decorator
@inline
function packRow<T>(src: usize, offsets: usize, slots: i32, channels: i32, flip: i32, zeroPoint: i32, to: usize, stepBytes: usize): i32 {
  const step: i32 = sizeof<T>() == 1 ? 4 : 2;
  let sum = 0;
  for (let slot = 0; slot < slots; slot++) {
    let k = 0;
    if (sizeof<T>() == 1) {
      for (; k + 4 <= channels; k += 4, offsets += 16, to += stepBytes) {
        const a = <i32>load<i8>(src + load<u32>(offsets)), b = <i32>load<i8>(src + load<u32>(offsets, 4));
        const c = <i32>load<i8>(src + load<u32>(offsets, 8)), d = <i32>load<i8>(src + load<u32>(offsets, 12));
        sum += a + b + (c + d);
        store<u32>(to, (a & 255) | ((b & 255) << 8) | ((c & 255) << 16) | (d << 24));
      }
    }
    for (let at = 0; k < channels; k++, offsets += 4) {
      const v = (<i32>load<u8>(src + load<u32>(offsets)) ^ flip) - flip - zeroPoint;
      sum += v;
      store<T>(to + <usize>at * sizeof<T>(), <T>v);
      if (++at == step || k + 1 == channels) {
        at = 0;
        to += stepBytes;
      }
    }
  }
  return sum;
}

// @ts-ignore: decorator
@inline
function packPanels<T>(
  begin: i32, end: i32, weights: usize, rowLength: usize, offsets: usize, slots: i32, channels: i32, flip: i32, zeroPoints: usize,
  rows: i32, panels: usize, panelBytes: usize, columns: i32, sums: usize,
): void {
  for (let panel = begin; panel < end; panel++) {
    const to = panels + <usize>panel * panelBytes;
    memory.fill(to, 0, panelBytes);
    const first = panel * columns;
    for (let column = 0; column < columns && first + column < rows; column++) {
      const row = <usize>(first + column);
      const zeroPoint = load<i32>(zeroPoints + (row << 2));
      const start = to + (<usize>(columns + column) << 2);
      store<i32>(sums + (row << 2), packRow<T>(weights + row * rowLength, offsets, slots, channels, flip, zeroPoint, start, <usize>columns << 2));
    }
  }
}

/**
 * Panels [begin, end) of {@link qu8s8_conv_u8}, or of {@link qu8s8x16_conv_u8} for 16 `columns`, from rows of `rowLength` bytes, one an output channel, of which there are `rows`. What
 * belongs to channel k of slot t stands at `offsets[t * channels + k]` in its row. `flip` is 128 for signed weights and 0 for unsigned
 * ones, `zeroPoints` one a row (all 0 here). Headers are left 0. Writes the sum of each row, less its zero points, to `sums`.
 */
export function s8_pack_panels(
  begin: i32, end: i32, weights: usize, rowLength: usize, offsets: usize, slots: i32, channels: i32, flip: i32, zeroPoints: usize,
  rows: i32, panels: usize, panelBytes: usize, columns: i32, sums: usize,
): void {
  packPanels<i8>(begin, end, weights, rowLength, offsets, slots, channels, flip, zeroPoints, rows, panels, panelBytes, columns, sums);
}

/** {@link s8_pack_panels} for {@link qu8s16_conv_u8}: weights less their zero points, as i16. */
export function s16_pack_panels(
  begin: i32, end: i32, weights: usize, rowLength: usize, offsets: usize, slots: i32, channels: i32, flip: i32, zeroPoints: usize,
  rows: i32, panels: usize, panelBytes: usize, columns: i32, sums: usize,
): void {
  packPanels<i16>(begin, end, weights, rowLength, offsets, slots, channels, flip, zeroPoints, rows, panels, panelBytes, columns, sums);
}
