import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import '../../src/autograd/index.ts';
import { ArgumentError, DTypeError, ShapeError } from '../../src/core/errors.ts';
import { Generator } from '../../src/core/random.ts';
import {
  allclose,
  amax,
  cat,
  dispatch,
  equal,
  expand,
  flatten,
  max,
  mean,
  pad,
  permute,
  split,
  stack,
  sum,
  topk,
  where,
} from '../../src/ops/index.ts';
import { arange, ones, randn, tensor, zeros } from '../../src/tensor/creation.ts';
import { broadcastShapes, contiguousStrides } from '../../src/tensor/shape.ts';
import { Tensor } from '../../src/tensor/tensor.ts';

/** Pairs of shapes that broadcast, and a memory order for each. */
const pairs = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 2 })), {
    minLength: 0,
    maxLength: 4,
  })
  .chain((dims) =>
    fc.record({
      a: fc.constant(dims.map(([size, kind]) => (kind === 1 ? 1 : size))),
      b: fc.constant(dims.map(([size, kind]) => (kind === 2 ? 1 : size))),
      drop: fc.integer({ min: 0, max: dims.length }),
      orderA: fc.shuffledSubarray(
        dims.map((_, d) => d),
        { minLength: dims.length },
      ),
      orderB: fc.shuffledSubarray(
        dims.map((_, d) => d),
        { minLength: dims.length },
      ),
    }),
  );

const generator = new Generator(1);

/** Random numbers whose memory nests the dimensions in `order`. */
function inOrder(shape: number[], order: number[]): Tensor {
  const memory = randn(
    order.map((d) => shape[d]),
    { generator },
  );
  return permute(
    memory,
    shape.map((_, d) => order.indexOf(d)),
  );
}

/** The element of a broadcast tensor at a place of the result, by definition. */
function valueAt(x: Tensor, place: number[]): number {
  const lead = place.length - x.ndim;
  const at = x.shape.reduce(
    (sum, size, d) => sum + (size === 1 ? 0 : place[lead + d]) * x.strides[d],
    x.offset,
  );
  return x.storage[at];
}

function places(shape: readonly number[]): number[][] {
  return shape.reduce<number[][]>(
    (all, size) => all.flatMap((p) => Array.from({ length: size }, (_, i) => [...p, i])),
    [[]],
  );
}

describe('broadcasting', () => {
  test('any two shapes and layouts give the element-by-element result', () => {
    fc.assert(
      fc.property(pairs, ({ a, b, drop, orderA, orderB }) => {
        const x = inOrder(a, orderA);
        const full = inOrder(b, orderB);
        // Leading ones may be left out.
        const lead = b.slice(0, drop).every((size) => size === 1) ? drop : 0;
        const y = full.view(b.slice(lead));
        const shape = broadcastShapes(a, b.slice(lead), 'test');
        const results = [
          [x.add(y), (p: number, q: number) => Math.fround(p + q)],
          [x.mul(y), (p: number, q: number) => Math.fround(p * q)],
          [x.div(y), (p: number, q: number) => Math.fround(p / q)],
          [x.lt(y), (p: number, q: number) => (p < q ? 1 : 0)],
          [where(x.lt(y), x, y), (p: number, q: number) => Math.min(p, q)],
        ] as const;
        for (const [got, expected] of results) {
          expect(got.shape).toEqual(shape);
          const values = got.data;
          places(shape).forEach((place, i) => {
            expect(values[i]).toBe(expected(valueAt(x, place), valueAt(y, place)));
          });
        }
      }),
      { numRuns: 300 },
    );
  });

  test('sums over any dimensions and layouts agree with adding one by one', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 4 }).chain((shape) =>
          fc.record({
            shape: fc.constant(shape),
            order: fc.shuffledSubarray(
              shape.map((_, d) => d),
              { minLength: shape.length },
            ),
            dims: fc.subarray(
              shape.map((_, d) => d),
              { minLength: 1 },
            ),
          }),
        ),
        ({ shape, order, dims }) => {
          const x = inOrder(shape, order);
          const got = sum(x, dims, { keepdim: true });
          const expected = new Float64Array(got.numel);
          const strides = contiguousStrides(got.shape);
          for (const place of places(shape)) {
            expected[place.reduce((at, p, d) => at + (dims.includes(d) ? 0 : p * strides[d]), 0)] += valueAt(
              x,
              place,
            );
          }
          got.data.forEach((v: number, i: number) => {
            expect(v).toBeCloseTo(expected[i], 5);
          });
          expect(sum(x, dims).shape).toEqual(shape.filter((_, d) => !dims.includes(d)));
        },
      ),
      { numRuns: 300 },
    );
  });

  test('a channels-last operand gives a channels-last result', () => {
    const x = randn([2, 3, 4, 5]).contiguous('channelsLast');
    for (const y of [
      x.relu(),
      x.add(1),
      x.mul(x),
      x.add(randn([3, 1, 1])),
      x.gt(0),
      x.clone(),
      cat([x, x], 1),
    ]) {
      expect(y.isContiguous('channelsLast')).toBe(true);
    }
  });
});

