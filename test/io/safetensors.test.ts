import { describe, expect, it } from 'vitest';
import { ArgumentError, FileFormatError } from '../../src/core/errors.ts';
import {
  loadStateDict,
  readSafetensors,
  type SafetensorsWriteOptions,
  writeSafetensors,
} from '../../src/io/index.ts';
import { fromStorage, type StateDict, Tensor, tensor } from '../../src/tensor/index.ts';
import { expectSame } from './golden.ts';

/** A file with a header of our making. */
function file(header: string, data: number[] = [], length?: number): Uint8Array {
  const text = new TextEncoder().encode(header);
  const out = new Uint8Array(8 + text.length + data.length);
  new DataView(out.buffer).setBigUint64(0, BigInt(length ?? text.length), true);
  out.set(text, 8);
  out.set(data, 8 + text.length);
  return out;
}

function headerOf(bytes: Uint8Array): any {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  return JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
}

function expectRoundTrip(dict: StateDict, options?: SafetensorsWriteOptions): void {
  const back = readSafetensors(writeSafetensors(dict, options));
  expect([...back.dict.keys()]).toEqual([...dict.keys()]);
  for (const [key, value] of dict) expectSame(back.dict.get(key), value);
  expect(Object.fromEntries(back.metadata)).toEqual(options?.metadata ?? {});
}

const floats = tensor(Float32Array.from({ length: 12 }, (_, i) => i / 7));

