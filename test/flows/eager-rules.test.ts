import { beforeEach, describe, expect, test } from 'vitest';
import '../../src/autograd/index.ts';
import { ArgumentError, DTypeError, QuantizationError, type ZeropointError } from '../../src/core/errors.ts';
import { manualSeed } from '../../src/core/random.ts';
import * as nn from '../../src/nn/index.ts';
import { type AnyModule, Module } from '../../src/nn/module.ts';
import { mul, noGrad, quantizePerTensor, sigmoid } from '../../src/ops/index.ts';
import {
  convert,
  convertDbr,
  DeQuantStub,
  defaultDebugQConfig,
  defaultDynamicQConfig,
  defaultQConfig,
  disableObserver,
  FloatFunctional,
  float16StaticQConfig,
  floatQParamsWeightOnlyQConfig,
  fuseModules,
  fuseModulesQat,
  getDefaultQatQConfig,
  getDefaultQConfig,
  type Pattern,
  PerChannelMinMaxObserver,
  prepare,
  prepareDbr,
  prepareQat,
  propagateQConfig,
  QConfigMapping,
  QuantStub,
  QuantWrapper,
  quantize,
  quantizeDynamic,
  quantizeQat,
} from '../../src/quantization/index.ts';
import { coverage, sqnr } from '../../src/suite/index.ts';
import { rand, randn, tensor } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

const types = (model: AnyModule): Record<string, string> =>
  Object.fromEntries(model.namedModules().map(([path, m]) => [path, m.typeName]));

const reasons = (model: AnyModule): Record<string, string> =>
  Object.fromEntries(coverage(model).map((r) => [r.path, r.reason]));

function thrown(run: () => unknown): ZeropointError {
  try {
    run();
  } catch (e) {
    return e as ZeropointError;
  }
  throw new Error('nothing was thrown');
}

function calibrated(model: AnyModule, x: Tensor): AnyModule {
  const prepared = prepare(model);
  noGrad(() => prepared(x));
  return prepared;
}

/** Convolution statically, then an LSTM and a linear layer on floats. */
class Mixed extends Module {
  quant: AnyModule = new QuantStub();
  conv: AnyModule = new nn.Conv1d(3, 8, 3);
  skip: any = new FloatFunctional();
  dequant: AnyModule = new DeQuantStub();
  tail: any = new nn.Sequential(new nn.Linear(8, 6), new nn.ReLU());
  lstm: any = new nn.LSTM(6, 5);
  sum: any = new FloatFunctional();

  forward(x: Tensor): Tensor {
    const c = this.conv(this.quant(x));
    const y = this.dequant(this.skip.add(c, c)).permute(2, 0, 1);
    const t = this.tail(y);
    return this.lstm(this.sum.add(t, t))[0];
  }
}

beforeEach(() => {
  manualSeed(11);
});

describe('static and dynamic forms in one model', () => {
  const x = (): Tensor => rand([2, 3, 12]);

  test('convert makes each, in the same call', () => {
    const model = new Mixed().eval();
    model.qconfig = getDefaultQConfig();
    for (const part of [model.tail, model.lstm, model.sum]) part.qconfig = defaultDynamicQConfig;
    const prepared = prepare(model, { strict: true });
    expect(types(prepared)).not.toHaveProperty('sum.activation_post_process', 'HistogramObserver');
    const input = x();
    noGrad(() => prepared(input));
    const int8 = convert(prepared, { strict: true });
    expect(types(int8)).toMatchObject({
      quant: 'Quantize',
      conv: 'QuantizedConv1d',
      skip: 'QFunctional',
      dequant: 'DeQuantize',
      'tail.0': 'DynamicQuantizedLinear',
      lstm: 'DynamicQuantizedLSTM',
      sum: 'FloatFunctional',
    });
    const [want, got] = noGrad(() => [model(input), int8(input)]);
    expect(sqnr(want, got)).toBeGreaterThan(25);
  });

  test('is what quantizing the parts one after the other gives', () => {
    const model = new Mixed().eval();
    const input = x();
    const dict = { '': getDefaultQConfig(), tail: null, lstm: null, sum: null };
    const inSteps = quantizeDynamic(quantize(model, (m) => m(input), { qconfigDict: dict }));
    const atOnce = quantize(model, (m) => m(input), {
      qconfigDict: { ...dict, tail: defaultDynamicQConfig, lstm: defaultDynamicQConfig },
    });
    expect(types(atOnce)).toEqual(types(inSteps));
    expect(noGrad(() => atOnce(input)).toArray()).toEqual(noGrad(() => inSteps(input)).toArray());
  });
});

