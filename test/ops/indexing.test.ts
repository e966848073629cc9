import { describe, expect, test } from 'vitest';
import '../../src/autograd/index.ts';
import { ArgumentError, DTypeError, ShapeError } from '../../src/core/errors.ts';
import { at, gather, indexSelect, maskedSelect, scatterAdd, slice } from '../../src/ops/index.ts';
import { arange, tensor, zeros } from '../../src/tensor/creation.ts';

const x = arange(24).reshape(2, 3, 4);
const int = (values: number[]) => tensor(values, { dtype: 'int64' });

describe('at', () => {
  test('numbers drop dimensions and share storage', () => {
    expect(at(x, 1).shape).toEqual([3, 4]);
    expect(at(x, -1, 0, -2).item()).toBe(14);
    expect(at(x, 1).storage).toBe(x.storage);
  });

  test('ranges follow Python', () => {
    expect(at(x, 0, slice(1), slice(null, null, 2)).toArray()).toEqual([
      [4, 6],
      [8, 10],
    ]);
    expect(at(x, 0, 0, slice(-3, -1)).toArray()).toEqual([1, 2]);
    expect(at(x, 0, 0, slice(3, 1)).toArray()).toEqual([]);
    expect(at(x, 0, 0, slice(2, 100)).toArray()).toEqual([2, 3]);
  });

  test("'...' and null", () => {
    expect(at(x, '...', 0).toArray()).toEqual([
      [0, 4, 8],
      [12, 16, 20],
    ]);
    expect(at(x, null, '...', null, slice(0, 1)).shape).toEqual([1, 2, 3, 1, 1]);
    expect(at(x).shape).toEqual([2, 3, 4]);
  });

  test('integer tensors pick, negative ones from the end', () => {
    expect(at(x, 0, int([2, -3])).toArray()).toEqual([
      [8, 9, 10, 11],
      [0, 1, 2, 3],
    ]);
    expect(at(x, slice(), tensor([[0, 1]], { dtype: 'int64' })).shape).toEqual([2, 1, 2, 4]);
  });

  test('several integer tensors broadcast together', () => {
    expect(at(x, int([0, 1]), int([2, 0])).toArray()).toEqual([
      [8, 9, 10, 11],
      [12, 13, 14, 15],
    ]);
    // Apart from one another: their dimension goes in front, as in PyTorch.
    expect(at(x, int([0, 1]), slice(), int([3, 0])).toArray()).toEqual([
      [3, 7, 11],
      [12, 16, 20],
    ]);
  });

  test('bool tensors keep what is true, over one or more dimensions', () => {
    expect(at(x, x.gt(20)).toArray()).toEqual([21, 22, 23]);
    expect(at(x, tensor([false, true])).shape).toEqual([1, 3, 4]);
    expect(at(x, slice(), at(x, 0).gt(9)).toArray()).toEqual([
      [10, 11],
      [22, 23],
    ]);
  });

  test('gradients flow to what was picked, once for each time', () => {
    const w = tensor([1, 2, 3], { requiresGrad: true });
    at(w, int([0, 2, 0]))
      .sum()
      .backward();
    expect(w.grad?.toArray()).toEqual([2, 0, 1]);
    w.grad = null;
    w.at(w.gt(1)).mul(5).sum().backward();
    expect(w.grad!.toArray()).toEqual([0, 5, 5]);
  });

  test('says what does not fit', () => {
    expect(() => at(x, 0, 0, 0, 0)).toThrow(ShapeError);
    expect(() => at(x, '...', '...')).toThrow(ShapeError);
    expect(() => at(x, 2)).toThrow(ArgumentError);
    expect(() => at(x, int([2]))).toThrow(ArgumentError);
    expect(() => at(x, tensor([0.5]))).toThrow(DTypeError);
    expect(() => at(x, tensor([true, false, true]))).toThrow(ShapeError);
    expect(() => at(x, slice(0, 1, 0))).toThrow(ArgumentError);
  });
});

test('iteration gives the slices of the first dimension', () => {
  expect(
    [
      ...tensor([
        [1, 2],
        [3, 4],
      ]),
    ].map((row) => row.toArray()),
  ).toEqual([
    [1, 2],
    [3, 4],
  ]);
});

test('index operators refuse what is out of range or of another kind', () => {
  expect(() => indexSelect(x, 0, int([2]))).toThrow(/indices from 0 to 1/);
  expect(() => indexSelect(x, 0, int([-1]))).toThrow(ArgumentError);
  expect(() => indexSelect(x, 0, tensor([0]))).toThrow(DTypeError);
  expect(() => gather(x, 0, int([0]))).toThrow(ShapeError);
  expect(() => gather(zeros([2]), 0, int([2]))).toThrow(ArgumentError);
  expect(() => scatterAdd(zeros([2]), 0, int([0, 1]), zeros([1]))).toThrow(ShapeError);
  expect(() => maskedSelect(x, x)).toThrow(DTypeError);
});
