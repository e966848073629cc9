import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DTypeError, FileFormatError } from '../../src/core/errors.ts';
import { loadNpz, readNpy, readNpz, saveNpz, writeNpy, writeNpz } from '../../src/io/index.ts';
import { fromStorage, Tensor, tensor } from '../../src/tensor/index.ts';
import { DATA, haveData } from '../support/trained-data.ts';
import { expectSame, golden, goldenValues } from './golden.ts';

const samples = new Map([
  [
    'float32',
    tensor([
      [1 / 3, -0],
      [Number.NaN, 3],
    ]),
  ],
  ['float64', tensor([1 / 3, Number.POSITIVE_INFINITY], { dtype: 'float64' })],
  ['float16', tensor([1.5, -2], { dtype: 'float16' })],
  ['int64', tensor([2 ** 53, -(2 ** 53), -1], { dtype: 'int64' })],
  ['int32', tensor([-(2 ** 31), 5], { dtype: 'int32' })],
  ['int16', tensor([-300, 300], { dtype: 'int16' })],
  ['int8', tensor([-128, 5], { dtype: 'int8' })],
  ['uint8', tensor([200, 5], { dtype: 'uint8' })],
  ['bool', tensor([true, false])],
  ['scalar', tensor(3)],
  ['empty', tensor(new Float32Array(0), { shape: [0, 3] })],
  ['folder/name', tensor([1])],
]);

/** An array file with a header of our making. */
function file(header: string, data: number[] = [], version = 1): Uint8Array {
  const text = new TextEncoder().encode(header);
  const length = version === 1 ? [text.length & 255, text.length >> 8] : [text.length, 0, 0, 0];
  return Uint8Array.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0, ...length, ...text, ...data]);
}

describe('npy and npz', () => {
  it.each(['arrays.npz', 'arrays-compressed.npz'])('reads %s of NumPy', (name) => {
    const arrays = readNpz(golden(name));
    expect([...arrays.keys()]).toEqual(Object.keys(goldenValues.arrays));
    for (const [key, x] of arrays) {
      expect(x.shape).toEqual(goldenValues.arrays[key].shape);
      expect(Array.from(x.numbers(), Number)).toEqual(goldenValues.arrays[key].values.map(Number));
    }
    expect(arrays.get('u2')!.dtype).toBe('int32');
    expect(arrays.get('u8')!.dtype).toBe('int64');
    expect(arrays.get('fortran')!.isContiguous()).toBe(true);
  });

  it('reads what it wrote, stored or deflated', () => {
    for (const compressed of [false, true]) {
      const back = readNpz(writeNpz(samples, { compressed }));
      expect([...back.keys()]).toEqual([...samples.keys()]);
      for (const [key, x] of samples) expectSame(back.get(key), x);
    }
  });

  it('writes the bytes of NumPy', () => {
    const x = readNpy(golden('fortran.npy'));
    expect(x.shape).toEqual([2, 3, 4]);
    expect(x.data[1]).toBe(1);
    expect(Buffer.compare(writeNpy(x, { fortranOrder: true }), golden('fortran.npy'))).toBe(0);
    const turned = new Tensor({ storage: x.storage, shape: [4, 3], strides: [3, 1], dtype: 'float32' });
    expectSame(readNpy(writeNpy(turned)), turned);
  });

  it('refuses text by its dtype, and reads the rest of the archive', () => {
    expect(() => readNpz(golden('text.npz'))).toThrow(/names\.npy.*<U2/);
    expect([...readNpz(golden('text.npz'), { keys: ['x'] }).get('x')!.data]).toEqual([1, 1]);
    expect(() => readNpz(golden('text.npz'), { keys: ['z'] })).toThrow(/x\.npy, names\.npy/);
  });

  it('refuses dtypes that NumPy lacks', () => {
    expect(() => writeNpy(tensor([1], { dtype: 'bfloat16' }))).toThrow(DTypeError);
    const q = fromStorage(new Int8Array(1), [1], 'qint8', {
      scheme: 'per_tensor_affine',
      scale: 1,
      zeroPoint: 0,
    });
    expect(() => writeNpy(q)).toThrow(/dequantize/);
  });

  it('bounds what an archive may grow to', () => {
    const zeros = writeNpz(new Map([['x', tensor(new Float32Array(100_000))]]), { compressed: true });
    expect(zeros.length).toBeLessThan(2000);
    expect(() => readNpz(zeros, { maxInflatedBytes: 100_000 })).toThrow(/maxInflatedBytes/);
    expect(readNpz(zeros, { maxInflatedBytes: 500_000 }).get('x')!.numel).toBe(100_000);
  });

  const head = "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }";
  it('accepts every way to spell the header', () => {
    for (const text of [
      `${head}\n`,
      "{'shape':(2),'descr':'<u1','fortran_order':False}",
      "{'descr': '=u1', 'fortran_order': False, 'shape': (2L,)}   ",
    ]) {
      for (const version of [1, 2, 3]) expect([...readNpy(file(text, [7, 8], version)).data]).toEqual([7, 8]);
    }
    expect(readNpy(file("{'descr': '|u1', 'fortran_order': True, 'shape': (), }", [7])).shape).toEqual([]);
  });

  it.each<[string, Uint8Array, RegExp]>([
    ['nothing', new Uint8Array(), /magic/],
    ['version 9', file(head, [1, 2], 9), /version/],
    ['a header beyond the file', file(head).subarray(0, 20), /header/],
    ['too little data', file(head, [1]), /2 bytes/],
    ['too much data', file(head, [1, 2, 3]), /2 bytes/],
    ['a shape that lies', file(head.replace('2,', '2, 9999999999'), [1, 2]), /bytes for/],
    ['a shape beyond numbers', file(head.replace('2,', '9999999999, 9999999999'), [1, 2]), /bytes for/],
    ['a negative shape', file(head.replace('2,', '-2,'), [1, 2]), /shape/],
    ['objects', file(head.replace('|u1', '|O'), [1, 2]), /\|O/],
    ['structures', file(head.replace("'|u1'", "[('a', '<i4')]"), [1, 2]), /<i4/],
    ['a repeated key', file(head.replace('{', "{'shape': (1,), "), [1, 2]), /each key once/],
    ['an unknown key', file(head.replace('{', "{'x': (1,), "), [1, 2]), /descr/],
    ['code', file(head.replace('False', '__import__("os")'), [1, 2]), /descr/],
  ])('refuses %s', (_, bytes, message) => {
    expect(() => readNpy(bytes)).toThrow(FileFormatError);
    expect(() => readNpy(bytes)).toThrow(message);
  });
});

