import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FileFormatError } from '../../src/core/errors.ts';
import {
  FileError,
  loadPyTorch,
  loadStateDict,
  moduleVersions,
  type PickleValue,
  readPyTorch,
  savePyTorch,
  writePyTorch,
} from '../../src/io/index.ts';
import { fromStorage, type StateDict, Tensor, tensor } from '../../src/tensor/index.ts';
import { DATA, haveData } from '../support/trained-data.ts';
import { expectGolden, expectSame, golden, goldenValues } from './golden.ts';

type Dict = Map<string, PickleValue>;

describe('readPyTorch on files of torch.save', () => {
  for (const name of Object.keys(goldenValues).filter((key) => key.endsWith('.pt'))) {
    it(`reads ${name}`, () => expectGolden(readPyTorch(golden(name)), goldenValues[name]));
  }

  it.each(['plain.zip.pt', 'plain.legacy.pt'])('keeps strides, offsets and sharing in %s', (name) => {
    const dict = readPyTorch(golden(name)) as Map<string, Tensor>;
    const [whole, transposed, window] = ['whole', 'transposed', 'window'].map((key) => dict.get(key)!);
    expect(transposed.storage).toBe(whole.storage);
    expect(window.storage).toBe(whole.storage);
    expect(transposed.strides).toEqual([1, 12, 4]);
    expect([window.offset, window.strides]).toEqual([5, [3]]);
    expect(dict.get('expanded')!.strides).toEqual([0, 0]);
  });

  it('keeps the memory format of channels-last tensors', () => {
    const dict = readPyTorch(golden('quantized.zip.pt')) as Map<string, Tensor>;
    expect(dict.get('channels_last')!.isContiguous('channelsLast')).toBe(true);
  });

  it('keeps requiresGrad of parameters', () => {
    const dict = readPyTorch(golden('containers.zip.pt')) as Map<string, Tensor>;
    expect(dict.get('parameter')!.requiresGrad).toBe(true);
  });

  it('keeps the module versions of a state dict', () => {
    const dict = readPyTorch(golden('quantized-modules.pt')) as Map<string, unknown>;
    expect(Object.fromEntries(moduleVersions(dict)!)).toEqual(goldenValues['quantized-modules.pt'].versions);
  });

  it('reads the script objects of a dynamic LSTM as [class, state]', () => {
    const dict = readPyTorch(golden('dynamic-lstm.pt')) as Dict;
    const [name, state] = dict.get('_all_weight_values.0.param') as PickleValue[];
    expect(name).toBe('__torch__.torch.classes.rnn.CellParamsBase');
    expect((state as PickleValue[])[0]).toBe('quantized_dynamic');
    const [input] = (state as PickleValue[])[4] as PickleValue[][];
    expect(input[0]).toBe('__torch__.torch.classes.quantized.LinearPackedParamsBase');
    expect((input[1] as Tensor[])[0].dtype).toBe('qint8');
  });

  it('refuses code by its name', () => {
    expect(() => readPyTorch(golden('evil.pt'))).toThrow(/global posix\.system/);
    expect(() => readPyTorch(golden('module.pt'))).toThrow(/global torch\.nn\.modules\.linear\.Linear/);
  });

  it('refuses other files, empty ones and big-endian ones', () => {
    expect(() => readPyTorch(new Uint8Array())).toThrow(/empty file/);
    expect(() => readPyTorch(golden('rgb.png'))).toThrow(FileFormatError);
    const legacy = golden('plain.legacy.pt').slice();
    const at = Buffer.from(legacy).indexOf('little_endian');
    const flag = legacy.indexOf(0x88, at);
    legacy[flag] = 0x89;
    expect(() => readPyTorch(legacy)).toThrow(/big-endian/);
  });

  it('refuses int64 values beyond 2^53 with the byte offset', () => {
    const file = golden('plain.legacy.pt').slice();
    const value = new Uint8Array(new BigInt64Array([12345678901n]).buffer);
    const at = Buffer.from(file).indexOf(value);
    file[at + 7] = 0x7f;
    try {
      readPyTorch(file, { file: 'big.pt' });
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(FileFormatError);
      expect(error).toMatchObject({ file: 'big.pt', offset: at });
    }
  });
});

