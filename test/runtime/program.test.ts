import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ArgumentError, FileFormatError, ShapeError, TraceError } from '../../src/core/errors.ts';
import { manualSeed } from '../../src/core/random.ts';
import { readSafetensors, writeSafetensors } from '../../src/io/index.ts';
import { create, modelInfo, modelNames, type QuantizableModel } from '../../src/models/index.ts';
import {
  type AnyModule,
  BatchNorm1d,
  Conv1d,
  Conv2d,
  Conv3d,
  Dropout,
  ELU,
  GRU,
  Hardswish,
  LayerNorm,
  LeakyReLU,
  Linear,
  LSTM,
  Module,
  ReLU,
  Sequential,
  TransformerEncoderLayer,
} from '../../src/nn/index.ts';
import { noGrad } from '../../src/ops/index.ts';
import {
  convert,
  getDefaultQConfig,
  prepare,
  QuantWrapper,
  quantizeDynamic,
} from '../../src/quantization/index.ts';
import { load, type Program, readProgram, save, trace, writeProgram } from '../../src/runtime/index.ts';
import { rand, randint, randn } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { expectClose } from '../support/close.ts';
import { bits } from '../support/same-bits.ts';

/** Runs model, program and the program read back from its bytes, and compares every bit. */
function expectSame(model: AnyModule, program: Program, ...inputs: readonly unknown[]): void {
  const expected = bits(noGrad(() => model(...inputs)));
  expect(bits(program.run(...inputs))).toEqual(expected);
  expect(bits(readProgram(writeProgram(program)).run(...inputs))).toEqual(expected);
}

/** As {@link expectSame} for float programs, whose kernels round elsewhere; the program read back gives the bits of the first. */
function expectNear(model: AnyModule, program: Program, ...inputs: readonly unknown[]): void {
  const result = program.run(...inputs);
  expect(
    expectClose(
      result,
      noGrad(() => model(...inputs)),
    ),
  ).toBeGreaterThan(0);
  expect(bits(readProgram(writeProgram(program)).run(...inputs))).toEqual(bits(result));
}

const forms: [string, 'float' | 'int8'][] = modelNames.flatMap((name): [string, 'float' | 'int8'][] =>
  name === 'charLstm'
    ? [[name, 'float']]
    : [
        [name, 'float'],
        [name, 'int8'],
      ],
);

describe.each(forms)('%s in %s', (name, form) => {
  test('gives what the model gives (int8 bit for bit), before and after saving, at other batch sizes too', () => {
    manualSeed(0);
    const { input, inputShape } = modelInfo(name);
    const shape = input === 'image' ? inputShape.map((s) => Math.min(s, 64)) : inputShape;
    const sample = (n: number): Tensor =>
      input === 'characters' ? randint(0, 65, [n, ...shape]) : rand([n, ...shape]);
    let model: AnyModule = create(name, { quantizable: form === 'int8' }).eval();
    if (form === 'int8') {
      (model as QuantizableModel).fuseModel();
      model.qconfig = getDefaultQConfig('qnnpack');
      const prepared = prepare(model);
      noGrad(() => prepared(sample(2)));
      model = convert(prepared);
    }
    const program = trace(model, [sample(1)]);
    expect(program.graph.batch).toEqual({ dim: 0, example: 1, fixed: null });
    const compare = form === 'int8' ? expectSame : expectNear;
    for (const n of [1, 3]) compare(model, program, sample(n));
  });
});

