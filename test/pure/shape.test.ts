import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ArgumentError, ShapeError } from '../../src/core/errors.ts';
import { product } from '../../src/core/math.ts';
import {
  broadcastShapes,
  broadcastStrides,
  channelsLastStrides,
  contiguousStrides,
  hasStrides,
  normalizeDim,
  normalizeDims,
  resolveShape,
  viewStrides,
} from '../../src/tensor/shape.ts';
import { copyStrided, Tensor } from '../../src/tensor/tensor.ts';

/** A tensor whose memory order is any permutation of its dimensions, with gaps and repeats. */
const strided = fc
  .array(fc.record({ size: fc.integer({ min: 1, max: 4 }), rank: fc.double({ noNaN: true }) }), {
    maxLength: 5,
  })
  .chain((dims) =>
    fc.record({
      dims: fc.constant(dims),
      offset: fc.integer({ min: 0, max: 3 }),
      gap: fc.constantFrom(1, 1, 2, 3),
      expanded: fc.constantFrom(-1, -1, 0, 1),
    }),
  )
  .map(({ dims, offset, gap, expanded }) => {
    const shape = dims.map((d) => d.size);
    const strides = new Array<number>(dims.length);
    let step = gap;
    for (const d of dims.map((_, i) => i).sort((a, b) => dims[a].rank - dims[b].rank)) {
      strides[d] = step;
      step *= shape[d];
    }
    if (expanded >= 0 && expanded < dims.length) strides[expanded] = 0;
    const storage = Float64Array.from({ length: offset + step }, (_, i) => i);
    return new Tensor({ storage, shape, strides, offset, dtype: 'float64' });
  });

/** Another shape of as many elements: its prime factors dealt out anew, with ones in between. */
const reshaping = strided.chain((x) =>
  fc.array(fc.nat(4), { minLength: 20, maxLength: 20 }).chain((deal) =>
    fc.integer({ min: 1, max: 5 }).map((rank) => {
      const to = new Array<number>(rank).fill(1);
      factors(x.numel).forEach((f, i) => {
        to[deal[i] % rank] *= f;
      });
      return { x, to };
    }),
  ),
);

function factors(n: number): number[] {
  const out: number[] = [];
  for (let p = 2; n > 1; p++) for (; n % p === 0; n /= p) out.push(p);
  return out;
}

/** Element by element through shape and strides: slow and plain. */
function read(x: Tensor): number[] {
  const out: number[] = [];
  const walk = (d: number, at: number): void => {
    if (d === x.ndim) out.push(x.storage[at]);
    else for (let i = 0; i < x.shape[d]; i++) walk(d + 1, at + i * x.strides[d]);
  };
  walk(0, x.offset);
  return out;
}

describe('viewStrides', () => {
  test('reads the same elements in the same order as a reshaped copy', () => {
    let views = 0;
    fc.assert(
      fc.property(reshaping, ({ x, to }) => {
        const strides = viewStrides(x.shape, x.strides, to);
        if (!strides) return;
        views++;
        const view = new Tensor({ storage: x.storage, shape: to, strides, offset: x.offset, dtype: x.dtype });
        expect(read(view)).toEqual(read(x));
      }),
      { numRuns: 3000, seed: 1 },
    );
    expect(views).toBeGreaterThan(500);
  });

  test('gives up only where no strides can do it', () => {
    fc.assert(
      fc.property(reshaping, ({ x, to }) => {
        if (viewStrides(x.shape, x.strides, to)) return;
        // Were there strides, a step along one dimension of `to` would move by the same distance everywhere.
        const elements = read(x);
        const steps = contiguousStrides(to);
        const uniform = to.every((size, d) => {
          const moves = new Set<number>();
          for (let i = 0; i < elements.length; i++)
            if (Math.floor(i / steps[d]) % size < size - 1) moves.add(elements[i + steps[d]] - elements[i]);
          return moves.size <= 1;
        });
        expect(uniform).toBe(false);
      }),
      { numRuns: 3000, seed: 2 },
    );
  });

  test('keeps a channels-last tensor where dimensions merge within it', () => {
    const shape = [2, 3, 4, 5];
    const strides = channelsLastStrides(shape);
    expect(viewStrides(shape, strides, [2, 3, 20])).toEqual([60, 1, 3]);
    expect(viewStrides(shape, strides, [2, 60])).toBeNull();
  });

  test('handles empty tensors and scalars', () => {
    expect(viewStrides([0, 3], [3, 1], [3, 0])).toEqual(contiguousStrides([3, 0]));
    expect(viewStrides([], [], [1, 1])).toEqual([1, 1]);
    expect(viewStrides([1, 1], [7, 9], [])).toEqual([]);
  });
});

