import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectClose, randomFloats } from '../../../test/support/floats.ts';
import { ArgumentError, KernelError, ShapeError } from '../../core/errors.ts';
import { createEngine, supportedBuilds } from '../engine.ts';
import { referenceGemmF32 } from '../reference/f32.ts';
import { bmmF32, gemmF32, packF32Weights } from './gemm.ts';

const builds = supportedBuilds();

/** [m, n, k]: every row tail (6, 4, 2, 1) and column tail (1..8), and sizes past each blocking limit. */
const shapes: [number, number, number][] = [
  [1, 1, 1],
  ...Array.from({ length: 14 }, (_, i): [number, number, number] => [i + 1, ((i * 5) % 17) + 1, i + 3]),
  ...Array.from({ length: 9 }, (_, i): [number, number, number] => [7, i + 1, 13]),
  [1, 1000, 65],
  [64, 10, 64],
  [3, 5, 0],
  [97, 33, 513],
  [12, 40, 1100],
  [385, 17, 260],
  [5, 530, 300],
  [200, 300, 1030],
];

describe.each(builds)('float32 matrix product (%s)', (build) => {
  const engine = createEngine(build);

  it.each(shapes)('%i×%i, inner %i: all layouts, bias, clamp, accumulation, packed weights', (m, n, k) => {
    const a = randomFloats(1, m * k);
    const b = randomFloats(2, k * n);
    const bias = randomFloats(3, n);
    const initial = randomFloats(4, m * n);
    const clamp = { min: -0.5, max: 1.5 };
    // Clamping hides the size of the sums that were rounded, so that comparison cannot be relative to the result.
    const clampTolerance = 4e-6 * Math.max(1, Math.sqrt(k));
    const before = engine.memory();
    for (const transA of [false, true]) {
      for (const transB of [false, true]) {
        const call = { m, n, k, a, b, transA, transB };
        expectClose(gemmF32({ ...call, engine }), referenceGemmF32(call));
        expectClose(
          gemmF32({ ...call, bias, clamp, engine }),
          referenceGemmF32({ ...call, bias, clamp }),
          clampTolerance,
        );
        const out = initial.slice();
        expect(gemmF32({ ...call, out, accumulate: true, engine })).toBe(out);
        expectClose(out, referenceGemmF32({ ...call, initial }));
        using packed = packF32Weights({ weights: b, k, n, transposed: transB, engine });
        expectClose(gemmF32({ ...call, b: packed, bias }), referenceGemmF32({ ...call, bias }));
      }
    }
    expect({ ...engine.memory(), reservedBytes: 0 }).toEqual({ ...before, reservedBytes: 0 });
  });

  it.runIf(build === 'wide')(
    'gives the bits of the narrow build, with rows and columns on every side of a tile',
    () => {
      const narrow = createEngine('relaxed');
      const clamp = { min: -1, max: 2 };
      let compared = 0;
      for (const m of [1, 2, 3, 4, 5, 6, 7, 11, 13, 25, 125]) {
        for (const n of [1, 7, 8, 9, 12, 15, 16, 17, 24, 25, 31, 33, 40]) {
          for (const [k, transA] of [
            [37, false],
            [600, false],
            [37, true],
          ] as const) {
            const call = { m, n, k, a: randomFloats(m, m * k), b: randomFloats(n, k * n), transA, clamp };
            const out = randomFloats(5, m * n);
            const expected = gemmF32({ ...call, out: out.slice(), accumulate: true, engine: narrow });
            expect(gemmF32({ ...call, out, accumulate: true, engine })).toEqual(expected);
            compared += m * n;
          }
        }
      }
      console.log(`${compared} results compared with the narrow build's`);
    },
  );

  it('multiplies batches', () => {
    const [batch, m, n, k] = [3, 5, 7, 9];
    const a = randomFloats(1, batch * m * k);
    const b = randomFloats(2, batch * n * k);
    const got = bmmF32({ batch, m, n, k, a, b, transB: true, engine });
    for (let i = 0; i < batch; i++) {
      const expected = referenceGemmF32({
        m,
        n,
        k,
        a: a.subarray(i * m * k, (i + 1) * m * k),
        b: b.subarray(i * n * k, (i + 1) * n * k),
        transB: true,
      });
      expectClose(got.subarray(i * m * n, (i + 1) * m * n), expected);
    }
  });

  it('agrees with the reference on any small shape', () => {
    const size = fc.integer({ min: 0, max: 40 });
    fc.assert(
      fc.property(size, size, size, fc.boolean(), fc.boolean(), (m, n, k, transA, transB) => {
        const call = {
          m,
          n,
          k,
          a: randomFloats(m + 1, m * k),
          b: randomFloats(n + 2, k * n),
          transA,
          transB,
        };
        expectClose(gemmF32({ ...call, engine }), referenceGemmF32(call));
      }),
      { numRuns: 200 },
    );
  });

  it('carries infinities and NaN', () => {
    const got = gemmF32({
      m: 2,
      n: 2,
      k: 1,
      a: Float32Array.of(NaN, 1),
      b: Float32Array.of(Infinity, 2),
      clamp: { max: 1e30 },
      engine,
    });
    expect([...got]).toEqual([NaN, NaN, Math.fround(1e30), 2]);
  });

  it('counts packed weights, frees them once and refuses them afterwards', () => {
    const before = engine.memory();
    const packed = packF32Weights({ weights: randomFloats(1, 60), k: 6, n: 10, engine });
    expect(packed.bytes).toBe(2 * 6 * 32);
    expect(engine.memory().packedCount).toBe(before.packedCount + 1);
    packed.free();
    packed.free();
    expect(engine.memory().packedBytes).toBe(before.packedBytes);
    expect(() => gemmF32({ m: 1, n: 10, k: 6, a: new Float32Array(6), b: packed })).toThrow(KernelError);
  });

  it('names what does not fit', () => {
    const a = new Float32Array(6);
    expect(() => gemmF32({ m: 2, n: 2, k: 3, a, b: new Float32Array(5), engine })).toThrow(
      /gemmF32: b: expected 6 elements, got 5/,
    );
    expect(() => gemmF32({ m: 2.5, n: 2, k: 3, a, b: a, engine })).toThrow(ShapeError);
    expect(() => gemmF32({ m: 2, n: 2, k: 3, a, b: a, accumulate: true, engine })).toThrow(ArgumentError);
    using packed = packF32Weights({ weights: a, k: 3, n: 2, engine });
    expect(() => gemmF32({ m: 2, n: 3, k: 2, a: new Float32Array(4), b: packed })).toThrow(/3×2/);
  });
});