function sample(): StateDict {
  const base = tensor(Float32Array.from({ length: 24 }, (_, i) => i - 3.5));
  const quantized = (dtype: 'qint8' | 'quint8' | 'qint32', scale: number, zeroPoint: number) => {
    const ints = tensor(Float32Array.from({ length: 6 }, (_, i) => i * 7)).data;
    const storage =
      dtype === 'qint8'
        ? Int8Array.from(ints)
        : dtype === 'quint8'
          ? Uint8Array.from(ints)
          : Int32Array.from(ints);
    return fromStorage(storage, [2, 3], dtype, { scheme: 'per_tensor_affine', scale, zeroPoint });
  };
  return new Map<string, any>([
    ['whole', base],
    [
      'turned',
      new Tensor({ storage: base.storage, shape: [4, 3], strides: [1, 4], offset: 8, dtype: 'float32' }),
    ],
    ['float64', tensor([1 / 3, -0], { dtype: 'float64' })],
    ['float16', tensor([1.5, -2], { dtype: 'float16' })],
    ['bfloat16', tensor([1.5, -2], { dtype: 'bfloat16' })],
    ['int64', tensor([2 ** 53, -(2 ** 53), -1, 4294967296], { dtype: 'int64' })],
    ['int32', tensor([-(2 ** 31), 5], { dtype: 'int32' })],
    ['int16', tensor([-300, 300], { dtype: 'int16' })],
    ['int8', tensor([-128, 5], { dtype: 'int8' })],
    ['uint8', tensor([200, 5], { dtype: 'uint8' })],
    ['bool', tensor([true, false])],
    ['scalar', tensor(3)],
    ['empty', tensor(new Float32Array(0), { shape: [0, 3] })],
    ['q.qint8', quantized('qint8', 1 / 3, -7)],
    ['q.quint8', quantized('quint8', 0.1, 128)],
    ['q.qint32', quantized('qint32', 1e-7, 0)],
    [
      'q.channels',
      fromStorage(new Int8Array([1, 2, 3, 4, 5, 6]), [2, 3], 'qint8', {
        scheme: 'per_channel_affine',
        scales: Float64Array.of(0.1, 1 / 7, 3),
        zeroPoints: Int32Array.of(0, -3, 9),
        axis: 1,
      }),
    ],
    [
      'q.floats',
      fromStorage(new Uint8Array([1, 2, 3, 4]), [2, 2], 'quint8', {
        scheme: 'per_channel_affine_float_qparams',
        scales: Float32Array.of(0.1, 0.2),
        zeroPoints: Float32Array.of(0.5, 7.25),
        axis: 0,
      }),
    ],
    ['fc._packed_params.dtype', 'qint8'],
    ['fc._packed_params._packed_params', [quantized('qint8', 0.25, 0), null]],
    ['epoch', 12],
    ['large', 2 ** 40],
    ['loss', -0.125],
    ['zero', -0],
    ['name', 'Grüße'],
    ['flag', true],
    ['nothing', null],
    ['five', [1, 2, 3, 4, 'five']],
    ['none', []],
  ]);
}