describe('trace', () => {
  test('dynamic int8 and float16 layers', () => {
    manualSeed(1);
    const models: [Module<any, any>, number[], number][] = [
      [new Sequential(new Linear(6, 8), new ReLU(), new Linear(8, 4)), [2, 6], 0],
      [new Sequential(new LSTM(3, 4, { batchFirst: true, bidirectional: true })), [2, 5, 3], 0],
      [new Sequential(new GRU(3, 4)), [5, 2, 3], 1],
      [new TransformerEncoderLayer(8, 2, { dimFeedforward: 16 }), [5, 2, 8], 1],
    ];
    for (const [model, shape, batchDim] of models) {
      for (const dtype of ['qint8', 'float16'] as const) {
        const small = quantizeDynamic(model.eval(), undefined, { dtype });
        const program = trace(small, [randn(shape)], { batchDim });
        // Attention and normalization between the quantized layers are float.
        const compare =
          model instanceof TransformerEncoderLayer || dtype === 'float16' ? expectNear : expectSame;
        compare(small, program, randn(shape.map((size, d) => (d === batchDim ? size + 1 : size))));
      }
    }
  });

  test.each<[string, AnyModule[], number[]]>([
    ['1-d convolution', [new Conv1d(2, 3, 3), new ReLU()], [2, 2, 8]],
    ['3-d convolution', [new Conv3d(2, 3, 3)], [2, 2, 5, 5, 5]],
    ['padding by reflection', [new Conv2d(2, 3, 3, { padding: 1, paddingMode: 'reflect' })], [2, 2, 5, 5]],
    ['activations', [new Conv2d(2, 3, 3), new Hardswish(), new ELU(), new LeakyReLU()], [2, 2, 5, 5]],
    ['layer normalization', [new Linear(4, 4), new LayerNorm(4)], [2, 4]],
  ])('static int8: %s', (_, layers, shape) => {
    const model = new QuantWrapper(new Sequential(...layers)).eval();
    model.qconfig = getDefaultQConfig('qnnpack');
    const prepared = prepare(model);
    noGrad(() => prepared(rand(shape)));
    const converted = convert(prepared);
    expectSame(converted, trace(converted, [rand(shape)]), rand([3, ...shape.slice(1)]));
  });

  test('recurrent and attention layers, with states', () => {
    const lstm = new LSTM(3, 4, { numLayers: 2, bidirectional: true });
    const timeFirst = trace(lstm, [randn([5, 2, 3])], { batchDim: 1 });
    for (const n of [1, 2, 4]) expectNear(lstm, timeFirst, randn([5, n, 3]));
    const states = (n: number): [Tensor, Tensor] => [randn([4, n, 4]), randn([4, n, 4])];
    const stateful = trace(lstm, [randn([5, 2, 3]), states(2)], { batchDim: 1 });
    for (const n of [1, 2, 4]) expectNear(lstm, stateful, randn([5, n, 3]), states(n));
    const gru = new GRU(3, 4, { batchFirst: true });
    expectNear(gru, trace(gru, [randn([2, 5, 3]), randn([1, 2, 4])]), randn([2, 5, 3]), randn([1, 2, 4]));
    const encoder = new TransformerEncoderLayer(8, 2, { dimFeedforward: 16, batchFirst: true }).eval();
    expectNear(encoder, trace(encoder, [randn([2, 5, 8])]), randn([3, 5, 8]));
  });

  test('what depends on weights alone is computed once', () => {
    class Scaled extends Module {
      fc: Linear = new Linear(3, 2);
      forward(x: Tensor): Tensor {
        return x.matmul(this.fc.weight.mul(2).t());
      }
    }
    const model = new Scaled();
    const program = trace(model, [randn([1, 3])]);
    expect(String(program)).toBe(`forward(x) {
  const _folded_transpose = this._folded_transpose;
  const matmul = ops.matmul(x, _folded_transpose);
  return matmul;
}`);
    expectNear(model, program, randn([4, 3]));
  });

  test('refuses training, values that are read, other structures and batch sizes that do not run', () => {
    const training = new Sequential(new Linear(2, 2), new Dropout(0.5));
    expect(() => trace(training, [randn([3, 2])])).toThrow(/evaluation mode.*Call model\.eval\(\) first/);
    expect(() => trace(new Sequential(new BatchNorm1d(2)), [randn([3, 2])])).toThrow(
      /evaluation mode, got 0 in training mode/,
    );
    class Reader extends Module {
      forward(x: Tensor): Tensor {
        return x.mul(x.sum().item());
      }
    }
    expect(() => trace(new Reader(), [randn([3, 2])])).toThrow(TraceError);
    class First extends Module {
      forward(x: Tensor): Tensor {
        return x.shape[0] === 1 ? x : x.neg();
      }
    }
    const first = trace(new First(), [randn([1, 2])]);
    expect(() => first.run(randn([2, 2]))).toThrow(ShapeError);
    expect(() => first.run([randn([1, 2])])).toThrow(ArgumentError);
  });
});

describe('save and load', () => {
  test('a file that other readers open too', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'zeropoint-'));
    try {
      const model = new Sequential(new Conv2d(2, 3, 3), new ReLU());
      const path = join(folder, 'net.safetensors');
      await save(trace(model, [rand([1, 2, 5, 5])]), path);
      const x = rand([2, 2, 6, 6]);
      const program = await load(path);
      expectClose(
        program.run(x),
        noGrad(() => model(x)),
      );
      expect([...program.toStateDict().keys()]).toEqual(['0.weight', '0.bias']);
      expect(program.toJson()).toBe(trace(model, [rand([1, 2, 5, 5])]).toJson());
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('weights without a graph are no program', () => {
    const bytes = writeSafetensors(new Linear(2, 2).stateDict());
    expect(() => readProgram(bytes)).toThrow(FileFormatError);
    expect(() => readProgram(bytes)).toThrow(/expected a graph under zeropoint\.program/);
    expect(readSafetensors(bytes).dict.size).toBe(2);
  });
});
