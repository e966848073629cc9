/**
 * Runs the instruction the int8 kernels of this build rely on, so that the engine can compare its result with
 * exact arithmetic: out[4] (i32) = acc[4] + dot of 4 groups of 4 (signed weights, unsigned activations).
 */
export function probe_dot_i8x16_u8x16(weights: usize, activations: usize, out: usize): void {
  const w = v128.load(weights);
  const x = v128.load(activations);
  if (ASC_FEATURE_RELAXED_SIMD) {
    v128.store(out, i32x4.relaxed_dot_i8x16_i7x16_add_s(w, x, v128.load(out)));
  } else {
    // Pairs of neighbouring products; a second pairwise sum makes groups of four.
    const lo = i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(w), i16x8.extend_low_i8x16_u(x));
    const hi = i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(w), i16x8.extend_high_i8x16_u(x));
    const even = i8x16.shuffle(lo, hi, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
    const odd = i8x16.shuffle(lo, hi, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    v128.store(out, i32x4.add(v128.load(out), i32x4.add(even, odd)));
  }
}
