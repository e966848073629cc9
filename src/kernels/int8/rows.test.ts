import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { roundHalfEven } from '../../core/math.ts';
import { createEngine, supportedBuilds } from '../engine.ts';
import { referenceQuantizePlanes, referenceStageLines } from '../reference/int8_rows.ts';

const builds = supportedBuilds();

/** What surrounds results in memory, and must still be there afterwards. */
const GUARD = 0xa5;

describe.each(builds)('rows of bytes (%s)', (build) => {
  const engine = createEngine(build);
  const { kernels } = engine;

  /** Runs a kernel on memory for `outBytes` between guards, in two ranges of units, and takes the result out. */
  function run(
    input: Uint8Array,
    outBytes: number,
    units: number,
    cut: number,
    kernel: (begin: number, end: number, from: number, to: number, take: (n: number) => number) => void,
  ): Uint8Array {
    return engine.scratch((take) => {
      const from = take(input.length + 64);
      const to = take(outBytes + 128) + 64;
      engine.heap.u8.set(input, from);
      engine.heap.u8.fill(GUARD, to - 64, to + outBytes + 64);
      kernel(0, cut, from, to, take);
      kernel(cut, units, from, to, take);
      const around = [
        ...engine.heap.u8.slice(to - 64, to),
        ...engine.heap.u8.slice(to + outBytes, to + outBytes + 64),
      ];
      expect(around.filter((byte) => byte !== GUARD)).toEqual([]);
      return engine.heap.u8.slice(to, to + outBytes);
    });
  }

  const bytes = (length: number, seed: number): Uint8Array =>
    Uint8Array.from({ length }, (_, i) => Math.imul(i + seed, 2654435761) >>> 13);
  const rowCases = fc.record({
    rows: fc.integer({ min: 0, max: 9 }),
    width: fc.integer({ min: 1, max: 70 }),
    gap: fc.integer({ min: 0, max: 20 }),
    outGap: fc.integer({ min: 0, max: 20 }),
    cut: fc.double({ min: 0, max: 1, noNaN: true }),
    seed: fc.nat(1000),
  });

  it('copies, looks up and requantizes rows with gaps, which stay as they are', () => {
    fc.assert(
      fc.property(rowCases, ({ rows, width, gap, outGap, cut, seed }) => {
        const stride = width + gap;
        const outStride = width + outGap;
        const x = bytes(rows * stride, seed);
        const table = bytes(256, seed + 7);
        const at = Math.floor(rows * cut);
        const expected = (f: (v: number) => number): Uint8Array => {
          const out = new Uint8Array(rows * outStride).fill(GUARD);
          for (let r = 0; r < rows; r++)
            for (let i = 0; i < width; i++) out[r * outStride + i] = f(x[r * stride + i]);
          return out;
        };
        const copied = run(x, rows * outStride, rows, at, (begin, end, from, to) =>
          kernels.u8_copy_rows(begin, end, from, stride, width, to, outStride),
        );
        expect(copied).toEqual(expected((v) => v));
        const found = run(x, rows * outStride, rows, at, (begin, end, from, to, take) => {
          const entries = take(256);
          engine.heap.u8.set(table, entries);
          kernels.u8_lookup_rows(begin, end, from, stride, width, entries, to, outStride);
        });
        expect(found).toEqual(expected((v) => table[v]));
        const multiplier = Math.fround([0.37, 1, 0.5, 119][seed % 4]);
        const [zero, zeroPoint] = [table[0], table[1]];
        const moved = run(x, rows * outStride, rows, at, (begin, end, from, to) =>
          kernels.qu8_requantize_rows(
            begin,
            end,
            from,
            stride,
            width,
            zero,
            multiplier,
            zeroPoint,
            to,
            outStride,
          ),
        );
        expect(moved).toEqual(
          expected((v) => {
            const q = roundHalfEven(Math.fround((v - zero) * multiplier)) + zeroPoint;
            return Math.min(Math.max(q, 0), 255);
          }),
        );
      }),
      { numRuns: 150 },
    );
  });

  it('puts margins around lines', () => {
    fc.assert(
      fc.property(rowCases, ({ rows, width, gap: left, outGap: right, cut, seed }) => {
        const x = bytes(rows * width, seed);
        const outLine = left + width + right;
        const got = run(x, rows * outLine, rows, Math.floor(rows * cut), (begin, end, from, to) =>
          kernels.u8_stage_lines(begin, end, from, width, to, outLine, left, 77),
        );
        expect(got).toEqual(referenceStageLines(x, width, outLine, left, 77));
      }),
      { numRuns: 150 },
    );
  });

  it('quantizes planes to channels-last lines with margins', () => {
    const cases = fc.record({
      images: fc.integer({ min: 1, max: 3 }),
      channels: fc.constantFrom(1, 2, 3, 4, 5, 17),
      lines: fc.integer({ min: 1, max: 5 }),
      width: fc.integer({ min: 1, max: 50 }),
      left: fc.integer({ min: 0, max: 3 }),
      right: fc.integer({ min: 0, max: 3 }),
      zeroPoint: fc.constantFrom(0, 3, 128, 255),
      cut: fc.double({ min: 0, max: 1, noNaN: true }),
      seed: fc.nat(1000),
    });
    fc.assert(
      fc.property(cases, ({ left, right, zeroPoint, cut, seed, ...sizes }) => {
        const { images, channels, lines, width } = sizes;
        const special = [
          Number.NaN,
          Number.POSITIVE_INFINITY,
          Number.NEGATIVE_INFINITY,
          1e30,
          -1e30,
          0.5,
          1.5,
        ];
        const x = Float32Array.from({ length: images * channels * lines * width }, (_, i) =>
          i % 13 === 5 ? special[i % special.length] : Math.sin(i + seed) * 150,
        );
        const scale = 0.7;
        const outLine = (left + width + right) * channels;
        const plane = 4 * lines * width;
        const got = run(
          new Uint8Array(x.buffer),
          images * lines * outLine,
          images * lines,
          Math.floor(images * lines * cut),
          (begin, end, from, to) =>
            kernels.qu8_quantize_planes(
              begin,
              end,
              from,
              channels * plane,
              plane,
              lines,
              channels,
              width,
              Math.fround(1 / Math.fround(scale)),
              zeroPoint,
              0,
              255,
              to,
              outLine,
              left * channels,
            ),
        );
        const margins = { outLine, left: left * channels };
        expect(got).toEqual(referenceQuantizePlanes(x, sizes, scale, zeroPoint, margins));
      }),
      { numRuns: 150 },
    );
  });
});