describe('qconfig dictionaries', () => {
  const model = (): AnyModule =>
    new QuantWrapper(new nn.Sequential(new nn.Linear(4, 4), new nn.Linear(4, 3))).eval();

  test('the empty name stands for the whole model, names and classes for parts', () => {
    const x = rand([8, 4]);
    const byName = quantize(model(), (m) => m(x), { qconfigDict: { '': defaultQConfig } });
    expect(types(byName)).toMatchObject({ quant: 'Quantize', 'module.1': 'QuantizedLinear' });
    const byClass = prepare(model(), {
      qconfigDict: new Map<any, any>([
        [QuantStub, defaultQConfig],
        [nn.Linear, defaultQConfig],
        ['module.1', null],
      ]),
    });
    expect(byClass.getSubmodule('module.0').activationPostProcess).toBeDefined();
    expect(byClass.getSubmodule('module.1').activationPostProcess).toBeUndefined();
  });

  test('what a module has of its own comes first', () => {
    const m = model();
    m.getSubmodule('module.0').qconfig = null;
    const int8 = quantize(m, (p) => p(rand([8, 4])), {
      qconfigDict: { '': null, quant: defaultQConfig, 'module.0': defaultQConfig },
    });
    expect(types(int8)).toMatchObject({ quant: 'Quantize', 'module.0': 'Linear', 'module.1': 'Linear' });
  });

  test('hold for training too', () => {
    const prepared = prepareQat(model().train(), { qconfigDict: { module: getDefaultQatQConfig() } });
    expect(prepared.getSubmodule('module.0').activationPostProcess).toBeDefined();
    expect(prepared.getSubmodule('quant').activationPostProcess).toBeUndefined();
  });

  test('a name that is not there is an error', () => {
    const e = thrown(() => prepare(model(), { qconfigDict: { '': defaultQConfig, modul: null } }));
    expect(e).toBeInstanceOf(ArgumentError);
    expect(e.message).toMatch(/'modul'/);
  });
});

/** x · sigmoid(fc(x)): a product inside of a layer, which eager mode cannot observe. */
class Gate extends Module {
  fc: AnyModule = new nn.Linear(6, 6);
  forward(x: Tensor): Tensor {
    return mul(x, sigmoid(this.fc(x)));
  }
}

class ObservedGate extends Module {
  fc: AnyModule = new nn.Identity();
  sigmoid: AnyModule = new nn.Sigmoid();
  product: any = new FloatFunctional();

  static fromFloat(gate: Gate): ObservedGate {
    const observed = new ObservedGate();
    observed.fc = gate.fc;
    return observed;
  }

  forward(x: Tensor): Tensor {
    return this.product.mul(x, this.sigmoid(this.fc(x)));
  }
}

class QuantizedGate extends ObservedGate {
  static fromObserved(observed: ObservedGate): QuantizedGate {
    return Object.assign(new QuantizedGate(), {
      fc: observed.fc,
      sigmoid: observed.sigmoid,
      product: observed.product,
    });
  }
}

/** One factor per feature. */
class Scale extends Module {
  factors: nn.Parameter = new nn.Parameter(rand([6]));
  forward(x: Tensor): Tensor {
    return mul(x, this.factors);
  }
}

class QuantizedScale extends Module {
  factors: Tensor = tensor([]);
  scale = 1;
  zeroPoint = 0;

  static fromFloat(float: Scale): QuantizedScale {
    const { scale, zeroPoint } = (float.activationPostProcess as any).calculateQParams();
    return Object.assign(new QuantizedScale(), {
      factors: float.factors.detach(),
      scale: scale.item(),
      zeroPoint: zeroPoint.item(),
    });
  }

  forward(x: Tensor): Tensor {
    return quantizePerTensor(mul(x.dequantize(), this.factors), this.scale, this.zeroPoint, 'quint8');
  }
}

/** A layer and the bounds of its results, in one; in int8 it rounds half a step up. */
class ClippedLinear extends Module {
  fc: nn.Linear;
  clip: nn.Hardtanh;

  constructor(fc: nn.Linear, clip: nn.Hardtanh) {
    super();
    this.fc = fc;
    this.clip = clip;
  }

  forward(x: Tensor): Tensor {
    return this.clip(this.fc(x));
  }
}

class ByFunction extends Module {
  fc: nn.Linear = new nn.Linear(6, 6);

