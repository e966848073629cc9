/**
 * Runs the 8-bit dot product once, so that the engine can compare it with exact arithmetic:
 * out[4] (i32) = out[4] + dot of 4 groups of 4 (signed weights, unsigned activations). Not for the baseline build.
 */
export function probe_dot_i8x16_u8x16(weights: usize, activations: usize, out: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    v128.store(out, i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(weights), v128.load(activations), v128.load(out)));
  } else {
    unreachable();
  }
}
