import { describe, expect, test } from 'vitest';
import '../../src/autograd/index.ts';
import { manualSeed } from '../../src/core/random.ts';
import { create, modelInfo, type QuantizableModel } from '../../src/models/index.ts';
import { type AnyModule, Module } from '../../src/nn/module.ts';
import * as nn from '../../src/nn-public.ts';
import { dispatch, noGrad } from '../../src/ops/index.ts';
import { SGD } from '../../src/optim/index.ts';
import {
  convert,
  DeQuantStub,
  defaultDynamicQatQConfig,
  defaultEmbeddingQatQConfig,
  defaultEmbeddingQatQConfig4bit,
  defaultPerChannelSymmetricQnnpackQatQConfig,
  disableFakeQuant,
  disableObserver,
  FloatFunctional,
  fuseModules,
  fuseModulesQat,
  getDefaultQatQConfig,
  prepare,
  prepareQat,
  QuantStub,
  QuantWrapper,
  quantizeQat,
} from '../../src/quantization/index.ts';
import { rand, randn, tensor } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

const { qat } = nn.intrinsic;

/** One layer of every kind that has an exact integer form: no average pooling, which rounds where training does not. */
class Net extends Module {
  quant: Module = new QuantStub();
  conv1: Module = new nn.Conv2d(3, 16, 3, { padding: 1, bias: false });
  bn1: Module = new nn.BatchNorm2d(16);
  relu1: Module = new nn.ReLU();
  conv2: Module = new nn.Conv2d(16, 16, 3, { padding: 1, groups: 4 });
  bn2: Module = new nn.BatchNorm2d(16);
  skip: FloatFunctional = new FloatFunctional();
  pool: Module = new nn.MaxPool2d(2);
  conv3: Module = new nn.Conv2d(16, 24, 3, { stride: 2 });
  relu3: Module = new nn.ReLU();
  conv4: Module = new nn.Conv2d(24, 8, 1);
  fc1: Module = new nn.Linear(72, 32);
  bn4: Module = new nn.BatchNorm1d(32);
  fc2: Module = new nn.Linear(32, 16);
  relu5: Module = new nn.ReLU();
  fc3: Module = new nn.Linear(16, 10);
  dequant: Module = new DeQuantStub();

  forward(image: Tensor): Tensor {
    let x = this.relu1(this.bn1(this.conv1(this.quant(image))));
    x = this.pool(this.skip.addRelu(this.bn2(this.conv2(x)), x));
    x = this.conv4(this.relu3(this.conv3(x))).flatten(1);
    return this.dequant(this.fc3(this.relu5(this.fc2(this.bn4(this.fc1(x))))));
  }
}

const FUSED = [
  ['conv1', 'bn1', 'relu1'],
  ['conv2', 'bn2'],
  ['conv3', 'relu3'],
  ['fc1', 'bn4'],
  ['fc2', 'relu5'],
];

/** A network after a few steps of training on random labels, in evaluation mode. */
function trained(seed: number, qconfig = getDefaultQatQConfig()): Net {
  manualSeed(seed);
  const net = new Net();
  net.qconfig = qconfig;
  const prepared = prepareQat(fuseModulesQat(net, FUSED));
  const sgd = new SGD(prepared.parameters(), { lr: 0.02, momentum: 0.9 });
  for (let step = 0; step < 6; step++) {
    sgd.zeroGrad();
    const labels = tensor(
      Array.from({ length: 8 }, (_, i) => (i + step) % 10),
      { dtype: 'int64' },
    );
    nn.functional.crossEntropy(prepared(randn([8, 3, 16, 16])), labels).backward();
    sgd.step();
  }
  return prepared.eval();
}

