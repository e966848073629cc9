import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ArgumentError } from '../../src/core/errors.ts';
import { clampNumber, product, roundHalfEven } from '../../src/core/math.ts';
import { defaultGenerator, Generator, manualSeed } from '../../src/core/random.ts';
import { formatBytes, formatTable } from '../../src/core/table.ts';

describe('small mathematics', () => {
  test('rounding goes to the nearest, halves to the even number', () => {
    expect([0.5, 1.5, 2.5, -0.5, -1.5, -2.5].map(roundHalfEven)).toEqual(
      [0, 2, 2, -0, -2, -2].map((v) => v + 0),
    );
    fc.assert(
      fc.property(fc.double({ min: -(2 ** 51) + 1, max: 2 ** 51 - 1, noNaN: true }), (x) => {
        const r = roundHalfEven(x);
        expect(Number.isInteger(r)).toBe(true);
        expect(Math.abs(r - x)).toBeLessThanOrEqual(0.5);
        if (Math.abs(r - x) === 0.5) expect(Math.abs(r % 2)).toBe(0);
      }),
      { seed: 1, numRuns: 2000 },
    );
    for (const x of [2 ** 52 + 1, -(2 ** 53), Infinity, -Infinity]) expect(roundHalfEven(x)).toBe(x);
    expect(roundHalfEven(Number.NaN)).toBeNaN();
  });

  test('products and clamps', () => {
    expect([product([]), product([2, 3]), product([4, 0])]).toEqual([1, 6, 0]);
    expect([clampNumber(5, 0, 3), clampNumber(-5, 0, 3), clampNumber(2, 0, 3)]).toEqual([3, 0, 2]);
    expect(clampNumber(Number.NaN, 0, 3)).toBeNaN();
  });
});

describe('Generator', () => {
  test('words are those of the Mersenne Twister', () => {
    // The 10,000th output for the seed 5489: ISO C++ [rand.predef].
    const g = new Generator(5489);
    let word = 0;
    for (let i = 0; i < 10_000; i++) word = g.random32();
    expect(word).toBe(4123659995);
  });

  test('seeds restart the stream, a waiting normal number included', () => {
    const g = new Generator(1);
    const first = [g.normal(), g.normal(), g.normal()];
    g.manualSeed(1);
    expect([g.normal(), g.normal(), g.normal()]).toEqual(first);
    expect(g.initialSeed()).toBe(1);
    expect(manualSeed(3)).toBe(defaultGenerator);
    for (const seed of [-1, 0.5, Number.NaN, 2 ** 53])
      expect(() => new Generator(seed)).toThrow(ArgumentError);
  });

  test('a permutation holds every number once', () => {
    const order = new Generator(2).permutation(257);
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 257 }, (_, i) => i));
  });
});

describe('tables', () => {
  test('columns are as wide as their widest cell', () => {
    const text = formatTable(
      [{ title: 'model' }, { title: 'bytes', align: 'right' }],
      [
        ['float', '1,024'],
        ['int8 static', '7'],
      ],
    );
    expect(text.split('\n')).toEqual([
      'model        bytes',
      '───────────  ─────',
      'float        1,024',
      'int8 static      7',
    ]);
  });

  test('byte counts', () => {
    expect([0, 999, 1000, 999_949, 1_030_000].map(formatBytes)).toEqual([
      '0 B',
      '999 B',
      '1.0 kB',
      '999.9 kB',
      '1.03 MB',
    ]);
  });
});
