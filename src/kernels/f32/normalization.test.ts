import { describe, expect, it } from 'vitest';
import { expectClose, randomFloats } from '../../../test/support/floats.ts';
import { ShapeError } from '../../core/errors.ts';
import { createEngine, supportedBuilds } from '../engine.ts';
import { referenceBatchNormBackward, referenceBatchNormForward } from '../reference/f32-layers.ts';
import {
  batchNormBackwardF32,
  batchNormForwardF32,
  centerScaleF32,
  channelStatisticsF32,
  columnSumsF32,
} from './normalization.ts';

const builds = supportedBuilds();

/** [rows, channels]: vector tails, the 16-channel fast path with and without rest, several blocks, rows longer than a block. */
const shapes: [number, number][] = [
  [1, 1],
  [2, 3],
  [5, 4],
  [7, 16],
  [33, 19],
  [64, 35],
  [4100, 16],
  [20001, 3],
  [3000, 64],
  [3, 40000],
];

describe.each(builds)('float32 normalization (%s)', (build) => {
  const engine = createEngine(build);

  it.each(shapes)('%i rows of %i channels: forward, backward, column sums', (rows, channels) => {
    const x = randomFloats(1, rows * channels);
    const gradOut = randomFloats(2, rows * channels);
    const gamma = randomFloats(3, channels);
    const beta = randomFloats(4, channels);
    const eps = 1e-2;
    const before = engine.memory();
    for (const [g, b] of [
      [gamma, beta],
      [null, null],
    ]) {
      const expected = referenceBatchNormForward(x, rows, channels, g, b, eps);
      const got = batchNormForwardF32({ x, rows, channels, gamma: g, beta: b, eps, engine });
      expectClose(got.out, expected.out, 2e-6);
      expectClose(got.mean, expected.mean, 2e-7);
      expectClose(got.variance, expected.variance, 5e-7);
      const { mean, invStd } = got;
      const expectedGrad = referenceBatchNormBackward(gradOut, x, rows, channels, g, eps);
      const grad = batchNormBackwardF32({ gradOut, x, rows, channels, mean, invStd, gamma: g, engine });
      expectClose(grad.gradInput, expectedGrad.gradInput, 4e-6);
      expectClose(grad.gradGamma, expectedGrad.gradGamma, 4e-6);
      expectClose(grad.gradBeta, expectedGrad.gradBeta, 4e-6);
    }
    const sums = new Float64Array(channels);
    for (let i = 0; i < x.length; i++) sums[i % channels] += x[i];
    expectClose(columnSumsF32(x, rows, channels, engine), sums, 2e-6);
    expect({ ...engine.memory(), reservedBytes: 0 }).toEqual({ ...before, reservedBytes: 0 });
  });

  it('keeps the variance of data far from zero', () => {
    const [rows, channels] = [10000, 5];
    const x = randomFloats(1, rows * channels).map((v) => v + 4096);
    const { mean, variance } = channelStatisticsF32(x, rows, channels, engine);
    const expected = referenceBatchNormForward(x, rows, channels, null, null, 0);
    expectClose(variance, expected.variance, 1e-6);
    expectClose(mean, expected.mean, 1e-8);
  });

  it('maps channels with given statistics and clamps', () => {
    const [rows, channels] = [11, 6];
    const x = randomFloats(1, rows * channels);
    const [mean, scale, shift] = [2, 3, 4].map((seed) => randomFloats(seed, channels));
    const got = centerScaleF32({ x, rows, channels, mean, scale, shift, clamp: { min: 0, max: 1 }, engine });
    const expected = Float64Array.from(x, (v, i) => {
      const c = i % channels;
      return Math.min(1, Math.max(0, (v - mean[c]) * scale[c] + shift[c]));
    });
    expectClose(got, expected, 5e-7);
  });

  it('handles no rows and names what does not fit', () => {
    expect([...columnSumsF32(new Float32Array(0), 0, 3, engine)]).toEqual([0, 0, 0]);
    expect(() => columnSumsF32(new Float32Array(5), 2, 3, engine)).toThrow(ShapeError);
    const x = new Float32Array(6);
    expect(() =>
      batchNormForwardF32({
        x,
        rows: 2,
        channels: 3,
        gamma: new Float32Array(2),
        beta: null,
        eps: 0,
        engine,
      }),
    ).toThrow(/batchNormForwardF32: gamma: expected 3 elements, got 2/);
  });
});
