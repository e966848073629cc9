import { describe, expect, test } from 'vitest';
import '../../src/autograd/index.ts';
import { AutogradError, DTypeError, ShapeError } from '../../src/core/errors.ts';
import { Generator } from '../../src/core/random.ts';
import { add, dispatch, mul, noGrad, slice } from '../../src/ops/index.ts';
import { arange, tensor, zeros } from '../../src/tensor/creation.ts';

describe('in-place methods', () => {
  test('write through views', () => {
    const x = zeros([2, 3]);
    x.at(slice(), 1).fill_(7);
    x.at(1).add_(tensor([1, 2, 3]));
    expect(x.toArray()).toEqual([
      [0, 7, 0],
      [1, 9, 3],
    ]);
    x.transpose(0, 1).copy_(arange(6, undefined, 1, { dtype: 'float32' }).view(3, 2));
    expect(x.toArray()).toEqual([
      [0, 2, 4],
      [1, 3, 5],
    ]);
  });

  test('return the tensor and compute like their namesakes', () => {
    const x = tensor([-4, 1, 6]);
    expect(x.mul_(0.5)).toBe(x);
    x.sub_(tensor([1, 1, 1]), { alpha: 2 })
      .div_(2)
      .clamp_(null, 0.25);
    expect(x.toArray()).toEqual([-2, -0.75, 0.25]);
    expect(x.relu_().toArray()).toEqual([0, 0, 0.25]);
    expect(x.zero_().toArray()).toEqual([0, 0, 0]);
  });

  test('a source may overlap its target', () => {
    const x = tensor([1, 2, 3, 4]);
    x.at(slice(1)).copy_(x.at(slice(0, 3)));
    expect(x.toArray()).toEqual([1, 1, 2, 3]);
  });

  test('convert to the dtype of the target', () => {
    expect(
      zeros([2], { dtype: 'int32' })
        .copy_(tensor([1.7, -1.7]))
        .toArray(),
    ).toEqual([1, -1]);
  });

  test('refuse to change what gradients depend on', () => {
    const w = tensor([1, 2], { requiresGrad: true });
    expect(() => w.add_(1)).toThrow(AutogradError);
    expect(() => w.mul(2).zero_()).toThrow(/noGrad/);
    expect(() => zeros([2]).copy_(w)).toThrow(AutogradError);
    expect(() => zeros([2]).add_(w)).toThrow(AutogradError);
    noGrad(() => w.add_(w));
    expect(w.toArray()).toEqual([2, 4]);
    expect(w.requiresGrad && w.isLeaf).toBe(true);
  });

  test('refuse shapes and kinds that do not fit', () => {
    expect(() => zeros([2]).copy_(zeros([3]))).toThrow(ShapeError);
    expect(() => zeros([2]).add_(zeros([2, 2]))).toThrow(ShapeError);
    expect(() => zeros([2]).copy_(dispatch('quantizePerTensor', zeros([2]), 0.1, 0, 'qint8'))).toThrow(
      DTypeError,
    );
  });

  test('random fills repeat PyTorch under the same seed', () => {
    const generator = new Generator(5);
    const x = zeros([3, 4]).uniform_(-2, 3, generator);
    const uniform = [2.151259422302246, -1.3694454431533813, 2.537348508834839, 2.099635124206543];
    uniform.forEach((v, i) => {
      expect(x.at(0, i).item()).toBeCloseTo(v, 6);
    });
    const y = zeros([4, 5]).normal_(1, 2, generator);
    const normal = [0.6254143714904785, 0.7885967493057251, 4.065826416015625, 1.5747222900390625];
    normal.forEach((v, i) => {
      expect(y.at(0, i).item()).toBeCloseTo(v, 5);
    });
  });
});

test('out takes the result', () => {
  const out = zeros([2]);
  expect(add(tensor([1, 2]), tensor([3, 4]), { out })).toBe(out);
  expect(out.toArray()).toEqual([4, 6]);
  mul(out, 2, { out });
  expect(out.toArray()).toEqual([8, 12]);
  expect(() => add(zeros([3]), 1, { out })).toThrow(ShapeError);
});
