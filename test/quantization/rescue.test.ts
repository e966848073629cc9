import { describe, expect, test } from 'vitest';
import { QuantizationError } from '../../src/core/errors.ts';
import { Generator, manualSeed } from '../../src/core/random.ts';
import {
  AdaptiveAvgPool2d,
  BatchNorm2d,
  Conv1d,
  Conv2d,
  deepCopy,
  Flatten,
  Linear,
  MaxPool2d,
  Module,
  ReLU,
  Sequential,
} from '../../src/nn/index.ts';
import { cat, dispatch, linear, noGrad } from '../../src/ops/index.ts';
import {
  absorbHighBias,
  activationEqualization,
  biasCorrection,
  compensatedRounding,
  convert,
  crossLayerEqualization,
  DeQuantStub,
  fuseModules,
  getDefaultQConfig,
  PerChannelMinMaxObserver,
  prepare,
  QuantStub,
  reestimateBatchNorm,
  runInFloat,
} from '../../src/quantization/index.ts';
import { collectOutputs, sqnr } from '../../src/suite/index.ts';
import { randn, type Tensor } from '../../src/tensor/index.ts';
import { formatTrials, quantizeBest } from '../../src/workflow/index.ts';

/** Two branches that are concatenated, as in a fire module, with channels of very different loudness. */
class Branches extends Module {
  quant = new QuantStub();
  squeeze = new Conv2d(3, 6, 3, { stride: 2 });
  relu = new ReLU();
  left = new Conv2d(6, 5, 1);
  leftRelu = new ReLU();
  right = new Conv2d(6, 7, 3, { padding: 1 });
  rightRelu = new ReLU();
  pool = new MaxPool2d(2);
  last = new Conv2d(12, 8, 3);
  mean = new AdaptiveAvgPool2d([1, 1]);
  dequant = new DeQuantStub();

  forward(input: Tensor): Tensor {
    const x = this.relu(this.squeeze(this.quant(input)));
    const both = cat([this.leftRelu(this.left(x)), this.rightRelu(this.right(x))], 1);
    return this.dequant(this.mean(this.last(this.pool(both))));
  }
}

const PAIRS = [
  ['squeeze', ['left', 'right']],
  [['left', 'right'], 'last'],
] as const;

function loudBranches(): Branches {
  manualSeed(3);
  const model = new Branches();
  for (const layer of [model.squeeze, model.left, model.right]) {
    const row = layer.weight.numel / layer.weight.shape[0];
    for (let i = 0; i < layer.weight.numel; i++)
      layer.weight.storage[i] *= 4 ** ((Math.floor(i / row) % 4) - 2);
  }
  const names = [
    ['squeeze', 'relu'],
    ['left', 'leftRelu'],
    ['right', 'rightRelu'],
  ];
  return fuseModules(model.eval(), names);
}

function data(count: number, seed: number, shape: readonly number[] = [4, 3, 20, 20]): Tensor[] {
  const generator = new Generator(seed);
  return Array.from({ length: count }, () => randn(shape, { generator }));
}

function int8Of<M extends Module>(model: M, batches: readonly Tensor[]): M {
  const copy = deepCopy(model);
  copy.qconfig = getDefaultQConfig();
  const prepared = prepare(copy, { inplace: true });
  noGrad(() => {
    for (const b of batches) prepared(b);
  });
  return convert(prepared, { inplace: true });
}

const noise = (float: Module, other: Module, batches: readonly Tensor[]): number =>
  sqnr(collectOutputs(float, batches), collectOutputs(other, batches));

