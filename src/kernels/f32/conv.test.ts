import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectClose, randomFloats } from '../../../test/support/floats.ts';
import { ShapeError } from '../../core/errors.ts';
import { createEngine, supportedBuilds } from '../engine.ts';
import {
  referenceConvForwardF32,
  referenceConvInputGradF32,
  referenceConvWeightGradF32,
} from '../reference/f32.ts';
import { convForwardF32, convInputGradF32 } from './conv.ts';
import { convWeightGradF32 } from './conv-weight-grad.ts';
import type { ConvGeometryF32 } from './window.ts';

const builds = supportedBuilds();

interface Case extends Omit<ConvGeometryF32, 'outSize'> {
  readonly name: string;
  /** Rows of output left away at the end of each axis, as a transposed convolution's output padding does. */
  readonly short?: readonly number[];
}

function geometryOf(c: Case): ConvGeometryF32 {
  const outSize = c.inSize.map(
    (size, i) =>
      Math.floor((size + 2 * c.padding[i] - c.dilation[i] * (c.kernel[i] - 1) - 1) / c.stride[i]) +
      1 -
      (c.short?.[i] ?? 0),
  );
  return { ...c, outSize };
}

/** Compact notation of a 2-d case with equal settings on both axes. */
function square(
  name: string,
  [batch, inChannels, outChannels, groups]: number[],
  size: number[],
  [kernel, stride, padding, dilation]: number[],
): Case {
  const both = (x: number): number[] => [x, x];
  return {
    name,
    batch,
    inChannels,
    outChannels,
    groups,
    inSize: size,
    kernel: both(kernel),
    stride: both(stride),
    padding: both(padding),
    dilation: both(dilation),
  };
}

const cases: Case[] = [
  square('pointwise', [2, 5, 7, 1], [5, 4], [1, 1, 0, 1]),
  square('pointwise, stride 2', [2, 8, 16, 1], [7, 8], [1, 2, 0, 1]),
  square('3×3', [2, 4, 8, 1], [6, 7], [3, 1, 1, 1]),
  square('3×3, no padding', [1, 3, 9, 1], [6, 7], [3, 1, 0, 1]),
  square('3×3, stride 2', [3, 6, 10, 1], [9, 8], [3, 2, 1, 1]),
  square('3×3, stride 3 over even size', [2, 3, 4, 1], [10, 8], [3, 3, 0, 1]),
  square('kernel smaller than stride', [2, 3, 5, 1], [9, 9], [2, 3, 0, 1]),
  square('pointwise with padding', [1, 3, 5, 1], [4, 4], [1, 1, 2, 1]),
  square('padding wider than the kernel', [1, 2, 3, 1], [3, 3], [2, 2, 3, 1]),
  square('dilation 2', [2, 4, 5, 1], [9, 9], [3, 1, 2, 2]),
  square('dilation 2 with stride 2', [1, 4, 5, 1], [11, 12], [3, 2, 2, 2]),
  square('dilation 3 with stride 2', [1, 2, 9, 1], [12, 11], [3, 2, 1, 3]),
  square('7×7, stride 2 (first layer)', [2, 3, 17, 1], [15, 14], [7, 2, 3, 1]),
  square('groups', [2, 6, 9, 3], [5, 6], [3, 1, 1, 1]),
  square('groups with wide columns', [1, 8, 24, 2], [5, 5], [3, 2, 1, 1]),
  square('depthwise', [2, 13, 13, 13], [7, 6], [3, 1, 1, 1]),
  square('depthwise, stride 2', [2, 16, 16, 16], [8, 9], [3, 2, 1, 1]),
  square('depthwise 5×5', [1, 7, 7, 7], [8, 9], [5, 1, 2, 1]),
  square('depthwise dilated', [1, 9, 9, 9], [9, 8], [3, 1, 2, 2]),
  square('depthwise with multiplier 2', [2, 5, 10, 5], [6, 6], [3, 1, 1, 1]),
  square('one channel', [1, 1, 1, 1], [4, 4], [3, 1, 1, 1]),
  square('window as large as the image', [3, 4, 6, 1], [3, 3], [3, 1, 0, 1]),
  square('image blocks with a rest', [11, 16, 16, 1], [32, 32], [3, 1, 1, 1]),
  square('tiles', [9, 16, 24, 1], [8, 10], [3, 1, 1, 1]),
  square('tiles over odd sizes', [65, 24, 16, 1], [7, 9], [3, 1, 1, 1]),
  square('tiles, no padding', [6, 16, 32, 1], [9, 8], [3, 1, 0, 1]),
  square('tiles, padding 2', [7, 32, 16, 1], [5, 6], [3, 1, 2, 1]),
  square('one row of tiles', [64, 16, 16, 1], [3, 6], [3, 1, 0, 1]),
  square('strips of tiles', [2, 16, 16, 1], [70, 91], [3, 1, 1, 1]),
  { ...square('tiles cut short', [4, 16, 16, 1], [12, 13], [3, 1, 1, 1]), short: [3, 4] },
  square('strips', [2, 8, 9, 1], [120, 90], [3, 1, 1, 1]),
  square('strips, stride 2', [1, 8, 16, 1], [121, 90], [3, 2, 1, 1]),
  square('strips, stride 2, no padding', [1, 8, 3, 1], [128, 96], [2, 2, 0, 1]),
  square('strips of pointwise', [1, 16, 8, 1], [101, 90], [1, 1, 0, 1]),
  square('depthwise strips', [1, 12, 12, 12], [110, 90], [3, 2, 1, 1]),
  square('stride with unused rows', [1, 3, 4, 1], [10, 10], [3, 4, 0, 1]),
  { ...square('output cut short', [1, 3, 4, 1], [9, 9], [3, 2, 1, 1]), short: [1, 1] },
  {
    ...square('1-d', [3, 5, 6, 1], [17], [3, 1, 1, 1]),
    kernel: [5],
    stride: [2],
    padding: [2],
    dilation: [1],
  },
  {
    ...square('1-d strips', [2, 4, 8, 1], [30001], [3, 1, 1, 1]),
    kernel: [8],
    stride: [4],
    padding: [2],
    dilation: [1],
  },
  {
    ...square('3-d', [2, 3, 5, 1], [5, 6, 7], [3, 1, 1, 1]),
    kernel: [3, 2, 3],
    stride: [2, 1, 2],
    padding: [1, 0, 1],
    dilation: [1, 2, 1],
  },
  {
    ...square('3-d whose depth the kernel spans, in strips', [2, 4, 5, 1], [3, 100, 80], [3, 1, 1, 1]),
    kernel: [3, 3, 3],
    stride: [1, 1, 1],
    padding: [0, 1, 1],
    dilation: [1, 1, 1],
  },
  {
    ...square('3-d depthwise', [1, 6, 6, 6], [4, 5, 6], [3, 1, 1, 1]),
    kernel: [3, 3, 3],
    stride: [1, 2, 1],
    padding: [1, 1, 1],
    dilation: [1, 1, 1],
  },
  {
    ...square('uneven axes', [2, 4, 5, 1], [9, 12], [3, 1, 1, 1]),
    kernel: [1, 5],
    stride: [2, 3],
    padding: [0, 2],
    dilation: [1, 2],
  },
];