describe('writeSafetensors', () => {
  it('follows the format: any reader finds plain tensors, aligned and without holes', () => {
    const dict: StateDict = new Map([
      ['2', tensor([1, 2, 3], { dtype: 'int8' })],
      ['1', tensor([0.5], { dtype: 'float64' })],
      ['w', tensor([[1, 2]])],
    ]);
    const bytes = writeSafetensors(dict, { metadata: { format: 'pt' } });
    const header = headerOf(bytes);
    expect(header).toEqual({
      __metadata__: { format: 'pt' },
      2: { dtype: 'I8', shape: [3], data_offsets: [16, 19] },
      1: { dtype: 'F64', shape: [1], data_offsets: [0, 8] },
      w: { dtype: 'F32', shape: [1, 2], data_offsets: [8, 16] },
    });
    expect((bytes.length - 19) % 8).toBe(0);
    expect([...readSafetensors(bytes).dict.keys()]).toEqual(['2', '1', 'w']);
  });

  it('round-trips every plain dtype and any strides', () => {
    expectRoundTrip(
      new Map<string, any>([
        ['float32', floats],
        ['turned', new Tensor({ storage: floats.storage, shape: [4, 3], strides: [1, 4], dtype: 'float32' })],
        ['float64', tensor([1 / 3, -0, Number.NaN], { dtype: 'float64' })],
        ['float16', tensor([1.5, -2], { dtype: 'float16' })],
        ['bfloat16', tensor([1.5, -2], { dtype: 'bfloat16' })],
        ['int64', tensor([2 ** 53, -(2 ** 53), -1], { dtype: 'int64' })],
        ['int32', tensor([-(2 ** 31), 5], { dtype: 'int32' })],
        ['int16', tensor([-300, 300], { dtype: 'int16' })],
        ['int8', tensor([-128, 5], { dtype: 'int8' })],
        ['uint8', tensor([200, 5], { dtype: 'uint8' })],
        ['bool', tensor([true, false])],
        ['scalar', tensor(3)],
        ['empty', tensor(new Float32Array(0), { shape: [0, 3] })],
        ['__proto__', tensor([1])],
      ]),
      { metadata: { a: 'ü', __proto__x: '' } },
    );
  });

  it('stores quantized tensors as integers and brings them back exactly', () => {
    const scheme = 'per_tensor_affine';
    const dict: StateDict = new Map<string, any>([
      [
        'qint8',
        fromStorage(Int8Array.of(-128, 0, 127), [3], 'qint8', { scheme, scale: 1 / 3, zeroPoint: -7 }),
      ],
      [
        'quint8',
        fromStorage(Uint8Array.of(0, 255), [2], 'quint8', { scheme, scale: 5e-324, zeroPoint: 255 }),
      ],
      ['qint32', fromStorage(Int32Array.of(-(2 ** 31)), [1], 'qint32', { scheme, scale: 0.1, zeroPoint: 0 })],
      ['nibbles', fromStorage(Uint8Array.of(0x21, 3), [3], 'quint4x2', { scheme, scale: 0.1, zeroPoint: 8 })],
      [
        'channels',
        fromStorage(Int8Array.of(1, 2, 3, 4), [2, 2], 'qint8', {
          scheme: 'per_channel_affine',
          scales: Float64Array.of(0.1, 1 / 7),
          zeroPoints: Int32Array.of(3, -4),
          axis: 1,
        }),
      ],
      [
        'floats',
        fromStorage(Uint8Array.of(0x21, 0x43, 0x65), [2, 3], 'quint4x2', {
          scheme: 'per_channel_affine_float_qparams',
          scales: Float32Array.of(0.1, 0.2),
          zeroPoints: Float32Array.of(0.3, 7.25),
          axis: 0,
        }),
      ],
    ]);
    expectRoundTrip(dict);
    const bytes = writeSafetensors(dict);
    expect(headerOf(bytes).qint8).toMatchObject({ dtype: 'I8', shape: [3] });
    expect(JSON.parse(headerOf(bytes).__metadata__.zeropoint).quantized.qint8).toEqual({
      dtype: 'qint8',
      scheme,
      scale: 1 / 3,
      zeroPoint: -7,
    });
  });

  it('keeps tuples, strings, numbers and null, in order', () => {
    const qparams = { scheme: 'per_tensor_affine', scale: 0.25, zeroPoint: 0 } as const;
    const weight = fromStorage(Int8Array.of(1, 2), [2], 'qint8', qparams);
    expectRoundTrip(
      new Map<string, any>([
        ['fc.dtype', 'qint8'],
        ['fc.params', [weight, null]],
        ['fc.params#0', tensor([5])],
        ['deep', [[floats, ['x', 1.5]], Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0]],
        ['zero', 0],
        ['flag', false],
        ['none', null],
        ['empty', []],
        ['__proto__', 'key'],
      ]),
    );
  });

  it('refuses what it cannot keep', () => {
    expect(() => writeSafetensors(new Map([['a', new Map() as any]]))).toThrow(ArgumentError);
    expect(() => writeSafetensors(new Map(), { metadata: { zeropoint: 'x' } })).toThrow(/zeropoint/);
    expect(() => writeSafetensors(new Map([['__metadata__', floats]]))).toThrow(ArgumentError);
  });

  it('is told apart from pickles by loadStateDict, whatever its first byte', async () => {
    for (let n = 0; n < 64; n++) {
      const dict: StateDict = new Map([['x'.repeat(1 + 8 * n), tensor([n])]]);
      expect([...(await loadStateDict(writeSafetensors(dict))).keys()]).toEqual([...dict.keys()]);
    }
  });
});

