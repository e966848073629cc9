import { afterAll, describe, expect, test } from 'vitest';
import '../../src/autograd/index.ts';
import { Generator, manualSeed } from '../../src/core/random.ts';
import { create, modelInfo, type QuantizableModel } from '../../src/models/index.ts';
import { Module } from '../../src/nn/module.ts';
import * as nn from '../../src/nn-public.ts';
import { dispatch, noGrad } from '../../src/ops/index.ts';
import { SGD } from '../../src/optim/index.ts';
import { FakeQuantizeBase } from '../../src/quantization/fake-quantize/fake-quantize.ts';
import {
  convert,
  DeQuantStub,
  defaultDynamicQatQConfig,
  defaultEmbeddingQatQConfig,
  defaultEmbeddingQatQConfig4bit,
  defaultPerChannelSymmetricQnnpackQatQConfig,
  defaultSymmetricQnnpackQatQConfig,
  disableFakeQuant,
  disableObserver,
  FloatFunctional,
  fuseModulesQat,
  getDefaultQatQConfig,
  prepareQat,
  type QConfig,
  QuantStub,
  QuantWrapper,
} from '../../src/quantization/index.ts';
import { randint, randn, tensor } from '../../src/tensor/creation.ts';
import { Tensor } from '../../src/tensor/tensor.ts';

const QCONFIGS: Readonly<Record<string, QConfig>> = {
  wasm: getDefaultQatQConfig(),
  'wasm, version 0': getDefaultQatQConfig('wasm', 0),
  fbgemm: getDefaultQatQConfig('fbgemm'),
  qnnpack: getDefaultQatQConfig('qnnpack'),
  symmetric: defaultPerChannelSymmetricQnnpackQatQConfig,
};

const notes: string[] = [];
const total = { values: 0, differing: 0 };
afterAll(() => {
  notes.push(`in all ${total.values} values compared, ${total.differing} differ`);
  console.log(`evaluated while fake-quantized against converted:\n  ${notes.join('\n  ')}`);
});

/** Convolutions with and without batch norm, depth-wise and grouped; a residual; linear layers with and without batch norm. */
class Residual extends Module {
  quant: Module = new QuantStub();
  conv1: Module = new nn.Conv2d(3, 16, 3, { padding: 1, bias: false });
  bn1: Module = new nn.BatchNorm2d(16);
  relu1: Module = new nn.ReLU();
  depthwise: Module = new nn.Conv2d(16, 16, 3, { padding: 1, groups: 16 });
  bn2: Module = new nn.BatchNorm2d(16);
  skip: FloatFunctional = new FloatFunctional();
  pool: Module = new nn.MaxPool2d(2);
  grouped: Module = new nn.Conv2d(16, 24, 3, { stride: 2, groups: 4 });
  relu3: Module = new nn.ReLU();
  conv4: Module = new nn.Conv2d(24, 8, 1);
  average: Module = new nn.AvgPool2d(2, { stride: 1 });
  fc1: Module = new nn.Linear(32, 32);
  bn4: Module = new nn.BatchNorm1d(32);
  fc2: Module = new nn.Linear(32, 16);
  relu5: Module = new nn.ReLU();
  fc3: Module = new nn.Linear(16, 10);
  dequant: Module = new DeQuantStub();

  forward(image: Tensor): Tensor {
    let x = this.relu1(this.bn1(this.conv1(this.quant(image))));
    x = this.pool(this.skip.addRelu(this.bn2(this.depthwise(x)), x));
    x = this.average(this.conv4(this.relu3(this.grouped(x)))).flatten(1);
    return this.dequant(this.fc3(this.relu5(this.fc2(this.bn4(this.fc1(x))))));
  }

  static make(): Module {
    return fuseModulesQat(new Residual(), [
      ['conv1', 'bn1', 'relu1'],
      ['depthwise', 'bn2'],
      ['grouped', 'relu3'],
      ['fc1', 'bn4'],
      ['fc2', 'relu5'],
    ]);
  }
}

