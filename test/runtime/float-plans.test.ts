import { describe, expect, test } from 'vitest';
import { manualSeed } from '../../src/core/random.ts';
import { bert, create, modelInfo, modelNames, wordLanguageModel } from '../../src/models/index.ts';
import * as nn from '../../src/nn/index.ts';
import { type AnyModule, functional as F, Module } from '../../src/nn/index.ts';
import * as ops from '../../src/ops/index.ts';
import { type Program, trace } from '../../src/runtime/index.ts';
import { ones, rand, randint, randn } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { expectClose } from '../support/close.ts';
import { eagerly, planned } from '../support/plan.ts';
import { bits } from '../support/same-bits.ts';

/** Compares a plan with the eager library; every step has kernels, and gives the same bits however it is cut. */
function check(program: Program, ...inputs: readonly unknown[]): number {
  const { result, inParts, operators } = planned(program, ...inputs);
  expect(operators).toEqual([]);
  expect(bits(inParts)).toEqual(bits(result));
  return expectClose(result, eagerly(program, ...inputs));
}

describe('float models', () => {
  test.each(modelNames)('%s: no operator is left to the eager library', (name) => {
    manualSeed(3);
    const { input, inputShape } = modelInfo(name);
    const shape = input === 'image' ? inputShape.map((s) => Math.min(s, 32)) : inputShape;
    const sample = (n: number): Tensor =>
      input === 'characters' ? randint(0, 65, [n, 20]) : rand([n, ...shape]);
    const program = trace(create(name).eval(), [sample(2)]);
    let compared = 0;
    for (const n of [1, 2, 7]) compared += check(program, sample(n));
    expect(compared).toBeGreaterThan(0);
  });

  test('BERT, with masks and segments too', () => {
    const model = bert({
      vocabSize: 100,
      hiddenSize: 48,
      numHiddenLayers: 2,
      numAttentionHeads: 4,
      intermediateSize: 100,
    }).eval();
    const ids = (n: number): Tensor => randint(0, 100, [n, 35]);
    const program = trace(model, [ids(2)]);
    const masked = trace(model, [ids(2), ones([2, 35]), randint(0, 2, [2, 35])]);
    for (const n of [1, 2, 7]) {
      check(program, ids(n));
      const mask = randint(0, 2, [n, 35]);
      for (let i = 0; i < n; i++) mask.storage[35 * i] = 1;
      check(masked, ids(n), mask.to('float32'), randint(0, 2, [n, 35]));
    }
  });

  test('a word language model', () => {
    const model = wordLanguageModel({ vocabSize: 301, embeddingSize: 33, hiddenSize: 18 }).eval();
    const program = trace(model, [randint(0, 301, [12, 2])], { batchDim: 1 });
    for (const n of [1, 2, 7]) check(program, randint(0, 301, [12, n]));
  });
});

/** A module of one function. */
class Apply extends Module {
  readonly layer: AnyModule | null;
  readonly f: (x: Tensor) => Tensor;
  constructor(f: (x: Tensor) => Tensor, layer: AnyModule | null = null) {
    super();
    this.f = f;
    this.layer = layer;
  }
  forward(x: Tensor): Tensor {
    return this.f(x);
  }
}

/** The layer of a convolution and normalization that has seen data. */
function normalized(conv: AnyModule, channels: number): AnyModule {
  const norm = new nn.BatchNorm2d(channels);
  for (const t of [norm.weight, norm.bias, norm.runningMean, norm.runningVar]) {
    if (t) t.storage.set(rand([channels]).add(0.3).data);
  }
  return new nn.Sequential(conv, norm);
}