describe('readSafetensors', () => {
  it('leaves tensors in bytes that it may adopt, unless they are not aligned, and in no others', () => {
    const dict: StateDict = new Map([
      ['float', tensor([1.5, -2, 3])],
      ['half', tensor([0.5, 4], { dtype: 'float16' })],
      ['int', tensor([7, -8, 9], { dtype: 'int64' })],
      ['bool', tensor([1, 0, 1], { dtype: 'bool' })],
    ]);
    const bytes = writeSafetensors(dict);
    const shifted = new Uint8Array(bytes.length + 2).subarray(2);
    shifted.set(bytes);
    const where = (from: Uint8Array, adopt: boolean): string[] => {
      const read = readSafetensors(from, { adopt }).dict;
      for (const [key, value] of dict) expectSame(read.get(key), value);
      return [...read].flatMap(([key, x]) => ((x as Tensor).storage.buffer === from.buffer ? key : []));
    };
    expect(where(bytes, false)).toEqual([]);
    expect(where(bytes, true)).toEqual(['float', 'half', 'bool']);
    expect(where(shifted, true)).toEqual(['half', 'bool']);
  });

  it('widens unsigned integers', () => {
    const { dict } = readSafetensors(
      file(
        '{"a":{"dtype":"U16","shape":[1],"data_offsets":[0,2]},"b":{"dtype":"U32","shape":[1],"data_offsets":[2,6]},"c":{"dtype":"U64","shape":[],"data_offsets":[6,14]}}  ',
        [255, 255, 255, 255, 255, 255, 1, 0, 0, 0, 1, 0, 0, 0],
      ),
    );
    expect([...dict.values()].map((x) => [(x as Tensor).dtype, (x as Tensor).data[0]])).toEqual([
      ['int32', 65535],
      ['int64', 2 ** 32 - 1],
      ['int64', 2 ** 32 + 1],
    ]);
  });

  const one = '{"dtype":"U8","shape":[2],"data_offsets":[0,2]}';
  it.each<[string, Uint8Array, RegExp]>([
    ['nothing', new Uint8Array(), /header length/],
    ['a header beyond the file', file('{}', [], 1000), /header/],
    ['a header length above the limit', file('{}', [], 2 ** 40), /at most/],
    ['a header length of 2^63', file('{}', [], 2 ** 62), /2\^53/],
    ['no brace', file(' {}'), /brace/],
    ['broken JSON', file('{"a":'), /header/],
    ['text after the JSON', file('{}x'), /the end/],
    ['a repeated key', file(`{"a":${one},"a":${one}}`, [1, 2]), /each key once/],
    ['overlapping tensors', file(`{"a":${one},"b":${one}}`, [1, 2]), /the one before it ends/],
    ['a hole', file(`{"a":${one.replace('[0,2]', '[1,3]')}}`, [1, 2, 3]), /the one before it ends/],
    ['data left over', file(`{"a":${one}}`, [1, 2, 3]), /as the header says/],
    ['data missing', file(`{"a":${one}}`, [1]), /offsets/],
    ['a size that does not fit', file(`{"a":${one.replace('[2]', '[3]')}}`, [1, 2]), /3 bytes/],
    ['a huge shape', file(`{"a":${one.replace('[2]', '[4294967296,4294967296]')}}`, [1, 2]), /shape/],
    ['a negative shape', file(`{"a":${one.replace('[2]', '[-2]')}}`, [1, 2]), /shape/],
    ['an unknown dtype', file(`{"a":${one.replace('U8', 'F8_E4M3')}}`, [1, 2]), /F8_E4M3/],
    ['a dtype of Object', file(`{"a":${one.replace('U8', 'constructor')}}`, [1, 2]), /dtype/],
    ['more fields', file(`{"a":${one.replace('{', '{"x":1,')}}`, [1, 2]), /fields/],
    ['metadata that is no string', file('{"__metadata__":{"a":1}}'), /string/],
    ['deep nesting', file(`{"a":${'['.repeat(100000)}`), /levels/],
    [
      'an int64 beyond 2^53',
      file('{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}', [1, 0, 0, 0, 0, 0, 32, 0]),
      /2\^53/,
    ],
    [
      'broken qparams',
      file(
        `{"__metadata__":{"zeropoint":"{\\"version\\":1,\\"quantized\\":{\\"a\\":{\\"dtype\\":\\"quint8\\",\\"scheme\\":\\"per_tensor_affine\\",\\"scale\\":0,\\"zeroPoint\\":0}}}"},"a":${one}}`,
        [1, 2],
      ),
      /positive/,
    ],
    [
      'a description of another version',
      file(`{"__metadata__":{"zeropoint":"{\\"version\\":9}"},"a":${one}}`, [1, 2]),
      /version/,
    ],
    [
      'qparams for nothing',
      file(
        `{"__metadata__":{"zeropoint":"{\\"version\\":1,\\"quantized\\":{\\"b\\":{}}}"},"a":${one}}`,
        [1, 2],
      ),
      /tensor of the file/,
    ],
    [
      'tensors without a place',
      file(`{"__metadata__":{"zeropoint":"{\\"version\\":1,\\"entries\\":[]}"},"a":${one}}`, [1, 2]),
      /place/,
    ],
  ])('refuses %s', (_, bytes, message) => {
    expect(() => readSafetensors(bytes, { file: 'x.safetensors' })).toThrow(FileFormatError);
    expect(() => readSafetensors(bytes, { file: 'x.safetensors' })).toThrow(message);
  });
});
