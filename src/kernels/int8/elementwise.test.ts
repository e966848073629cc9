import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createEngine, supportedBuilds } from '../engine.ts';
import { linearGeometry } from '../geometry.ts';
import { referenceConvFloat } from '../reference/int8_conv.ts';
import {
  referenceAdd,
  referenceDequantize,
  referenceMinMax,
  referenceQuantize,
} from '../reference/int8_elementwise.ts';
import { qConvFloat } from './conv.ts';
import { buildLookupTable, qAdd, qClamp, qLookup } from './elementwise.ts';
import { qLinearDynamic } from './linear-dynamic.ts';
import { packConvWeights } from './pack.ts';
import { chooseQuantizationParams } from './qparams.ts';
import { dequantize, minMax, quantize } from './quantize.ts';

const builds = supportedBuilds();
const lengths = [0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 31, 33, 100, 1000];

const bytes = (length: number, seed: number, signed: boolean): Uint8Array | Int8Array => {
  const data = Uint8Array.from({ length }, (_, i) => Math.imul(i + seed, 2654435761) >>> 13);
  return signed ? new Int8Array(data.buffer) : data;
};

describe.each(builds)('element-wise int8 (%s)', (build) => {
  const engine = createEngine(build);

  it('quantizes like the reference, with special values, ties and both types', () => {
    const special = [
      0,
      -0,
      0.25,
      0.5,
      1.5,
      2.5,
      -0.5,
      -1.5,
      1e30,
      -1e30,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      Number.NaN,
      2 ** 22,
      -(2 ** 22),
      2 ** 23,
      -12582912,
      127.5,
      255.5,
      -128.5,
    ];
    const random = Array.from({ length: 1000 }, (_, i) => Math.sin(i) * 400);
    for (const scale of [1, 0.5, 0.037, 1e-10, 1e10]) {
      for (const zeroPoint of [-128, -7, 0, 3, 127, 128, 255]) {
        for (const length of [...lengths, special.length]) {
          const x = Float32Array.from([...special, ...random].slice(0, length));
          if (zeroPoint >= 0) {
            const got = quantize(x, 'u8', { scale, zeroPoint, engine });
            expect(Array.from(got)).toEqual(referenceQuantize(x, scale, zeroPoint, 0, 255));
          }
          if (zeroPoint <= 127) {
            const got = quantize(x, 'i8', { scale, zeroPoint, min: -127, engine });
            expect(Array.from(got)).toEqual(referenceQuantize(x, scale, zeroPoint, -127, 127));
          }
        }
      }
    }
  });

  it('quantizes to int32 with saturation', () => {
    const x = Float32Array.of(0.5, 1.5, -2.5, 3e9, -3e9, Number.NaN, Number.POSITIVE_INFINITY, 1e6);
    const got = quantize(x, 'i32', { scale: 1, zeroPoint: 0, engine });
    expect(Array.from(got)).toEqual([0, 2, -2, 2147483647, -2147483648, -2147483648, 2147483647, 1000000]);
  });

  it.each([false, true])('dequantizes (signed: %s)', (signed) => {
    for (const length of lengths) {
      const q = bytes(length, 5, signed);
      for (const zeroPoint of signed ? [-128, 0, 127] : [0, 77, 255]) {
        expect(dequantize(q, { scale: 0.0317, zeroPoint, engine })).toEqual(
          referenceDequantize(q, 0.0317, zeroPoint),
        );
      }
    }
    expect(dequantize(Int32Array.of(-5, 7), { scale: 0.5, zeroPoint: 1, engine })).toEqual(
      Float32Array.of(-3, 3),
    );
  });

  it('passes every byte through dequantize and quantize unchanged', () => {
    const q = Uint8Array.from({ length: 256 }, (_, i) => i);
    const options = { scale: 0.0123, zeroPoint: 99, engine };
    expect(quantize(dequantize(q, options), 'u8', options)).toEqual(q);
  });

  it('finds minimum and maximum, over chunks and with NaN', () => {
    for (const length of lengths.slice(1)) {
      for (let at = 0; at < length; at = 2 * at + 1) {
        const x = Float32Array.from({ length }, (_, i) => Math.cos(i));
        x[at] = 5;
        x[length - 1 - at] = -5;
        expect(minMax(x, engine)).toEqual(referenceMinMax(x));
        x[at] = Number.NaN;
        expect(minMax(x, engine)).toEqual({ min: Number.NaN, max: Number.NaN });
      }
    }
    const long = new Float32Array(300_000).fill(1);
    long[299_999] = -2;
    long[3] = 9;
    expect(minMax(long, engine)).toEqual({ min: -2, max: 9 });
    expect(() => minMax(new Float32Array(0), engine)).toThrow(/at least one/);
  });

  it.each([false, true])('adds (signed: %s)', (signed) => {
    const [min, max] = signed ? [-128, 127] : [0, 255];
    for (const length of [...lengths, 65536]) {
      const a = length === 65536 ? allPairs(signed, 0) : bytes(length, 3, signed);
      const b = length === 65536 ? allPairs(signed, 1) : bytes(length, 11, signed);
      for (const [sa, sb, so] of [
        [0.1, 0.1, 0.2],
        [0.013, 0.4, 0.25],
        [1e-3, 3, 0.01],
      ]) {
        for (const zeroPoint of [min, 5, max]) {
          const options = {
            a: { scale: sa, zeroPoint: 3 },
            b: { scale: sb, zeroPoint: max },
            output: { scale: so, zeroPoint },
            min: zeroPoint === 5 ? 5 : min,
            max,
            engine,
          };
          expect(Array.from(qAdd(a, b, options))).toEqual(referenceAdd(a, b, options));
        }
      }
    }
  });

  it.each([false, true])('clamps and looks up (signed: %s)', (signed) => {
    const table = signed
      ? buildLookupTable(Math.tanh, { scale: 0.04, zeroPoint: 5 }, { scale: 1 / 128, zeroPoint: 0 }, true)
      : buildLookupTable(
          Math.tanh,
          { scale: 0.04, zeroPoint: 133 },
          { scale: 1 / 128, zeroPoint: 128 },
          false,
        );
    for (const length of lengths) {
      const x = bytes(length, 1, signed);
      expect(Array.from(qClamp(x, 10, 100, engine))).toEqual(
        Array.from(x, (v) => Math.min(Math.max(v, 10), 100)),
      );
      expect(Array.from(qLookup(x, table, engine))).toEqual(
        Array.from(x, (v) => table[signed ? v + 128 : v]),
      );
    }
  });

  it('multiplies dynamically quantized rows like quantize, product and bias by hand', () => {
    for (const [rows, k, n] of [
      [1, 17, 9],
      [5, 64, 24],
      [13, 30, 3],
    ]) {
      const weight = bytes(n * k, 7, true) as Int8Array;
      const weightScales = Float32Array.from({ length: n }, (_, c) => 0.01 + c / 1000);
      const bias = Float32Array.from({ length: n }, (_, c) => c - 2);
      const weightZeroPoints = new Int32Array(n);
      using packed = packConvWeights({
        weight,
        outChannels: n,
        taps: 1,
        inChannelsPerGroup: k,
        groups: 1,
        weightZeroPoints,
        engine,
      });
      packed.setDynamicQuantization(bias, weightScales);
      for (const [offset, reduceRange] of [
        [0, false],
        [3, true],
        [-9, false],
      ] as const) {
        const x = Float32Array.from({ length: rows * k }, (_, i) => Math.sin(i * 1.7) * 3 + offset);
        const range = referenceMinMax(x);
        const { scale, zeroPoint } = chooseQuantizationParams(range.min, range.max, { reduceRange });
        const input = Uint8Array.from(referenceQuantize(x, scale, zeroPoint, 0, 255));
        const expected = referenceConvFloat({
          input,
          weight,
          outChannels: n,
          inChannelsPerGroup: k,
          groups: 1,
          geometry: linearGeometry(rows),
          bias,
          inputScale: scale,
          inputZeroPoint: zeroPoint,
          weightScales,
          weightZeroPoints,
        });
        expect(qLinearDynamic(packed, x, { reduceRange })).toEqual(expected);
        const relu = qLinearDynamic(packed, x, { reduceRange, relu: true });
        expect(Array.from(relu)).toEqual(Array.from(expected, (v) => Math.max(v, 0)));
      }
      expect(() => qLinearDynamic(packed, new Float32Array(k).fill(Number.NaN))).toThrow(/NaN/);
      // The same array with other numbers counts as new; a static use in between does not disturb.
      const x = Float32Array.from({ length: rows * k }, (_, i) => Math.cos(i));
      const before = qLinearDynamic(packed, x);
      packed.setQuantization({ bias: null, inputScale: 3, inputZeroPoint: 8, weightScales, output: null });
      qConvFloat(packed, new Uint8Array(rows * k), linearGeometry(rows));
      bias.fill(1000);
      packed.setDynamicQuantization(bias, weightScales);
      const after = qLinearDynamic(packed, x);
      after.forEach((v, i) => void expect(v).toBeCloseTo(before[i] - ((i % n) - 2) + 1000, 2));
    }
    expect(engine.memory()).toMatchObject({ packedBytes: 0, packedCount: 0, scratchBytes: 0 });
  });
});