describe.each(builds)('float32 convolution (%s)', (build) => {
  const engine = createEngine(build);

  it.each(cases)('$name: forward, input gradient, weight gradient', (c) => {
    const g = geometryOf(c);
    const pixels = (size: readonly number[]): number => size.reduce((x, y) => x * y, 1);
    const input = randomFloats(1, g.batch * pixels(g.inSize) * g.inChannels);
    const gradOut = randomFloats(2, g.batch * pixels(g.outSize) * g.outChannels);
    const weight = randomFloats(3, (g.outChannels * g.inChannels * pixels(g.kernel)) / g.groups);
    const bias = randomFloats(4, g.outChannels);
    const inBias = randomFloats(5, g.inChannels);
    const before = engine.memory();

    expectClose(
      convForwardF32(input, weight, g, { bias, engine }),
      referenceConvForwardF32(input, weight, g, bias),
    );
    expectClose(
      convInputGradF32(gradOut, weight, g, { engine }),
      referenceConvInputGradF32(gradOut, weight, g),
    );
    expectClose(
      convInputGradF32(gradOut, weight, g, { engine, bias: inBias }),
      referenceConvInputGradF32(gradOut, weight, g, inBias),
    );
    expectClose(
      convWeightGradF32(input, gradOut, g, { engine }),
      referenceConvWeightGradF32(input, gradOut, g),
      2e-5,
    );
    expect({ ...engine.memory(), reservedBytes: 0 }).toEqual({ ...before, reservedBytes: 0 });
  });

  it('agrees with the reference on any small geometry', () => {
    const axis = fc.record({
      size: fc.integer({ min: 1, max: 9 }),
      kernel: fc.integer({ min: 1, max: 4 }),
      stride: fc.integer({ min: 1, max: 4 }),
      padding: fc.integer({ min: 0, max: 4 }),
      dilation: fc.integer({ min: 1, max: 3 }),
    });
    const geometry = fc.record({
      axes: fc.array(axis, { minLength: 1, maxLength: 3 }),
      batch: fc.integer({ min: 1, max: 3 }),
      groups: fc.integer({ min: 1, max: 3 }),
      inPerGroup: fc.integer({ min: 1, max: 5 }),
      outPerGroup: fc.integer({ min: 1, max: 10 }),
    });
    fc.assert(
      fc.property(geometry, ({ axes, batch, groups, inPerGroup, outPerGroup }) => {
        const list = (key: 'size' | 'kernel' | 'stride' | 'padding' | 'dilation'): number[] =>
          axes.map((a) => a[key]);
        const g = geometryOf({
          name: 'random',
          batch,
          groups,
          inChannels: groups * inPerGroup,
          outChannels: groups * outPerGroup,
          inSize: list('size'),
          kernel: list('kernel'),
          stride: list('stride'),
          padding: list('padding'),
          dilation: list('dilation'),
        });
        fc.pre(g.outSize.every((size) => size > 0));
        const count = (sizes: readonly number[]): number => sizes.reduce((x, y) => x * y, 1);
        const input = randomFloats(1, batch * count(g.inSize) * g.inChannels);
        const gradOut = randomFloats(2, batch * count(g.outSize) * g.outChannels);
        const weight = randomFloats(3, g.outChannels * inPerGroup * count(g.kernel));
        expectClose(convForwardF32(input, weight, g, { engine }), referenceConvForwardF32(input, weight, g));
        expectClose(
          convInputGradF32(gradOut, weight, g, { engine }),
          referenceConvInputGradF32(gradOut, weight, g),
        );
        expectClose(
          convWeightGradF32(input, gradOut, g, { engine }),
          referenceConvWeightGradF32(input, gradOut, g),
        );
      }),
      { numRuns: 300 },
    );
  });

  it('clamps in the epilogue and writes into a given output', () => {
    for (const groups of [1, 8]) {
      const g = geometryOf(square('clamp', [2, 8, 8, groups], [6, 6], [3, 1, 1, 1]));
      const input = randomFloats(1, 2 * 36 * 8);
      const weight = randomFloats(2, (8 * 8 * 9) / groups);
      const out = new Float32Array(2 * 36 * 8).fill(NaN);
      const got = convForwardF32(input, weight, g, { engine, out, clamp: { min: 0, max: 0.5 } });
      expect(got).toBe(out);
      const expected = referenceConvForwardF32(input, weight, g).map((x) => Math.min(0.5, Math.max(0, x)));
      expectClose(out, expected);
    }
  });

  it('passes NaN through clamp', () => {
    const g = geometryOf(square('nan', [1, 4, 4, 1], [2, 2], [1, 1, 0, 1]));
    const input = new Float32Array(16).fill(NaN);
    const out = convForwardF32(input, randomFloats(1, 16), g, { engine, clamp: { min: 0 } });
    expect(out.every(Number.isNaN)).toBe(true);
  });

  it('does not grow memory over repeated calls', () => {
    const g = geometryOf(square('leak', [4, 16, 16, 1], [32, 32], [3, 2, 1, 1]));
    const input = randomFloats(1, 4 * 1024 * 16);
    const weight = randomFloats(2, 16 * 16 * 9);
    const step = (): void => {
      const y = convForwardF32(input, weight, g, { engine });
      convInputGradF32(y, weight, g, { engine });
      convWeightGradF32(input, y, g, { engine });
    };
    for (let i = 0; i < 3; i++) step();
    const before = engine.memory();
    for (let i = 0; i < 20; i++) step();
    expect(engine.memory()).toEqual(before);
  });

  it('names what does not fit', () => {
    const g = geometryOf(square('bad', [1, 4, 4, 1], [4, 4], [3, 1, 1, 1]));
    const input = new Float32Array(64);
    const weight = new Float32Array(144);
    expect(() => convForwardF32(input, new Float32Array(143), g, { engine })).toThrow(
      /convForwardF32: weight: expected 144 elements, got 143/,
    );
    expect(() => convForwardF32(input, weight, { ...g, groups: 3 }, { engine })).toThrow(ShapeError);
    expect(() => convForwardF32(input, weight, { ...g, outSize: [9, 4] }, { engine })).toThrow(/outSize/);
    expect(() => convForwardF32(input, weight, { ...g, stride: [0, 1] }, { engine })).toThrow(/stride/);
  });
});