describe('writePyTorch', () => {
  it('reads back what it wrote, to the bit', () => {
    const dict = sample();
    const back = readPyTorch(writePyTorch(dict)) as Map<string, unknown>;
    expect([...back.keys()]).toEqual([...dict.keys()]);
    for (const [key, value] of dict) expectSame(back.get(key), value);
    expect((back.get('turned') as Tensor).storage).toBe((back.get('whole') as Tensor).storage);
    expect((back.get('turned') as Tensor).strides).toEqual([1, 4]);
  });

  it('makes a qint8 file about a quarter of the float one', () => {
    const float = tensor(new Float32Array(10000), { shape: [100, 100] });
    const qparams = { scheme: 'per_tensor_affine', scale: 0.1, zeroPoint: 0 } as const;
    const int8 = fromStorage(new Int8Array(10000), [100, 100], 'qint8', qparams);
    const [large, small] = [float, int8].map((x) => writePyTorch(new Map([['weight', x]])).length);
    expect(small / large).toBeGreaterThan(0.25);
    expect(small / large).toBeLessThan(0.28);
  });

  it('aligns every storage to 64 bytes', () => {
    const bytes = Buffer.from(writePyTorch(new Map([['x', tensor([1, 2, 3])]])));
    expect(bytes.indexOf(new Uint8Array(Float32Array.of(1, 2, 3).buffer)) % 64).toBe(0);
  });

  it('refuses quint4x2, which PyTorch cannot save', () => {
    const qparams = { scheme: 'per_tensor_affine', scale: 0.1, zeroPoint: 0 } as const;
    const x = fromStorage(new Uint8Array(2), [4], 'quint4x2', qparams);
    expect(() => writePyTorch(new Map([['w', x]]))).toThrow(/safetensors/);
  });

  it('writes a file whole, and leaves nothing behind where it cannot', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'zeropoint-'));
    try {
      const path = join(folder, 'a.pt');
      await savePyTorch(new Map([['x', tensor([1, 2])]]), path);
      const dict = (await loadPyTorch(path)) as Map<string, Tensor>;
      expect([...dict.get('x')!.data]).toEqual([1, 2]);
      await expect(savePyTorch(new Map(), join(folder, 'missing', 'a.pt'))).rejects.toThrow(FileError);
      await expect(savePyTorch(new Map(), folder)).rejects.toThrow(FileError);
      await expect(loadPyTorch(join(folder, 'none.pt'))).rejects.toMatchObject({ code: 'ENOENT' });
      expect(readdirSync(folder)).toEqual(['a.pt']);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('loadStateDict', () => {
  it('finds the dict in a checkpoint and strips the module prefix', async () => {
    const dict = await loadStateDict(golden('containers.zip.pt'));
    expect([...dict.keys()]).toEqual(['fc.weight', 'fc.bias']);
    expect([...(await loadStateDict(golden('containers.zip.pt'), { prefix: 'fc' })).keys()]).toEqual([
      'weight',
      'bias',
    ]);
    await expect(loadStateDict(golden('containers.zip.pt'), { prefix: 'conv' })).rejects.toThrow(
      /module\.fc\.weight/,
    );
  });

  it('keeps tuples, dtypes and module versions', async () => {
    const dict = await loadStateDict(golden('quantized-modules.pt'), { prefix: '1' });
    expect(dict.get('_packed_params.dtype')).toBe('qint8');
    expect((dict.get('_packed_params._packed_params') as Tensor[])[0].dtype).toBe('qint8');
    expect(moduleVersions(dict)?.get('_packed_params')).toBe(3);
  });
});

const python = process.env.ZEROPOINT_PYTHON ?? '/usr/bin/python3';
const hasTorch = spawnSync(python, ['-c', 'import torch']).status === 0;
if (!hasTorch)
  console.log(`skipped: torch.load on our files (no PyTorch in ${python}; set ZEROPOINT_PYTHON)`);

describe.skipIf(!hasTorch)('files of writePyTorch in PyTorch', () => {
  const folder = mkdtempSync(join(tmpdir(), 'zeropoint-'));

  it('load with the same values', async () => {
    await savePyTorch(sample(), join(folder, 'sample.pt'));
    await savePyTorch(readPyTorch(golden('quantized-modules.pt')) as StateDict, join(folder, 'modules.pt'));
    await savePyTorch(readPyTorch(golden('dynamic-lstm.pt')) as StateDict, join(folder, 'lstm.pt'));
    const guessed = new Map(readPyTorch(golden('quantized-modules.pt')) as StateDict);
    await savePyTorch(guessed, join(folder, 'guessed.pt'));
    const script = `
import json, math, sys, torch
folder = sys.argv[1]
d = torch.load(folder + '/sample.pt')
assert type(d).__name__ == 'OrderedDict'
assert d['turned'].storage().data_ptr() == d['whole'].storage().data_ptr()
assert d['turned'].stride() == (1, 4) and d['turned'][1, 0] == d['whole'][9]
assert d['float64'].tolist() == [1 / 3, 0.0] and d['float16'].tolist() == [1.5, -2]
assert d['bfloat16'].dtype == torch.bfloat16 and d['bfloat16'].tolist() == [1.5, -2]
assert d['int64'].tolist() == [2**53, -2**53, -1, 2**32] and d['int64'].dtype == torch.int64
assert d['int16'].tolist() == [-300, 300] and d['bool'].tolist() == [True, False]
assert d['scalar'].shape == () and d['empty'].shape == (0, 3)
for dtype, scale, zero in [('qint8', 1 / 3, -7), ('quint8', 0.1, 128), ('qint32', 1e-7, 0)]:
    q = d['q.' + dtype]
    assert q.dtype == getattr(torch, dtype) and q.q_scale() == scale and q.q_zero_point() == zero
    assert q.int_repr().tolist() == [[0, 7, 14], [21, 28, 35]]
c = d['q.channels']
assert c.q_per_channel_scales().tolist() == [0.1, 1 / 7, 3] and c.q_per_channel_zero_points().tolist() == [0, -3, 9]
assert c.q_per_channel_axis() == 1 and c.int_repr().tolist() == [[1, 2, 3], [4, 5, 6]]
f = d['q.floats']
assert f.qscheme() == torch.per_channel_affine_float_qparams and f.q_per_channel_zero_points().tolist() == [0.5, 7.25]
assert d['fc._packed_params.dtype'] is torch.qint8
w, b = d['fc._packed_params._packed_params']
assert w.q_scale() == 0.25 and b is None
assert d['epoch'] == 12 and type(d['epoch']) is int and d['large'] == 2**40 and d['loss'] == -0.125
assert math.copysign(1, d['zero']) == -1 and d['name'] == 'Gr\\u00fc\\u00dfe'
assert d['flag'] is True and d['nothing'] is None and d['five'] == (1, 2, 3, 4, 'five') and d['none'] == ()
q = torch.nn.quantized
torch.backends.quantized.engine = 'qnnpack'
golden = torch.load(sys.argv[2] + '/quantized-modules.pt')
for name in ['modules', 'guessed']:
    m = torch.nn.Sequential(q.Conv2d(1, 2, 3), q.Linear(4, 3), q.Embedding(5, 4), q.dynamic.Linear(4, 3))
    m.load_state_dict(torch.load(folder + '/' + name + '.pt'))
    for key, value in golden.items():
        mine = m.state_dict()[key]
        if isinstance(value, torch.Tensor):
            assert torch.equal(mine.dequantize() if mine.is_quantized else mine, value.dequantize() if value.is_quantized else value), key
lstm = q.dynamic.LSTM(3, 2)
lstm.load_state_dict(torch.load(folder + '/lstm.pt'))
other = q.dynamic.LSTM(3, 2)
other.load_state_dict(torch.load(sys.argv[2] + '/dynamic-lstm.pt'))
x = torch.randn(4, 1, 3)
assert torch.equal(lstm(x)[0], other(x)[0])
print('same')
`;
    const data = new URL('../golden/data/io', import.meta.url).pathname;
    const run = spawnSync(python, ['-c', script, folder, data], { encoding: 'utf8' });
    rmSync(folder, { recursive: true });
    expect(run.stderr.replaceAll(/^.*Warning.*$/gm, '')).not.toMatch(/Error/);
    expect(run.stdout).toContain('same');
  });
});

const present = haveData('trained checkpoints', 'resnet20-12fca82f.th', 'squeezenet1_1.pth');

describe.skipIf(!present)('trained checkpoints', () => {
  it.each([
    ['resnet20-12fca82f.th', 97, 'conv1.weight', [16, 3, 3, 3]],
    ['resnet44-014dd654.th', 217, 'linear.weight', [10, 64]],
    ['squeezenet1_1.pth', 52, 'features.0.weight', [64, 3, 3, 3]],
    ['ds_cnn.pth', 65, 'features.1.weight', [64, 1, 10, 4]],
    ['char_lstm_shakespeare.pth', 11, 'embedding.weight', [65, 128]],
    ['silero_vad_16k.safetensors', 15, 'conv1.weight', [128, 129, 3]],
  ])('%s', async (name, entries, key, shape) => {
    const dict = await loadStateDict(join(DATA, name));
    expect(dict.size).toBe(entries);
    expect((dict.get(key) as Tensor).shape).toEqual(shape);
    for (const value of dict.values()) {
      if (!(value instanceof Tensor)) continue;
      expect(value.data.every((n: number) => Number.isFinite(n))).toBe(true);
    }
    const again = readPyTorch(writePyTorch(dict)) as Map<string, unknown>;
    for (const [k, value] of dict) expectSame(again.get(k), value);
  });

  it('keeps the plain values of a checkpoint', () => {
    const bytes = readFileSync(join(DATA, 'resnet20-12fca82f.th'));
    expect((readPyTorch(bytes) as Dict).get('best_prec1')).toBe(91.78000183105469);
  });
});
