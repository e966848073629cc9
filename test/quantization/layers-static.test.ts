import { describe, expect, test } from 'vitest';
import {
  DTypeError,
  deepCopy,
  manualSeed,
  nn,
  noGrad,
  ops,
  QuantizationError,
  quantization,
  quantizePerChannel,
  quantizePerTensor,
  randn,
  ShapeError,
  type Tensor,
  tensor,
} from '../../src/index.ts';
import type { AnyModule } from '../../src/nn/module.ts';

const {
  convert,
  DeQuantStub,
  fuseModules,
  getDefaultQConfig,
  MinMaxObserver,
  prepare,
  prepareQat,
  QuantStub,
} = quantization;

const QCONFIG: quantization.QConfig = {
  activation: MinMaxObserver.withArgs({ dtype: 'quint8' }),
  weight: quantization.defaultWeightObserver,
};

interface Layer {
  readonly float: () => AnyModule;
  readonly input: number[];
  /** Class of the quantized form; the class of the float one where it stays. */
  readonly becomes: abstract new (
    ...args: any[]
  ) => AnyModule;
}

const LAYERS: Readonly<Record<string, Layer>> = {
  ReLU6: { float: () => new nn.ReLU6(), input: [4, 5], becomes: nn.quantized.ReLU6 },
  Hardswish: { float: () => new nn.Hardswish(), input: [4, 5], becomes: nn.quantized.Hardswish },
  ELU: { float: () => new nn.ELU(0.8), input: [4, 5], becomes: nn.quantized.ELU },
  LeakyReLU: { float: () => new nn.LeakyReLU(0.2), input: [4, 5], becomes: nn.quantized.LeakyReLU },
  PReLU: { float: () => new nn.PReLU({ numParameters: 5 }), input: [4, 5], becomes: nn.quantized.PReLU },
  Sigmoid: { float: () => new nn.Sigmoid(), input: [4, 5], becomes: nn.Sigmoid },
  Tanh: { float: () => new nn.Tanh(), input: [4, 5], becomes: nn.Tanh },
  Hardsigmoid: { float: () => new nn.Hardsigmoid(), input: [4, 5], becomes: nn.Hardsigmoid },
  Softmax: { float: () => new nn.Softmax(-1), input: [4, 5], becomes: nn.Softmax },
  BatchNorm2d: { float: () => new nn.BatchNorm2d(3), input: [2, 3, 4, 5], becomes: nn.quantized.BatchNorm2d },
  BatchNorm3d: {
    float: () => new nn.BatchNorm3d(3),
    input: [2, 3, 4, 5, 2],
    becomes: nn.quantized.BatchNorm3d,
  },
  LayerNorm: { float: () => new nn.LayerNorm(16), input: [3, 16], becomes: nn.quantized.LayerNorm },
  GroupNorm: { float: () => new nn.GroupNorm(2, 4), input: [2, 4, 5], becomes: nn.quantized.GroupNorm },
  InstanceNorm1d: {
    float: () => new nn.InstanceNorm1d(3),
    input: [2, 3, 8],
    becomes: nn.quantized.InstanceNorm1d,
  },
  InstanceNorm2d: {
    float: () => new nn.InstanceNorm2d(3, { affine: true }),
    input: [2, 3, 4, 5],
    becomes: nn.quantized.InstanceNorm2d,
  },
  InstanceNorm3d: {
    float: () => new nn.InstanceNorm3d(3),
    input: [2, 3, 4, 2, 3],
    becomes: nn.quantized.InstanceNorm3d,
  },
  Dropout: { float: () => new nn.Dropout(0.4), input: [4, 5], becomes: nn.quantized.Dropout },
  MaxPool2d: { float: () => new nn.MaxPool2d(2), input: [2, 3, 4, 6], becomes: nn.quantized.MaxPool2d },
  ConvTranspose1d: {
    float: () => new nn.ConvTranspose1d(3, 4, 3, { stride: 2 }),
    input: [2, 3, 7],
    becomes: nn.quantized.ConvTranspose1d,
  },
  ConvTranspose2d: {
    float: () => new nn.ConvTranspose2d(4, 6, 3, { stride: 2, groups: 2 }),
    input: [2, 4, 5, 6],
    becomes: nn.quantized.ConvTranspose2d,
  },
};