const python = process.env.ZEROPOINT_PYTHON ?? '/usr/bin/python3';
const hasNumpy = spawnSync(python, ['-c', 'import numpy']).status === 0;
if (!hasNumpy) console.log(`skipped: np.load on our files (no NumPy in ${python}; set ZEROPOINT_PYTHON)`);

describe.skipIf(!hasNumpy)('files of writeNpz in NumPy', () => {
  it('load with the same values', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'zeropoint-'));
    await saveNpz(samples, join(folder, 'a.npz'));
    await saveNpz(samples, join(folder, 'b.npz'), { compressed: true });
    const script = `
import sys, numpy as np
for name in 'ab':
    z = np.load(sys.argv[1] + '/' + name + '.npz')
    assert z['float32'].tolist()[0] == [np.float32(1 / 3), 0.0] and np.isnan(z['float32'][1, 0])
    assert z['float16'].tolist() == [1.5, -2] and z['int64'].tolist() == [2**53, -2**53, -1]
    assert z['int16'].tolist() == [-300, 300] and z['bool'].tolist() == [True, False] and z['uint8'].tolist() == [200, 5]
    assert z['scalar'].shape == () and z['empty'].shape == (0, 3) and z['folder/name'].tolist() == [1]
    assert [z[k].dtype.name for k in z][:9] == 'float32 float64 float16 int64 int32 int16 int8 uint8 bool'.split()
print('same')
`;
    const run = spawnSync(python, ['-c', script, folder], { encoding: 'utf8' });
    rmSync(folder, { recursive: true });
    expect(run.stderr).toBe('');
    expect(run.stdout).toContain('same');
  });
});

const present = haveData('data sets', 'fashion_mnist.npz', 'cifar10_train_4000.npz');

describe.skipIf(!present)('data sets', () => {
  it.each([
    ['fashion_mnist', 'x_train', 'uint8', [20000, 28, 28]],
    ['keyword_mfcc_500', 'x', 'float32', [500, 1, 49, 10]],
    ['cifar10_train_4000', 'x', 'uint8', [4000, 32, 32, 3]],
    ['cifar10_test_jpeg_2500', 'y', 'int64', [2500]],
    ['g2p_gru', 'enc_w_ih', 'float32', [768, 256]],
  ])('%s', async (name, key, dtype, shape) => {
    const arrays = await loadNpz(join(DATA, `${name}.npz`));
    expect(arrays.get(key)).toMatchObject({ dtype, shape });
  });
});
