/** From this many rows on, the next panel is read into the cache ahead of its use. */
export const TOUCH_ROWS: i32 = 24;

/** Reads a byte of every cache line, so that the misses overlap. */
// @ts-ignore: decorator
@inline
export function touch(p: usize, bytes: usize): void {
  for (const end = p + bytes; p < end; p += 64) load<u8>(p);
}

/**
 * Rewrites what depends on the input's quantization in `count` panels of `columns` (8 or 16) channels, `panelBytes` apart: the integer
 * bias becomes -zeroPoint * weightSum[channel], the scale weightScale[channel] * inputScale. Both arrays are padded to whole panels.
 */
export function panel_set_input(
  panels: usize, panelBytes: usize, columns: i32, count: i32, weightSums: usize, weightScales: usize, zeroPoint: i32, inputScale: f32,
): void {
  const z = i32x4.splat(-zeroPoint), s = f32x4.splat(inputScale);
  for (let i = 0; i < count; i++) {
    let bias = panels, scale = panels + panelBytes - (<usize>columns << 2);
    for (let c = 0; c < columns; c += 8) {
      v128.store(bias, i32x4.mul(v128.load(weightSums, 16), z), 16);
      v128.store(bias, i32x4.mul(v128.load(weightSums), z));
      v128.store(scale, f32x4.mul(v128.load(weightScales, 16), s), 16);
      v128.store(scale, f32x4.mul(v128.load(weightScales), s));
      bias += 32;
      scale += 32;
      weightSums += 32;
      weightScales += 32;
    }
    panels += panelBytes;
  }
}
