import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { backward } from '../../src/autograd/index.ts';
import { ArgumentError, DTypeError, ShapeError } from '../../src/core/errors.ts';
import { Generator } from '../../src/core/random.ts';
import { engine } from '../../src/kernels/engine.ts';
import {
  adaptiveAvgPool2d,
  avgPool2d,
  batchNorm,
  conv1d,
  conv2d,
  convTranspose2d,
  crossEntropy,
  dropout,
  embedding,
  embeddingBag,
  groupNorm,
  interpolate,
  layerNorm,
  linear,
  matmul,
  maxPool2d,
  nllLoss,
  oneHot,
  scaledDotProductAttention,
} from '../../src/ops/functions/layer.ts';
import { dispatch } from '../../src/ops/index.ts';
import { ones, rand, randn, tensor, zeros } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

const generator = new Generator(3);

function normal(...shape: number[]): Tensor {
  return randn(shape, { generator });
}

function double(x: Tensor): Tensor {
  return dispatch('to', x, 'float64');
}

/** Largest difference between two tensors of one shape. */
function distance(a: Tensor, b: Tensor): number {
  expect(a.shape).toEqual(b.shape);
  const y = b.numbers();
  return Array.from(a.numbers()).reduce((worst, v, i) => Math.max(worst, Math.abs(v - y[i])), 0);
}

describe('float32 kernels agree with float64 loops', () => {
  const size = fc.integer({ min: 1, max: 7 });

  test('convolutions of any geometry', () => {
    fc.assert(
      fc.property(
        fc.record({
          batch: fc.integer({ min: 1, max: 3 }),
          groups: fc.integer({ min: 1, max: 3 }),
          inPerGroup: size,
          outPerGroup: size,
          kernel: fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 })),
          stride: fc.integer({ min: 1, max: 3 }),
          padding: fc.integer({ min: 0, max: 2 }),
          dilation: fc.integer({ min: 1, max: 2 }),
          extra: fc.tuple(size, size),
        }),
        (g) => {
          const [h, w] = g.kernel.map((k, d) => g.dilation * (k - 1) + g.extra[d]);
          const x = normal(g.batch, g.groups * g.inPerGroup, h, w);
          const weight = normal(g.groups * g.outPerGroup, g.inPerGroup, ...g.kernel);
          const bias = normal(g.groups * g.outPerGroup);
          const narrow = conv2d(x, weight, bias, g);
          const wide = conv2d(double(x), double(weight), double(bias), g);
          expect(distance(narrow, wide)).toBeLessThan(1e-4);
        },
      ),
      { numRuns: 60, seed: 1 },
    );
  });

  test('products of broadcast stacks', () => {
    fc.assert(
      fc.property(size, size, size, fc.boolean(), fc.boolean(), (m, k, n, shareA, shareB) => {
        const a = normal(shareA ? 1 : 2, 3, m, k);
        const b = normal(...(shareB ? [k, n] : [2, 1, k, n]));
        expect(distance(matmul(a, b), matmul(double(a), double(b)))).toBeLessThan(1e-4);
      }),
      { numRuns: 60, seed: 1 },
    );
  });
});

describe('memory layout', () => {
  test('convolutions, pools and norms store channels last, and do not care how the input lies', () => {
    const x = normal(2, 4, 6, 5);
    const last = dispatch('contiguous', x, 'channelsLast');
    const weight = normal(3, 4, 3, 3);
    const layers: ((t: Tensor) => Tensor)[] = [
      (t) => conv2d(t, weight, null, { padding: 1 }),
      (t) => maxPool2d(t, 2),
      (t) => avgPool2d(t, 2),
      (t) => adaptiveAvgPool2d(t, 2),
      (t) => interpolate(t, { scaleFactor: 2 }),
      (t) => batchNorm(t, null, null, { training: true }),
      (t) => groupNorm(t, 2),
    ];
    for (const layer of layers) {
      const a = layer(x);
      expect(a.isContiguous('channelsLast')).toBe(true);
      expect(layer(last).numbers()).toEqual(a.numbers());
    }
  });

  test('transposed and sliced operands give what their copies give', () => {
    const a = dispatch('transpose', normal(4, 5, 3), -2, -1);
    const b = dispatch('slice', normal(4, 5, 8), 2, 1, 8, 2);
    expect(matmul(a, b).numbers()).toEqual(matmul(dispatch('clone', a), dispatch('clone', b)).numbers());
    const weight = dispatch('transpose', normal(8, 6), 0, 1);
    const x = dispatch('slice', normal(7, 8), 0, 2, 7, 1);
    expect(
      distance(linear(x, weight), matmul(double(x), dispatch('transpose', double(weight), 0, 1))),
    ).toBeLessThan(1e-5);
  });

  test('kernels leave no scratch behind', () => {
    const x = normal(2, 4, 8, 8);
    x.requiresGrad = true;
    const weight = normal(6, 4, 3, 3);
    weight.requiresGrad = true;
    const run = (): void =>
      backward(dispatch('sum', maxPool2d(conv2d(x, weight, zeros([6])), 2), undefined, false));
    run();
    const before = engine.memory();
    for (let i = 0; i < 20; i++) run();
    expect(engine.memory()).toEqual(before);
    expect(before.scratchBytes).toBe(0);
  });
});

