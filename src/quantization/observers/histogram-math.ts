import { roundHalfEven } from '../../core/math.ts';

const { fround } = Math;

/** Where a histogram lies after its range was widened, on a grid that its bins and the new ones share. */
export interface WidenedGrid {
  readonly low: number;
  readonly high: number;
  /** Fine cells per new bin. */
  readonly downsampleRate: number;
  /** The fine cell at which the old histogram begins. */
  readonly startIndex: number;
}

/**
 * Counts values in `bins` equal bins between `low` and `high` with their fractions cut off; what lies outside is not
 * counted. Where both cut to the same number the bounds are those of the data, `dataLow` and `dataHigh`.
 * Arithmetic in float32. Source: `torch.histc` as `HistogramObserver` calls it.
 */
export function histc(
  values: Float32Array,
  low: number,
  high: number,
  bins: number,
  dataLow: number,
  dataHigh: number,
): Float32Array {
  let left = fround(Math.trunc(low));
  let right = fround(Math.trunc(high));
  if (left === right) [left, right] = [dataLow, dataHigh];
  if (left === right) [left, right] = [fround(left - 1), fround(right + 1)];
  const width = fround(right - left);
  const counts = new Uint32Array(bins + 1);
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    if (v >= left && v <= right) counts[fround(fround(fround(v - left) / width) * bins) | 0]++;
  }
  // The last bin holds its right edge.
  counts[bins - 1] += counts[bins];
  return Float32Array.from(counts.subarray(0, bins));
}

/**
 * The range that covers `low … high` and whose bins are a whole number of fine cells of the old histogram, where an
 * old bin is `upsampleRate` cells. Only the upper end gives way. Source: `HistogramObserver._adjust_min_max`.
 */
export function widenRange(
  old: { readonly counts: Float32Array; readonly low: number; readonly high: number },
  low: number,
  high: number,
  upsampleRate: number,
): WidenedGrid {
  const bins = old.counts.length;
  const cell = fround(fround(old.high - old.low) / fround(bins * upsampleRate));
  const span = fround(high - low);
  const covered = fround(bins * cell);
  const downsampleRate = Math.ceil(fround(span / covered));
  const excess = fround(fround(downsampleRate * covered) - span);
  const start = roundHalfEven(fround(fround(old.low - low) / cell));
  return {
    low,
    high: fround(high + excess),
    downsampleRate,
    // Rounding may carry the last cell over the end.
    startIndex: Math.max(0, Math.min(start, bins * (downsampleRate - upsampleRate))),
  };
}

/**
 * Adds an old histogram to `counts` on the widened grid, interpolating linearly between the integrals at the edges of
 * bins. The sum runs over the fine cells in their order, as in PyTorch, but the cells are never stored.
 * Source: `HistogramObserver._combine_histograms`.
 */
export function addResampled(
  counts: Float32Array,
  old: Float32Array,
  upsampleRate: number,
  grid: WidenedGrid,
): void {
  const bins = counts.length;
  let integral = 0;
  let shifted = 0;
  let edge = grid.downsampleRate;
  let bin = 0;
  let at = grid.startIndex;
  const emit = (): void => {
    counts[bin] += fround((integral - shifted) / upsampleRate);
    shifted = fround(integral);
    bin++;
    edge += grid.downsampleRate;
  };
  for (let i = 0; i < bins; i++) {
    const v = old[i];
    for (let left = upsampleRate; left > 0; ) {
      while (edge <= at && bin < bins) emit();
      const run = Math.min(left, edge - at);
      for (let k = 0; k < run; k++) integral += v;
      at += run;
      left -= run;
    }
  }
  while (bin < bins) emit();
}

/** Adds a histogram over `low … high` to `into` over a range that covers it, each bin in proportion to its overlaps. */
export function spread(
  counts: Float32Array,
  low: number,
  high: number,
  into: Float64Array,
  newLow: number,
  newHigh: number,
): void {
  const bins = into.length;
  const perValue = newHigh > newLow ? bins / (newHigh - newLow) : 0;
  const width = (high - low) / counts.length;
  for (let i = 0; i < counts.length; i++) {
    if (counts[i] === 0) continue;
    const from = Math.min((low + i * width - newLow) * perValue, bins);
    const to = Math.min((low + (i + 1) * width - newLow) * perValue, bins);
    const first = Math.min(Math.floor(from), bins - 1);
    if (to - from < 1e-12) {
      into[first] += counts[i];
      continue;
    }
    for (let b = first; b < bins && b < to; b++) {
      into[b] += (counts[i] * (Math.min(to, b + 1) - Math.max(from, b))) / (to - from);
    }
  }
}
