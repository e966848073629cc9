import { describe, expect, test } from 'vitest';
import '../../src/autograd/index.ts';
import { ArgumentError, QuantizationError, StateDictError } from '../../src/core/errors.ts';
import { manualSeed } from '../../src/core/random.ts';
import { readPyTorch, readSafetensors, writePyTorch, writeSafetensors } from '../../src/io/index.ts';
import { createEngine, engine } from '../../src/kernels/engine.ts';
import { convGeometry } from '../../src/kernels/geometry.ts';
import { qConvDynamic } from '../../src/kernels/int8/conv-dynamic.ts';
import { packConvWeights } from '../../src/kernels/int8/pack.ts';
import { deepCopy } from '../../src/nn/deep-copy.ts';
import type { AnyModule } from '../../src/nn/module.ts';
import * as nn from '../../src/nn-public.ts';
import { dispatch, noGrad } from '../../src/ops/index.ts';
import { PackedHalfWeights } from '../../src/ops/quantized/packed-half.ts';
import {
  type DynamicDType,
  defaultDynamicQConfig,
  defaultQConfig,
  float16DynamicQConfig,
  perChannelDynamicQConfig,
  quantizeDynamic,
} from '../../src/quantization/index.ts';
import { sqnr } from '../../src/suite/index.ts';
import { randint, randn, tensor } from '../../src/tensor/creation.ts';
import type { StateDict } from '../../src/tensor/state.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

const { dynamic } = nn.quantized;

/** One of each class that can be quantized dynamically. */
class Everything extends nn.Module {
  embedding: AnyModule = new nn.Embedding(7, 16);
  bag: AnyModule = new nn.EmbeddingBag(7, 16);
  conv: AnyModule = new nn.Conv1d(4, 4, 3);
  rnn: AnyModule = new nn.RNN(6, 5);
  lstm: AnyModule = new nn.LSTM(6, 5);
  gru: AnyModule = new nn.GRU(6, 5);
  cells: AnyModule = new nn.ModuleList([new nn.RNNCell(6, 5), new nn.LSTMCell(6, 5), new nn.GRUCell(6, 5)]);
  head: AnyModule = new nn.Sequential(new nn.Linear(5, 4), new nn.ReLU(), new nn.Linear(4, 2));

  forward(x: Tensor): Tensor {
    return this.head(this.lstm(x)[0]);
  }
}

/** Paths of the modules that are not the float ones any more. */
function changed(model: AnyModule): string[] {
  const before = new Map(new Everything().namedModules().map(([path, m]) => [path, m.constructor]));
  return model.namedModules().flatMap(([path, m]) => (before.get(path) === m.constructor ? [] : [path]));
}

const PRODUCTS = ['lstm', 'gru', 'cells.0', 'cells.1', 'cells.2', 'head.0', 'head.2'];

describe('what quantizeDynamic takes', () => {
  test.each<[DynamicDType, string[]]>([
    ['qint8', PRODUCTS],
    ['float16', PRODUCTS],
    ['quint8', ['embedding', 'bag']],
    ['quint4x2', ['bag']],
  ])('%s by default', (dtype, paths) => {
    const model = new Everything();
    expect(changed(quantizeDynamic(model, undefined, { dtype }))).toEqual(paths);
    expect(changed(model)).toEqual([]);
  });

  test('classes and names, in a set or a list', () => {
    const model = new Everything();
    expect(changed(quantizeDynamic(model, new Set([nn.GRU, 'head.0'])))).toEqual(['gru', 'head.0']);
    expect(changed(quantizeDynamic(model, ['cells']))).toEqual(['cells.0', 'cells.1', 'cells.2']);
    expect(changed(quantizeDynamic(model, [nn.Conv1d, nn.RNN]))).toEqual(['conv', 'rnn']);
  });

  test('a map to qconfigs, name before class, null for float', () => {
    const q = quantizeDynamic(
      new Everything(),
      new Map<any, any>([
        [nn.Linear, defaultDynamicQConfig],
        [nn.LSTM, perChannelDynamicQConfig],
        ['head.2', null],
        ['gru', float16DynamicQConfig],
      ]),
    );
    expect(changed(q)).toEqual(['lstm', 'gru', 'head.0']);
    const weight = (path: string): Tensor => (q.getSubmodule(path) as nn.LSTM).weights(0).weightHh;
    expect(weight('lstm').qscheme()).toBe('per_channel_affine');
    expect(weight('gru').dtype).toBe('float16');
  });

  test('a qconfig on a module comes before the spec', () => {
    const model = new Everything();
    model.lstm.qconfig = null;
    expect(changed(quantizeDynamic(model))).toEqual(PRODUCTS.slice(1));
  });

  test('in place, evaluation mode, nothing left of the configuration', () => {
    const model = new Everything();
    const q = quantizeDynamic(model, undefined, { inplace: true });
    expect(q).toBe(model);
    expect(changed(model)).toEqual(PRODUCTS);
    expect(model.modules().some((m) => m.training || m.qconfig)).toBe(false);
  });

  test('unknown names and types are refused', () => {
    const model = new Everything();
    expect(() => quantizeDynamic(model, ['haed'])).toThrow(ArgumentError);
    expect(() => quantizeDynamic(model, undefined, { dtype: 'int4' as DynamicDType })).toThrow(/quint4x2/);
    expect(() =>
      quantizeDynamic(model, new Map([[nn.LSTM, { ...defaultQConfig, weight: defaultQConfig.activation }]])),
    ).toThrow(QuantizationError);
  });
});