const images: [string, () => AnyModule][] = [
  ['a pointwise convolution', () => new nn.Conv2d(6, 10, 1)],
  ['a wide one', () => new nn.Conv2d(6, 70, 1, { bias: false })],
  ['windows with padding', () => new nn.Conv2d(6, 9, 3, { padding: 1 })],
  [
    'strides and dilation',
    () => new nn.Conv2d(6, 9, [3, 2], { stride: [2, 1], padding: [2, 0], dilation: [2, 3] }),
  ],
  ['groups', () => new nn.Conv2d(6, 9, 3, { groups: 3, padding: 1 })],
  ['one filter per channel', () => new nn.Conv2d(6, 6, 3, { groups: 6, padding: 1 })],
  ['large filters per channel', () => new nn.Conv2d(6, 6, 5, { groups: 6, padding: 2, stride: 2 })],
  ['dilated filters per channel', () => new nn.Conv2d(6, 6, 3, { groups: 6, padding: 3, dilation: 3 })],
  ['two filters per channel', () => new nn.Conv2d(6, 12, 3, { groups: 6, padding: 1 })],
  [
    'sixteen channels to a tile',
    () => new nn.Sequential(new nn.Conv2d(6, 16, 1), new nn.Conv2d(16, 24, 3, { padding: 1 })),
  ],
  [
    'tiles with a normalization and ReLU',
    () =>
      new nn.Sequential(
        new nn.Conv2d(6, 16, 1),
        normalized(new nn.Conv2d(16, 16, 3, { padding: 2 }), 16),
        new nn.ReLU(),
      ),
  ],
  ['a normalization in the weights', () => normalized(new nn.Conv2d(6, 8, 3), 8)],
  [
    'a normalization and a bounded ReLU',
    () => new nn.Sequential(normalized(new nn.Conv2d(6, 8, 3), 8), new nn.ReLU6()),
  ],
  ['a normalization per channel', () => normalized(new nn.Conv2d(6, 6, 3, { groups: 6 }), 6)],
  [
    'a normalization in front',
    () => new nn.Sequential(normalized(new nn.ReLU(), 6), new nn.ReLU(), new nn.Conv2d(6, 4, 1)),
  ],
  [
    'slopes of channels',
    () => new nn.Sequential(new nn.PReLU({ numParameters: 6 }), new nn.Conv2d(6, 3, 1), new nn.PReLU()),
  ],
  ['a transposed convolution', () => new nn.ConvTranspose2d(6, 9, 3)],
  [
    'transposed with strides and margins',
    () => new nn.ConvTranspose2d(6, 9, [4, 3], { stride: [2, 3], padding: 1, outputPadding: [1, 2] }),
  ],
  [
    'transposed with gaps between its taps',
    () => new nn.ConvTranspose2d(6, 8, 3, { stride: 2, padding: [0, 3], dilation: [2, 3], bias: false }),
  ],
  [
    'transposed with steps wider than its filter',
    () => new nn.ConvTranspose2d(6, 5, 2, { stride: [3, 5], outputPadding: [2, 4] }),
  ],
  ['transposed in groups', () => new nn.ConvTranspose2d(6, 9, 3, { stride: 2, padding: 1, groups: 3 })],
  [
    'transposed with a normalization, in groups and not',
    () =>
      new nn.Sequential(
        normalized(new nn.ConvTranspose2d(6, 8, 4, { stride: 2, padding: 1, groups: 2 }), 8),
        new nn.ReLU(),
        normalized(new nn.ConvTranspose2d(8, 6, 2), 6),
        new nn.ReLU6(),
      ),
  ],
  [
    'groups of channels with weights',
    () => new nn.Sequential(new nn.Conv2d(6, 10, 1), new nn.GroupNorm(2, 10), new nn.GroupNorm(10, 10)),
  ],
  ['max pools', () => new nn.MaxPool2d(3, { stride: 2, padding: 1, ceilMode: true })],
  ['average pools', () => new nn.AvgPool2d(3, { stride: 2, padding: 1, countIncludePad: false })],
  ['adaptive pools', () => new nn.AdaptiveAvgPool2d([3, 4])],
];