/** A layer between stubs, calibrated and converted; the input of the calibration last. */
function quantized(layer: Layer): { float: AnyModule; int8: AnyModule; x: Tensor } {
  const float = new nn.Sequential(new QuantStub(), layer.float(), new DeQuantStub()).eval();
  float.qconfig = QCONFIG;
  const x = randn(layer.input);
  const prepared = prepare(float);
  prepared(x);
  return { float, int8: convert(prepared), x };
}

describe.each(Object.entries(LAYERS))('%s', (_name, layer) => {
  test('becomes its quantized form and stays near the float one', () => {
    noGrad(() => {
      manualSeed(1);
      const { float, int8, x } = quantized(layer);
      const child = int8.getSubmodule('1');
      expect(child.constructor).toBe(layer.becomes);
      const want = float(x) as Tensor;
      const got = int8(x) as Tensor;
      expect(got.shape).toEqual(want.shape);
      const range = Number(want.max().item()) - Number(want.min().item());
      expect(got.sub(want).abs().max().item()).toBeLessThan(0.04 * range + 0.02);
    });
  });

  test('a state dict carries everything: a skeleton that loads it computes the same', () => {
    noGrad(() => {
      manualSeed(2);
      const { float, int8, x } = quantized(layer);
      const skeleton = convert(prepare(float), { allowUnobserved: true });
      skeleton.loadStateDict(int8.stateDict());
      expect(Array.from((skeleton(x) as Tensor).data)).toEqual(Array.from((int8(x) as Tensor).data));
    });
  });

  test('a copy is independent, and both give quantized tensors of the same dtype for either dtype', () => {
    noGrad(() => {
      const { int8 } = quantized(layer);
      const child = int8.getSubmodule('1');
      const copy = deepCopy(child);
      for (const [dtype, zeroPoint] of [
        ['quint8', 120],
        ['qint8', -3],
      ] as const) {
        if ('zeroPoint' in child) Object.assign(child, { zeroPoint: 5 });
        if ('zeroPoint' in copy) Object.assign(copy, { zeroPoint: 5 });
        const x = quantizePerTensor(randn(layer.input), 0.02, zeroPoint, dtype);
        const y = child(x) as Tensor;
        expect(y.dtype).toBe(dtype);
        expect(Array.from((copy(x) as Tensor).intRepr().data)).toEqual(Array.from(y.intRepr().data));
      }
    });
  });
});

describe('what goes wrong is named', () => {
  test('a float tensor reaches a quantized layer', () => {
    expect(() => new nn.quantized.Hardswish(0.1, 3)(randn([3]))).toThrow(DTypeError);
    expect(() => new nn.quantized.LayerNorm(3, null, null, 0.1, 3)(randn([2, 3]))).toThrow(/QuantStub/);
  });

  test('shapes that do not fit', () => {
    const x = quantizePerTensor(randn([2, 3, 4, 4]), 0.1, 3, 'quint8');
    expect(() => new nn.quantized.BatchNorm2d(4)(x)).toThrow(ShapeError);
    expect(() => new nn.quantized.LayerNorm(5, null, null, 0.1, 3)(x)).toThrow(ShapeError);
    expect(() => new nn.quantized.ConvTranspose2d(4, 2, 3)(x)).toThrow(ShapeError);
    expect(() => ops.quantized.groupNorm(x, 2, null, null, 1e-5, 0.1, 0)).toThrow(ShapeError);
    expect(() => ops.quantized.prelu(x, quantizePerTensor(randn([2]), 0.1, 3, 'quint8'), 0.1, 0)).toThrow(
      ShapeError,
    );
  });

  test('weights per channel for a transposed convolution', () => {
    const model = new nn.Sequential(
      new QuantStub(),
      new nn.ConvTranspose2d(3, 4, 3),
      new DeQuantStub(),
    ).eval();
    model.qconfig = getDefaultQConfig('fbgemm');
    const quantizeWith = (): AnyModule => {
      const prepared = prepare(model);
      noGrad(() => prepared(randn([1, 3, 4, 4])));
      return convert(prepared);
    };
    expect(quantizeWith).toThrow(/per-tensor/);
    expect(quantizeWith).toThrow(QuantizationError);
  });

  test('an embedding under the qconfig of an activation', () => {
    const model = new nn.Sequential(new nn.Embedding(4, 2)).eval();
    model.qconfig = QCONFIG;
    const prepared = prepare(model);
    prepared(tensor([1, 2], { dtype: 'int64' }));
    expect(() => convert(prepared)).toThrow(/floatQParamsWeightOnlyQConfig/);
  });

  test('indices outside of the table', () => {
    const layer = new nn.quantized.Embedding(4, 2);
    expect(() => layer(tensor([4], { dtype: 'int64' }))).toThrow(/whole numbers from 0 to 3/);
    expect(() => layer(tensor([-1], { dtype: 'int64' }))).toThrow(/-1/);
  });
});

