import { describe, expect, test } from 'vitest';
import { TraceError, ZeropointError } from '../../src/core/errors.ts';
import { Generator, manualSeed } from '../../src/core/random.ts';
import { symbolicTrace } from '../../src/fx/index.ts';
import { readPyTorch, readSafetensors, writePyTorch, writeSafetensors } from '../../src/io/index.ts';
import * as nn from '../../src/nn/index.ts';
import { Module } from '../../src/nn/module.ts';
import { add, linear, noGrad, relu } from '../../src/ops/index.ts';
import {
  convertDbr,
  DeQuantStub,
  defaultDynamicQConfig,
  defaultQConfig,
  prepareDbr,
  QConfigMapping,
  QuantStub,
} from '../../src/quantization/index.ts';
import * as jit from '../../src/runtime/index.ts';
import { coverage, sqnr } from '../../src/suite/index.ts';
import { randn, tensor } from '../../src/tensor/creation.ts';
import type { StateDict } from '../../src/tensor/state.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { differing, eager, global, int8, mapping, operators, Pair } from '../support/define-by-run.ts';

describe('what stays float', () => {
  test('notes tell why, and strict makes errors of them', () => {
    class Mixed extends Module {
      gru = new nn.GRU(6, 6);
      norm = new nn.BatchNorm1d(6);
      fc = new nn.Linear(6, 6);
      head = new nn.Linear(6, 2);
      unused = new nn.Linear(2, 2);

      forward(x: Tensor): Tensor {
        const [h] = this.gru(x.unsqueeze(0));
        return this.head(this.fc(this.norm(h.squeeze(0))).exp());
      }
    }
    manualSeed(13);
    const model = new Mixed().eval();
    const x = randn([5, 6]);
    const only = global().setModuleName('head', null);
    const prepared = prepareDbr(model, only, [x]);
    noGrad(() => prepared(x));
    const rows = coverage(convertDbr(prepared)).map((r) => `${r.path} ${r.type}: ${r.status} ${r.reason}`);
    expect(rows).toEqual(
      expect.arrayContaining([
        'gru GRU: float no static form of this class, only a dynamic one',
        'norm BatchNorm1d: float no static form of this class on its own, and nothing to fuse it with',
        'fc QuantizedLinear: quantized ',
        'head Linear: float its qconfig is null',
        'unused Linear: float not called with the example inputs',
        ' exp: float no quantized form of this operator: it computes in float, on what was dequantized',
      ]),
    );
    expect(() => prepareDbr(model, only, [x], { strict: true })).toThrow(
      /strict.*gru: GRU.*norm: BatchNorm1d.*unused: Linear/s,
    );
  });

  test('operators by name and place in the mapping, modules by their own qconfig', () => {
    manualSeed(14);
    class Sums extends Module {
      a = new nn.Linear(4, 4);
      b = new nn.Linear(4, 4);

      forward(x: Tensor): Tensor {
        const [a, b] = [this.a(x), this.b(x)];
        return add(add(a, b), a.mul(b));
      }
    }
    const x = randn([3, 4]);
    const model = new Sums().eval();
    const maps: [QConfigMapping, string[]][] = [
      [
        global().setObjectType('mul', null),
        ['(root) add: quantized', '(root) add: quantized', '(root) mul: float'],
      ],
      [
        global().setModuleNameObjectTypeOrder('', 'add', 1, null),
        ['(root) add: quantized', '(root) mul: quantized', '(root) add: float'],
      ],
    ];
    for (const [map, rows] of maps) {
      const prepared = prepareDbr(model, map, [x]);
      noGrad(() => prepared(x));
      const q = convertDbr(prepared);
      expect(operators(q)).toEqual(rows);
      expect(
        sqnr(
          noGrad(() => model(x)),
          noGrad(() => q(x)),
        ),
      ).toBeGreaterThan(25);
    }
    model.b.qconfig = null;
    expect(int8(model, [[x]]).b.typeName).toBe('Linear');
  });

  test('dynamic and weight-only layers get their forms in the same model', () => {
    class Reader extends Module {
      embed = new nn.Embedding(20, 8);
      lstm = new nn.LSTM(8, 8);
      fc = new nn.Linear(8, 2);

      forward(tokens: Tensor): Tensor {
        const [h] = this.lstm(this.embed(tokens));
        return this.fc(h.select(0, -1));
      }
    }
    manualSeed(15);
    const model = new Reader().eval();
    const tokens = tensor([[1], [4], [19]], { dtype: 'int64' });
    const map = global().setObjectType(nn.LSTM, defaultDynamicQConfig);
    const prepared = prepareDbr(model, map, [tokens]);
    noGrad(() => prepared(tokens));
    const q = convertDbr(prepared);
    expect([q.lstm.typeName, q.fc.typeName]).toEqual(['DynamicQuantizedLSTM', 'QuantizedLinear']);
    expect(
      sqnr(
        noGrad(() => model(tokens)),
        noGrad(() => q(tokens)),
      ),
    ).toBeGreaterThan(20);
  });

  test('attention and recurrent layers are observed part by part, in calibration alone', () => {
    manualSeed(18);
    const encoder = new nn.TransformerEncoderLayer(16, 4, { dimFeedforward: 32 });
    class Encoder extends Module {
      embed = new nn.Linear(8, 16);
      layer = encoder;
      lstm = new nn.LSTM(16, 8);

      forward(x: Tensor): Tensor {
        const [h] = this.lstm(this.layer(this.embed(x)));
        return h.select(0, -1);
      }
    }
    const model = new Encoder().eval();
    const x = randn([5, 30, 8]);
    const prepared = prepareDbr(model, mapping, [x], { strict: true });
    expect(() => convertDbr(prepared)).toThrow(/never ran/);
    noGrad(() => prepared(x));
    const q = convertDbr(prepared);
    expect([q.layer.self_attn.typeName, q.lstm.typeName]).toEqual([
      'QuantizedMultiheadAttention',
      'QuantizedLSTM',
    ]);
    expect(operators(q)).toEqual(['layer add: quantized', 'layer add: quantized']);
    const [want, got] = noGrad(() => [model(x), q(x)]);
    expect(sqnr(want, got)).toBeGreaterThan(20);
    expect(noGrad(() => differing(jit.trace(q, [x]).run(x), got))).toBe(0);
  });

  test('functions with parameters as weights', () => {
    class Functional extends Module {
      w = new nn.Parameter(randn([5, 6]));
      b = new nn.Parameter(randn([5]));

      forward(x: Tensor): Tensor {
        return relu(linear(x, this.w, this.b));
      }
    }
    class Layered extends Module {
      quant: Module = new QuantStub();
      fc = new nn.Linear(6, 5);
      relu = new nn.ReLU();
      dequant: Module = new DeQuantStub();

      forward(x: Tensor): Tensor {
        return this.dequant(this.relu(this.fc(this.quant(x))));
      }
    }
    manualSeed(16);
    const model = new Functional().eval();
    const layered = new Layered().eval();
    noGrad(() => {
      layered.fc.weight.copy_(model.w);
      (layered.fc.bias as Tensor).copy_(model.b);
    });
    const x = randn([4, 6]);
    const q = int8(model, [[x]]);
    expect(operators(q)).toEqual(['(root) linear + relu: quantized']);
    expect(noGrad(() => differing(q(x), eager(layered, [[x]], [['fc', 'relu']])(x)))).toBe(0);
    const computed = new Functional().eval();
    computed.forward = (input: Tensor) => linear(input, computed.w.mul(2), computed.b);
    expect(() => prepareDbr(computed, mapping, [x], { strict: true, inplace: true })).toThrow(
      /not a parameter/,
    );
  });
});

