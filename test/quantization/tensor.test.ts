import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  ArgumentError,
  add,
  DTypeError,
  dequantize,
  emptyAffineQuantized,
  emptyPerChannelAffineQuantized,
  equal,
  fakeQuantizePerChannelAffine,
  fakeQuantizePerTensorAffine,
  intRepr,
  manualSeed,
  nn,
  ops,
  quantization,
  quantizeLinear,
  quantizePerChannel,
  quantizePerTensor,
  quantizePerTensorDynamic,
  randn,
  ShapeError,
  slice,
  stack,
  type Tensor,
  tensor,
  zeros,
} from '../../src/index.ts';

const RANGE = {
  quint8: [0, 255],
  qint8: [-128, 127],
  qint32: [-(2 ** 31), 2 ** 31 - 1],
  quint4x2: [0, 15],
} as const;
type QuantizedDType = keyof typeof RANGE;

describe('zero is represented without error', () => {
  const dtype = fc.constantFrom<QuantizedDType>('quint8', 'qint8', 'qint32', 'quint4x2');
  const scale = fc.double({ min: 1e-6, max: 1e3, noNaN: true });

  test('for every scale and zero point', () => {
    fc.assert(
      fc.property(dtype, scale, fc.double({ min: 0, max: 1, noNaN: true }), (d, s, share) => {
        const [min, max] = RANGE[d];
        const zeroPoint = Math.round(min + share * (max - min));
        const q = quantizePerTensor(tensor([0, -0]), s, zeroPoint, d);
        expect(Array.from(q.dequantize().data)).toEqual([0, 0]);
        expect(Array.from(q.intRepr().data)).toEqual([zeroPoint, zeroPoint]);
      }),
    );
  });

  test('for the parameters that an observer or the tensor itself asks for', () => {
    const numbers = fc.array(fc.float({ min: -1e3, max: 1e3, noNaN: true }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(numbers, fc.constantFrom('quint8', 'qint8'), (values, d) => {
        const x = tensor([...values, 0]);
        const observer = new quantization.MinMaxObserver({ dtype: d });
        observer(x);
        const { scale, zeroPoint } = observer.calculateQParams();
        for (const q of [quantizePerTensor(x, scale, zeroPoint, d), quantizePerTensorDynamic(x, d)]) {
          expect(q.dequantize().data.at(-1)).toBe(0);
        }
      }),
    );
  });

  test('per channel, and in padding', () => {
    const q = quantizePerChannel(zeros([3, 2]), [0.1, 0.3, 7], [3, 0, 255], 0, 'quint8');
    expect(Array.from(q.dequantize().data)).toEqual([0, 0, 0, 0, 0, 0]);
    const padded = quantizePerTensor(randn([1, 2]), 0.1, 77, 'quint8').pad([1, 1]);
    expect([padded.dequantize().data[0], padded.dequantize().data[3]]).toEqual([0, 0]);
  });
});

describe('quantizing', () => {
  test('rounds ties to even, saturates, and names what it cannot take', () => {
    const q = quantizePerTensor(tensor([0.5, 1.5, 2.5, -300, 300]), 1, 10, 'quint8');
    expect(Array.from(q.intRepr().data)).toEqual([10, 12, 12, 0, 255]);
    expect(() => quantizePerTensor(tensor([1]), 0, 0, 'quint8')).toThrow(ArgumentError);
    expect(() => quantizePerTensor(tensor([1]), 0.1, 256, 'quint8')).toThrow(/0 to 255/);
    expect(() => quantizePerTensor(tensor([1]), 0.1, 0, 'uint8' as 'quint8')).toThrow(DTypeError);
    expect(() => quantizePerTensor(q, 0.1, 0, 'quint8')).toThrow(DTypeError);
    expect(() => quantizePerTensorDynamic(tensor([Number.NaN]), 'quint8')).toThrow(/NaN/);
    expect(() => quantizePerChannel(randn([2, 3]), [0.1], [0], 0, 'quint8')).toThrow(ArgumentError);
    expect(quantizeLinear).toBe(quantizePerTensor);
  });

  test('NaN becomes the smallest integer, infinities saturate, per tensor and per channel', () => {
    const x = tensor([[Number.NaN, Infinity, -Infinity]]);
    for (const q of [quantizePerTensor(x, 0.1, 7, 'qint8'), quantizePerChannel(x, [0.1], [7], 0, 'qint8')])
      expect(Array.from(q.intRepr().data)).toEqual([-128, 127, -128]);
  });

  test('takes tensors for its parameters', () => {
    const x = tensor([1, 2]);
    const q = quantizePerTensor(x, tensor([0.5]), tensor([3], { dtype: 'int32' }), 'quint8');
    expect(equal(q, quantizePerTensor(x, 0.5, 3, 'quint8'))).toBe(true);
  });

  test('two elements share a byte of quint4x2', () => {
    const q = quantizePerTensor(tensor([0, 1, 2, 3, 20]), 1, 1, 'quint4x2');
    expect(q.storage.length).toBe(3);
    expect(Array.from(intRepr(q).data)).toEqual([1, 2, 3, 4, 15]);
    expect(Array.from(dequantize(q).data)).toEqual([0, 1, 2, 3, 14]);
    expect(Array.from(q.clone().intRepr().data)).toEqual([1, 2, 3, 4, 15]);
    expect(() => q.view(5, 1)).toThrow(/two elements a byte/);
  });

  test('fake-quantization gives the numbers of real quantization', () => {
    manualSeed(1);
    const x = randn([4, 6]);
    const real = quantizePerTensor(x, 0.03, 100, 'quint8').dequantize();
    expect(equal(fakeQuantizePerTensorAffine(x, 0.03, 100, 0, 255), real)).toBe(true);
    const scales = [0.5, 0.25, 0.125, 0.0625];
    const channels = quantizePerChannel(x, scales, [1, 2, 3, 4], 0, 'quint8').dequantize();
    expect(equal(fakeQuantizePerChannelAffine(x, scales, [1, 2, 3, 4], 0, 0, 255), channels)).toBe(true);
  });
});

describe('empty quantized tensors', () => {
  test('carry the parameters they are given', () => {
    const q = emptyAffineQuantized([2, 3], { scale: 0.5, zeroPoint: -3, dtype: 'qint8' });
    expect([q.qScale(), q.qZeroPoint(), q.dtype, q.numel]).toEqual([0.5, -3, 'qint8', 6]);
    const c = emptyPerChannelAffineQuantized([2, 3], { scales: [1, 2, 3], zeroPoints: [0, 1, 2], axis: 1 });
    expect([c.qscheme(), c.qPerChannelAxis()]).toEqual(['per_channel_affine', 1]);
    const f = emptyPerChannelAffineQuantized([2, 3], {
      scales: [1, 2],
      zeroPoints: Float32Array.of(0.5, 1),
    });
    expect(f.qscheme()).toBe('per_channel_affine_float_qparams');
    expect(() => emptyPerChannelAffineQuantized([2, 3], { scales: [1], zeroPoints: [0] })).toThrow(
      ArgumentError,
    );
  });

  test('as out, they give a sum its scale and zero point and take it', () => {
    const a = quantizePerTensor(tensor([1, 2]), 0.1, 0, 'quint8');
    const out = emptyAffineQuantized([2], { scale: 0.5, zeroPoint: 7 });
    const y = add(a, a, { out });
    expect(y).toBe(out);
    expect(Array.from(out.intRepr().data)).toEqual([11, 15]);
    expect(add(a, a).qScale()).toBe(1);
    expect(add(a, a).qZeroPoint()).toBe(0);
  });
});

describe('views of per-channel tensors', () => {
  manualSeed(2);
  const x = randn([2, 3, 4]);
  const q = quantizePerChannel(x, [0.1, 0.02, 0.003], [1, 20, 90], 1, 'quint8');
  const same = (view: Tensor, float: Tensor, axis: number): void => {
    expect(view.qPerChannelAxis()).toBe(axis);
    expect(view.shape).toEqual(float.shape);
    expect(Array.from(view.dequantize().data)).toEqual(Array.from(float.data));
  };
  const f = q.dequantize();

  test('the axis goes where its dimension goes', () => {
    same(q.transpose(0, 1), f.transpose(0, 1), 0);
    same(q.permute(2, 0, 1), f.permute(2, 0, 1), 2);
    same(q.permute(2, 0, 1).contiguous(), f.permute(2, 0, 1).contiguous(), 2);
    same(q.unsqueeze(0), f.unsqueeze(0), 2);
    same(q.unsqueeze(-1), f.unsqueeze(-1), 1);
    same(q.unsqueeze(0).squeeze(0), f, 1);
    same(q.view(2, 3, 2, 2), f.view(2, 3, 2, 2), 1);
    same(q.select(0, 1), f.select(0, 1), 0);
    same(q.at(slice(), slice(), slice(1, 3)), f.at(slice(), slice(), slice(1, 3)), 1);
    same(q.clone(), f, 1);
    same(q.flip(0), f.flip(0), 1);
  });

  test('slices of the axis take their scales along', () => {
    same(q.at(slice(), slice(1)), f.at(slice(), slice(1)), 1);
    same(q.at(slice(), slice(null, null, 2)), f.at(slice(), slice(null, null, 2)), 1);
    same(q.flip(1), f.flip(1), 1);
    same(
      q.indexSelect(1, tensor([2, 0, 0, 1], { dtype: 'int64' })),
      f.indexSelect(1, tensor([2, 0, 0, 1], { dtype: 'int64' })),
      1,
    );
    const one = q.select(1, 2);
    expect([one.qscheme(), one.qScale(), one.qZeroPoint()]).toEqual(['per_tensor_affine', 0.003, 90]);
    expect(Array.from(one.dequantize().data)).toEqual(
      Array.from(quantizePerTensor(x.select(1, 2), 0.003, 90, 'quint8').dequantize().data),
    );
  });

  test('what would tear channels apart is refused', () => {
    expect(() => q.flatten()).toThrow(/channel axis/);
    expect(() => q.view(6, 4)).toThrow(DTypeError);
    expect(() => q.sort(1)).toThrow(DTypeError);
    expect(() => q.repeat(2, 1, 1)).toThrow(DTypeError);
    expect(() => q.relu()).toThrow(DTypeError);
  });
});

describe('the same method works on float and on quantized tensors', () => {
  manualSeed(3);
  const q = quantizePerTensor(randn([2, 3, 6, 6]), 0.05, 60, 'quint8');
  const f = q.dequantize();

  test('comparisons see the numbers', () => {
    const other = quantizePerTensor(f, 0.07, 3, 'quint8');
    expect(equal(q.lt(other), f.lt(other.dequantize()))).toBe(true);
    expect(equal(q.ge(0.1), f.ge(0.1))).toBe(true);
    expect(equal(q, other)).toBe(false);
    expect(equal(q, q.clone())).toBe(true);
    const zero = (zeroPoint: number): Tensor => quantizePerTensor(zeros([3]), 0.1, zeroPoint, 'quint8');
    expect(equal(zero(1), zero(2))).toBe(false);
  });

  test('stacking requantizes to the first', () => {
    const other = quantizePerTensor(f, 0.1, 30, 'quint8');
    const s = stack([q, other], 1);
    expect([s.shape, s.qScale(), s.qZeroPoint()]).toEqual([[2, 2, 3, 6, 6], 0.05, 60]);
  });

  test('pools of lines and images', () => {
    const { functional } = nn.quantized;
    const lines = q.select(2, 0);
    expect(
      equal(functional.maxPool1d(lines, 2).dequantize(), nn.functional.maxPool1d(lines.dequantize(), 2)),
    ).toBe(true);
    expect(equal(functional.maxPool2d(q, 3).dequantize(), nn.functional.maxPool2d(f, 3))).toBe(true);
    const mean = functional.avgPool2d(q, 2);
    expect(mean.dequantize().sub(nn.functional.avgPool2d(f, 2)).abs().max().item()).toBeLessThanOrEqual(
      0.0251,
    );
    expect(functional.adaptiveAvgPool2d(q, 1).shape).toEqual([2, 3, 1, 1]);
    expect(functional.upsampleNearest(q, { scaleFactor: 2 }).shape).toEqual([2, 3, 12, 12]);
    expect(() => functional.maxPool2d(f, 2)).toThrow(DTypeError);
  });

  test('means round to the nearest step', () => {
    const mean = q.mean([2, 3]);
    expect(mean.shape).toEqual([2, 3]);
    expect(
      mean
        .dequantize()
        .sub(f.mean([2, 3]))
        .abs()
        .max()
        .item(),
    ).toBeLessThanOrEqual(0.0251);
  });
});

describe('ops.quantized and nn.quantized.functional', () => {
  manualSeed(4);
  const x = quantizePerTensor(randn([2, 4, 6, 6]), 0.05, 60, 'quint8');
  const weight = quantizePerTensor(randn([5, 4, 3, 3]), 0.02, 0, 'qint8');
  const bias = randn([5]);

  test('a prepacked convolution is the functional one and the layer', () => {
    const packed = ops.quantized.conv2dPrepack(weight, bias, [1, 1], [1, 1], [1, 1], 1);
    const y = ops.quantized.conv2d(x, packed, 0.1, 100);
    const options = { padding: 1, scale: 0.1, zeroPoint: 100 };
    expect(equal(nn.quantized.functional.conv2d(x, weight, bias, options), y)).toBe(true);
    const layer = new nn.quantized.Conv2d(4, 5, 3, { padding: 1 });
    layer.setWeightBias(weight, bias);
    layer.scale = 0.1;
    layer.zeroPoint = 100;
    expect(equal(layer(x), y)).toBe(true);
    const relu = ops.quantized.conv2dRelu(x, packed, 0.1, 100);
    expect(equal(relu, y.relu())).toBe(true);
    expect(ops.quantized.unpack(packed)).toEqual([weight, bias]);
  });

  test('matmul goes through floats', () => {
    const a = quantizePerTensor(randn([3, 4]), 0.05, 60, 'quint8');
    const b = quantizePerTensor(randn([4, 2]), 0.05, 60, 'quint8');
    const want = quantizePerTensor(a.dequantize().matmul(b.dequantize()), 0.1, 128, 'quint8');
    expect(equal(ops.quantized.matmul(a, b, 0.1, 128), want)).toBe(true);
  });

  test('scalars move parameters, not integers', () => {
    expect(Array.from(ops.quantized.mulScalar(x, 3).intRepr().data)).toEqual(Array.from(x.intRepr().data));
    expect(ops.quantized.addScalar(x, 0.5).qZeroPoint()).toBe(50);
    expect(ops.quantized.addScalarRelu(x, 0.5).min().item()).toBe(0);
  });

  test('normalizations refuse what does not fit', () => {
    expect(() => ops.quantized.layerNorm(x, [7], null, null, 1e-5, 0.1, 0)).toThrow(ShapeError);
    expect(() => ops.quantized.softmax(randn([3]), -1, 0.1, 0)).toThrow(DTypeError);
  });
});