describe('batch norm and relu', () => {
  test('fuse into one layer whose result is never negative', () => {
    noGrad(() => {
      manualSeed(3);
      const model = new nn.Sequential(
        new QuantStub(),
        new nn.BatchNorm2d(4),
        new nn.ReLU(),
        new DeQuantStub(),
      ).eval();
      model.qconfig = QCONFIG;
      const prepared = prepare(fuseModules(model, ['1', '2']));
      const x = randn([2, 4, 5, 5]);
      prepared(x);
      const int8 = convert(prepared);
      expect(int8.getSubmodule('1')).toBeInstanceOf(nn.intrinsic.quantized.BNReLU2d);
      const y = int8(x) as Tensor;
      expect(y.min().item()).toBe(0);
      expect(
        y
          .sub(model(x) as Tensor)
          .abs()
          .max()
          .item(),
      ).toBeLessThan(0.03);
    });
  });
});

describe('outputs with known ranges', () => {
  const ranges = {
    Sigmoid: [1 / 256, 0],
    Hardsigmoid: [1 / 256, 0],
    Softmax: [1 / 256, 0],
    Tanh: [2 / 256, 128],
  } as const;

  test.each(Object.entries(ranges))('%s is trained with fixed parameters', (name, [scale, zeroPoint]) => {
    const make = LAYERS[name].float;
    const model = new nn.Sequential(new QuantStub(), make(), new DeQuantStub());
    model.qconfig = quantization.getDefaultQatQConfig('qnnpack');
    const prepared = prepareQat(model);
    const fakeQuantize = prepared.getSubmodule('1').activationPostProcess;
    expect(fakeQuantize).toBeInstanceOf(quantization.FixedQParamsFakeQuantize);
    const found = fakeQuantize?.calculateQParams();
    expect([found?.scale.item(), found?.zeroPoint.item()]).toEqual([scale, zeroPoint]);
    prepared(randn(LAYERS[name].input));
    const int8 = convert(prepared.eval());
    const y = int8.getSubmodule('1')(quantizePerTensor(randn(LAYERS[name].input), 0.05, 100, 'quint8'));
    expect([y.qScale(), y.qZeroPoint()]).toEqual([scale, zeroPoint]);
  });

  test('without training nothing is attached, as in PyTorch', () => {
    const model = new nn.Sequential(new QuantStub(), new nn.Sigmoid()).eval();
    model.qconfig = QCONFIG;
    expect(prepare(model).getSubmodule('1').activationPostProcess).toBeUndefined();
  });
});

