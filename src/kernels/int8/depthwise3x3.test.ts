import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createEngine, supportedBuilds } from '../engine.ts';
import { convGeometry } from '../geometry.ts';
import { referenceConv } from '../reference/int8_conv.ts';
import { depthwise3x3Bytes, depthwise3x3Format, fitsWide, writeDepthwise3x3 } from './depthwise3x3.ts';
import { foldQuantization, foldZeroPoint } from './write-panels.ts';

/** Shapes, strides and paddings that leave an output, and how the work is cut in two. */
const cases = fc
  .record({
    batch: fc.integer({ min: 1, max: 2 }),
    height: fc.integer({ min: 1, max: 9 }),
    width: fc.integer({ min: 1, max: 9 }),
    channels: fc.constantFrom(1, 3, 7, 8, 9, 16, 24, 29, 32, 33, 40, 63, 64),
    stride: fc.constantFrom(1, 2),
    top: fc.integer({ min: 0, max: 3 }),
    left: fc.integer({ min: 0, max: 3 }),
    gap: fc.constantFrom(0, 5),
    cut: fc.double({ min: 0, max: 1, noNaN: true }),
    extremes: fc.boolean(),
    scale: fc.constantFrom(0.31, 0.055),
    seed: fc.nat(1000),
  })
  .filter(({ height, width, top, left }) => height + 2 * top >= 3 && width + 2 * left >= 3);

const engines = supportedBuilds()
  .map((build) => createEngine(build))
  .filter((engine) => engine.exactDot8);
if (engines.length === 0) {
  console.log('skipped: depthwise 3x3 kernels (this host has no exact 8-bit dot product)');
}

const kinds = engines.flatMap((engine) =>
  [false, true].map((wide) => ({ engine, wide, build: engine.build })),
);

describe.each(kinds)('depthwise 3×3 without a table, $build, 32 at a time: $wide', ({ engine, wide }) => {
  it('is the reference convolution for all sizes, paddings and cuts, and touches nothing else', () => {
    fc.assert(
      fc.property(cases, (c) => {
        const { batch, height, width, channels, stride, top, left, gap, extremes, scale, seed } = c;
        const geometry = convGeometry({
          batch,
          inputSize: [height, width],
          kernel: [3, 3],
          stride: [stride, stride],
          padding: [top, left],
          dilation: [1, 1],
        });
        const random = (i: number): number => Math.imul(i + seed, 2654435761) >>> 16;
        const byte = (i: number): number => (extremes ? 255 * (random(i) & 1) : random(i) & 255);
        const input = Uint8Array.from({ length: batch * height * width * channels }, (_, i) => byte(i));
        const weight = Int8Array.from({ length: channels * 9 }, (_, i) => byte(i + 77) - 128);
        const weightScales = Float32Array.from({ length: channels }, (_, i) => 0.001 * ((random(i) % 9) + 1));
        const bias = Float32Array.from({ length: channels }, (_, i) => Math.sin(i));
        const inputZeroPoint = byte(5);
        const output = { scale, zeroPoint: 100, min: 100, max: 255 };
        const inputScale = 0.6;
        const expected = referenceConv(
          {
            input,
            weight,
            outChannels: channels,
            inChannelsPerGroup: 1,
            groups: channels,
            geometry,
            bias,
            inputScale,
            inputZeroPoint,
            weightScales,
            weightZeroPoints: new Int32Array(channels),
          },
          output,
        );
        fc.pre(channels >= 32 || !wide);
        const format = depthwise3x3Format(channels, stride, wide);
        const pixel = channels + gap;
        const [outHeight, outWidth] = geometry.outputSize;
        const got = engine.scratch((take) => {
          const from = take(batch * height * width * pixel + 64);
          const padding = take(width * pixel + 64);
          const panels = take(depthwise3x3Bytes(format));
          const to = take(expected.length + 64);
          const { heap, kernels } = engine;
          for (let p = 0; p < batch * height * width; p++)
            heap.u8.set(input.subarray(p * channels, (p + 1) * channels), from + p * pixel);
          heap.u8.fill(inputZeroPoint, padding, padding + width * pixel + 64);
          const quantization = { bias, inputScale, inputZeroPoint, weightScales, output };
          const { biases, scales } = foldQuantization('test', quantization);
          const sums = Int32Array.from({ length: channels }, (_, k) =>
            weight.subarray(9 * k, 9 * k + 9).reduce((sum, w) => sum + w, 0),
          );
          const values = { weight, biases: foldZeroPoint(biases, inputZeroPoint, sums), scales };
          writeDepthwise3x3(heap, panels, format, values);
          expect(fitsWide(values)).toBe(channels >= 32);
          heap.u8.fill(0xa5, to, to + expected.length + 64);
          const line = width * pixel;
          const sizes = [height, width, line, height * line, pixel, top, left] as const;
          const target = [outHeight, outWidth, channels, panels, to, 100, 100, 255] as const;
          const pairs = Math.ceil(outHeight / 2);
          const run = (begin: number, end: number): void => {
            const source = [begin, end, from, padding, inputZeroPoint, ...sizes] as const;
            const two = wide ? kernels.qu8s8_depthwise3x3s2x32_u8 : kernels.qu8s8_depthwise3x3s2_u8;
            const one = wide ? kernels.qu8s8_depthwise3x3x32_u8 : kernels.qu8s8_depthwise3x3_u8;
            if (stride === 2) two(...source, ...target);
            else one(...source, pairs, ...target);
          };
          const units = batch * (stride === 2 ? outHeight : pairs);
          const at = Math.floor(units * c.cut);
          run(at, units);
          run(0, at);
          const after = heap.u8.slice(to + expected.length, to + expected.length + 64);
          expect(after.every((v) => v === 0xa5)).toBe(true);
          return heap.u8.slice(to, to + expected.length);
        });
        expect(Array.from(got)).toEqual(Array.from(expected));
      }),
      { numRuns: 300 },
    );
  });
});

describe('fitsWide', () => {
  it('refuses sums that leave 16 bits, and fewer channels than a panel', () => {
    const weight = new Int8Array(32 * 9).fill(127);
    const values = { weight, biases: new Int32Array(32), scales: new Float32Array(32).fill(0.1) };
    expect(fitsWide(values)).toBe(true);
    expect(fitsWide({ ...values, scales: values.scales.map((s, c) => (c === 31 ? 0.12 : s)) })).toBe(false);
    expect(fitsWide({ ...values, biases: values.biases.map((b, c) => (c === 7 ? -400_000 : b)) })).toBe(
      false,
    );
    expect(fitsWide({ ...values, biases: new Int32Array(31) })).toBe(false);
  });
});