describe('copies, files and programs', () => {
  const x = randn([4, 6], { generator: new Generator(2) });

  function converted(): { model: Pair; q: Pair } {
    manualSeed(17);
    const model = new Pair((h) => add(relu(h), h)).eval();
    return { model, q: int8(model, [[x]]) };
  }

  test('prepared and converted models are copied with their observers and parameters', () => {
    const { model, q } = converted();
    const copy = nn.deepCopy(q);
    expect(copy.fc1).not.toBe(q.fc1);
    expect(noGrad(() => differing(copy(x), q(x)))).toBe(0);
    const prepared = prepareDbr(model, mapping, [x]);
    const twin = nn.deepCopy(prepared);
    noGrad(() => prepared(x));
    expect(() => convertDbr(twin)).toThrow(/fc1.*never ran|never ran.*fc1/s);
    expect(noGrad(() => differing(convertDbr(prepared)(x), q(x)))).toBe(0);
    expect(model.fc1.typeName).toBe('Linear');
  });

  test('state dicts go through files into a skeleton', () => {
    const { model, q } = converted();
    const state = q.stateDict();
    expect([...state.keys()].filter((key) => key.startsWith('_auto_quant_state'))).toEqual([
      '_auto_quant_state.ops.0.inputs.0.scale',
      '_auto_quant_state.ops.0.inputs.0.zero_point',
      '_auto_quant_state.ops.2.scale',
      '_auto_quant_state.ops.2.zero_point',
    ]);
    const files: StateDict[] = [
      readSafetensors(writeSafetensors(state)).dict,
      readPyTorch(writePyTorch(state)) as StateDict,
    ];
    for (const read of files) {
      const skeleton = convertDbr(prepareDbr(model, mapping, [x]), { allowUnobserved: true });
      expect(noGrad(() => differing(skeleton(x), q(x)))).toBeGreaterThan(0);
      skeleton.loadStateDict(read);
      expect(noGrad(() => differing(skeleton(x), q(x)))).toBe(0);
    }
  });

  test('inputs that are float on some ways only are observed when they come, saved, and missed where they never came', () => {
    class Sometimes extends Module<[Tensor, boolean]> {
      fc1 = new nn.Linear(6, 6);
      fc2 = new nn.Linear(6, 6);

      forward(input: Tensor, detour: boolean): Tensor {
        const h = this.fc1(input);
        return this.fc2(detour ? tensor(h.toArray() as number[][]).mul(3) : h);
      }
    }
    manualSeed(19);
    const model = new Sometimes().eval();
    const q = int8(model, [
      [x, false],
      [x, true],
    ]);
    expect(q.stateDict().has('_auto_quant_state.ops.1.inputs.0.scale')).toBe(true);
    const skeleton = convertDbr(prepareDbr(model, mapping, [x, false]), { allowUnobserved: true });
    skeleton.loadStateDict(q.stateDict());
    expect(noGrad(() => differing(skeleton(x, true), q(x, true)))).toBe(0);
    const straight = int8(model, [[x, false]]);
    expect(() => noGrad(() => straight(x, true))).toThrow(/input 0 of fc2 .*never observed.*in Sometimes/s);
  });

  test('what was observed goes through a state dict too', () => {
    const { model, q } = converted();
    const prepared = prepareDbr(model, mapping, [x]);
    noGrad(() => prepared(x));
    const other = prepareDbr(model, mapping, [x]);
    other.loadStateDict(prepared.stateDict());
    expect(noGrad(() => differing(convertDbr(other)(x), q(x)))).toBe(0);
  });

  test('a program of it gives the same integers', () => {
    const { q } = converted();
    const program = jit.trace(q, [x]);
    expect(noGrad(() => differing(program.run(x), q(x)))).toBe(0);
    const y = randn([9, 6]);
    const again = jit.readProgram(jit.writeProgram(program));
    expect(noGrad(() => differing(again.run(y), q(y)))).toBe(0);
  });

  test('where values are read there is no program, and where layers become nodes no graph', () => {
    const q = int8(new Pair((h) => (h.mean().item() > 0 ? h : h.flip([0]))).eval(), [[x]]);
    expect(() => jit.trace(q, [x])).toThrow(TraceError);
    expect(() => jit.trace(q, [x])).toThrow(/item\(\)/);
    expect(() => symbolicTrace(q, [x])).toThrow(/jit\.trace/);
  });

  test('misuse is told', () => {
    const { q } = converted();
    const cases: [() => unknown, RegExp][] = [
      [() => convertDbr(q), /converted already/],
      [() => convertDbr(new nn.Linear(2, 2)), /prepared by prepareDbr/],
      [() => prepareDbr(q, mapping, [x]), /before/],
      [() => nn.deepCopy(q).train()(x), /evaluation mode/],
      [() => prepareDbr(new nn.Linear(6, 2).eval(), mapping, [x]), /Sequential/],
      [() => prepareDbr(new Pair((h) => h).eval(), {}, [x]), /getDefaultQConfigMapping/],
      [
        () =>
          prepareDbr(new Pair((h) => h).eval(), new QConfigMapping().setModuleName('nope', defaultQConfig), [
            x,
          ]),
        /nope/,
      ],
    ];
    for (const [body, message] of cases) {
      expect(body).toThrow(message);
      expect(body).toThrow(ZeropointError);
    }
  });
});