const RECURRENT = { RNN: nn.RNN, LSTM: nn.LSTM, GRU: nn.GRU };

describe.each(['RNN', 'LSTM', 'GRU'] as const)('dynamic %s', (kind) => {
  const make = (options: object = {}): any => {
    manualSeed(3);
    return new RECURRENT[kind](12, 16, { numLayers: 2, bidirectional: true, ...options }).eval();
  };
  const quantize = (layer: AnyModule, dtype: DynamicDType = 'qint8'): any =>
    quantizeDynamic(new nn.ModuleList([layer]), [layer.constructor as any], { dtype }).children()[0];
  const run = (layer: any, ...args: unknown[]): [any, any] => noGrad(() => layer(...args));

  test.each([
    ['qint8', 30],
    ['float16', 60],
  ] as const)('%s follows the float layer', (dtype, decibels) => {
    for (const options of [
      {},
      { bias: false },
      { batchFirst: true },
      { bidirectional: false, numLayers: 1 },
    ]) {
      const float = make(options);
      const q = quantize(float, dtype);
      expect(q).toBeInstanceOf(dynamic[kind]);
      const x = randn([9, 4, 12]);
      const [want, wantState] = run(float, x);
      const [got, state] = run(q, x);
      expect(sqnr(want, got)).toBeGreaterThan(decibels);
      const [h, hq] = kind === 'LSTM' ? [wantState[1], state[1]] : [wantState, state];
      expect(hq.shape).toEqual(h.shape);
      expect(sqnr(h, hq)).toBeGreaterThan(decibels);
    }
  });

  test('one sequence needs no batch dimension', () => {
    const q = quantize(make());
    const x = randn([9, 1, 12]);
    const [batched] = run(q, x);
    const [single] = run(q, x.squeeze(1));
    expect(single.shape).toEqual([9, 32]);
    expect(single.toArray()).toEqual(batched.squeeze(1).toArray());
  });

  test('a sequence in two pieces is the sequence', () => {
    const q = quantize(make({ bidirectional: false }), 'float16');
    const x = randn([8, 3, 12]);
    const [whole] = run(q, x);
    const [first, state] = run(q, x.narrow(0, 0, 5));
    const [second] = run(q, x.narrow(0, 5, 3), state);
    expect(sqnr(whole, dispatch('cat', [first, second], 0))).toBeGreaterThan(120);
  });

  test('padding changes nothing in a packed batch', () => {
    const q = quantize(make(), 'float16');
    const x = randn([6, 2, 12]);
    const packed = nn.packPaddedSequence(x, [6, 4]);
    const [out] = run(q, packed);
    const [padded] = nn.padPackedSequence(out);
    const [alone] = run(q, x.narrow(0, 0, 4).narrow(1, 1, 1));
    expect(sqnr(alone, padded.narrow(0, 0, 4).narrow(1, 1, 1))).toBeGreaterThan(120);
  });

  test('state goes through .pt, safetensors and copies', () => {
    for (const dtype of ['qint8', 'float16'] as const) {
      const model = new nn.ModuleList([quantize(make(), dtype)]);
      const x = randn([5, 2, 12]);
      const want = run(model.children()[0], x)[0].toArray();
      const state = model.stateDict();
      for (const back of [
        state,
        readPyTorch(writePyTorch(state)) as StateDict,
        readSafetensors(writeSafetensors(state)).dict,
      ]) {
        manualSeed(77);
        const other = new nn.ModuleList([
          quantize(new RECURRENT[kind](12, 16, { numLayers: 2, bidirectional: true })),
        ]);
        other.loadStateDict(back);
        expect(run(other.children()[0], x)[0].toArray()).toEqual(want);
        expect([...other.stateDict().keys()]).toEqual([...state.keys()]);
      }
      expect(run(deepCopy(model).children()[0], x)[0].toArray()).toEqual(want);
    }
  });

  test('int8 weights are a quarter of the float ones, float16 half', () => {
    const layer = new RECURRENT[kind](128, 256);
    const bytes = (m: AnyModule): number => writeSafetensors(m.stateDict()).length;
    const float = bytes(layer);
    expect(bytes(quantize(layer)) / float).toBeLessThan(0.27);
    expect(bytes(quantize(layer, 'float16')) / float).toBeLessThan(0.52);
  });

  test('state of another size or kind is refused, and nothing changes', () => {
    const q = quantize(make());
    const before = String(q.weights(0).weightIh);
    const small = quantize(new RECURRENT[kind](12, 8, { numLayers: 2, bidirectional: true }));
    expect(() => q.loadStateDict(small.stateDict())).toThrow(StateDictError);
    expect(() => q.loadStateDict(small.stateDict())).toThrow(/_all_weight_values\.0\.param/);
    const wrong = new Map([...q.stateDict().keys()].map((key) => [key, tensor([1])]));
    expect(() => q.loadStateDict(wrong)).toThrow(/does not hold packed weights/);
    expect(String(q.weights(0).weightIh)).toBe(before);
  });
});