  forward(x: Tensor): Tensor {
    return nn.functional.hardtanh(this.fc(x), -0.5, 0.25);
  }
}

class QuantizedClippedLinear extends Module {
  float!: ClippedLinear;
  scale = 1;
  zeroPoint = 0;

  static fromFloat(float: ClippedLinear): QuantizedClippedLinear {
    const { scale, zeroPoint } = (float.activationPostProcess as any).calculateQParams();
    const made = new QuantizedClippedLinear();
    made.float = new ClippedLinear(float.fc, float.clip);
    return Object.assign(made, { scale: scale.item(), zeroPoint: zeroPoint.item() });
  }

  forward(x: Tensor): Tensor {
    const y = this.float(x.dequantize()).add(this.scale / 2);
    return quantizePerTensor(y, this.scale, this.zeroPoint, 'quint8');
  }
}

describe('rows of your own', () => {
  const patterns: readonly Pattern[] = [
    {
      name: 'gate',
      sequence: [Gate],
      float: Gate,
      observe: 'none',
      custom: { observed: ObservedGate, quantized: QuantizedGate },
    },
    { name: 'scale', sequence: [Scale], float: Scale, observe: 'output', static: QuantizedScale },
  ];
  const model = (): AnyModule => new QuantWrapper(new nn.Sequential(new Gate(), new Scale())).eval();

  test('take a module apart, or swap it, in prepare and convert', () => {
    const float = model();
    const x = randn([16, 6]);
    const int8 = quantize(float, (m) => m(x), { patterns, strict: true });
    expect(types(int8)).toMatchObject({
      'module.0': 'QuantizedGate',
      'module.0.fc': 'QuantizedLinear',
      'module.0.product': 'QFunctional',
      'module.1': 'QuantizedScale',
    });
    expect(types(float)).toMatchObject({ 'module.0': 'Gate', 'module.1': 'Scale' });
    const [want, got] = noGrad(() => [float(x), int8(x)]);
    expect(sqnr(want, got)).toBeGreaterThan(25);
    const status = Object.fromEntries(coverage(int8, patterns).map((r) => [r.path, r.status]));
    expect(status).toMatchObject({ 'module.0.fc': 'quantized', 'module.1': 'quantized' });
  });

  test('without them, strict names what would have stayed float', () => {
    const e = thrown(() => quantize(model(), (m) => m(randn([4, 6])), { strict: true }));
    expect(e).toBeInstanceOf(QuantizationError);
    expect(e.modulePath).toBe('module.1');
    expect(e.fix).toMatch(/patterns/);
  });

  test('come before the table’s, and fuse', () => {
    class Fused extends Module {
      fc: AnyModule;
      constructor(fc: AnyModule) {
        super();
        this.fc = fc;
      }
      forward(x: Tensor): Tensor {
        return sigmoid(this.fc(x));
      }
    }
    const row: Pattern = {
      name: 'linear + sigmoid',
      sequence: [nn.Linear, nn.Sigmoid],
      fuse: (fc) => new Fused(fc),
      float: Fused,
      observe: 'output',
    };
    const net = new nn.Sequential(new nn.Linear(4, 2), new nn.Sigmoid()).eval();
    expect(() => fuseModules(net, ['0', '1'])).toThrow(QuantizationError);
    expect(types(fuseModules(net, ['0', '1'], { patterns: [row] }))).toMatchObject({
      '0': 'Fused',
      '1': 'Identity',
    });
  });
});