const functions: [string, (x: Tensor) => Tensor][] = [
  [
    'bounds',
    (x) =>
      ops
        .relu(x)
        .add(x.clamp(-0.5, 0.25))
        .add(F.hardtanh(x, -0.3, 0.2))
        .add(F.relu6(x.mul(9))),
  ],
  ['gelu', (x) => F.gelu(x.mul(4)).add(F.gelu(x.mul(3), { approximate: 'tanh' }))],
  ['curves', (x) => ops.sigmoid(x).add(ops.tanh(x)).add(F.silu(x)).add(F.hardsigmoid(x)).add(F.hardswish(x))],
  ['logarithms', (x) => x.abs().add(0.1).log().add(x.square().log1p()).add(F.softplus(x)).add(x.expm1())],
  [
    'variances',
    (x) =>
      x
        .var([1, 3])
        .sum()
        .add(x.std(2, { correction: 0 }))
        .add(x.add(50).var(-1).sum()),
  ],
  ['extremes of several axes', (x) => x.amax([1, 2]).sub(x.amin([0, 3]).sum())],
  [
    'extremes and their places',
    (x) => {
      const [values, places] = x.max(1) as [Tensor, Tensor];
      return values.add(places.to('float32')).add(x.argmin(1).to('float32'));
    },
  ],
  [
    'choices',
    (x) => ops.where(x.gt(0.2), x, x.mul(2)).add(ops.where(x.le(x.mul(x)), x.narrow(3, 0, 1), x.neg())),
  ],
  ['comparisons', (x) => x.round().eq(0).to('float32').add(x.ne(x.abs()).to('float32'))],
  [
    'other sizes',
    (x) =>
      F.interpolate(x, { size: [9, 4] })
        .sum()
        .add(F.interpolate(x, { scaleFactor: 2, mode: 'bilinear' })),
  ],
  ['groups of channels', (x) => F.groupNorm(x, x.shape[1]).add(F.groupNorm(x.mul(3).add(9), 1))],
  ['leaks', (x) => F.elu(x, 0.7).add(F.leakyRelu(x, 0.1))],
  ['roots', (x) => x.abs().add(0.1).sqrt().add(x.mul(x).add(1).rsqrt()).add(x.exp()).sub(x.neg().square())],
  ['whole numbers', (x) => x.mul(7).floor().add(x.mul(5).ceil()).add(x.mul(3).round())],
  [
    'broadcast sums',
    (x) =>
      x
        .add(x.narrow(1, 0, 1))
        .sub(x.narrow(3, 2, 1), { alpha: 0.5 })
        .mul(x.mean([2, 3], { keepdim: true })),
  ],
  ['quotients', (x) => x.div(x.abs().add(1).transpose(2, 3).transpose(2, 3)).maximum(x.mul(0.5)).minimum(x)],
  ['turned sums', (x) => x.transpose(1, 2).add(x.transpose(1, 2).contiguous())],
  ['softmax of every axis', (x) => x.softmax(1).add(x.softmax(2)).add(x.softmax(-1))],
  ['logarithms of softmax', (x) => x.logSoftmax(1).add(x.logSoftmax(-1))],
  ['sums and means', (x) => x.sum([1]).mean([0, 2]).add(x.mean()).add(x.sum(3).sum(2).sum(1).sum())],
  ['products of stacks', (x) => x.matmul(x.transpose(2, 3)).matmul(x)],
  ['a stack by one matrix', (x) => x.matmul(x.select(0, 0).select(0, 0).t())],
  ['a matrix by a stack', (x) => x.select(0, 0).select(0, 1).matmul(x.transpose(2, 3))],
  [
    'products with vectors',
    (x) =>
      x
        .matmul(x.select(0, 0).select(0, 0).select(0, 0))
        .add(x.select(1, 0).select(1, 1).matmul(x.select(0, 0).select(0, 0).t()).sum()),
  ],
  ['three stacks', (x) => x.flatten(0, 1).bmm(x.flatten(0, 1).transpose(1, 2))],
  ['layer norm', (x) => F.layerNorm(x, [x.shape[3]]).add(F.layerNorm(x.add(x.mul(2)), x.shape.slice(2)))],
];

