/** Rounds to the nearest integer, ties to even (C's `nearbyint`, PyTorch's rounding everywhere in quantization). */
export function roundHalfEven(x: number): number {
  // Adding 1.5·2^52 pushes the fraction out of a double's mantissa, and the hardware rounds ties to even.
  const magic = 6755399441055744;
  return Math.abs(x) < 2251799813685248 ? x + magic - magic : x;
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
