import { roundHalfEven } from '../../core/math.ts';

const { fround, sqrt } = Math;

/** What the twins of the normalizations need besides the integers. */
export interface Normalization {
  readonly scale: number;
  readonly zeroPoint: number;
  readonly eps: number;
  readonly outScale: number;
  readonly outZeroPoint: number;
  readonly min: number;
  readonly max: number;
}

/** Mean (less the zero point) and factor of a group of integers. */
function statistics(q: readonly number[], { scale, zeroPoint, eps }: Normalization): [number, number] {
  const step = fround(scale);
  const sum = q.reduce((a, b) => a + b, 0);
  const squares = q.reduce((a, b) => a + b * b, 0);
  const shifted = fround(fround(sum) / q.length);
  const spread = fround(fround(fround(squares) / q.length) - fround(shifted * shifted));
  const variance = Math.max(spread, 0);
  return [fround(shifted - zeroPoint), fround(step / sqrt(fround(fround(variance * step) * step) + eps))];
}

/**
 * Twin of the normalizing kernels: `groupOf` and `gainOf` say for every element which group it belongs to, and which gain and
 * shift it gets.
 */
export function referenceNormalize(
  q: ArrayLike<number>,
  groupOf: (i: number) => number,
  gainOf: (i: number) => number,
  gains: ArrayLike<number>,
  shifts: ArrayLike<number>,
  options: Normalization,
): Int32Array<ArrayBuffer> {
  const groups = new Map<number, number[]>();
  for (let i = 0; i < q.length; i++) {
    const members = groups.get(groupOf(i)) ?? [];
    members.push(q[i]);
    groups.set(groupOf(i), members);
  }
  const found = new Map([...groups].map(([group, members]) => [group, statistics(members, options)]));
  const { zeroPoint, outScale, outZeroPoint, min, max } = options;
  const inverse = fround(1 / fround(outScale));
  return Int32Array.from(q, (v, i) => {
    const [mean, factor] = found.get(groupOf(i)) as [number, number];
    const c = gainOf(i);
    const y = fround(fround(fround(fround(v - zeroPoint - mean) * factor) * gains[c]) + shifts[c]);
    const rounded = roundHalfEven(fround(y * inverse)) + outZeroPoint;
    return Number.isNaN(rounded) ? min : Math.min(Math.max(rounded, min), max);
  });
}

/** Twin of `qu8_mean_rows`. */
export function referenceMeanRows(q: ArrayLike<number>, columns: number): Int32Array<ArrayBuffer> {
  return Int32Array.from({ length: q.length / columns }, (_, r) => {
    let sum = 0;
    for (let c = 0; c < columns; c++) sum += q[r * columns + c];
    return roundHalfEven(fround(fround(sum) / columns));
  });
}