describe('layers of your own that a row fuses', () => {
  const row: Pattern = {
    name: 'linear + hardtanh',
    sequence: [nn.Linear, nn.Hardtanh],
    fuse: (fc: nn.Linear, clip: nn.Hardtanh) => new ClippedLinear(fc, clip),
    float: ClippedLinear,
    observe: 'output',
    output: 'own',
    static: QuantizedClippedLinear,
  };
  const patterns = [row];

  function fused(x: Tensor): AnyModule {
    manualSeed(3);
    const layers = [
      new nn.Linear(6, 6),
      new nn.Hardtanh({ minVal: -0.5, maxVal: 0.25 }),
      new nn.Linear(6, 3),
      new nn.ReLU(),
    ];
    const net = new QuantWrapper(new nn.Sequential(...layers)).eval();
    noGrad(() => net(x));
    return fuseModules(net, [['module.0', 'module.1']], { patterns });
  }

  test('go by the class they begin with, in mappings', () => {
    const x = randn([8, 6]);
    const qconfigMapping = new QConfigMapping().setObjectType(nn.Linear, defaultQConfig);
    const qconfigsOf = (model: AnyModule): unknown[] =>
      ['module.0', 'module.1', 'module.2', 'module.3'].map((path) => model.getSubmodule(path).qconfig);
    const want = [defaultQConfig, null, defaultQConfig, null];
    const prepared = prepare(fused(x), { qconfigMapping, patterns });
    expect(qconfigsOf(prepared)).toEqual(want);
    expect(prepared.getSubmodule('module.0').activationPostProcess).toBeDefined();
    const byHand = fused(x);
    propagateQConfig(byHand, qconfigMapping, { patterns });
    expect(qconfigsOf(byHand)).toEqual(want);
    const unknown = fused(x);
    propagateQConfig(unknown, qconfigMapping);
    expect(unknown.getSubmodule('module.0').qconfig).toBe(null);
    const dbr = prepareDbr(fused(x), qconfigMapping, [x], { patterns });
    expect(dbr.getSubmodule('module.0').qconfig).toBe(defaultQConfig);
    noGrad(() => dbr(x));
    expect(types(convertDbr(dbr))).toMatchObject({ 'module.0': 'QuantizedClippedLinear' });
  });

  test('are fused define-by-run with the settings of every part', () => {
    manualSeed(3);
    const x = randn([32, 6]);
    const layers = [
      new nn.Linear(6, 6),
      new nn.Hardtanh({ minVal: -0.5, maxVal: 0.25 }),
      new nn.Linear(6, 3),
    ];
    const model = new nn.Sequential(...layers).eval();
    const prepared = prepareDbr(model, { '': defaultQConfig }, [x], { patterns });
    expect(types(prepared)).toMatchObject({ '0': 'ClippedLinear' });
    noGrad(() => prepared(x));
    const int8 = convertDbr(prepared);
    expect(types(int8)).toMatchObject({ '0': 'QuantizedClippedLinear', '2': 'QuantizedLinear' });
    const [want, got] = noGrad(() => [model(x), int8(x)]);
    expect(sqnr(want, got)).toBeGreaterThan(30);
    const alone = prepareDbr(new ByFunction().eval(), { '': defaultQConfig }, [x], { patterns });
    expect(types(alone)).toMatchObject({ fc: 'Linear' });
  });

  test('predict in evaluation what their conversion gives', () => {
    const x = randn([64, 6]);
    const model = fused(x);
    model.qconfig = getDefaultQatQConfig();
    const prepared = prepareQat(model.train(), { patterns });
    noGrad(() => prepared(x));
    prepared.eval().apply(disableObserver);
    const int8 = convert(prepared, { patterns });
    expect(types(int8)).toMatchObject({ 'module.0': 'QuantizedClippedLinear' });
    const [predicted, got] = noGrad(() => [prepared(x), int8(x)]);
    expect(predicted.toArray()).toEqual(got.toArray());
  });
});

