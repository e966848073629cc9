import { describe, expect, test } from 'vitest';
import {
  ArgumentError,
  AutogradError,
  DTypeError,
  ShapeError,
  ZeropointError,
} from '../../src/core/errors.ts';
import {
  arange,
  eye,
  full,
  linspace,
  ones,
  onesLike,
  rand,
  randint,
  randperm,
  tensor,
  zeros,
  zerosLike,
} from '../../src/tensor/creation.ts';
import { DTYPES, type DType, promoteDTypes } from '../../src/tensor/dtype.ts';
import { perChannelQParams, perTensorQParams } from '../../src/tensor/qparams.ts';
import { encodeNumbers, fromStorage, quantizedIntegers, Tensor } from '../../src/tensor/tensor.ts';

describe('tensor()', () => {
  test('reads nested arrays', () => {
    const x = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(x.shape).toEqual([2, 3]);
    expect(x.dtype).toBe('float32');
    expect(x.toArray()).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(tensor(5).shape).toEqual([]);
    expect(tensor([]).shape).toEqual([0]);
    expect(tensor([[], []]).shape).toEqual([2, 0]);
    expect(tensor([[true], [false]]).dtype).toBe('bool');
  });

  test('a typed array keeps its type and is not copied', () => {
    const storage = new Int16Array([1, 2, 3, 4]);
    const x = tensor(storage, { shape: [2, -1] });
    expect(x.dtype).toBe('int16');
    expect(x.storage).toBe(storage);
    expect(x.shape).toEqual([2, 2]);
    expect(tensor(storage, { dtype: 'float32' }).storage).not.toBe(storage);
  });

  test('says what is wrong', () => {
    expect(() => tensor([[1, 2], [3]])).toThrow(
      'tensor: values: expected every row of shape [2], like the first, got row 1 of shape [1].',
    );
    expect(() => tensor([[1], 2])).toThrow(ShapeError);
    expect(() => tensor(new Float32Array(6), { shape: [4] })).toThrow(ShapeError);
    expect(() => tensor(new BigInt64Array(1) as never)).toThrow(ArgumentError);
    expect(() => tensor([1], { dtype: 'quint4x2' as never })).toThrow(DTypeError);
    expect(() => tensor([1], { dtype: 'int64', requiresGrad: true })).toThrow(AutogradError);
    for (const shape of [[-1], [1.5], 'x', [Number.NaN]] as never[]) {
      expect(() => zeros(shape)).toThrow(ShapeError);
      expect(() => rand(shape)).toThrow(ShapeError);
    }
  });

  test('numbers become what the dtype holds', () => {
    expect([...encodeNumbers([1.9, -1.9], 'int32')]).toEqual([1, -1]);
    expect([...encodeNumbers([1.9, -1.9, 2 ** 40 + 0.5], 'int64')]).toEqual([1, -1, 2 ** 40]);
    expect([...encodeNumbers([0, 0.5, Number.NaN], 'bool')]).toEqual([0, 1, 1]);
    expect([...encodeNumbers([0.1], 'float32')]).toEqual([Math.fround(0.1)]);
  });
});