/** What has no form of its own for training: activations, normalizations, transposed convolutions, plain operators. */
class Assorted extends Module {
  quant: Module = new QuantStub();
  conv: Module = new nn.Conv2d(3, 8, 3, { padding: 1, paddingMode: 'reflect' });
  hardswish: Module = new nn.Hardswish();
  up: Module = new nn.ConvTranspose2d(8, 8, 2, { stride: 2 });
  bn: Module = new nn.BatchNorm2d(8);
  relu: Module = new nn.ReLU();
  leaky: Module = new nn.LeakyReLU(0.1);
  norm: Module = new nn.GroupNorm(2, 8);
  sigmoid: Module = new nn.Sigmoid();
  gate: FloatFunctional = new FloatFunctional();
  join: FloatFunctional = new FloatFunctional();
  shift: FloatFunctional = new FloatFunctional();
  squeeze: Module = new nn.AdaptiveAvgPool2d(1);
  last: Module = new nn.Linear(16, 6);
  dequant: Module = new DeQuantStub();

  forward(image: Tensor): Tensor {
    let x = this.hardswish(this.conv(this.quant(image)));
    x = this.relu(this.bn(this.up(x)));
    const gated = this.gate.mul(x, this.sigmoid(x));
    x = this.join.cat([this.leaky(gated.clamp(0, 2)), this.norm(x)], 1);
    x = nn.functional.interpolate(x, { scaleFactor: 2, mode: 'nearest' });
    x = this.shift.addScalar(x.permute(0, 2, 3, 1).permute(0, 3, 1, 2), 0.5);
    return this.dequant(this.last(this.squeeze(x).flatten(1)));
  }

  /** A transposed convolution takes one scale for its whole weight. */
  static make(perTensor: QConfig): Module {
    const model = new Assorted();
    model.up.qconfig = perTensor;
    return model;
  }
}

/** Two quantized islands, between them a softmax in float. */
class Islands extends Module {
  first: Module = new QuantWrapper(new nn.Sequential(new nn.Conv1d(4, 8, 3), new nn.ReLU()));
  second: Module = new QuantWrapper(new nn.Linear(8, 5));
  forward(x: Tensor): Tensor {
    return this.second(this.first(x).softmax(1).transpose(1, 2));
  }
}

class Tagger extends Module {
  quant: Module = new QuantStub();
  lstm: nn.LSTM = new nn.LSTM(8, 12, { numLayers: 2, bidirectional: true });
  fc: Module = new nn.Linear(24, 3);
  dequant: Module = new DeQuantStub();
  forward(x: Tensor): Tensor {
    return this.dequant(this.fc(this.lstm(this.quant(x))[0]));
  }
}

class Attending extends Module {
  quant: Module = new QuantStub();
  attention: nn.MultiheadAttention;
  fc: Module = new nn.Linear(8, 3);
  dequant: Module = new DeQuantStub();
  constructor(options: nn.MultiheadAttentionOptions) {
    super();
    this.attention = new nn.MultiheadAttention(8, 2, options);
  }
  forward(x: Tensor): Tensor {
    const q = this.quant(x);
    return this.dequant(this.fc(this.attention(q, q, q)[0]));
  }
}

/** A model after a few steps of training on random labels, in evaluation mode. */
function trained(model: Module, qconfig: QConfig, shape: readonly number[], steps = 5): Module {
  model.qconfig = qconfig;
  const prepared = prepareQat(model, { inplace: true });
  const sgd = new SGD(prepared.parameters(), { lr: 0.01, momentum: 0.9 });
  for (let step = 0; step < steps; step++) {
    sgd.zeroGrad();
    prepared(randn(shape)).square().mean().backward();
    sgd.step();
  }
  return prepared.eval();
}

/** Every output of a quantized layer, and the model's own. */
function outputs(model: Module, paths: readonly string[], x: Tensor): Map<string, Tensor> {
  const all = new Map<string, Tensor>();
  const handles = paths.map((path) =>
    model.getSubmodule(path).registerForwardHook((_m, _x, y) => {
      if (y instanceof Tensor) all.set(path, y.isQuantized ? y.dequantize() : y.clone());
      return undefined;
    }),
  );
  all.set(
    '',
    noGrad(() => model(x)),
  );
  for (const handle of handles) handle.remove();
  return all;
}

