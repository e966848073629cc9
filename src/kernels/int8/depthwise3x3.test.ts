import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createEngine, supportedBuilds } from '../engine.ts';
import { convGeometry } from '../geometry.ts';
import { referenceConv } from '../reference/int8_conv.ts';
import { depthwise3x3Format, panelsBytes } from './panel-format.ts';
import { foldQuantization, foldZeroPoint, writePanelHeaders, writePanels } from './write-panels.ts';

/** Shapes, strides and paddings that leave an output, and how the work is cut in two. */
const cases = fc
  .record({
    batch: fc.integer({ min: 1, max: 2 }),
    height: fc.integer({ min: 1, max: 9 }),
    width: fc.integer({ min: 1, max: 9 }),
    channels: fc.constantFrom(1, 3, 7, 8, 9, 16, 24, 29),
    stride: fc.constantFrom(1, 2),
    top: fc.integer({ min: 0, max: 3 }),
    left: fc.integer({ min: 0, max: 3 }),
    gap: fc.constantFrom(0, 5),
    cut: fc.double({ min: 0, max: 1, noNaN: true }),
    extremes: fc.boolean(),
    seed: fc.nat(1000),
  })
  .filter(({ height, width, top, left }) => height + 2 * top >= 3 && width + 2 * left >= 3);

const engines = supportedBuilds()
  .map((build) => createEngine(build))
  .filter((engine) => engine.exactDot8);
if (engines.length === 0) {
  console.log('skipped: depthwise 3x3 kernels (this host has no exact 8-bit dot product)');
}

describe.each(engines)('depthwise 3×3 without a table ($build)', (engine) => {
  it('is the reference convolution for all sizes, paddings and cuts, and touches nothing else', () => {
    fc.assert(
      fc.property(cases, (c) => {
        const { batch, height, width, channels, stride, top, left, gap, extremes, seed } = c;
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
        const output = { scale: 0.31, zeroPoint: 100, min: 100, max: 255 };
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
        const format = depthwise3x3Format(channels);
        const pixel = channels + gap;
        const [outHeight, outWidth] = geometry.outputSize;
        const got = engine.scratch((take) => {
          const from = take(batch * height * width * pixel + 64);
          const padding = take(width * pixel + 64);
          const panels = take(panelsBytes(format));
          const to = take(expected.length + 64);
          const { heap, kernels } = engine;
          for (let p = 0; p < batch * height * width; p++)
            heap.u8.set(input.subarray(p * channels, (p + 1) * channels), from + p * pixel);
          heap.u8.fill(inputZeroPoint, padding, padding + width * pixel + 64);
          const weights = {
            weight,
            outChannels: channels,
            taps: 9,
            inChannelsPerGroup: 1,
            groups: channels,
            weightZeroPoints: new Int32Array(channels),
          };
          const sums = writePanels(engine, panels, format, weights);
          const quantization = { bias, inputScale, inputZeroPoint, weightScales, output };
          const { biases, scales } = foldQuantization('test', quantization);
          writePanelHeaders(heap, panels, format, foldZeroPoint(biases, inputZeroPoint, sums), scales);
          heap.u8.fill(0xa5, to, to + expected.length + 64);
          const line = width * pixel;
          const sizes = [height, width, line, height * line, pixel, top, left] as const;
          const target = [outHeight, outWidth, channels, panels, to, 100, 100, 255] as const;
          const pairs = Math.ceil(outHeight / 2);
          const run = (begin: number, end: number): void => {
            if (stride === 2)
              kernels.qu8s8_depthwise3x3s2_u8(begin, end, from, padding, inputZeroPoint, ...sizes, ...target);
            else
              kernels.qu8s8_depthwise3x3_u8(
                begin,
                end,
                from,
                padding,
                inputZeroPoint,
                ...sizes,
                pairs,
                ...target,
              );
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