describe('equalization', () => {
  test('the model stays the same function; weight ranges of a pair become equal', () => {
    const model = loudBranches();
    const batches = data(2, 1);
    const equalized = crossLayerEqualization(model, PAIRS);
    expect(noise(model, equalized, batches)).toBeGreaterThan(100);
    const range = (weights: number[]): number => Math.max(...weights) - Math.min(...weights);
    const first = equalized.left.children()[0] as Conv2d;
    const consumed = equalized.last.weight.toArray() as number[][][][];
    for (let c = 0; c < 5; c++) {
      const produced = (first.weight.toArray() as number[][][][])[c].flat(2);
      expect(range(produced) / range(consumed.flatMap((out) => out[c].flat()))).toBeCloseTo(1, 3);
    }
    expect(first.weight).not.toBe(model.left.children()[0]);
  });

  test('activations of balanced channels peak alike at full strength', () => {
    const model = loudBranches();
    const batches = data(2, 1);
    const balanced = activationEqualization(model, PAIRS, batches, { strength: 1 });
    expect(noise(model, balanced, batches)).toBeGreaterThan(100);
    const peaks: number[] = [];
    balanced.squeeze.registerForwardHook((_m, _x, y) => {
      for (const [c, plane] of (y as Tensor).unbind(1).entries())
        peaks[c] = Math.max(peaks[c] ?? 0, ...plane.numbers());
    });
    collectOutputs(balanced, batches);
    const alive = peaks.filter((p) => p > 0);
    expect(alive.length).toBeGreaterThan(2);
    for (const peak of alive) expect(peak / Math.max(...alive)).toBeCloseTo(1, 4);
    const before = noise(model, int8Of(model, batches), batches);
    expect(noise(model, int8Of(balanced, batches), batches)).toBeGreaterThan(before);
  });

  test('grouped consumers and linear layers', () => {
    manualSeed(0);
    const grouped = new Sequential(
      new Conv1d(4, 8, 3),
      new ReLU(),
      new Conv1d(8, 6, 3, { groups: 2 }),
      new ReLU(),
    ).eval();
    const x = data(1, 2, [2, 4, 12]);
    expect(noise(grouped, crossLayerEqualization(grouped, [['0', '2']]), x)).toBeGreaterThan(100);
    const linear = new Sequential(new Linear(6, 9), new ReLU(), new Linear(9, 3)).eval();
    const rows = data(1, 2, [5, 6]);
    expect(noise(linear, crossLayerEqualization(linear, [['0', '2']]), rows)).toBeGreaterThan(100);
    expect(noise(linear, activationEqualization(linear, [['0', '2']], rows), rows)).toBeGreaterThan(100);
  });

  test('a pair that does not fit says so', () => {
    const model = loudBranches();
    expect(() => crossLayerEqualization(model, [['left', 'last']])).toThrow(
      /left → last: expected a consumer of 5 channels, got one of 12/,
    );
    expect(() => crossLayerEqualization(model, [['pool', 'last']])).toThrow(QuantizationError);
    expect(() => activationEqualization(model, PAIRS, [])).toThrow(/never ran/);
  });
});

test('high biases move on to the next layer, padded consumers are left alone and named', () => {
  const model = loudBranches();
  const squeeze = model.squeeze.children()[0] as Conv2d;
  for (const layer of [squeeze, model.left.children()[0] as Conv2d]) layer.bias?.storage.fill(30);
  (model.right.children()[0] as Conv2d).bias?.storage.fill(30);
  const batches = data(2, 1);
  const { model: absorbed, pairs } = absorbHighBias(model, PAIRS, batches);
  expect(pairs[0]).toEqual({ absorbed: 0, channels: 6, skipped: 'a consumer pads its input' });
  expect(pairs[1].channels).toBe(12);
  expect(pairs[1].absorbed).toBeGreaterThan(0);
  expect(noise(model, absorbed, batches)).toBeGreaterThan(45);
});

describe('after conversion', () => {
  const model = loudBranches();
  const batches = data(6, 1);
  const fresh = data(4, 9);
  const int8 = int8Of(model, batches);

  test('bias correction takes mean errors back, on new data too', () => {
    const corrected = biasCorrection(model, int8, batches);
    expect(noise(model, corrected, fresh)).toBeGreaterThan(noise(model, int8, fresh));
    expect(biasCorrection(model, int8, batches, { reference: 'model' })).not.toBe(int8);
  });

  test('compensated rounding keeps a layer’s outputs closer where inputs are correlated, on new data too', () => {
    const generator = new Generator(5);
    const mixing = randn([6, 48], { generator });
    const correlated = (): Tensor => randn([64, 6], { generator }).matmul(mixing);
    const net = new Sequential(new QuantStub(), new Linear(48, 20), new DeQuantStub()).eval();
    const inputs = [correlated(), correlated()];
    const nearest = int8Of(net, inputs);
    const rounded = compensatedRounding(net, nearest, inputs);
    const layer = (m: Module): { weight(): Tensor; bias(): Tensor } => m.children()[1] as never;
    const x = correlated();
    const wanted = linear(x, (net.children()[1] as Linear).weight);
    const reached = (m: Module): number => sqnr(wanted, linear(x, layer(m).weight().dequantize()));
    expect(noGrad(() => reached(rounded) - reached(nearest))).toBeGreaterThan(6);
    expect(layer(rounded).weight().qPerChannelScales().toArray()).toEqual(
      layer(nearest).weight().qPerChannelScales().toArray(),
    );
    expect(layer(rounded).bias().toArray()).toEqual(layer(nearest).bias().toArray());
  });

  test('a model that was not the float one is refused', () => {
    expect(() => biasCorrection(new Sequential(new Linear(2, 2)), int8, batches)).toThrow(/no child/);
    expect(() => compensatedRounding(model, model, batches)).toThrow(/without any/);
  });
});

