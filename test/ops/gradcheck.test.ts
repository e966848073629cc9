import { expect, test } from 'vitest';
import type { OpName } from '../../src/ops/signatures/index.ts';
import { gradcheck, isDifferentiable, type Layout } from './gradcheck.ts';
import { SAMPLES } from './samples/index.ts';

const LAYOUTS: readonly Layout[] = ['row-major', 'column-major'];

for (const [op, samples] of Object.entries(SAMPLES) as [OpName, readonly unknown[][] | string][]) {
  if (typeof samples === 'string') {
    test(`${op} is not differentiable`, () => expect(isDifferentiable(op)).toBe(false));
  } else {
    test(`${op}: gradients agree with differences`, () => {
      expect(samples.length).toBeGreaterThan(0);
      for (const layout of LAYOUTS) for (const args of samples) gradcheck(op, args, layout);
    });
  }
}