describe('creation', () => {
  test('constants', () => {
    expect(ones([2]).toArray()).toEqual([1, 1]);
    expect(full([2, 1], 0.5, { dtype: 'float16' }).toArray()).toEqual([[0.5], [0.5]]);
    expect(eye(2, 3).toArray()).toEqual([
      [1, 0, 0],
      [0, 1, 0],
    ]);
    expect(eye(2, 2, { dtype: 'bfloat16' }).toArray()).toEqual([
      [1, 0],
      [0, 1],
    ]);
    const like = zerosLike(ones([2, 3], { dtype: 'int32' }));
    expect([like.dtype, like.shape]).toEqual(['int32', [2, 3]]);
    const q = fromStorage(new Uint8Array(2), [2], 'quint8', perTensorQParams(0.1, 3, 'quint8', 'test'));
    expect(() => zerosLike(q)).toThrow(DTypeError);
    expect(onesLike(q, { dtype: 'float32' }).toArray()).toEqual([1, 1]);
  });

  test('a tensor over a Buffer shares its memory, and slices of its storage do not', () => {
    const bytes = Buffer.alloc(6).fill(1);
    const x = fromStorage(bytes.subarray(1, 5), [2, 2], 'uint8');
    bytes[1] = 2;
    expect([x.storage.constructor, x.toArray()]).toEqual([
      Uint8Array,
      [
        [2, 1],
        [1, 1],
      ],
    ]);
    x.storage.slice().fill(9);
    expect([...bytes]).toEqual([1, 2, 1, 1, 1, 1]);
  });

  test('arange is int64 where everything is whole', () => {
    expect([arange(3).dtype, arange(3).toArray()]).toEqual(['int64', [0, 1, 2]]);
    expect([arange(2.5).dtype, arange(2.5).toArray()]).toEqual(['float32', [0, 1, 2]]);
    expect(arange(1, 7, 2).toArray()).toEqual([1, 3, 5]);
    expect(arange(3, 0, -1).toArray()).toEqual([3, 2, 1]);
    expect(arange(0).shape).toEqual([0]);
    expect(arange(0, 1, 0.25).toArray()).toEqual([0, 0.25, 0.5, 0.75]);
    for (const [from, to, step] of [
      [0, 3, 0],
      [0, 3, -1],
      [3, 0, 1],
      [0, Infinity, 1],
      [0, Number.NaN, 1],
    ])
      expect(() => arange(from, to, step)).toThrow(ArgumentError);
  });

  test('linspace rounds as torch.linspace does', () => {
    expect([...linspace(0, 1, 7).numbers()]).toEqual(
      [0, 0.16666667, 0.33333334, 0.5, 0.6666666, 0.8333333, 1].map(Math.fround),
    );
    expect([...linspace(1, -2, 10).numbers()]).toEqual(
      [1, 0.6666666, 0.3333333, -2.9802322e-8, -0.33333337, -0.6666666, -1, -1.3333333, -1.6666666, -2].map(
        Math.fround,
      ),
    );
    expect(linspace(5, 9, 1).toArray()).toEqual([5]);
    expect(linspace(0, 1, 0).shape).toEqual([0]);
    expect(() => linspace(0, 1, -1)).toThrow(ShapeError);
  });

  test('random functions refuse empty ranges', () => {
    for (const [low, high] of [
      [0, 0],
      [3, 2],
      [0.5, 2],
      [0, 2 ** 54],
    ])
      expect(() => randint(low, high, [1])).toThrow(ArgumentError);
    expect(() => randperm(-1)).toThrow(ShapeError);
  });
});