describe('every convolution fused for training converts to what it simulates', () => {
  const ranks = [
    [nn.Conv1d, nn.BatchNorm1d],
    [nn.Conv2d, nn.BatchNorm2d],
    [nn.Conv3d, nn.BatchNorm3d],
  ] as const;
  const kinds = [[], ['relu'], ['bn'], ['bn', 'relu']];
  const cases = ranks.flatMap(([conv, bn], r) => kinds.map((after) => ({ conv, bn, rank: r + 1, after })));
  test.each(cases.map((c) => ({ ...c, title: [c.conv.name, ...c.after].join(' + ') })))('$title', (c) => {
    manualSeed(c.rank);
    const norm = new c.bn(6);
    nn.init.uniform_(norm.weight!, -1.5, 1.5);
    nn.init.uniform_(norm.bias!, -1, 1);
    const parts: AnyModule[] = [new c.conv(4, 6, 3, { stride: 2, padding: 1, groups: 2, dilation: 2 })];
    for (const kind of c.after) parts.push(kind === 'bn' ? norm : new nn.ReLU());
    const chain = new nn.Sequential(...parts);
    const names = parts.map((_, i) => String(i));
    const fused = names.length > 1 ? fuseModulesQat(chain, names) : chain;
    const prepared = prepareQat(withQConfig(new QuantWrapper(fused)));
    const shape = [3, 4, ...new Array<number>(c.rank).fill(9)];
    for (let step = 0; step < 4; step++) prepared(randn(shape));
    prepared.eval();
    const x = randn(shape);
    const simulated = noGrad(() => prepared(x)).numbers();
    const converted = convert(prepared);
    const layer = converted.module.children()[0] as AnyModule;
    const relu = c.after.includes('relu') ? 'ReLU' : '';
    expect(layer.typeName).toBe(`QuantizedConv${relu}${c.rank}d`);
    const computed = noGrad(() => converted(x)).numbers();
    expect(computed).toEqual(simulated);
    expect(new Set(simulated).size).toBeGreaterThan(20);
  });
});

describe('modes', () => {
  test('fusing and preparing for training need training mode', () => {
    expect(() => fuseModulesQat(new Net().eval(), FUSED)).toThrow(/expected modules in training mode/);
    expect(() => fuseModules(new Net(), FUSED)).toThrow(/fuseModulesQat/);
    const net = new Net().eval();
    net.qconfig = getDefaultQatQConfig();
    expect(() => prepareQat(net)).toThrow(/model in training mode/);
    expect(() => prepareQat(new Net())).toThrow(/getDefaultQatQConfig/);
  });

  test('batch norms that cannot be folded are refused when fused', () => {
    const pair = (bn: AnyModule): AnyModule => new nn.Sequential(new nn.Conv2d(1, 4, 3), bn);
    const fuse = (model: AnyModule): AnyModule => fuseModulesQat(model, ['0', '1']);
    expect(() => fuse(pair(new nn.BatchNorm2d(4, { affine: false })))).toThrow(/affine/);
    expect(() => fuse(pair(new nn.BatchNorm2d(4, { trackRunningStats: false })))).toThrow(
      /trackRunningStats/,
    );
    expect(() => fuse(pair(new nn.BatchNorm2d(5)))).toThrow(/4 channels/);
    expect(() => fuse(pair(new nn.ReLU6()))).toThrow(/fusable sequences/);
  });

  test('frozen statistics survive train() and move again after updateBnStats', () => {
    const prepared = prepareQat(withQConfig(fuseModulesQat(new Net(), FUSED)));
    const { bn } = prepared.conv1 as unknown as { bn: nn.BatchNorm2d };
    const x = randn([4, 3, 16, 16]);
    const mean = (): number[] => Array.from(bn.runningMean!.data);
    prepared.apply(qat.freezeBnStats).train();
    expect(bn.training).toBe(false);
    const before = mean();
    prepared(x);
    expect(mean()).toEqual(before);
    prepared.apply(qat.updateBnStats);
    expect(bn.training).toBe(true);
    prepared(x);
    expect(mean()).not.toEqual(before);
    prepared.eval();
    expect(bn.training).toBe(false);
  });

  test('a scale of 0 is an error, not NaN', () => {
    const layer = new qat.ConvBn2d(1, 2, 1, { qconfig: getDefaultQatQConfig() });
    layer.bn.weight!.storage[1] = 0;
    expect(() => layer(randn([1, 1, 2, 2]))).toThrow(/0 in channel 1/);
  });
});