describe('strides', () => {
  test('gather and copyStrided move elements to any dense layout and back', () => {
    fc.assert(
      fc.property(strided, (x) => {
        const order = contiguousStrides(x.shape);
        expect([...x.layOut(order)]).toEqual(read(x));
        expect([...x.data]).toEqual(read(x));
        const reversed = [...contiguousStrides([...x.shape].reverse())].reverse();
        const back = new Float64Array(x.numel);
        copyStrided(x.layOut(reversed), 0, reversed, back, 0, order, x.shape);
        expect([...back]).toEqual(read(x));
      }),
      { numRuns: 1000, seed: 3 },
    );
  });

  test('broadcast strides repeat along the new and the unit dimensions', () => {
    const x = new Tensor({ storage: Float32Array.of(1, 2), shape: [2, 1], dtype: 'float32' });
    const strides = broadcastStrides(x.shape, x.strides, [3, 2, 2]);
    const wide = new Tensor({ storage: x.storage, shape: [3, 2, 2], strides, dtype: 'float32' });
    expect(read(wide)).toEqual([1, 1, 2, 2, 1, 1, 2, 2, 1, 1, 2, 2]);
  });

  test('contiguity ignores dimensions of one element', () => {
    expect(hasStrides([1, 3, 1], [99, 1, 42], contiguousStrides([1, 3, 1]))).toBe(true);
    expect(hasStrides([2, 3], [1, 2], contiguousStrides([2, 3]))).toBe(false);
    const x = new Tensor({ storage: new Float32Array(12), shape: [1, 3, 2, 2], dtype: 'float32' });
    expect(x.isContiguous()).toBe(true);
    expect(x.isContiguous('channelsLast')).toBe(false);
  });
});

describe('shapes', () => {
  test('broadcast', () => {
    expect(broadcastShapes([3, 1], [4], 'add')).toEqual([3, 4]);
    expect(broadcastShapes([], [2, 0], 'add')).toEqual([2, 0]);
    expect(broadcastShapes([1], [0], 'add')).toEqual([0]);
    expect(() => broadcastShapes([2, 3], [4], 'add')).toThrow(
      new ShapeError({
        fn: 'add',
        argument: 'shapes',
        expected: 'sizes that are equal or 1 in every dimension, counted from the last',
        got: '[2, 3] and [4]',
        fix: 'They differ in dimension -1.',
      }),
    );
  });

  test('a -1 is filled in', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 }),
        fc.nat(3),
        (s, at) => {
          const holed = s.map((size, d) => (d === at % s.length ? -1 : size));
          expect(resolveShape(holed, product(s), 'view')).toEqual(s);
        },
      ),
    );
    expect(resolveShape([-1], 0, 'view')).toEqual([0]);
    for (const [shape, n] of [
      [[2, 3], 7],
      [[-1, -1], 4],
      [[-1, 3], 4],
      [[-1, 0], 0],
      [[-2], 2],
      [[1.5, 2], 3],
    ] as const)
      expect(() => resolveShape(shape, n, 'view'), `${shape}`).toThrow(ShapeError);
  });

  test('dimensions count from both ends', () => {
    expect(normalizeDim(-1, 3, 'sum')).toBe(2);
    expect(normalizeDim(-1, 0, 'sum')).toBe(0);
    for (const [dim, rank] of [
      [3, 3],
      [-4, 3],
      [0.5, 3],
      [1, 0],
      [Number.NaN, 2],
    ])
      expect(() => normalizeDim(dim, rank, 'sum')).toThrow(ArgumentError);
    expect(normalizeDims(undefined, 3, 'sum')).toEqual([0, 1, 2]);
    expect(normalizeDims([-1, 0], 3, 'sum')).toEqual([0, 2]);
    expect(() => normalizeDims([0, -3], 3, 'sum')).toThrow(/each dimension once/);
  });
});
