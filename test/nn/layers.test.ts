import { describe, expect, test } from 'vitest';
import { backward } from '../../src/autograd/index.ts';
import { ArgumentError, QuantizationError, ShapeError } from '../../src/core/errors.ts';
import { manualSeed } from '../../src/core/random.ts';
import * as nn from '../../src/nn/index.ts';
import { arange, full, ones, rand, randn, tensor, zeros } from '../../src/tensor/creation.ts';
import { Tensor } from '../../src/tensor/tensor.ts';

describe('containers', () => {
  test('a named Sequential keeps names in its tree and its state dict', () => {
    const model = new nn.Sequential({ conv: new nn.Conv2d(1, 20, 5), relu: new nn.ReLU() });
    expect(String(model)).toBe(
      'Sequential(\n  (conv): Conv2d(1, 20, kernel_size=(5, 5), stride=(1, 1))\n  (relu): ReLU()\n)',
    );
    expect([...model.stateDict().keys()]).toEqual(['conv.weight', 'conv.bias']);
  });

  test('at, append, length and iteration', () => {
    const model = new nn.Sequential(new nn.ReLU());
    model.append(new nn.Tanh()).append(new nn.Sigmoid());
    expect(model.length).toBe(3);
    expect(model.at(-1)).toBeInstanceOf(nn.Sigmoid);
    expect([...model].map((m) => m.typeName)).toEqual(['ReLU', 'Tanh', 'Sigmoid']);
    expect(() => model.at(3)).toThrow(ArgumentError);
  });

  test('a module listed twice runs twice and has its state under both names', () => {
    const double = new nn.Linear(1, 1, { bias: false });
    double.weight.storage.fill(2);
    const model = new nn.Sequential(double, double);
    expect(model(tensor([[3]])).toArray()).toEqual([[12]]);
    expect([...model.stateDict().keys()]).toEqual(['0.weight', '1.weight']);
    expect(model.parameters().length).toBe(1);
  });

  test('an empty Sequential gives back its input', () => {
    const x = ones([2]);
    expect(new nn.Sequential()(x)).toBe(x);
  });

  test('more than ten modules stay in order', () => {
    const model = new nn.Sequential(...Array.from({ length: 12 }, (_, i) => new nn.Linear(i + 1, i + 2)));
    expect(model(ones([1, 1])).shape).toEqual([1, 13]);
  });

  test('setSubmodule replaces in place', () => {
    const model = new nn.Sequential(new nn.Linear(2, 2), new nn.ReLU(), new nn.Tanh());
    model.setSubmodule('1', new nn.Identity());
    expect([...model].map((m) => m.typeName)).toEqual(['Linear', 'Identity', 'Tanh']);
  });

  test('lists and dictionaries are not run themselves', () => {
    expect(() => new nn.ModuleList([new nn.ReLU()])()).toThrow(/for \(const layer/);
    expect(() => new nn.ModuleDict({})()).toThrow(ArgumentError);
    const dictionary = new nn.ModuleDict({ a: new nn.ReLU(), b: new nn.Tanh() });
    expect(dictionary.keys()).toEqual(['a', 'b']);
    expect(dictionary.delete('a')).toBe(true);
    expect(dictionary.has('a')).toBe(false);
    expect(() => dictionary.get('a')).toThrow(/children are: b/);
  });

  test('a child cannot take the place of a method', () => {
    expect(() => new nn.Sequential({ forward: new nn.ReLU() })).toThrow(/not a member of Sequential/);
    expect(() => new nn.ModuleDict({ 'a.b': new nn.ReLU() })).toThrow(/without dots/);
  });

  test('what is not a module is refused by name', () => {
    expect(() => new nn.Sequential({ f: (() => 0) as unknown as nn.Module })).toThrow(/f: expected a Module/);
  });
});

describe('dropout', () => {
  test('drops the asked share, keeps the mean, follows the seed, and rests in evaluation', () => {
    const drop = new nn.Dropout(0.3);
    const x = ones([200, 200]);
    manualSeed(7);
    const y = drop(x);
    const values = [...y.numbers()];
    const dropped = values.filter((v) => v === 0).length / values.length;
    expect(Math.abs(dropped - 0.3)).toBeLessThan(0.01);
    expect(new Set(values)).toEqual(new Set([0, Math.fround(1 / 0.7)]));
    manualSeed(7);
    expect(drop(x).numbers()).toEqual(y.numbers());
    expect(drop.eval()(x)).toBe(x);
  });

  test.each([
    ['Dropout1d', () => new nn.Dropout1d(0.5), [64, 32, 5]],
    ['Dropout2d', () => new nn.Dropout2d(0.5), [64, 32, 2, 3]],
  ] as const)('%s drops whole channels', (_name, make, shape) => {
    manualSeed(3);
    const y = make()(ones(shape));
    const inner = shape.slice(2).reduce((a, b) => a * b, 1);
    const data = y.numbers();
    let kept = 0;
    for (let c = 0; c < 64 * 32; c++) {
      const channel = new Set([...data].slice(c * inner, (c + 1) * inner));
      expect(channel.size).toBe(1);
      if (channel.has(2)) kept++;
    }
    expect(Math.abs(kept / 2048 - 0.5)).toBeLessThan(0.05);
  });

  test('gradients flow through what was kept', () => {
    const x = ones([50]);
    x.requiresGrad = true;
    manualSeed(1);
    const y = new nn.Dropout(0.5)(x);
    backward(y, ones([50]));
    expect(x.grad?.numbers()).toEqual(y.numbers());
  });

  test('a probability outside of [0, 1] is refused', () => {
    expect(() => new nn.Dropout(1.5)).toThrow(/p: expected a probability/);
  });
});

describe('convolutions', () => {
  test('outputSize chooses among the sizes a stride leaves open', () => {
    const conv = new nn.ConvTranspose2d(2, 3, 3, { stride: 2, padding: 1 });
    const x = randn([1, 2, 4, 4]);
    expect(conv(x).shape).toEqual([1, 3, 7, 7]);
    expect(conv.convForward(x, conv.weight, conv.bias, [8, 7]).shape).toEqual([1, 3, 8, 7]);
    expect(() => conv.convForward(x, conv.weight, conv.bias, [9, 7])).toThrow(/7 to 8/);
  });

  test('groups must divide the channels; same needs stride 1', () => {
    expect(() => new nn.Conv2d(3, 4, 3, { groups: 2 })).toThrow(/inChannels/);
    expect(() => new nn.Conv2d(4, 4, 3, { padding: 'same', stride: 2 })).toThrow(ArgumentError);
  });

  test('errors name the module path', () => {
    const model = new nn.Sequential({ body: new nn.Sequential(new nn.Linear(3, 2)) });
    expect(() => model(ones([1, 5]))).toThrow(/body\.0, a Linear/);
  });
});

describe('normalization', () => {
  test('batch norm counts batches and refuses a single value per channel', () => {
    const bn = new nn.BatchNorm1d(3);
    bn(randn([4, 3]));
    bn(randn([4, 3]));
    expect(bn.numBatchesTracked?.item()).toBe(2);
    expect(() => bn(randn([1, 3]))).toThrow(ShapeError);
    expect(bn.eval()(randn([1, 3])).shape).toEqual([1, 3]);
    expect(() => bn(randn([1, 4]))).toThrow(/3 channels/);
    bn.resetRunningStats();
    expect(bn.numBatchesTracked?.item()).toBe(0);
    expect(bn.runningVar?.toArray()).toEqual([1, 1, 1]);
  });

  test('a checkpoint without num_batches_tracked loads strictly', () => {
    const state = new nn.BatchNorm2d(2).stateDict();
    state.delete('num_batches_tracked');
    expect(new nn.BatchNorm2d(2).loadStateDict(state).missingKeys).toEqual([]);
  });
});

describe('embeddings', () => {
  test('fromPretrained draws nothing, keeps the rows and freezes them', () => {
    manualSeed(9);
    const expected = rand([1]).item();
    manualSeed(9);
    const rows = arange(6, undefined, 1, { dtype: 'float32' });
    const table = new Tensor({ storage: rows.storage, shape: [3, 2], dtype: 'float32' });
    const layer = nn.Embedding.fromPretrained(table);
    expect(rand([1]).item()).toBe(expected);
    expect(layer.weight.requiresGrad).toBe(false);
    expect(layer(tensor([2], { dtype: 'int64' })).toArray()).toEqual([[4, 5]]);
  });

  test('padding and mis-shaped rows are checked', () => {
    expect(() => new nn.Embedding(3, 2, { paddingIdx: 3 })).toThrow(/paddingIdx/);
    expect(new nn.Embedding(3, 2, { paddingIdx: -1 }).paddingIdx).toBe(2);
    expect(() => new nn.Embedding(3, 2, { weight: zeros([2, 2]) })).toThrow(ShapeError);
  });
});

describe('packed sequences', () => {
  test('packs as PyTorch does and comes back', () => {
    const seq = tensor([
      [1, 2, 0],
      [3, 0, 0],
      [4, 5, 6],
    ]);
    const packed = nn.packPaddedSequence(seq, [2, 1, 3], { batchFirst: true, enforceSorted: false });
    expect(packed.data.toArray()).toEqual([4, 1, 3, 5, 2, 6]);
    expect(packed.batchSizes).toEqual([3, 2, 1]);
    expect(packed.sortedIndices?.toArray()).toEqual([2, 0, 1]);
    expect(packed.unsortedIndices?.toArray()).toEqual([1, 2, 0]);
    const [padded, lengths] = nn.padPackedSequence(packed, {
      batchFirst: true,
      paddingValue: -1,
      totalLength: 4,
    });
    expect(padded.toArray()).toEqual([
      [1, 2, -1, -1],
      [3, -1, -1, -1],
      [4, 5, 6, -1],
    ]);
    expect(lengths.toArray()).toEqual([2, 1, 3]);
  });

  test('lists of sequences are padded and packed', () => {
    const list = [ones([2, 4]), full([3, 4], 2)];
    expect(nn.padSequence(list, { batchFirst: true }).shape).toEqual([2, 3, 4]);
    expect(nn.packSequence(list, { enforceSorted: false }).batchSizes).toEqual([2, 2, 1]);
    expect(() => nn.packSequence(list)).toThrow(/enforceSorted: false/);
    expect(() => nn.packPaddedSequence(ones([3, 2]), [4, 1])).toThrow(ShapeError);
  });
});

describe('recurrent layers', () => {
  test('states and inputs are checked', () => {
    const lstm = new nn.LSTM(4, 3);
    expect(() => lstm(ones([2, 1, 5]))).toThrow(/\[time, batch, 4\]/);
    expect(() => lstm(ones([2, 1, 4]), [ones([1, 2, 3]), ones([1, 2, 3])])).toThrow(/state: expected/);
  });

  test('dropout between layers acts in training only', () => {
    manualSeed(0);
    const gru = new nn.GRU(4, 8, { numLayers: 2, dropout: 0.5 });
    const x = randn([3, 2, 4]);
    const [a] = gru(x);
    const [b] = gru(x);
    expect(a.numbers()).not.toEqual(b.numbers());
    gru.eval();
    expect(gru(x)[0].numbers()).toEqual(gru(x)[0].numbers());
  });
});

describe('fused modules and folding', () => {
  test('only the exact classes are fused', () => {
    class MyReLU extends nn.ReLU {}
    expect(() => new nn.intrinsic.LinearReLU(new nn.Linear(1, 1), new MyReLU())).toThrow(
      /expected Linear, ReLU, got Linear, MyReLU/,
    );
  });

  test('folding needs evaluation mode and running statistics', () => {
    const conv = new nn.Conv2d(1, 2, 1);
    const bn = new nn.BatchNorm2d(2);
    expect(() => nn.fuseConvBn(conv, bn)).toThrow(QuantizationError);
    const plain = new nn.BatchNorm2d(2, { trackRunningStats: false }).eval();
    expect(() => nn.fuseConvBn(conv.eval(), plain)).toThrow(/running statistics/);
  });

  test('a folded pair computes what the two did', () => {
    manualSeed(4);
    const pair = new nn.Sequential(new nn.Conv2d(3, 5, 3, { groups: 1 }), new nn.BatchNorm2d(5));
    for (let i = 0; i < 3; i++) pair(randn([4, 3, 8, 8]));
    pair.eval();
    const [conv, bn] = [...pair] as [nn.Conv2d, nn.BatchNorm2d];
    const x = randn([2, 3, 8, 8]);
    const expected = pair(x).numbers();
    const got = nn.fuseConvBn(conv, bn)(x).numbers();
    got.forEach((v: number, i: number) => {
      expect(Math.abs(v - expected[i])).toBeLessThan(2e-6);
    });
  });
});

describe('gradient clipping', () => {
  test('scales to the joint norm, also where two parameters share a gradient', () => {
    const [a, b] = [new nn.Parameter(ones([2])), new nn.Parameter(ones([2]))];
    a.grad = tensor([3, 0]);
    b.grad = a.grad;
    expect(nn.clipGradNorm_([a, b], 1)).toBeCloseTo(Math.sqrt(18), 6);
    expect((a.grad as Tensor).numbers()[0]).toBeCloseTo(3 / Math.sqrt(18), 5);
    expect(b.grad?.numbers()).toEqual(a.grad?.numbers());
    expect(nn.clipGradNorm_([a, b], 10)).toBeCloseTo(1, 5);
    nn.clipGradValue_([a], 0.5);
    expect(a.grad?.toArray()).toEqual([0.5, 0]);
  });
});

describe('functional', () => {
  test('names and results of torch.nn.functional', () => {
    const { functional: F } = nn;
    expect(F.relu(tensor([-1, 2])).toArray()).toEqual([0, 2]);
    expect(F.linear(ones([1, 2]), ones([3, 2])).toArray()).toEqual([[2, 2, 2]]);
    expect(F.conv2d(ones([1, 1, 3, 3]), ones([1, 1, 2, 2])).toArray()).toEqual([
      [
        [
          [4, 4],
          [4, 4],
        ],
      ],
    ]);
    const unit = F.normalize(tensor([[3, 4]])).numbers();
    expect(unit[0]).toBeCloseTo(0.6, 6);
    expect(unit[1]).toBeCloseTo(0.8, 6);
    expect(F.glu(tensor([2, 0])).toArray()).toEqual([1]);
  });
});