/** All 65536 pairs of bytes, one side of each. */
function allPairs(signed: boolean, side: 0 | 1): Uint8Array | Int8Array {
  const data = Uint8Array.from({ length: 65536 }, (_, i) => (side ? i & 255 : i >> 8));
  return signed ? new Int8Array(data.buffer) : data;
}

describe('chooseQuantizationParams', () => {
  it('represents zero exactly, and the range within half a step', () => {
    const value = fc.float({ min: -1e6, max: 1e6, noNaN: true });
    fc.assert(
      fc.property(value, value, fc.boolean(), (a, b, reduceRange) => {
        const min = Math.min(a, b);
        const max = Math.max(a, b);
        const { scale, zeroPoint } = chooseQuantizationParams(min, max, { reduceRange });
        const qmax = reduceRange ? 127 : 255;
        expect(Number.isInteger(zeroPoint) && zeroPoint >= 0 && zeroPoint <= qmax).toBe(true);
        expect((0 - zeroPoint) * scale).toBeLessThanOrEqual(Math.min(min, 0) + scale * 0.5001);
        expect((qmax - zeroPoint) * scale).toBeGreaterThanOrEqual(Math.max(max, 0) - scale * 0.5001);
      }),
    );
  });

  it('survives degenerate ranges', () => {
    expect(chooseQuantizationParams(0, 0)).toEqual({ scale: 0.1, zeroPoint: 0 });
    expect(chooseQuantizationParams(0, 1e-7).scale).toBe(Math.fround(6.1e-5));
    expect(() => chooseQuantizationParams(1, 0)).toThrow(/min <= max/);
    expect(() => chooseQuantizationParams(0, Number.POSITIVE_INFINITY)).toThrow(/finite/);
  });
});