test('batch norms take the statistics of the data, with rounded weights where asked', () => {
  manualSeed(1);
  const model = new Sequential(new Conv2d(3, 4, 3), new BatchNorm2d(4), new ReLU(), new Flatten()).eval();
  const batches = data(3, 4);
  const tuned = reestimateBatchNorm(model, batches);
  const norm = tuned.children()[1] as BatchNorm2d;
  const conv = collectOutputs(model.children()[0], batches);
  const mean = conv.mean([0, 2, 3]).data;
  norm.runningMean?.data.forEach((m: number, c: number) => {
    expect(m).toBeCloseTo(mean[c], 5);
  });
  expect(norm.momentum).toBe(0.1);
  expect(tuned.modules().some((m) => m.training)).toBe(false);
  const weight = PerChannelMinMaxObserver.withArgs({
    dtype: 'qint8',
    qscheme: 'per_channel_symmetric',
    quantMin: -4,
    quantMax: 3,
  });
  const rounded = reestimateBatchNorm(model, batches, { weight });
  expect((rounded.children()[0] as Conv2d).weight.toArray()).toEqual(
    (model.children()[0] as Conv2d).weight.toArray(),
  );
  // Moved by what rounding changes: close to the old statistics, and exactly the measured difference away from them.
  const coarse = deepCopy(model);
  const { weight: w } = coarse.children()[0] as Conv2d;
  const observer = weight();
  observer(w);
  const { scale, zeroPoint } = observer.calculateQParams();
  noGrad(() => {
    const integers = dispatch('quantizePerChannel', w, scale, zeroPoint, 0, 'qint8');
    w.storage.set(dispatch('dequantize', integers).data);
  });
  const there = reestimateBatchNorm(coarse, batches).children()[1] as BatchNorm2d;
  const moved = rounded.children()[1] as BatchNorm2d;
  for (let c = 0; c < 4; c++) {
    const [m, v] = [there, norm].map((n) => [n.runningMean?.data[c], n.runningVar?.data[c]] as number[]);
    expect(moved.runningMean?.data[c]).toBeCloseTo(m[0] - v[0], 5);
    expect(moved.runningVar?.data[c]).toBeCloseTo(m[1] / v[1], 5);
  }
  expect(() => reestimateBatchNorm(model, [])).toThrow(/at least one batch/);
  expect(() => reestimateBatchNorm(new Linear(2, 2), batches)).toThrow(/without any/);
});

test('a module that runs in float keeps what the grid of its input would round away', () => {
  const model = loudBranches();
  const batches = data(4, 1);
  const plain = noise(model, int8Of(model, batches), batches);
  const late = runInFloat(model, 'mean', { requantize: false });
  expect(noise(model, int8Of(late, batches), batches)).toBeGreaterThan(plain);
  expect(noise(model, int8Of(runInFloat(model, 'mean'), batches), batches)).toBeGreaterThan(10);
});

test('the best recipe is at least as close as the plain one and tells what it tried', () => {
  const model = loudBranches();
  const batches = data(4, 1);
  const best = quantizeBest(model, batches, { pairs: PAIRS, floatTail: 'mean' });
  expect(best.sqnr).toBeCloseTo(noise(model, best.model, batches), 6);
  expect(best.sqnr).toBeGreaterThan(noise(model, int8Of(model, batches), batches));
  expect(best.trials.map((t) => t.step)).toEqual([
    ...new Array(4).fill('ranges'),
    'rounding',
    ...new Array(3).fill('balance'),
    'bias',
  ]);
  expect(formatTrials(best.trials)).toContain('compensated');
});
