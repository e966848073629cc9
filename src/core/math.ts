/**
 * 1.5 · 2^52: adding it to a double and subtracting it again rounds to the nearest integer, ties to even. For inner loops;
 * elsewhere {@link roundHalfEven}.
 */
export const ROUND = 6755399441055744;

/** Rounds to the nearest integer, ties to even (C's `nearbyint`, PyTorch's rounding everywhere in quantization). */
export function roundHalfEven(x: number): number {
  return Math.abs(x) < 2251799813685248 ? x + ROUND - ROUND : x;
}

/** Product of a list of sizes; 1 for the empty list. */
export function product(sizes: readonly number[]): number {
  let n = 1;
  for (const s of sizes) n *= s;
  return n;
}

/** Clamps `x` into [lo, hi]. NaN stays NaN. */
export function clampNumber(x: number, lo: number, hi: number): number {
  return Math.min(Math.max(x, lo), hi);
}
