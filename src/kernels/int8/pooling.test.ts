import { describe, expect, it } from 'vitest';
import { ShapeError } from '../../core/errors.ts';
import { createEngine, supportedBuilds } from '../engine.ts';
import { type ConvGeometry, convGeometry } from '../geometry.ts';
import { referenceAvgPool, referenceMaxPool } from '../reference/int8_pooling.ts';
import { qAdaptiveAvgPool2d, qAvgPool2d, qMaxPool2d } from './pooling.ts';

const builds = supportedBuilds();

function data(length: number, signed: boolean): Uint8Array | Int8Array {
  const bytes = Uint8Array.from({ length }, (_, i) => Math.imul(i + 77, 2654435761) >>> 11);
  return signed ? new Int8Array(bytes.buffer) : bytes;
}

function geometry(
  inputSize: number[],
  kernel: number,
  stride: number,
  padding: number,
  dilation = 1,
): ConvGeometry {
  const both = (v: number): number[] => [v, v];
  return convGeometry({
    batch: 2,
    inputSize,
    kernel: both(kernel),
    stride: both(stride),
    padding: both(padding),
    dilation: both(dilation),
  });
}

const ceil = { ...geometry([8, 7], 3, 2, 0), outputSize: [4, 3] };
const geometries = [
  geometry([6, 5], 2, 2, 0),
  geometry([9, 8], 3, 2, 1),
  geometry([7, 7], 7, 1, 3),
  geometry([5, 6], 5, 1, 0),
  ceil,
  { ...ceil, inputSize: [8, 8], padding: [1, 1], outputSize: [5, 5] },
];
const channelCounts = [1, 3, 8, 15, 16, 17, 40];

describe.each(builds)('int8 pooling (%s)', (build) => {
  const engine = createEngine(build);

  describe.each([false, true])('signed: %s', (signed) => {
    const [min, max] = signed ? [-128, 127] : [0, 255];

    it('takes maxima', () => {
      for (const g of [...geometries, geometry([9, 9], 3, 1, 1, 2), geometry([11, 9], 3, 2, 1, 3)]) {
        for (const channels of channelCounts) {
          const x = data(2 * g.inputSize[0] * g.inputSize[1] * channels, signed);
          expect(Array.from(qMaxPool2d(x, channels, g, engine))).toEqual(referenceMaxPool(x, channels, g));
        }
      }
    });

    it('averages', () => {
      for (const g of geometries) {
        for (const channels of channelCounts) {
          const x = data(2 * g.inputSize[0] * g.inputSize[1] * channels, signed);
          for (const countIncludePad of [true, false]) {
            const options = { zeroPoint: min + 60, countIncludePad, engine };
            expect(Array.from(qAvgPool2d(x, channels, g, options))).toEqual(
              referenceAvgPool(x, channels, g, { ...options, min, max }),
            );
          }
        }
      }
    });

    it('averages over all pixels', () => {
      for (const channels of channelCounts) {
        const inputSize = [7, 5] as const;
        const whole = { ...geometry([7, 7], 7, 1, 0), inputSize, kernel: inputSize, outputSize: [1, 1] };
        const x = data(2 * 35 * channels, signed);
        const options = { zeroPoint: max - 9, countIncludePad: false, min, max };
        expect(
          Array.from(
            qAdaptiveAvgPool2d(x, {
              batch: 2,
              inputSize,
              outputSize: [1, 1],
              channels,
              zeroPoint: max - 9,
              engine,
            }),
          ),
        ).toEqual(referenceAvgPool(x, channels, whole, options));
      }
    });
  });

  it('averages overlapping adaptive windows', () => {
    const x = Uint8Array.of(10, 20, 30, 40, 50);
    const y = qAdaptiveAvgPool2d(x, {
      batch: 1,
      inputSize: [1, 5],
      outputSize: [1, 3],
      channels: 1,
      zeroPoint: 0,
      engine,
    });
    expect(Array.from(y)).toEqual([15, 30, 45]);
  });

  it('rejects windows inside of the padding, and wrong lengths', () => {
    const g = geometry([4, 4], 1, 1, 1);
    expect(() => qMaxPool2d(new Uint8Array(32), 1, g, engine)).toThrow(ShapeError);
    expect(() => qMaxPool2d(new Uint8Array(31), 1, geometry([4, 4], 2, 2, 0), engine)).toThrow(/32 elements/);
    expect(engine.memory().scratchBytes).toBe(0);
  });
});
