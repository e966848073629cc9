import { describe, expect, test } from 'vitest';
import {
  add,
  cat,
  manualSeed,
  models,
  nn,
  noGrad,
  quantization,
  rand,
  relu,
  suite,
  type Tensor,
} from '../../src/index.ts';
import { noiseTensor } from '../support/hashed-weights.ts';

const {
  convertFx,
  convertToReferenceFx,
  defaultDynamicQConfig,
  fuseFx,
  getDefaultQatQConfigMapping,
  getDefaultQConfigMapping,
  PrepareCustomConfig,
  prepareFx,
  prepareQatFx,
  QConfigMapping,
} = quantization;

/** Two convolutions around a residual addition, a functional relu, a concatenation and a pool: no stubs. */
class Plain extends nn.Module {
  conv1 = new nn.Conv2d(3, 8, 3, { padding: 1 });
  bn1 = new nn.BatchNorm2d(8);
  conv2 = new nn.Conv2d(8, 8, 3, { padding: 1 });
  pool = new nn.AdaptiveAvgPool2d(1);
  fc = new nn.Linear(16, 4);

  forward(x: Tensor): Tensor {
    const y = relu(this.bn1(this.conv1(x)));
    const z = relu(add(this.conv2(y), y));
    return this.fc(this.pool(cat([y, z], 1)).flatten(1));
  }
}

function calibrated(
  mapping = getDefaultQConfigMapping(),
  options: quantization.PrepareFxOptions = {},
): ReturnType<typeof prepareFx<[Tensor], Tensor>> {
  manualSeed(3);
  const prepared = prepareFx(new Plain().eval(), mapping, [rand([2, 3, 8, 8])], options);
  noGrad(() => prepared(noiseTensor([4, 3, 8, 8], 1)));
  return prepared;
}

const targets = (m: { graph: { nodes: readonly { targetName: string }[] } }): string[] =>
  m.graph.nodes.map((n) => n.targetName);

