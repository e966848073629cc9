/** Obviously right twin of `f32_row_extremes`: the value of every row and the first column that has it; NaN is more than anything. */
export function referenceRowExtremes(
  x: ArrayLike<number>,
  rows: number,
  columns: number,
  largest: boolean,
): { values: number[]; places: number[] } {
  const values: number[] = [];
  const places: number[] = [];
  for (let r = 0; r < rows; r++) {
    const row = Array.from({ length: columns }, (_, c) => x[r * columns + c]);
    const nan = row.findIndex(Number.isNaN);
    const at = nan >= 0 ? nan : row.indexOf(largest ? Math.max(...row) : Math.min(...row));
    values.push(row[at]);
    places.push(at);
  }
  return { values, places };
}

/** Obviously right twin of `f32_row_variances`. */
export function referenceRowVariances(
  x: ArrayLike<number>,
  rows: number,
  columns: number,
  divisor: number,
  root: boolean,
): number[] {
  return Array.from({ length: rows }, (_, r) => {
    const row = Array.from({ length: columns }, (_, c) => x[r * columns + c]);
    const mean = row.reduce((sum, v) => sum + v, 0) / columns;
    const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / divisor;
    return root ? Math.sqrt(variance) : variance;
  });
}

/** Obviously right twin of `f32_group_norm`, of `images` images. */
export function referenceGroupNorm(
  x: ArrayLike<number>,
  images: number,
  pixels: number,
  channels: number,
  groups: number,
  weight: ArrayLike<number>,
  bias: ArrayLike<number>,
  eps: number,
): number[] {
  const out = new Array<number>(images * pixels * channels);
  const width = channels / groups;
  for (let n = 0; n < images; n++)
    for (let g = 0; g < groups; g++) {
      const places: number[] = [];
      for (let p = 0; p < pixels; p++)
        for (let c = g * width; c < (g + 1) * width; c++) places.push((n * pixels + p) * channels + c);
      const mean = places.reduce((sum, at) => sum + x[at], 0) / places.length;
      const variance = places.reduce((sum, at) => sum + (x[at] - mean) ** 2, 0) / places.length;
      for (const at of places) {
        const c = at % channels;
        out[at] = ((x[at] - mean) / Math.sqrt(variance + eps)) * weight[c] + bias[c];
      }
    }
  return out;
}

/** Obviously right twin of `f32_mix_pixels`. */
export function referenceMixPixels(
  x: ArrayLike<number>,
  channels: number,
  pixels: ArrayLike<number>,
  shares: ArrayLike<number>,
  width: number,
): number[] {
  const out: number[] = [];
  for (let o = 0; o < pixels.length; o += width)
    for (let c = 0; c < channels; c++) {
      let sum = 0;
      for (let k = o; k < o + width; k++) sum += shares[k] * x[pixels[k] * channels + c];
      out.push(sum);
    }
  return out;
}

const truth = (value: boolean): number => (value ? 1 : 0);

/** Obviously right twins of the functions of `f32_zip`, in its order; `alpha` is their parameter. */
export const REFERENCE_ZIP: readonly ((a: number, b: number, alpha: number) => number)[] = [
  (a, b) => a + b,
  (a, b, alpha) => a + alpha * b,
  (a, b) => a - b,
  (a, b) => a * b,
  (a, b) => a / b,
  (a, b) => Math.max(a, b),
  (a, b) => Math.min(a, b),
  (a, b) => (a > 0 ? a : a * b),
  (a, b, alpha) => (b !== 0 ? alpha : a),
  (a, b) => truth(a === b),
  (a, b) => truth(a !== b),
  (a, b) => truth(a < b),
  (a, b) => truth(a <= b),
  (a, b) => truth(a > b),
  (a, b) => truth(a >= b),
  (a, b) => (b !== 0 ? a : 0),
  (a, b) => (b === 0 ? a : 0),
  // Bits of one operand: the other is 0.
  (a, b) => (a !== 0 || Number.isNaN(a) ? a : b),
];