test('integer max pools keep their dtype', () => {
  const x = tensor(
    [
      [
        [
          [1, -7, 3],
          [4, 5, -6],
          [-9, -8, -2],
        ],
      ],
    ],
    { dtype: 'int8' },
  );
  const y = maxPool2d(x, 2, { stride: 1 });
  expect(y.dtype).toBe('int8');
  expect(y.toArray()).toEqual([
    [
      [
        [5, 5],
        [5, 5],
      ],
    ],
  ]);
});

describe('batch statistics', () => {
  test('stay accurate for a mean far from zero', () => {
    const x = dispatch('add', normal(512, 2, 4, 4), 10000, 1);
    const running = ones([2]);
    batchNorm(x, zeros([2]), running, { training: true, momentum: 1 });
    const wide = dispatch('var', double(x), [0, 2, 3], 1, false);
    expect(distance(running, wide)).toBeLessThan(1e-5);
  });

  test('momentum 0 leaves the running statistics alone', () => {
    const mean = normal(3);
    const before = [...mean.numbers()];
    batchNorm(normal(4, 3), mean, ones([3]), { training: true, momentum: 0 });
    expect([...mean.numbers()]).toEqual(before);
  });
});

describe('losses at their limits', () => {
  test('extreme logits give finite gradients', () => {
    const logits = tensor(
      [
        [1000, -1000, 0],
        [-1e30, 3, 2],
      ],
      { requiresGrad: true },
    );
    const loss = crossEntropy(logits, tensor([1, 1], { dtype: 'int64' }));
    backward(loss);
    expect(loss.item()).toBeCloseTo((2000 + Math.log1p(Math.exp(-1))) / 2, 2);
    expect(logits.grad!.numbers().every((v: number) => Number.isFinite(v))).toBe(true);
  });

  test('a mean over nothing but ignored targets is NaN, as in PyTorch', () => {
    expect(nllLoss(zeros([2, 3]), tensor([-100, -100], { dtype: 'int64' })).item()).toBeNaN();
    expect(
      nllLoss(zeros([2, 3]), tensor([-100, -100], { dtype: 'int64' }), { reduction: 'sum' }).item(),
    ).toBe(0);
  });

  test('gradients of cross-entropy sum to zero over the classes', () => {
    const logits = normal(16, 100);
    logits.requiresGrad = true;
    backward(
      crossEntropy(
        logits,
        tensor(
          Float64Array.from({ length: 16 }, (_, i) => i * 6),
          { dtype: 'int64' },
        ),
      ),
    );
    const sums = dispatch('sum', double(logits.grad!), 1, false).numbers();
    for (const s of sums) expect(Math.abs(s)).toBeLessThan(1e-7);
  });
});

describe('dropout', () => {
  test('keeps the expectation, and is the identity in evaluation', () => {
    const x = ones([20000]);
    const y = dropout(x, 0.25, true, { generator: new Generator(5) });
    const values = new Set(y.numbers());
    expect(values).toEqual(new Set([0, Math.fround(4 / 3)]));
    expect(dispatch('mean', y, undefined, false).item()).toBeCloseTo(1, 1);
    expect(dropout(x, 0.25, false)).toBe(x);
  });
});

describe('attention', () => {
  test('a causal query sees no later value', () => {
    const [q, k, v] = [normal(1, 5, 4), normal(1, 5, 4), normal(1, 5, 4)];
    const before = scaledDotProductAttention(q, k, v, { isCausal: true });
    const changed = dispatch('cat', [dispatch('slice', v, 1, 0, 4, 1), normal(1, 1, 4)], 1);
    const after = scaledDotProductAttention(q, k, changed, { isCausal: true });
    expect([...after.data.subarray(0, 16)]).toEqual([...before.data.subarray(0, 16)]);
    expect([...after.data.subarray(16)]).not.toEqual([...before.data.subarray(16)]);
  });
});

describe('empty batches', () => {
  test('pass through with the right shape', () => {
    expect(linear(zeros([0, 3]), normal(2, 3), normal(2)).shape).toEqual([0, 2]);
    expect(conv2d(zeros([0, 3, 8, 8]), normal(4, 3, 3, 3)).shape).toEqual([0, 4, 6, 6]);
    expect(maxPool2d(zeros([0, 3, 8, 8]), 2).shape).toEqual([0, 3, 4, 4]);
    expect(matmul(zeros([2, 0]), zeros([0, 3])).toArray()).toEqual([
      [0, 0, 0],
      [0, 0, 0],
    ]);
    expect(embedding(zeros([0], { dtype: 'int64' }), normal(4, 3)).shape).toEqual([0, 3]);
    expect(layerNorm(zeros([0, 4]), 4).shape).toEqual([0, 4]);
  });
});

