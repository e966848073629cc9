import { describe, expect, test } from 'vitest';
import { createEngine, supportedBuilds } from '../engine.ts';
import { REFERENCE_MAP } from '../reference/f32-map.ts';
import { MAP_FUNCTIONS, type MapFunction, mapF32 } from './map.ts';

const builds = supportedBuilds();

/** Every magnitude from 1e-20 to 80, both signs, and numbers around the places where formulas change. */
const numbers = Float32Array.from([
  ...Array.from({ length: 4001 }, (_, i) => (i - 2000) / 150),
  ...Array.from({ length: 600 }, (_, i) => (i % 2 ? -1 : 1) * 10 ** (i / 20 - 20)).filter(
    (x) => Math.abs(x) < 80,
  ),
  ...[0.625, 0.35, 3, 6, 1, 0.5, 1.5, 2.5].flatMap((x) => [x, -x, x * (1 + 1e-6), -x * (1 - 1e-6)]),
]);

/** How far a result may be off: so many parts of itself (and of 1e-30). */
const PARTS: Partial<Record<MapFunction, number>> = {
  geluTanh: 3e-5,
  sigmoid: 3e-7,
  tanh: 3e-7,
  silu: 4e-7,
  elu: 5e-7,
  exp: 4e-7,
  log: 3e-7,
  log1p: 3e-7,
  expm1: 5e-7,
  softplus: 5e-6,
};

/** The same in parts of the argument, where the result is a share of it that cancels: PyTorch’s own gelu has 2.7e-7. */
const PARTS_OF_ARGUMENT: Partial<Record<MapFunction, number>> = { gelu: 2.7e-7 };

describe.each(builds)('functions of one float (%s)', (build) => {
  const engine = createEngine(build);

  test.each(MAP_FUNCTIONS)('%s', (fn) => {
    const [p, q] = fn === 'clamp' ? [-0.7, 2.5] : fn === 'softplus' ? [1.5, 20] : [0.3, 0];
    const positive = fn === 'sqrt' || fn === 'rsqrt' || fn === 'log';
    const x = positive
      ? numbers.map(Math.abs).filter((v) => v > 0)
      : fn === 'log1p'
        ? numbers.filter((v) => v > -1)
        : numbers;
    const got = mapF32(x, fn, { p, q, engine });
    const ofArgument = PARTS_OF_ARGUMENT[fn];
    let worst = 0;
    for (let i = 0; i < x.length; i++) {
      const want = REFERENCE_MAP[fn](x[i], Math.fround(p), Math.fround(q));
      if (Object.is(Math.fround(want), got[i])) continue;
      const size = Math.abs(ofArgument ? x[i] : want) + 1e-30;
      worst = Math.max(worst, Math.abs(got[i] - want) / size);
    }
    expect(worst).toBeLessThanOrEqual(ofArgument ?? PARTS[fn] ?? 2e-7);
  });

  test('infinities and what is no number', () => {
    const at = (fn: MapFunction, x: number, p = 0, q = 0): number =>
      mapF32(Float32Array.of(x), fn, { p, q, engine })[0];
    for (const fn of ['gelu', 'geluTanh', 'silu'] as const) expect(at(fn, Infinity)).toBe(Infinity);
    for (const fn of ['gelu', 'geluTanh'] as const) expect(Math.abs(at(fn, -Infinity))).toBe(0);
    expect([at('sigmoid', -Infinity), at('sigmoid', Infinity)]).toEqual([0, 1]);
    expect([at('tanh', -Infinity), at('tanh', Infinity)]).toEqual([-1, 1]);
    expect([at('exp', -Infinity), at('exp', Infinity)]).toEqual([0, Infinity]);
    expect([at('elu', -Infinity, 2), at('elu', Infinity, 2)]).toEqual([-2, Infinity]);
    expect([at('clamp', -Infinity, -1, 1), at('clamp', Infinity, -1, 1)]).toEqual([-1, 1]);
    expect([at('hardswish', Infinity), at('hardsigmoid', -Infinity)]).toEqual([Infinity, 0]);
    expect([at('log', 0), at('log', -0), at('log', Infinity)]).toEqual([-Infinity, -Infinity, Infinity]);
    expect(at('log', -1)).toBeNaN();
    expect(at('log', 1e-40)).toBeCloseTo(Math.log(1e-40), 4);
    expect([at('log1p', -1), at('log1p', Infinity)]).toEqual([-Infinity, Infinity]);
    expect([at('softplus', -Infinity, 1, 20), at('softplus', Infinity, 1, 20)]).toEqual([0, Infinity]);
    for (const fn of MAP_FUNCTIONS) expect(at(fn, Number.NaN, -1, 1)).toBeNaN();
    expect(Object.is(at('clamp', -0, 0, Infinity), -0)).toBe(true);
  });

  test('any length, in place too', () => {
    for (const n of [0, 1, 2, 3, 4, 5, 7, 8, 63, 16 * 1024 + 3]) {
      const x = Float32Array.from({ length: n }, (_, i) => i - n / 2);
      const y = x.slice();
      mapF32(y, 'neg', { out: y, engine });
      expect(y).toEqual(x.map((v) => -v));
    }
  });
});