describe('prepareQat', () => {
  test('shares parameters in place, so that an optimizer may be made before', () => {
    const net = new Net();
    const parameters = net.parameters();
    const prepared = prepareQat(withQConfig(fuseModulesQat(net, FUSED, { inplace: true })), {
      inplace: true,
    });
    expect(prepared).toBe(net);
    expect(new Set(prepared.parameters())).toEqual(new Set(parameters));
    const copy = prepareQat(withQConfig(new Net()));
    expect(copy.conv1).toBeInstanceOf(nn.qat.Conv2d);
  });

  test('leaves alone what has a qconfig of null', () => {
    const net = withQConfig(new Net());
    net.conv4.qconfig = null;
    const prepared = prepareQat(net);
    expect(prepared.conv4.constructor).toBe(nn.Conv2d);
    expect(prepared.conv3).toBeInstanceOf(nn.qat.Conv2d);
  });

  test('an embedding needs a qconfig of its own', () => {
    const model = withQConfig(new nn.Sequential(new nn.Embedding(5, 3)));
    expect(() => prepareQat(model)).toThrow(/defaultEmbeddingQatQConfig/);
    model.children()[0].qconfig = defaultEmbeddingQatQConfig;
    const prepared = prepareQat(model);
    const y = prepared(tensor([0, 4, 4], { dtype: 'int64' }));
    y.sum().backward();
    expect(prepared.children()[0]).toBeInstanceOf(nn.qat.Embedding);
    expect((prepared.children()[0] as nn.Embedding).weight.grad!.toArray()).toEqual([
      [1, 1, 1],
      [0, 0, 0],
      [0, 0, 0],
      [0, 0, 0],
      [2, 2, 2],
    ]);
  });

  test('refuses what is not exactly the float class', () => {
    const qconfig = getDefaultQatQConfig();
    const linear = new nn.Linear(2, 2);
    linear.qconfig = qconfig;
    expect(() => nn.qat.Conv2d.fromFloat(linear)).toThrow(/float Conv2d/);
    expect(() => nn.qat.Linear.fromFloat(new nn.Linear(2, 2))).toThrow(/qconfig/);
    expect(() => new nn.qat.Linear(2, 2, {} as never)).toThrow(/qconfig/);
    expect(() => new nn.qat.dynamic.Linear(2, 2, { qconfig })).toThrow(/averagingConstant 1/);
  });
});

describe('state', () => {
  test('a prepared model goes on where its state dict left off', () => {
    const prepared = trained(3).train();
    const other = prepareQat(withQConfig(fuseModulesQat(new Net(), FUSED)));
    other.loadStateDict(prepared.stateDict());
    const x = randn([4, 3, 16, 16]);
    expect(other(x).toArray()).toEqual(prepared(x).toArray());
  });

  test('a skeleton that never saw data takes a converted state dict', () => {
    const converted = convert(trained(4));
    const skeleton = convert(prepareQat(withQConfig(fuseModulesQat(new Net(), FUSED))).eval(), {
      allowUnobserved: true,
    });
    skeleton.loadStateDict(converted.stateDict());
    const x = randn([2, 3, 16, 16]);
    expect(skeleton(x).toArray()).toEqual(converted(x).toArray());
  });

  test('convert names the module that never ran', () => {
    const prepared = prepareQat(withQConfig(new Net()));
    expect(() => convert(prepared)).toThrow(/quant.*never ran|never ran.*quant/s);
  });

  test('convert does not move what was learned', () => {
    const prepared = trained(6);
    const before = JSON.stringify([...prepared.stateDict()].map(([k, v]) => [k, String(v)]));
    convert(prepared);
    expect(JSON.stringify([...prepared.stateDict()].map(([k, v]) => [k, String(v)]))).toBe(before);
  });

  test('toFloat computes what the trained layers compute without rounding', () => {
    const x = randn([4, 3, 16, 16]);
    const prepared = trained(8).apply(disableFakeQuant).apply(disableObserver);
    const expected = prepared(x);
    for (const [path, m] of prepared.namedModules())
      if ('toFloat' in m) prepared.setSubmodule(path, (m as unknown as { toFloat(): AnyModule }).toFloat());
    const float = prepared(x);
    expect(String(prepared)).not.toMatch(/weight_fake_quant|BatchNorm/);
    const [a, b] = [expected.numbers(), float.numbers()];
    a.forEach((v, i) => {
      expect(b[i]).toBeCloseTo(v, 4);
    });
  });
});

