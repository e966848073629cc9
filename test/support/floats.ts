import { expect } from 'vitest';
import { Generator } from '../../src/core/random.ts';

/** Seeded standard-normal floats. */
export function randomFloats(seed: number, length: number): Float32Array<ArrayBuffer> {
  const out = new Float32Array(length);
  new Generator(seed).fillNormal(out);
  return out;
}

/** Compares with a double-precision reference; the tolerance is relative to the largest expected magnitude (at least 1). */
export function expectClose(
  got: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number = 4e-6,
): void {
  expect(got.length).toBe(expected.length);
  let scale = 1;
  for (let i = 0; i < expected.length; i++) scale = Math.max(scale, Math.abs(expected[i]));
  let worst = 0;
  let at = 0;
  for (let i = 0; i < expected.length; i++) {
    const error = Object.is(got[i], expected[i]) ? 0 : Math.abs(got[i] - expected[i]) / scale;
    if (error <= worst) continue;
    worst = error;
    at = i;
    if (Number.isNaN(error)) break;
  }
  const message = `element ${at}: got ${got[at]}, expected ${expected[at]}, largest ${scale}`;
  expect(worst, message).toBeLessThanOrEqual(tolerance);
}
