import { roundHalfEven } from '../../core/math.ts';

const { fround } = Math;

/** For every place of the result along one dimension: the two it mixes, and the share of the second. */
export interface ReferenceMix {
  readonly low: ArrayLike<number>;
  readonly high: ArrayLike<number>;
  readonly share: ArrayLike<number>;
}

/** Twin of `qu8_bilinear`, for one dense image [height, width, channels] of integers. */
export function referenceBilinear(
  q: ArrayLike<number>,
  width: number,
  channels: number,
  rows: ReferenceMix,
  columns: ReferenceMix,
  zeroPoint: number,
): Int32Array<ArrayBuffer> {
  const at = (h: number, w: number, c: number): number => q[(h * width + w) * channels + c];
  const mix = (a: number, b: number, share: number): number =>
    fround(fround(fround(1 - share) * a) + fround(share * b));
  const out: number[] = [];
  for (let i = 0; i < rows.low.length; i++) {
    for (let j = 0; j < columns.low.length; j++) {
      for (let c = 0; c < channels; c++) {
        const [left, right, share] = [columns.low[j], columns.high[j], columns.share[j]];
        const upper = mix(at(rows.low[i], left, c), at(rows.low[i], right, c), share);
        const lower = mix(at(rows.high[i], left, c), at(rows.high[i], right, c), share);
        out.push(roundHalfEven(fround(mix(upper, lower, rows.share[i]) - zeroPoint)) + zeroPoint);
      }
    }
  }
  return Int32Array.from(out);
}

/** Twin of `qu8_pick_rows` and `qu4_pick_rows`, on integers that are already taken apart. */
export function referencePickRows(
  ids: ArrayLike<number>,
  q: ArrayLike<number>,
  width: number,
  scales: ArrayLike<number>,
  offsets: ArrayLike<number>,
): Float32Array {
  return Float32Array.from({ length: ids.length * width }, (_, i) => {
    const row = ids[Math.floor(i / width)];
    return q[row * width + (i % width)] * scales[row] + offsets[row];
  });
}