describe('errors name the argument', () => {
  const int = (values: number[]): Tensor => tensor(values, { dtype: 'int64' });
  const cases: readonly [string, () => unknown, new (...args: any[]) => Error, RegExp][] = [
    ['matmul inner sizes', () => matmul(zeros([2, 3]), zeros([4, 5])), ShapeError, /matmul: shapes/],
    ['matmul stacks', () => matmul(zeros([2, 3, 4]), zeros([3, 4, 5])), ShapeError, /matmul: shapes/],
    [
      'matmul dtypes',
      () => matmul(zeros([2, 2]), zeros([2, 2], { dtype: 'float64' })),
      DTypeError,
      /float32 and float64/,
    ],
    ['matmul scalars', () => matmul(zeros([]), zeros([2])), ShapeError, /scalar/],
    ['linear features', () => linear(zeros([2, 3]), zeros([4, 5])), ShapeError, /last dimension of 5/],
    ['linear bias', () => linear(zeros([2, 3]), zeros([4, 3]), zeros([3])), ShapeError, /bias/],
    [
      'conv channels',
      () => conv2d(zeros([1, 3, 8, 8]), zeros([4, 2, 3, 3])),
      ShapeError,
      /conv2d: input.*2 channels/,
    ],
    [
      'conv groups',
      () => conv2d(zeros([1, 4, 8, 8]), zeros([3, 2, 3, 3]), null, { groups: 2 }),
      ArgumentError,
      /groups/,
    ],
    ['conv kernel too large', () => conv1d(zeros([1, 1, 2]), zeros([1, 1, 5])), ShapeError, /kernel/],
    [
      'conv stride',
      () => conv1d(zeros([1, 1, 9]), zeros([1, 1, 3]), null, { stride: 0 }),
      ArgumentError,
      /stride/,
    ],
    [
      'conv same with stride',
      () => conv1d(zeros([1, 1, 9]), zeros([1, 1, 3]), null, { padding: 'same', stride: 2 }),
      ArgumentError,
      /same/,
    ],
    [
      'conv list length',
      () => conv2d(zeros([1, 1, 9, 9]), zeros([1, 1, 3, 3]), null, { stride: [1, 2, 3] }),
      ArgumentError,
      /stride.*list of 2/,
    ],
    [
      'transposed output padding',
      () => convTranspose2d(zeros([1, 1, 3, 3]), zeros([1, 1, 2, 2]), null, { outputPadding: 1 }),
      ArgumentError,
      /outputPadding/,
    ],
    ['pool padding', () => maxPool2d(zeros([1, 1, 8, 8]), 2, { padding: 2 }), ArgumentError, /padding/],
    ['pool window too large', () => avgPool2d(zeros([1, 1, 2, 2]), 3), ShapeError, /avgPool2d: input/],
    [
      'interpolate without a size',
      () => interpolate(zeros([1, 1, 2, 2]), {}),
      ArgumentError,
      /either size or scaleFactor/,
    ],
    [
      'interpolate rank',
      () => interpolate(zeros([1, 1, 2]), { size: 4, mode: 'bilinear' }),
      ShapeError,
      /bilinear/,
    ],
    [
      'batch norm of one value',
      () => batchNorm(zeros([1, 3]), null, null, { training: true }),
      ShapeError,
      /more than one value/,
    ],
    ['batch norm statistics', () => batchNorm(zeros([2, 3]), null, null), ArgumentError, /runningMean/],
    ['layer norm shape', () => layerNorm(zeros([2, 3]), [4]), ShapeError, /trailing/],
    ['group norm groups', () => groupNorm(zeros([2, 3, 2]), 2), ArgumentError, /groups/],
    ['class out of range', () => crossEntropy(zeros([2, 3]), int([0, 3])), ArgumentError, /3 at place 1/],
    ['target shape', () => nllLoss(zeros([2, 3]), int([0])), ShapeError, /target/],
    ['index out of range', () => embedding(int([4]), zeros([4, 2])), ArgumentError, /4 at place 0/],
    ['bag offsets', () => embeddingBag(int([0, 1]), zeros([4, 2]), int([1])), ArgumentError, /offsets/],
    ['one-hot classes', () => oneHot(int([3]), 2), ArgumentError, /oneHot/],
    ['dropout probability', () => dropout(rand([2]), 1.5), ArgumentError, /probability/],
    ['half pool', () => maxPool2d(zeros([1, 1, 4, 4], { dtype: 'float16' }), 2), DTypeError, /float16/],
    [
      'integer convolution',
      () => conv1d(zeros([1, 1, 3], { dtype: 'int32' }), zeros([1, 1, 1], { dtype: 'int32' })),
      DTypeError,
      /float32 or float64/,
    ],
  ];
  for (const [name, run, type, message] of cases) {
    test(name, () => {
      expect(run).toThrow(type);
      expect(run).toThrow(message);
    });
  }
});