describe('nothing is silent', () => {
  /** [what, model with its qconfig, path at fault, reason, fix]: strict refuses it, and without strict coverage tells. */
  const kept: readonly [string, () => AnyModule, string, RegExp, RegExp][] = [
    [
      'a layer without a static form',
      () => new QuantWrapper(new nn.Sequential(new nn.Linear(4, 4), new nn.RNNCell(4, 4))),
      'module.1',
      /only a dynamic one/,
      /defaultDynamicQConfig/,
    ],
    [
      'a class of the user’s own with weights',
      () => new QuantWrapper(new nn.Sequential(new nn.Linear(6, 6), new Scale())),
      'module.1',
      /no quantized form/,
      /patterns/,
    ],
    [
      'a batch norm that was not fused',
      () => new QuantWrapper(new nn.Sequential(new nn.Linear(4, 4), new nn.BatchNorm1d(4))),
      'module.1',
      /on its own/,
      /fuseModules/,
    ],
    [
      'a model without stubs',
      () => new nn.Sequential(new nn.ReLU(), new nn.Linear(4, 4)),
      '1',
      /no QuantStub/,
      /QuantWrapper/,
    ],
  ];

  test.each(kept)('%s', (_, make, path, reason, fix) => {
    const model = make().eval();
    model.qconfig = defaultQConfig;
    const e = thrown(() => prepare(model, { strict: true }));
    expect(e).toBeInstanceOf(QuantizationError);
    expect(e.modulePath).toBe(path);
    expect(e.got).toMatch(reason);
    expect(e.fix).toMatch(fix);
    const prepared = prepare(model);
    expect(reasons(prepared)[path]).toMatch(reason);
    const refused = thrown(() => convert(prepared, { strict: true, allowUnobserved: true }));
    expect([refused.fn, refused.modulePath]).toEqual(['convert', path]);
    expect(reasons(convert(prepared, { allowUnobserved: true }))[path]).toMatch(reason);
    model.getSubmodule(path).qconfig = null;
    expect(reasons(prepare(model))[path]).toBe('its qconfig is null');
    if (path !== '1') expect(() => prepare(model, { strict: true })).not.toThrow();
  });

  test('every such module is listed at once, and training is held to the same', () => {
    const inner = new nn.Sequential(new nn.Linear(4, 4), new nn.BatchNorm1d(4), new nn.RNNCell(4, 4));
    const model = new QuantWrapper(inner);
    model.qconfig = getDefaultQatQConfig();
    for (const run of [
      () => prepareQat(model, { strict: true }),
      () => quantizeQat(model, () => {}, { strict: true }),
    ]) {
      const e = thrown(run);
      expect(e.got).toMatch(/module\.1: BatchNorm1d: .*; module\.2: RNNCell: /);
    }
  });

  test('training with a qconfig that simulates nothing', () => {
    const model = new QuantWrapper(new nn.Linear(4, 4));
    model.qconfig = defaultQConfig;
    const e = thrown(() => prepareQat(model, { strict: true }));
    expect([e.fn, e.modulePath]).toEqual(['prepareQat', 'module']);
    expect(e.fix).toMatch(/getDefaultQatQConfig/);
    expect(reasons(prepareQat(model)).module).toMatch(/no rounding/);
    model.qconfig = getDefaultQatQConfig();
    expect(() => prepareQat(model, { strict: true })).not.toThrow();
  });

  test('quantizeDynamic on a name holds for what it can take', () => {
    const model = new nn.Sequential(new nn.Sequential(new nn.Linear(4, 4), new nn.LayerNorm(4))).eval();
    const e = thrown(() => quantizeDynamic(model, ['0'], { strict: true }));
    expect(e.modulePath).toBe('0.1');
    expect(e.got).toMatch(/no dynamic form/);
    expect(() => quantizeDynamic(model, [nn.Linear], { strict: true })).not.toThrow();
    expect(reasons(quantizeDynamic(model))['0.1']).toBe('no qconfig reached it');
  });

  test('a conversion that would change nothing', () => {
    const model = new nn.Sequential(new nn.Linear(4, 4)).eval();
    const unprepared = thrown(() => convert(model, { strict: true }));
    expect(unprepared).toBeInstanceOf(QuantizationError);
    expect(unprepared.fix).toMatch(/prepare/);
    expect(types(convert(model))).toEqual(types(model));
    const unmatched = thrown(() => quantizeDynamic(model, [nn.LSTM], { strict: true }));
    expect(unmatched).toBeInstanceOf(QuantizationError);
    expect(unmatched.fn).toBe('quantizeDynamic');
  });

  test('a missing stub shows at the first call, by the path of the layer that met floats', () => {
    const model = new nn.Sequential(new nn.Linear(4, 4), new nn.ReLU()).eval();
    const int8 = quantize(model, (m) => m(rand([8, 4])));
    const e = thrown(() => int8(rand([2, 4])));
    expect(e).toBeInstanceOf(DTypeError);
    expect(e.modulePath).toBe('0');
    expect(e.message).toMatch(/QuantStub/);
  });

  test('a quantized tensor in a float-only operator', () => {
    const model = new QuantWrapper(new nn.Sequential(new nn.Linear(4, 4), new nn.LogSoftmax(1))).eval();
    const int8 = quantize(model, (m) => m(rand([8, 4])));
    const e = thrown(() => int8(rand([2, 4])));
    expect(e).toBeInstanceOf(DTypeError);
    expect(e.modulePath).toBe('module.1');
    expect(e.message).toMatch(/DeQuantStub/);
  });

  test('an observer that never ran', () => {
    class Branch extends Module {
      quant: AnyModule = new QuantStub();
      always: AnyModule = new nn.Linear(4, 4);
      never: AnyModule = new nn.Linear(4, 4);
      forward(x: Tensor): Tensor {
        return this.always(this.quant(x));
      }
    }
    const model = new Branch().eval();
    model.qconfig = defaultQConfig;
    const e = thrown(() => convert(calibrated(model, rand([8, 4]))));
    expect(e).toBeInstanceOf(QuantizationError);
    expect(e.modulePath).toBe('never');
    expect(e.fix).toMatch(/calibration data/);
  });

  test.each([
    [
      'a convolution in float16',
      new nn.Conv1d(3, 3, 3),
      float16StaticQConfig,
      /float16/,
      /getDefaultQConfig/,
    ],
    [
      'activations per channel',
      new nn.Conv1d(3, 3, 3),
      { ...defaultQConfig, activation: PerChannelMinMaxObserver.withArgs({ dtype: 'quint8' }) },
      /per_channel_affine/,
      /getDefaultQConfig/,
    ],
    [
      'a qconfig for embeddings',
      new nn.Conv1d(3, 3, 3),
      floatQParamsWeightOnlyQConfig,
      /float32/,
      /getDefaultQConfig/,
    ],
    [
      'a transposed convolution per channel',
      new nn.ConvTranspose1d(3, 3, 3),
      getDefaultQConfig('fbgemm'),
      /per-channel/,
      /defaultWeightObserver/,
    ],
    [
      'an observer in place of a factory',
      new nn.Conv1d(3, 3, 3),
      { ...defaultQConfig, activation: defaultQConfig.activation() as any },
      /an observer/,
      /withArgs/,
    ],
  ])('%s is refused before any calibration', (_, layer, qconfig, got, fix) => {
    const model = new QuantWrapper(new nn.Sequential(layer)).eval();
    model.quant.qconfig = defaultQConfig;
    model.getSubmodule('module.0').qconfig = qconfig;
    const e = thrown(() => prepare(model));
    expect(e).toBeInstanceOf(QuantizationError);
    expect(e.modulePath).toBe('module.0');
    expect(e.got).toMatch(got);
    expect(e.fix).toMatch(fix);
  });

  test('training is refused what its conversion would refuse', () => {
    const model = new QuantWrapper(new nn.Sequential(new nn.ConvTranspose1d(3, 3, 3)));
    model.qconfig = getDefaultQatQConfig('fbgemm');
    const e = thrown(() => prepareQat(model));
    expect(e).toBeInstanceOf(QuantizationError);
    expect(e.modulePath).toBe('module.0');
    expect(e.got).toMatch(/per-channel/);
  });

  test('observers that measure nothing serve debugging, and no conversion', () => {
    const model = new QuantWrapper(new nn.Linear(4, 4)).eval();
    model.qconfig = defaultDebugQConfig;
    const prepared = calibrated(model, rand([8, 4]));
    expect((prepared.getSubmodule('module').activationPostProcess as any).getTensorValue()).toHaveLength(1);
    const e = thrown(() => convert(prepared));
    expect([e.modulePath, e.got]).toEqual(['quant', 'RecordingObserver']);
    expect(e.fix).toMatch(/getDefaultQConfig/);
  });

  test('convolutions in float16 are refused by quantizeDynamic too', () => {
    const model = new nn.Sequential(new nn.Conv2d(3, 3, 3)).eval();
    const e = thrown(() => quantizeDynamic(model, [nn.Conv2d], { dtype: 'float16' }));
    expect(e).toBeInstanceOf(QuantizationError);
    expect(e.modulePath).toBe('0');
    expect(e.fix).toMatch(/defaultDynamicQConfig/);
  });

  test('a qconfig exchanged after prepare is looked at again by convert', () => {
    const model = new QuantWrapper(new nn.Linear(4, 4)).eval();
    model.qconfig = defaultQConfig;
    const prepared = calibrated(model, rand([8, 4]));
    prepared.getSubmodule('module').qconfig = float16StaticQConfig;
    const e = thrown(() => convert(prepared));
    expect([e.fn, e.modulePath]).toEqual(['convert', 'module']);
  });

  test('fusing in the wrong mode names the module and the call', () => {
    const net = new nn.Sequential(new nn.Sequential(new nn.Linear(4, 4), new nn.ReLU()));
    const training = thrown(() => fuseModules(net, ['0.0', '0.1']));
    expect(training).toBeInstanceOf(QuantizationError);
    expect(training.modulePath).toBe('0.0');
    expect(training.fix).toMatch(/model\.eval\(\)/);
    const evaluation = thrown(() => fuseModulesQat(net.eval(), ['0.0', '0.1']));
    expect(evaluation.modulePath).toBe('0.0');
    expect(evaluation.fix).toMatch(/model\.train\(\)/);
  });
});