describe('graph mode', () => {
  test('quantizes additions, concatenations and functional relus of a model without stubs', () => {
    const int8 = convertFx(calibrated());
    expect(targets(int8)).toEqual([
      'x',
      'conv1_input_scale_0',
      'conv1_input_zero_point_0',
      'quantizePerTensor',
      'conv1',
      'conv2',
      '_scale_0',
      '_zero_point_0',
      'quantized::add_relu',
      'cat',
      'pool',
      'flatten',
      'fc',
      'dequantize',
      'output',
    ]);
    expect(int8.getSubmodule('conv1').typeName).toBe('QuantizedConvReLU2d');
  });

  test('the reference graph computes what the int8 graph computes', () => {
    const prepared = calibrated();
    const x = noiseTensor([4, 3, 8, 8], 2);
    const [a, b] = noGrad(() => [convertToReferenceFx(prepared)(x), convertFx(prepared)(x)]);
    expect(suite.maxError(a, b)).toBe(0);
  });

  test('leaves the model, and the prepared graph, as they were', () => {
    manualSeed(3);
    const model = new Plain().eval();
    const before = model.toString();
    const prepared = prepareFx(model, getDefaultQConfigMapping(), [rand([2, 3, 8, 8])]);
    const code = prepared.code;
    noGrad(() => prepared(noiseTensor([4, 3, 8, 8], 1)));
    convertFx(prepared);
    expect(model.toString()).toBe(before);
    expect(prepared.code).toBe(code);
  });

  test('null leaves a float island, in PyTorch too: what follows is quantized again', () => {
    const int8 = convertFx(calibrated(getDefaultQConfigMapping().setModuleName('conv2', null)));
    expect(int8.getSubmodule('conv2').typeName).toBe('Conv2d');
    expect(targets(int8)).toContain('quantized::add_relu');
  });

  test('an operator goes by its name, its module and its order', () => {
    const byName = convertFx(
      calibrated(getDefaultQConfigMapping().setObjectType('add', null).setObjectType('relu', null)),
    );
    expect(targets(byName)).not.toContain('quantized::add_relu');
    expect(targets(byName)).toContain('add');
    const byOrder = convertFx(
      calibrated(getDefaultQConfigMapping().setModuleNameObjectTypeOrder('', 'cat', 0, null)),
    );
    expect(targets(byOrder)).toContain('cat');
    expect(targets(byOrder)).toContain('quantized::add_relu');
  });

  test('a module that a row of your own fuses goes by the class it begins with, as those of the table do', () => {
    class LinearSigmoid extends nn.Sequential {}
    const row: quantization.Pattern = {
      name: 'linear + sigmoid',
      sequence: [nn.Linear, nn.Sigmoid],
      fuse: (...parts) => new LinearSigmoid(...parts),
      float: LinearSigmoid,
      observe: 'output',
      output: 'own',
      static: nn.quantized.Linear,
    };
    const mapping = new QConfigMapping().setObjectType(nn.Linear, quantization.defaultQConfig);
    const layers = [new nn.Linear(4, 4), new nn.Sigmoid(), new nn.Linear(4, 3), new nn.ReLU(), new nn.ELU()];
    const model = new nn.Sequential(...layers).eval();
    const prepared = prepareFx(model, mapping, [rand([2, 4])], { patterns: [row] });
    const found = ['0', '2', '4'].map((path) => prepared.getSubmodule(path));
    expect(found.map((m) => m.typeName)).toEqual(['LinearSigmoid', 'LinearReLU', 'ELU']);
    expect(found.map((m) => m.qconfig)).toEqual([
      quantization.defaultQConfig,
      quantization.defaultQConfig,
      null,
    ]);
    const observed = prepared.graph.nodes.filter((n) => n.targetName.startsWith('activation_post_process'));
    expect(observed.map((n) => (n.args[0] as { targetName: string }).targetName)).toEqual([
      'input_0',
      '0',
      '2',
    ]);
  });

  test('a mapping given to convert takes quantization back', () => {
    const prepared = calibrated();
    const int8 = convertFx(prepared, {
      qconfigMapping: getDefaultQConfigMapping().setModuleName('fc', null),
    });
    expect(int8.getSubmodule('fc').typeName).toBe('Linear');
    expect(int8.getSubmodule('conv1').typeName).toBe('QuantizedConvReLU2d');
  });

  test('dynamic qconfigs give dynamic layers and place nothing on outputs', () => {
    const mapping = new QConfigMapping().setObjectType(nn.Linear, defaultDynamicQConfig);
    const int8 = convertFx(calibrated(mapping));
    expect(int8.getSubmodule('fc').typeName).toBe('DynamicQuantizedLinear');
    expect(targets(int8)).toContain('add');
  });

  test('a state dict goes into a skeleton', () => {
    const trained = convertFx(calibrated());
    manualSeed(9);
    const skeleton = convertFx(
      prepareFx(new Plain().eval(), getDefaultQConfigMapping(), [rand([2, 3, 8, 8])]),
      {
        allowUnobserved: true,
      },
    );
    skeleton.loadStateDict(trained.stateDict());
    const x = noiseTensor([4, 3, 8, 8], 2);
    expect(
      suite.maxError(
        noGrad(() => skeleton(x)),
        noGrad(() => trained(x)),
      ),
    ).toBe(0);
  });

  test('training through quantization: what is trained is what int8 computes', () => {
    manualSeed(3);
    const prepared = prepareQatFx(new Plain().train(), getDefaultQatQConfigMapping(), [rand([2, 3, 8, 8])]);
    for (let i = 0; i < 3; i++)
      prepared(noiseTensor([4, 3, 8, 8], i))
        .sum()
        .backward();
    expect(prepared.parameters().every((p) => p.grad !== null)).toBe(true);
    prepared.eval();
    prepared.apply(quantization.disableObserver);
    const int8 = convertFx(prepared);
    const x = noiseTensor([4, 3, 8, 8], 2);
    const [simulated, computed] = noGrad(() => [prepared(x), int8(x)]);
    expect(suite.sqnr(simulated, computed)).toBeGreaterThan(35);
    expect(int8.getSubmodule('conv1').typeName).toBe('QuantizedConvReLU2d');
  });

  test('a layer that saw no data is refused by name', () => {
    manualSeed(3);
    const prepared = prepareFx(new Plain().eval(), getDefaultQConfigMapping(), [rand([2, 3, 8, 8])]);
    expect(() => convertFx(prepared)).toThrow(/never ran/);
    expect(() => convertFx(fuseFx(new Plain().eval(), [rand([2, 3, 8, 8])]))).toThrow(/prepareFx/);
  });

  test('strict refuses what would stay float for want of a form', () => {
    class Odd extends nn.Module {
      fc = new nn.Linear(4, 4);
      act = new nn.GELU();
      forward(x: Tensor): Tensor {
        return this.act(this.fc(x));
      }
    }
    const prepare = (strict: boolean, mapping = getDefaultQConfigMapping()): unknown =>
      prepareFx(new Odd().eval(), mapping, [rand([2, 4])], { strict });
    expect(() => prepare(true)).toThrow(/act \(act\): no row/);
    expect(() => prepare(true, getDefaultQConfigMapping().setObjectType(nn.GELU, null))).not.toThrow();
    expect(() => prepare(false)).not.toThrow();
  });

  test('quantized inputs and outputs', () => {
    const prepared = calibrated(getDefaultQConfigMapping(), {
      prepareCustomConfig: new PrepareCustomConfig()
        .setInputQuantizedIndexes([0])
        .setOutputQuantizedIndexes([0]),
    });
    const int8 = convertFx(prepared);
    const x = quantization.MinMaxObserver.withArgs()();
    x(noiseTensor([4, 3, 8, 8], 1));
    const { scale, zeroPoint } = x.calculateQParams();
    const q = noiseTensor([4, 3, 8, 8], 2);
    const given = noGrad(() => int8(quantizeLike(q, scale.item(), zeroPoint.item())));
    expect(given.isQuantized).toBe(true);
    expect(targets(int8)).not.toContain('dequantize');
  });

  test('a standalone module is quantized on its own', () => {
    class Outer extends nn.Module {
      conv = new nn.Conv2d(3, 3, 1);
      inner = new Plain();
      forward(x: Tensor): Tensor {
        return this.inner(this.conv(x));
      }
    }
    manualSeed(3);
    const custom = new PrepareCustomConfig().setStandaloneModuleName('inner', {
      exampleInputs: [rand([2, 3, 8, 8])],
      prepareCustomConfig: new PrepareCustomConfig()
        .setInputQuantizedIndexes([0])
        .setOutputQuantizedIndexes([0]),
    });
    const prepared = prepareFx(new Outer().eval(), getDefaultQConfigMapping(), [rand([2, 3, 8, 8])], {
      prepareCustomConfig: custom,
    });
    noGrad(() => prepared(noiseTensor([4, 3, 8, 8], 1)));
    const int8 = convertFx(prepared);
    expect(targets(int8)).toEqual([
      'x',
      'conv_input_scale_0',
      'conv_input_zero_point_0',
      'quantizePerTensor',
      'conv',
      'inner',
      'dequantize',
      'output',
    ]);
    expect(int8.getSubmodule('inner.conv1').typeName).toBe('QuantizedConvReLU2d');
    expect(noGrad(() => int8(noiseTensor([4, 3, 8, 8], 2))).shape).toEqual([4, 4]);
  });

  test('non-traceable modules stay one float node; attributes are kept', () => {
    class Reader extends nn.Module {
      fc = new nn.Linear(4, 4);
      forward(x: Tensor): Tensor {
        return this.fc(x.max().item() > 0 ? x : x.neg());
      }
    }
    class Outer extends nn.Module {
      label = 'mine';
      fc = new nn.Linear(4, 4);
      reader = new Reader();
      forward(x: Tensor): Tensor {
        return this.reader(this.fc(x));
      }
    }
    const model = new Outer().eval();
    const prepare = (
      custom: quantization.PrepareCustomConfig,
    ): ReturnType<typeof prepareFx<[Tensor], Tensor>> =>
      prepareFx(model, getDefaultQConfigMapping(), [rand([2, 4])], { prepareCustomConfig: custom });
    expect(() => prepare(new PrepareCustomConfig())).toThrow(/item\(\).*Reader/s);
    const prepared = prepare(
      new PrepareCustomConfig().setNonTraceableModuleClasses([Reader]).setPreservedAttributes(['label']),
    );
    noGrad(() => prepared(noiseTensor([4, 4], 1)));
    const int8 = convertFx(prepared);
    expect(int8.getSubmodule('reader.fc').typeName).toBe('Linear');
    expect(int8.getSubmodule('fc').typeName).toBe('QuantizedLinear');
    expect((int8 as unknown as Outer).label).toBe('mine');
  });

  test('SqueezeNet: float, reference and int8 agree as far as eight bits can', () => {
    manualSeed(1);
    const model = models.squeezenet1_1({ numClasses: 10 }).eval();
    const prepared = prepareFx(model, getDefaultQConfigMapping(), [rand([1, 3, 33, 33])]);
    const x = rand([2, 3, 33, 33]);
    noGrad(() => prepared(x));
    const reference = convertToReferenceFx(prepared);
    const int8 = quantization.lowerToQuantized(reference);
    const [f, r, q] = noGrad(() => [model(x), reference(x), int8(x)]);
    console.log(
      `SqueezeNet: int8 against float ${suite.sqnr(f, q).toFixed(1)} dB, reference against int8 max ${suite.maxError(r, q)}`,
    );
    expect(suite.sqnr(f, q)).toBeGreaterThan(15);
    expect(suite.sqnr(r, q)).toBeGreaterThan(30);
  });
});

function quantizeLike(x: Tensor, scale: number, zeroPoint: number): Tensor {
  return noGrad(() => new nn.quantized.Quantize(scale, zeroPoint, 'quint8')(x));
}