describe('float operators', () => {
  test.each(images)('%s', (_, make) => {
    manualSeed(5);
    const model = make().eval();
    const inputs: ((n: number) => Tensor)[] = [
      (n) => randn([n, 6, 9, 11]),
      (n) => randn([n, 6, 9, 11]).contiguous('channelsLast'),
    ];
    for (const input of inputs) {
      const program = trace(model, [input(2)]);
      for (const n of [1, 2, 7]) check(program, input(n));
    }
    // Larger than what one thread takes at a time, and a part of a wider image.
    const view = trace(new Apply((x) => model(x.narrow(1, 3, 6)), model), [randn([1, 12, 9, 11])]);
    check(view, randn([2, 12, 40, 33]).contiguous('channelsLast'));
    check(view, randn([1, 12, 40, 33]));
  });

  test.each(functions)('%s', (name, f) => {
    manualSeed(6);
    const program = trace(new Apply(f), [randn([2, 3, 5, 7])]);
    for (const n of [1, 2, 7]) check(program, randn([n, 3, 5, 7]));
    check(program, randn([2, 3, 5, 7]).contiguous('channelsLast'));
    if (!/vector|one matrix|layer norm|groups/.test(name)) check(program, randn([2, 19, 37, 7]));
  });

  test('convolutions over one and three axes', () => {
    const line = new nn.Sequential(
      new nn.Conv1d(3, 8, 5, { padding: 2, stride: 2 }),
      new nn.ReLU(),
      new nn.MaxPool1d(2),
    );
    const each = new nn.Conv1d(3, 3, 3, { padding: 1, groups: 3 });
    const space = new nn.Sequential(new nn.Conv3d(2, 5, 3, { padding: 1 }), new nn.MaxPool3d(2));
    const deep = new nn.Conv3d(2, 2, 2, { groups: 2 });
    for (const n of [1, 2, 7]) {
      check(trace(line.eval(), [randn([2, 3, 31])]), randn([n, 3, 31]));
      check(trace(each.eval(), [randn([2, 3, 31])]), randn([n, 3, 31]));
      check(trace(space.eval(), [randn([2, 2, 5, 6, 7])]), randn([n, 2, 5, 6, 7]));
      check(trace(deep.eval(), [randn([2, 2, 5, 6, 7])]), randn([n, 2, 5, 6, 7]));
    }
  });

  test('transposed convolutions over one and three axes', () => {
    const line = new nn.Sequential(
      new nn.ConvTranspose1d(3, 8, 8, { stride: 4, padding: 2 }),
      new nn.ConvTranspose1d(8, 4, 3, { groups: 4 }),
    );
    const space = new nn.ConvTranspose3d(2, 5, 3, {
      stride: [1, 2, 2],
      padding: 1,
      outputPadding: [0, 1, 0],
    });
    for (const n of [1, 2, 7]) {
      check(trace(line.eval(), [randn([2, 3, 31])]), randn([n, 3, 31]));
      check(trace(space.eval(), [randn([2, 2, 5, 6, 7])]), randn([n, 2, 5, 6, 7]));
    }
  });

  test('residual additions and bounds go into the product before them', () => {
    class Block extends Module {
      a: nn.Conv2d = new nn.Conv2d(8, 8, 3, { padding: 1 });
      b: nn.Conv2d = new nn.Conv2d(8, 8, 1);
      fc: nn.Linear = new nn.Linear(8, 8);
      forward(x: Tensor): Tensor {
        const y = ops.relu(this.b(ops.relu(this.a(x))).add(x));
        const z = y.mean([2, 3]);
        return this.fc(z).add(z).clamp(-0.2, 0.2);
      }
    }
    const program = trace(new Block(), [randn([2, 8, 6, 6])]);
    for (const n of [1, 2, 7]) {
      const x = randn([n, 8, 6, 6]).contiguous('channelsLast');
      check(program, x);
      expect(planned(program, x).plan.steps.map((step) => step.op)).toEqual([
        'frame',
        'convolution',
        'convolution',
        'copy',
        'mean',
        'linear',
      ]);
    }
  });

  test('3×3 windows over enough pixels run on tiles, residual additions with them', () => {
    class Block extends Module {
      conv: nn.Conv2d = new nn.Conv2d(16, 16, 3, { padding: 1 });
      forward(x: Tensor): Tensor {
        return ops.relu(this.conv(ops.relu(this.conv(x))).add(x));
      }
    }
    const program = trace(new Block(), [randn([2, 16, 13, 15])]);
    for (const n of [1, 2, 7]) {
      check(program, randn([n, 16, 13, 15]).contiguous('channelsLast'));
      check(program, randn([n, 16, 13, 15]));
    }
    const large = randn([3, 16, 70, 91]).contiguous('channelsLast');
    check(program, large);
    const used = planned(program, large).plan.steps.map((step) => step.op);
    expect(used).toEqual(['frame', 'convolution on tiles', 'frame', 'convolution on tiles']);
  });

  test('masks forbid keys', () => {
    class Masked extends Module<[Tensor, Tensor], Tensor> {
      forward(x: Tensor, mask: Tensor): Tensor {
        return x
          .maskedFill(mask.unsqueeze(1), -Infinity)
          .softmax(-1)
          .add(x.maskedFill(mask.unsqueeze(-2), 0.5));
      }
    }
    const inputs = (n: number): [Tensor, Tensor] => {
      const mask = rand([n, 9]).gt(0.4);
      for (let i = 0; i < n; i++) mask.storage[9 * i] = 0;
      return [randn([n, 7, 9]), mask];
    };
    const program = trace(new Masked(), inputs(2));
    for (const n of [1, 2, 7]) check(program, ...inputs(n));
  });

  test('whole numbers are compared with one', () => {
    class Masked extends Module<[Tensor], Tensor> {
      forward(ids: Tensor): Tensor {
        const mask = ids.ne(0);
        return ops.where(mask, ids.to('float32'), ids.lt(3).to('float32')).maskedFill(ids.ge(7), -1);
      }
    }
    const program = trace(new Masked(), [randint(0, 9, [2, 35])]);
    for (const n of [1, 2, 7]) check(program, randint(0, 9, [n, 35]));
  });

  test('numbers that name no row of a table are refused as the eager operator refuses them', () => {
    const program = trace(new nn.Embedding(10, 4), [randint(0, 10, [2, 3])]);
    check(program, randint(0, 10, [5, 3]));
    const wrong = randint(0, 10, [2, 3]);
    wrong.storage[4] = 10;
    expect(() => program.run(wrong)).toThrow(/whole numbers from 0 to 9, got 10 at place 4/);
    check(program, randint(0, 10, [2, 3]));
  });

  test('a large table is read where it lies', () => {
    const program = trace(new nn.Embedding(3000, 100), [randint(0, 3000, [2, 3])]);
    for (const n of [1, 2, 7]) {
      const ids = randint(0, 3000, [n, 3]);
      check(program, ids);
      expect(program.describe([ids]).constantBytes).toBe(0);
    }
    const wrong = randint(0, 3000, [2, 3]);
    wrong.storage[2] = -1;
    expect(() => program.run(wrong)).toThrow(/whole numbers from 0 to 2999, got -1 at place 2/);
    check(program, randint(0, 3000, [2, 3]));
  });
});
