import { describe, expect, it } from 'vitest';
import { randomFloats } from '../../../test/support/floats.ts';
import { createEngine, supportedBuilds } from '../engine.ts';
import { referenceConvForwardF32, referenceConvWeightGradF32 } from '../reference/f32.ts';
import { convForwardF32 } from './conv.ts';
import { convWeightGradF32 } from './conv-weight-grad.ts';
import type { ConvGeometryF32 } from './window.ts';
import { suitsWinograd } from './winograd.ts';

const builds = supportedBuilds();

const geometry: ConvGeometryF32 = {
  batch: 4,
  inChannels: 32,
  outChannels: 16,
  groups: 1,
  inSize: [16, 15],
  outSize: [16, 15],
  kernel: [3, 3],
  stride: [1, 1],
  padding: [1, 1],
  dilation: [1, 1],
};
const input = randomFloats(1, 4 * 240 * 32);
const gradOut = randomFloats(2, 4 * 240 * 16);
const weight = randomFloats(3, 16 * 32 * 9);

/** Largest difference, relative to the largest value. */
function relativeError(got: Float32Array, expected: ArrayLike<number>): number {
  let [difference, scale] = [0, 0];
  for (let i = 0; i < got.length; i++) {
    difference = Math.max(difference, Math.abs(got[i] - expected[i]));
    scale = Math.max(scale, Math.abs(expected[i]));
  }
  return difference / scale;
}

describe('which convolutions run on tiles', () => {
  it('3×3 windows over two axes with enough channels and pixels', () => {
    expect(suitsWinograd(geometry)).toBe(true);
    expect(suitsWinograd({ ...geometry, padding: [0, 2], outSize: [14, 17] })).toBe(true);
  });

  it.each<[string, Partial<ConvGeometryF32>]>([
    ['stride', { stride: [1, 2], outSize: [16, 8] }],
    ['dilation', { dilation: [2, 1], outSize: [14, 15] }],
    ['kernel', { kernel: [3, 1], outSize: [16, 17] }],
    ['padding', { padding: [3, 1], outSize: [20, 15] }],
    ['groups', { groups: 2 }],
    ['few channels', { inChannels: 8 }],
    ['channels that do not fill panels', { outChannels: 20 }],
    ['few pixels', { batch: 1 }],
    ['three axes', { inSize: [1, 16, 15], kernel: [1, 3, 3] }],
  ])('not: %s', (_, change) => {
    expect(suitsWinograd({ ...geometry, ...change })).toBe(false);
  });
});

describe.each(builds)('Winograd tiles (%s)', (build) => {
  const engine = createEngine(build);
  const double = (x: Float32Array): Float64Array => Float64Array.from(x);

  it('stay within a few units of the last place of double precision', () => {
    const forward = convForwardF32(input, weight, geometry, { engine });
    const exact = referenceConvForwardF32(double(input), double(weight), geometry, null);
    expect(relativeError(forward, exact)).toBeLessThan(1e-6);
    const grad = convWeightGradF32(input, gradOut, geometry, { engine });
    const exactGrad = referenceConvWeightGradF32(double(input), double(gradOut), geometry);
    expect(relativeError(grad, exactGrad)).toBeLessThan(1e-6);
  });

  it('are exact on small integers', () => {
    const whole = (x: Float32Array): Float32Array => x.map((v) => Math.round(v * 4));
    // Halves and quarters of the filters' sums are exact too.
    const y = convForwardF32(whole(input), whole(weight), geometry, { engine });
    expect(y).toEqual(
      Float32Array.from(referenceConvForwardF32(whole(input), whole(weight), geometry, null)),
    );
  });

  it('add a bias and clamp', () => {
    const bias = randomFloats(4, 16);
    const out = new Float32Array(4 * 240 * 16).fill(Number.NaN);
    const got = convForwardF32(input, weight, geometry, { engine, bias, out, clamp: { min: 0, max: 3 } });
    expect(got).toBe(out);
    const expected = referenceConvForwardF32(input, weight, geometry, bias);
    const clamped = Array.from(expected, (v) => Math.min(3, Math.max(0, v)));
    expect(relativeError(out, clamped)).toBeLessThan(1e-5);
  });
});
