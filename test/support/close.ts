import { expect } from 'vitest';
import { tensorsIn } from './same-bits.ts';

/**
 * Expects the same shapes and dtypes, and elements that differ by at most `tolerance` times the largest magnitude of their tensor.
 * Returns how many elements were compared.
 */
export function expectClose(actual: unknown, expected: unknown, tolerance = 1e-5): number {
  const [got, wanted] = [tensorsIn(actual), tensorsIn(expected)];
  expect(got.map((t) => [t.dtype, [...t.shape]])).toEqual(wanted.map((t) => [t.dtype, [...t.shape]]));
  let compared = 0;
  for (const [i, t] of got.entries()) {
    const [a, b] = [t.numbers(), wanted[i].numbers()];
    let largest = 0;
    let worst = 0;
    for (let j = 0; j < a.length; j++) {
      if (Object.is(a[j], b[j])) continue;
      worst = Number.isFinite(a[j] - b[j]) ? Math.max(worst, Math.abs(a[j] - b[j])) : Infinity;
    }
    for (const v of b) if (Number.isFinite(v)) largest = Math.max(largest, Math.abs(v));
    expect(worst).toBeLessThanOrEqual(tolerance * largest);
    compared += a.length;
  }
  return compared;
}