describe('convert', () => {
  test('keeps weights within the integers they were trained in', () => {
    const qconfig = defaultPerChannelSymmetricQnnpackQatQConfig;
    const layer = new nn.qat.Linear(3, 1, { qconfig });
    const model = new QuantWrapper(layer);
    model.qconfig = qconfig;
    const prepared = prepareQat(model);
    layer.weight.storage.set([-1, 0.5, 0.25]);
    prepared(tensor([[1, 2, 3]]));
    prepared.apply(disableObserver);
    const trainedLayer = prepared.module as unknown as { weight: Tensor };
    trainedLayer.weight.storage.set([-9, 0.5, 9]);
    const converted = convert(prepared) as unknown as { module: { weight(): Tensor } };
    const integers = dispatch('intRepr', converted.module.weight()).toArray() as number[][];
    expect([integers[0][0], integers[0][2]]).toEqual([-127, 127]);
  });

  test('folds a float batch norm that was fused for training but calibrated', () => {
    const net = trained(9).apply(disableObserver);
    const fused = withQConfig(fuseModulesQat(new Net(), FUSED));
    noGrad(() => fused(randn([8, 3, 16, 16])));
    const calibrated = prepare(fused.eval());
    const x = randn([8, 3, 16, 16]);
    const expected = noGrad(() => calibrated(x));
    const converted = convert(calibrated);
    expect(converted.conv1.typeName).toBe('QuantizedConvReLU2d');
    const limit = (net.fc3 as unknown as { activationPostProcess: { scale: Tensor } }).activationPostProcess;
    expect(limit.scale.item()).toBeGreaterThan(0);
    const [a, b] = [expected.numbers(), noGrad(() => converted(x)).numbers()];
    const range = Math.max(...a) - Math.min(...a);
    a.forEach((v, i) => {
      expect(Math.abs(b[i] - v)).toBeLessThan(0.1 * range);
    });
  });

  test('embeddings keep the rows that training looked up', () => {
    const words = tensor([0, 19, 3, 7], { dtype: 'int64' });
    for (const qconfig of [defaultEmbeddingQatQConfig, defaultEmbeddingQatQConfig4bit]) {
      manualSeed(3);
      const model = new nn.Sequential(new nn.Embedding(20, 8));
      model.qconfig = qconfig;
      const prepared = prepareQat(model);
      const sgd = new SGD(prepared.parameters(), { lr: 0.5 });
      for (let step = 0; step < 3; step++) {
        sgd.zeroGrad();
        prepared(words).square().mean().backward();
        sgd.step();
      }
      const simulated = prepared.eval()(words).numbers();
      const converted = convert(prepared);
      expect(converted.children()[0].typeName).toBe('QuantizedEmbedding');
      expect(converted(words).numbers()).toEqual(simulated);
    }
  });

  test('weights inside a recurrent layer are trained and converted too', () => {
    class Tagger extends Module {
      quant: Module = new QuantStub();
      lstm: nn.LSTM = new nn.LSTM(8, 12);
      fc: Module = new nn.Linear(12, 3);
      dequant: Module = new DeQuantStub();
      forward(x: Tensor): Tensor {
        return this.dequant(this.fc(this.lstm(this.quant(x))[0]));
      }
    }
    manualSeed(4);
    const prepared = prepareQat(withQConfig(new Tagger()));
    const trainedLinears = prepared.modules().filter((m) => m instanceof nn.qat.Linear);
    expect(trainedLinears.length).toBe(3);
    const sgd = new SGD(prepared.parameters(), { lr: 0.1 });
    for (let step = 0; step < 3; step++) {
      sgd.zeroGrad();
      prepared(randn([5, 2, 8]))
        .square()
        .mean()
        .backward();
      expect(prepared.parameters().every((p) => p.grad)).toBe(true);
      sgd.step();
    }
    prepared.eval().apply(disableObserver);
    const x = randn([5, 2, 8]);
    const simulated = prepared(x).numbers();
    expect(convert(prepared)(x).numbers()).toEqual(simulated);
  });

  test('layers trained for dynamic quantization become dynamic', () => {
    manualSeed(2);
    const model = new nn.Sequential(new nn.Linear(8, 6), new nn.Tanh(), new nn.Linear(6, 3));
    model.qconfig = defaultDynamicQatQConfig;
    const prepared = prepareQat(model);
    expect(prepared.children()[0]).toBeInstanceOf(nn.qat.dynamic.Linear);
    const sgd = new SGD(prepared.parameters(), { lr: 0.1 });
    for (let step = 0; step < 5; step++) {
      sgd.zeroGrad();
      prepared(randn([4, 8]))
        .square()
        .mean()
        .backward();
      sgd.step();
    }
    prepared.eval();
    const x = randn([4, 8]);
    const expected = prepared(x).numbers();
    const converted = convert(prepared);
    expect(converted.children()[0].typeName).toBe('DynamicQuantizedLinear');
    const y = converted(x).numbers();
    for (let i = 0; i < y.length; i++) expect(Math.abs(y[i] - expected[i])).toBeLessThan(0.01);
  });
});