describe('dynamic cells', () => {
  test('steps of a cell are the steps of its layer', () => {
    manualSeed(4);
    const layer = new nn.LSTM(10, 12);
    const cell = new nn.LSTMCell(10, 12);
    const { weightIh, weightHh, biasIh, biasHh } = layer.weights(0);
    cell.loadStateDict(
      new Map([
        ['weight_ih', weightIh],
        ['weight_hh', weightHh],
        ['bias_ih', biasIh as Tensor],
        ['bias_hh', biasHh as Tensor],
      ]),
    );
    const q = quantizeDynamic(new nn.ModuleList([layer, cell]), undefined, { dtype: 'float16' });
    const [qLayer, qCell] = q.children() as any[];
    const x = randn([6, 2, 10]);
    const [want] = noGrad(() => qLayer(x)) as [Tensor];
    let state: [Tensor, Tensor] | null = null;
    for (let t = 0; t < 6; t++) {
      state = noGrad(() => qCell(x.select(0, t), state)) as [Tensor, Tensor];
      expect(sqnr(want.select(0, t), state[0])).toBeGreaterThan(110);
    }
  });

  test('a cell without batch dimension and without bias', () => {
    for (const cell of [
      new nn.GRUCell(6, 5, { bias: false }),
      new nn.RNNCell(6, 5, { nonlinearity: 'relu' }),
    ]) {
      const [q] = quantizeDynamic(new nn.ModuleList([cell])).children() as any[];
      const x = randn([6]);
      const y = noGrad(() => q(x)) as Tensor;
      expect(y.shape).toEqual([5]);
      expect(
        sqnr(
          noGrad(() => (cell as any)(x)),
          y,
        ),
      ).toBeGreaterThan(25);
    }
    expect(String(new dynamic.GRUCell(6, 5, { bias: false }))).toBe(
      'DynamicQuantizedGRUCell(6, 5, bias=False)',
    );
  });

  test('gradients are refused with the way out', () => {
    const q = new dynamic.LSTMCell(4, 3);
    const x = randn([2, 4]);
    x.requiresGrad = true;
    expect(() => q(x)).toThrow(/noGrad/);
  });
});