describe('empty tensors and scalars', () => {
  test('flow through', () => {
    const none = zeros([0, 3]);
    expect(none.relu().add(1).shape).toEqual([0, 3]);
    expect(sum(none).item()).toBe(0);
    expect(mean(none).item()).toBeNaN();
    expect(none.softmax(1).shape).toEqual([0, 3]);
    expect(cat([none, ones([2, 3])]).shape).toEqual([2, 3]);
    expect(none.view(3, 0).shape).toEqual([3, 0]);
    expect(none.sort(0)[0].shape).toEqual([0, 3]);
    expect(() => amax(none)).toThrow(ArgumentError);
    expect(() => max(none, 0)).toThrow(ArgumentError);
    expect(amax(none, 1).shape).toEqual([0]);
  });

  test('scalars count as one line', () => {
    const s = tensor(2);
    expect(s.softmax(0).item()).toBe(1);
    expect(s.sort()[1].item()).toBe(0);
    expect(s.cumsum(-1).item()).toBe(2);
    expect(s.argmax().item()).toBe(0);
    expect(flatten(s).shape).toEqual([1]);
    expect(expand(s, [2]).toArray()).toEqual([2, 2]);
  });
});

describe('views', () => {
  test('share storage where strides allow', () => {
    const x = arange(24).reshape(2, 3, 4);
    expect(x.transpose(0, 1).storage).toBe(x.storage);
    expect(x.at(1).view(4, 3).storage).toBe(x.storage);
    expect(x.transpose(1, 2).view(2, 12).storage).not.toBe(x.storage);
    expect(x.transpose(1, 2).view(2, 12).at(0, 1).item()).toBe(4);
  });

  test('parts of a split are views', () => {
    const x = zeros([4, 2]);
    split(x, [1, 3])[1].fill_(1);
    expect(x.sum().item()).toBe(6);
  });
});

describe('errors name the fault', () => {
  const x = zeros([2, 3]);
  test.each([
    ['shapes that do not broadcast', () => x.add(zeros([2])), ShapeError, /dimension -1/],
    ['a dimension out of range', () => x.sum(2), ArgumentError, /-2 to 1/],
    ['a dimension named twice', () => x.sum([0, 0]), ArgumentError, /once/],
    ['a size that does not fit', () => x.view(4, -1), ShapeError, /product is 6/],
    ['no permutation', () => x.permute(0, 0), ArgumentError, /once/],
    ['an expansion of a real size', () => x.expand(2, 4), ShapeError, /broadcasts/],
    ['cat of different shapes', () => cat([x, zeros([2, 2])]), ShapeError, /tensors\[1\]/],
    ['cat of nothing', () => cat([]), ArgumentError, /at least one/],
    ['stack of different shapes', () => stack([x, zeros([2])]), ShapeError, /first/],
    ['too many picks', () => topk(x, 4), ArgumentError, /0 to 3/],
    [
      'reflection wider than the input',
      () => pad(x, [3, 0], { mode: 'reflect' }),
      ArgumentError,
      /at most 2/,
    ],
    ['odd pads', () => pad(x, [1]), ArgumentError, /pairs/],
    ['the mean of integers', () => mean(arange(3)), DTypeError, /float/],
    ['a difference of bools', () => x.gt(0).sub(x.gt(0)), DTypeError, /subtracted/],
    ['slopes per nothing', () => x.prelu(zeros([2])), ShapeError, /per channel/],
  ])('%s', (_name, body, type, message) => {
    expect(body).toThrow(type);
    expect(body).toThrow(message);
  });
});

test('equal and allclose', () => {
  const x = tensor([1, 2]);
  expect(equal(x, tensor([1, 2]))).toBe(true);
  expect(equal(x, tensor([[1, 2]]))).toBe(false);
  expect(equal(x, x.double())).toBe(false);
  expect(allclose(x, tensor([1, 2.00001]))).toBe(true);
  expect(allclose(x, tensor([1, 2.1]))).toBe(false);
  expect(allclose(x, tensor([1, 2.1]), { atol: 0.2 })).toBe(true);
  expect(allclose(tensor([Number.NaN]), tensor([Number.NaN]))).toBe(false);
  expect(allclose(tensor([Number.NaN]), tensor([Number.NaN]), { equalNan: true })).toBe(true);
  expect(() => allclose(x, tensor([1, 2, 3]))).toThrow(ShapeError);
});

test('dropout draws the mask of PyTorch under the same seed', () => {
  const x = arange(1, 13).float().view(3, 4);
  const y = dispatch('dropout', x, 0.3, new Generator(5));
  // torch.manual_seed(5); F.dropout(x, 0.3)
  const kept = [1, 1, 1, 1, 1, 0, 1, 0, 0, 1, 1, 1];
  kept.forEach((k, i) => {
    expect(y.data[i]).toBeCloseTo((k * (i + 1)) / 0.7, 5);
  });
  const nhwc = dispatch('dropout', x.view(1, 3, 2, 2).contiguous('channelsLast'), 0.3, new Generator(5));
  expect(equal(nhwc.view(3, 4), y)).toBe(true);
});

test.each([1, 512])(
  'a relu keeps NaN of either sign and negative zero, in short and long arrays (%i×)',
  (times) => {
    // torch.relu(torch.tensor([-0.])) is -0.
    const bits = [0x7fc00000, 0xffc00000, 0x80000000, 0xff800000, 0x7f800000, 0x80000001, 0, 0x3f800000];
    const long = Uint32Array.from({ length: bits.length * times }, (_, i) => bits[i % bits.length]);
    const x = new Tensor({ storage: new Float32Array(long.buffer), shape: [long.length], dtype: 'float32' });
    const y = x.requiresGrad_().relu();
    const expected = [Number.NaN, Number.NaN, -0, 0, Number.POSITIVE_INFINITY, 0, 0, 1];
    expect(Array.from(y.data)).toEqual(Array.from(long, (_, i) => expected[i % bits.length]));
    y.sum().backward();
    const slopes = [1, 1, 0, 0, 1, 0, 0, 1];
    expect(Array.from(x.grad?.data ?? [])).toEqual(Array.from(long, (_, i) => slopes[i % bits.length]));
  },
);