/** Every value, of every layer and of the whole, that the prepared model predicts and the converted one computes. */
function compare(name: string, prepared: Module, x: Tensor): void {
  const rounding = prepared
    .namedModules()
    .filter(([, m]) => m.activationPostProcess instanceof FakeQuantizeBase && !(m instanceof FloatFunctional))
    .map(([path]) => path);
  const predicted = outputs(prepared, rounding, x);
  // Evaluating moves the observers; what is converted is what the last call used.
  const converted = convert(prepared);
  const computed = outputs(converted, rounding, x);
  let [values, differing] = [0, 0];
  expect(computed.size).toBe(predicted.size);
  for (const [path, y] of computed) {
    const simulated = predicted.get(path)!;
    expect(simulated.dtype).toBe('float32');
    const [a, b] = [simulated.numbers(), y.numbers()];
    expect(a.length).toBe(b.length);
    values += a.length;
    for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i]) && a[i] !== b[i]) differing++;
  }
  total.values += values;
  total.differing += differing;
  notes.push(`${name}: ${values} values of ${computed.size - 1} layers and the whole, ${differing} differ`);
  expect(new Set(computed.get('')!.numbers()).size).toBeGreaterThan(4);
  expect(differing, name).toBe(0);
}

const input = (shape: readonly number[]): Tensor => randn(shape, { generator: new Generator(77) });

describe('a model evaluated while fake-quantized predicts what its conversion computes', () => {
  test.each(Object.entries(QCONFIGS))('layers that are trained, %s', (name, qconfig) => {
    manualSeed(5);
    compare(
      `trained layers, ${name}`,
      trained(Residual.make(), qconfig, [8, 3, 16, 16]),
      input([32, 3, 16, 16]),
    );
  });

  test.each(Object.entries(QCONFIGS))(
    'layers that are not, and operators between them, %s',
    (name, qconfig) => {
      manualSeed(6);
      const perTensor = name === 'symmetric' ? defaultSymmetricQnnpackQatQConfig : QCONFIGS.qnnpack;
      compare(
        `other layers, ${name}`,
        trained(Assorted.make(perTensor), qconfig, [4, 3, 10, 10]),
        input([8, 3, 10, 10]),
      );
    },
  );

  test('with observers on or off', () => {
    manualSeed(7);
    const prepared = trained(Residual.make(), QCONFIGS.wasm, [8, 3, 16, 16]);
    compare('frozen observers', prepared.apply(disableObserver), input([8, 3, 16, 16]));
  });

  test('islands in a float model', () => {
    manualSeed(8);
    compare('islands', trained(new Islands(), QCONFIGS.wasm, [4, 4, 12]), input([4, 4, 12]));
  });

  test('the parts of an LSTM', () => {
    manualSeed(9);
    // Every step of time moves the observers of its parts: only once they rest is there one model to predict.
    const prepared = trained(new Tagger(), QCONFIGS.wasm, [5, 2, 8]).apply(disableObserver);
    compare('LSTM', prepared, input([7, 3, 8]));
  });

  test.each([{}, { addBiasKv: true, addZeroAttn: true }])('the parts of an attention, %j', (options) => {
    manualSeed(10);
    compare(
      `attention ${JSON.stringify(options)}`,
      trained(new Attending(options), QCONFIGS.wasm, [5, 2, 8]),
      input([7, 3, 8]),
    );
  });

  test.each([
    ['8 bits', defaultEmbeddingQatQConfig],
    ['4 bits', defaultEmbeddingQatQConfig4bit],
  ] as const)('embeddings of %s', (_bits, qconfig) => {
    manualSeed(11);
    const model = new nn.Sequential(new nn.Embedding(50, 12));
    model.qconfig = qconfig;
    const prepared = prepareQat(model);
    const words = randint(0, 50, [6, 9]);
    prepared(words);
    prepared.eval();
    const [a, b] = [prepared(words).numbers(), convert(prepared)(words).numbers()];
    total.values += a.length;
    expect(b).toEqual(a);
    expect(new Set(a).size).toBeGreaterThan(50);
  });

  test('layers trained for dynamic quantization', () => {
    manualSeed(16);
    const model = new nn.Sequential(new nn.Linear(24, 32), new nn.Tanh(), new nn.Linear(32, 9));
    const prepared = trained(model, defaultDynamicQatQConfig, [6, 24]);
    const x = input([64, 24]);
    const [a, b] = noGrad(() => [prepared(x).numbers(), convert(prepared)(x).numbers()]);
    expect(convert(prepared).children()[0].typeName).toBe('DynamicQuantizedLinear');
    total.values += a.length;
    expect(b).toEqual(a);
  });

  test.each(['mlp', 'lenet', 'dsCnn', 'resnet20', 'squeezenet1_1', 'mobilenetV2'])('%s', (name) => {
    manualSeed(12);
    const { inputShape, input: kind } = modelInfo(name);
    const size = kind === 'image' ? inputShape.map((s, d) => (d === 0 ? s : Math.min(s, 64))) : inputShape;
    const model = create(name, { quantizable: true }) as QuantizableModel;
    model.train().fuseModel();
    compare(name, trained(model, QCONFIGS.wasm, [2, ...size], 2), input([2, ...size]));
  });
});