describe('float16 weights', () => {
  test('round to nearest even and saturate', () => {
    const packed = new PackedHalfWeights(
      tensor([[1 + 2 ** -11, 1 + 3 * 2 ** -11, 7e4, -1e9, 1e-9, 65504]]),
      null,
    );
    expect(packed.weight.toArray()).toEqual([[1, 1 + 2 ** -9, 65504, -65504, 0, 65504]]);
  });

  test('PyTorch’s files keep them in float32, safetensors in float16', () => {
    const q = quantizeDynamic(new nn.Sequential(new nn.Linear(4, 3)), undefined, { dtype: 'float16' });
    const key = '0._packed_params._packed_params';
    const stored = (readPyTorch(writePyTorch(q.stateDict())) as StateDict).get(key) as readonly Tensor[];
    expect(stored[0].dtype).toBe('float32');
    const kept = readSafetensors(writeSafetensors(q.stateDict())).dict.get(key) as readonly Tensor[];
    expect(kept[0].dtype).toBe('float16');
    expect(stored[0].toArray()).toEqual(kept[0].toArray());
  });

  test('a fused relu is applied', () => {
    const fused = new nn.intrinsic.LinearReLU(new nn.Linear(6, 5), new nn.ReLU());
    const model = new nn.Sequential(fused).eval();
    const x = randn([7, 6]);
    for (const dtype of ['qint8', 'float16'] as const) {
      const q = quantizeDynamic(model, ['0'], { dtype });
      expect(String(q)).toContain('DynamicQuantizedLinearReLU');
      const y = noGrad(() => q(x));
      expect(Math.min(...y.data)).toBe(0);
      expect(
        sqnr(
          noGrad(() => model(x)),
          y,
        ),
      ).toBeGreaterThan(30);
    }
  });
});

describe('dynamic convolutions', () => {
  test('follow the float layer, depthwise ones too', () => {
    manualSeed(6);
    const rows: [AnyModule, number[]][] = [
      [new nn.Conv1d(8, 12, 5, { padding: 2, stride: 2 }), [3, 8, 40]],
      [new nn.Conv2d(3, 16, 3, { padding: 1 }), [2, 3, 14, 15]],
      [new nn.Conv2d(16, 16, 3, { padding: 1, groups: 16 }), [2, 16, 9, 9]],
      [new nn.Conv2d(8, 16, 1), [1, 8, 7, 7]],
      [
        new nn.Conv2d(6, 6, 3, { padding: 2, dilation: 2, paddingMode: 'reflect', bias: false }),
        [1, 6, 9, 9],
      ],
      [new nn.Conv3d(4, 5, 2), [1, 4, 5, 6, 5]],
    ];
    for (const [layer, shape] of rows) {
      const [q] = quantizeDynamic(new nn.Sequential(layer), [layer.constructor as any]).children();
      const x = randn(shape);
      const want = noGrad(() => layer(x)) as Tensor;
      const got = noGrad(() => q(x)) as Tensor;
      expect(got.shape).toEqual(want.shape);
      expect(sqnr(want, got)).toBeGreaterThan(30);
      expect(() => q(randint(0, 5, shape))).toThrow(/float32/);
    }
  });

  test('give the same on both kernel builds', () => {
    manualSeed(8);
    const x = randn([2 * 9 * 10 * 12]).data as Float32Array;
    const weight = Int8Array.from(randn([24 * 9 * 3]).data, (v) => v * 50);
    const geometry = convGeometry({
      batch: 2,
      inputSize: [9, 10],
      kernel: [3, 3],
      stride: [1, 2],
      padding: [1, 1],
      dilation: [1, 1],
    });
    const [relaxed, baseline] = [engine, createEngine('baseline')].map((e) => {
      const packed = packConvWeights({
        weight,
        outChannels: 24,
        taps: 9,
        inChannelsPerGroup: 3,
        groups: 4,
        weightZeroPoints: new Int32Array(24),
        floatOutput: true,
        engine: e,
      });
      packed.setDynamicQuantization(null, new Float32Array(24).fill(0.02));
      const y = qConvDynamic(packed, x, geometry);
      packed.free();
      expect(e.memory().scratchBytes).toBe(0);
      return y;
    });
    expect(relaxed).toEqual(baseline);
  });
});