describe('Tensor', () => {
  test('size, item and contiguity', () => {
    const x = zeros([2, 3, 4]);
    expect([x.size(), x.size(0), x.size(-1), x.numel, x.ndim]).toEqual([[2, 3, 4], 2, 4, 24, 3]);
    expect(() => x.size(3)).toThrow(ArgumentError);
    expect(tensor([[7]]).item()).toBe(7);
    expect(() => x.item()).toThrow(ShapeError);
  });

  test('reads through strides and offsets', () => {
    const storage = Float32Array.from({ length: 12 }, (_, i) => i);
    const x = new Tensor({ storage, shape: [2, 3], strides: [1, 4], offset: 1, dtype: 'float32' });
    expect(x.toArray()).toEqual([
      [1, 5, 9],
      [2, 6, 10],
    ]);
    const row = new Tensor({ storage, shape: [4], offset: 4, dtype: 'float32' });
    expect([...row.data]).toEqual([4, 5, 6, 7]);
    expect(row.data.buffer).toBe(storage.buffer);
    expect(zeros([0, 2]).toArray()).toEqual([]);
  });

  test('quantized: integers, parameters, dequantized values', () => {
    const q = fromStorage(
      Uint8Array.of(0, 10, 255),
      [3],
      'quint8',
      perTensorQParams(0.5, 10, 'quint8', 'test'),
    );
    expect(q.toArray()).toEqual([-5, 0, 122.5]);
    expect([q.qScale(), q.qZeroPoint(), q.qscheme(), q.isQuantized]).toEqual([
      0.5,
      10,
      'per_tensor_affine',
      true,
    ]);
    expect(() => q.qPerChannelAxis()).toThrow(ArgumentError);
    const c = fromStorage(
      Int8Array.of(1, 2, 3, 4),
      [2, 2],
      'qint8',
      perChannelQParams([0.5, 2], [0, 1], 1, 2, 'qint8', 'test'),
    );
    expect(c.toArray()).toEqual([
      [0.5, 2],
      [1.5, 6],
    ]);
    expect(c.qPerChannelScales().toArray()).toEqual([0.5, 2]);
    expect(c.qPerChannelZeroPoints().toArray()).toEqual([0, 1]);
    expect(c.qPerChannelAxis()).toBe(1);
    expect(() => c.qScale()).toThrow(ArgumentError);
    expect(() => ones([1]).qScale()).toThrow(DTypeError);
  });

  test('four-bit tensors hold two elements a byte', () => {
    const q = fromStorage(
      Uint8Array.of(0x21, 0x0f),
      [3],
      'quint4x2',
      perTensorQParams(1, 0, 'quint4x2', 'test'),
    );
    expect([...quantizedIntegers(q)]).toEqual([1, 2, 15]);
    expect(q.toArray()).toEqual([1, 2, 15]);
    expect(() => fromStorage(new Uint8Array(1), [3], 'quint4x2')).toThrow(ShapeError);
  });

  test('parameters are checked', () => {
    for (const scale of [0, -1, Number.NaN, Infinity])
      expect(() => perTensorQParams(scale, 0, 'qint8', 'f')).toThrow(/scale/);
    for (const zeroPoint of [-129, 128, 0.5])
      expect(() => perTensorQParams(1, zeroPoint, 'qint8', 'f')).toThrow(/zeroPoint/);
    expect(() => perChannelQParams([1], [0, 0], 0, 2, 'qint8', 'f')).toThrow(/scales/);
    expect(() => perChannelQParams([1, 1], [0], 0, 2, 'qint8', 'f')).toThrow(/zeroPoints/);
  });
});

describe('dtypes', () => {
  test('every dtype allocates what it says', () => {
    for (const [name, info] of Object.entries(DTYPES)) {
      expect(info.name).toBe(name);
      const bytes = info.allocate(8).byteLength;
      expect(bytes).toBe(8 * info.bytes);
    }
  });

  test('promotion is PyTorch’s', () => {
    const cases: readonly (readonly [DType, DType, DType])[] = [
      ['float32', 'int64', 'float32'],
      ['float32', 'float64', 'float64'],
      ['float16', 'bfloat16', 'float32'],
      ['bool', 'uint8', 'uint8'],
      ['int8', 'uint8', 'int16'],
      ['int32', 'int64', 'int64'],
    ];
    for (const [a, b, to] of cases) {
      expect(promoteDTypes(a, b, 'add')).toBe(to);
      expect(promoteDTypes(b, a, 'add')).toBe(to);
    }
    expect(() => promoteDTypes('float32', 'quint8', 'add')).toThrow(DTypeError);
  });
});

describe('errors', () => {
  const error = new ShapeError({ fn: 'f', argument: 'x', expected: 'a', got: 'b', fix: 'Do c.' });

  test('state function, argument, expected, got and the fix', () => {
    expect(error.message).toBe('f: x: expected a, got b. Do c.');
    expect(error.name).toBe('ShapeError');
    expect(error).toBeInstanceOf(ZeropointError);
    expect([error.fn, error.argument, error.expected, error.got, error.fix]).toEqual([
      'f',
      'x',
      'a',
      'b',
      'Do c.',
    ]);
  });

  test('name the innermost module they came from', () => {
    error.locate('layers.0', 'Linear');
    error.locate('', 'Net');
    expect(error.modulePath).toBe('layers.0');
    expect(error.message).toBe('f: x: expected a, got b. Do c. (in layers.0, a Linear)');
  });
});