describe('the simulation itself', () => {
  test('stays float arithmetic while training, and where rounding is switched off', () => {
    manualSeed(13);
    const prepared = trained(Residual.make(), QCONFIGS.wasm, [8, 3, 16, 16]).apply(disableObserver);
    const x = input([64, 3, 16, 16]);
    const exact = noGrad(() => prepared(x));
    prepared.apply(nn.intrinsic.qat.freezeBnStats).train();
    const simulated = noGrad(() => prepared(x));
    const step = (prepared as Residual).fc3.activationPostProcess!.calculateQParams().scale.item();
    const steps = Array.from(exact.numbers(), (v, i) => Math.round((v - simulated.numbers()[i]) / step));
    // No average pool rounds in training: the two differ, by little.
    expect(steps.some((s) => s !== 0)).toBe(true);
    expect(Math.max(...steps.map(Math.abs))).toBeLessThanOrEqual(3);
    prepared.eval().apply(disableFakeQuant);
    const unrounded = noGrad(() => prepared(x)).numbers();
    expect(new Set(unrounded).size).toBeGreaterThan(600);
  });

  test('keeps its gradients', () => {
    manualSeed(14);
    const prepared = trained(Residual.make(), QCONFIGS.wasm, [8, 3, 16, 16]).apply(disableObserver);
    const gradients = (): Float32Array[] => {
      prepared.zeroGrad();
      const x = input([4, 3, 16, 16]);
      x.requiresGrad = true;
      prepared(x).sum().backward();
      return [x.grad!, ...prepared.parameters().map((p) => p.grad!)].map((g) =>
        Float32Array.from(g.numbers()),
      );
    };
    const evaluated = gradients();
    prepared.apply(nn.intrinsic.qat.freezeBnStats).train();
    const training = gradients();
    expect(evaluated.length).toBe(training.length);
    evaluated.forEach((g, i) => {
      const size = Math.hypot(...training[i]);
      expect(size).toBeGreaterThan(0);
      expect(Math.hypot(...g.map((v, j) => v - training[i][j]))).toBeLessThan(0.05 * size);
    });
  });

  test('a tensor changed in place stands for what was written', () => {
    manualSeed(15);
    class Changed extends Module {
      quant: Module = new QuantStub();
      fc: Module = new nn.Linear(6, 6);
      dequant: Module = new DeQuantStub();
      forward(x: Tensor): Tensor {
        const q = this.quant(x);
        q.relu_();
        return this.dequant(this.fc(q));
      }
    }
    const prepared = trained(new Changed(), QCONFIGS.wasm, [4, 6]);
    compare('changed in place', prepared, input([16, 6]));
    const filled = prepared as Changed;
    const y = noGrad(() => filled.fc(filled.quant(tensor([[1, 2, 3, 4, 5, 6]])).fill_(0)));
    const bias = dispatch(
      'linear',
      tensor([[0, 0, 0, 0, 0, 0]]),
      tensor(new Array(6).fill(new Array(6).fill(0))),
      (filled.fc as nn.Linear).bias,
    );
    const step = filled.fc.activationPostProcess!.calculateQParams().scale.item();
    y.numbers().forEach((v, i) => {
      expect(Math.abs(v - bias.numbers()[i])).toBeLessThanOrEqual(step);
    });
  });
});