describe('quantizeQat', () => {
  const train = (m: Module): void => {
    const sgd = new SGD(m.parameters(), { lr: 0.01 });
    m(randn([2, 3, 16, 16]))
      .square()
      .mean()
      .backward();
    sgd.step();
  };

  test('trains a copy, converts it, and leaves it in evaluation mode', () => {
    const net = new Net().eval();
    const before = String(net);
    const int8 = quantizeQat(net, train);
    expect(String(net)).toBe(before);
    expect(int8.conv3.typeName).toBe('QuantizedConv2d');
    expect(int8.modules().every((m) => !m.training)).toBe(true);
  });

  test('waits for a training loop that is asynchronous', async () => {
    const promised = quantizeQat(new Net(), async (m) => {
      await Promise.resolve();
      train(m);
    });
    expect(promised).toBeInstanceOf(Promise);
    expect((await promised).fc1.typeName).toBe('QuantizedLinear');
  });
});

const names = ['mlp', 'lenet', 'resnet20', 'resnet18', 'squeezenet1_1', 'mobilenetV2', 'dsCnn'];

test.each(names)('%s fuses in training mode, trains and converts', (name) => {
  manualSeed(1);
  const { inputShape, input } = modelInfo(name);
  const shape =
    input === 'image'
      ? [2, inputShape[0], ...inputShape.slice(1).map((s) => Math.min(s, 64))]
      : [2, ...inputShape];
  const model = create(name, { quantizable: true }) as QuantizableModel;
  model.train().fuseModel();
  const prepared = prepareQat(withQConfig(model), { inplace: true });
  const sgd = new SGD(prepared.parameters(), { lr: 1e-3 });
  prepared(rand(shape)).square().mean().backward();
  sgd.step();
  expect(prepared.parameters().filter((p) => !p.grad)).toEqual([]);
  const converted = convert(prepared.eval());
  const left = converted
    .modules()
    .filter((m) => /^(Conv(ReLU|Bn\w*)?[123]d|Linear\w*|BatchNorm.*|FloatFunctional)$/.test(m.typeName));
  expect(left.map(String)).toEqual([]);
  expect(
    noGrad(() => converted(rand(shape)))
      .numbers()
      .every(Number.isFinite),
  ).toBe(true);
});

function withQConfig<M extends AnyModule>(model: M): M {
  model.qconfig = getDefaultQatQConfig();
  return model;
}