describe('embeddings', () => {
  const indices = tensor([1, 3, 3, 0, 2], { dtype: 'int64' });
  const offsets = tensor([0, 2, 2], { dtype: 'int64' });

  test.each([
    ['quint8', 0.02],
    ['quint4x2', 0.3],
  ] as const)('%s: rows and bags near the float ones, in every mode', (dtype, bound) => {
    noGrad(() => {
      manualSeed(4);
      const qconfig =
        dtype === 'quint8'
          ? quantization.floatQParamsWeightOnlyQConfig
          : quantization.floatQParamsWeightOnlyQConfig4bit;
      const embedding = new nn.Embedding(6, 7);
      embedding.qconfig = qconfig;
      const rows = nn.quantized.Embedding.fromFloat(embedding);
      expect(rows.weight().dtype).toBe(dtype);
      expect(rows(indices).sub(embedding(indices)).abs().max().item()).toBeLessThan(bound);
      for (const mode of ['sum', 'mean', 'max'] as const) {
        const bag = new nn.EmbeddingBag(6, 7, { mode });
        bag.qconfig = qconfig;
        const int8 = nn.quantized.EmbeddingBag.fromFloat(bag);
        expect(int8.mode).toBe(mode);
        const distance = int8(indices, offsets).sub(bag(indices, offsets)).abs().max().item();
        expect(distance).toBeLessThan(3 * bound);
      }
    });
  });

  test('a table of four bits takes half the bytes', () => {
    const [wide, narrow] = (['quint8', 'quint4x2'] as const).map(
      (dtype) => new nn.quantized.Embedding(100, 64, { dtype }).weight().storage.byteLength,
    );
    expect([wide, narrow]).toEqual([6400, 3200]);
  });

  test('a state dict carries the table', () => {
    const table = quantizePerChannel(
      randn([6, 8]),
      new Float32Array(6).fill(0.3),
      new Float32Array(6).fill(7),
      0,
      'quint4x2',
    );
    const layer = new nn.quantized.Embedding(6, 8, { dtype: 'quint4x2', weight: table });
    const other = new nn.quantized.Embedding(6, 8, { dtype: 'quint4x2' });
    other.loadStateDict(layer.stateDict());
    expect(Array.from(other(indices).data)).toEqual(Array.from(layer(indices).data));
    expect(() => new nn.quantized.Embedding(5, 8).loadStateDict(layer.stateDict())).toThrow(/shape/);
  });
});

describe('transposed convolution of every geometry equals the float one on the same numbers', () => {
  test.each([
    { kernel: 1, stride: 3, padding: 0, outputPadding: 2, dilation: 1 },
    { kernel: 2, stride: 4, padding: 1, outputPadding: 0, dilation: 1 },
    { kernel: 3, stride: 2, padding: 2, outputPadding: 1, dilation: 2 },
    { kernel: 3, stride: 2, padding: 7, outputPadding: 2, dilation: 3 },
    { kernel: 4, stride: 3, padding: 5, outputPadding: 2, dilation: 3 },
    { kernel: 5, stride: 5, padding: 4, outputPadding: 4, dilation: 1 },
  ])('$kernel taps, stride $stride, padding $padding, dilation $dilation', (options) => {
    noGrad(() => {
      manualSeed(5);
      const { kernel, ...rest } = options;
      const x = quantizePerTensor(randn([2, 4, 6, 5]), 0.03, 130, 'quint8');
      const weight = quantizePerTensor(randn([4, 3, kernel, kernel]), 0.02, 0, 'qint8');
      const layer = new nn.quantized.ConvTranspose2d(4, 6, kernel, { ...rest, groups: 2, bias: false });
      layer.setWeightBias(weight, null);
      layer.scale = 0.05;
      layer.zeroPoint = 120;
      const float = nn.functional.convTranspose2d(x.dequantize(), weight.dequantize(), null, {
        ...rest,
        groups: 2,
      });
      const want = quantizePerTensor(float, 0.05, 120, 'quint8');
      const got = layer(x);
      expect(got.shape).toEqual(want.shape);
      expect(
        got.intRepr().to('float32').sub(want.intRepr().to('float32')).abs().max().item(),
      ).toBeLessThanOrEqual(1);
    });
  });
});
