import { describe, expect, test } from 'vitest';
import { QuantizationError, TraceError, ZeropointError } from '../../src/core/errors.ts';
import { Generator, manualSeed } from '../../src/core/random.ts';
import { symbolicTrace } from '../../src/fx/index.ts';
import { readPyTorch, readSafetensors, writePyTorch, writeSafetensors } from '../../src/io/index.ts';
import * as nn from '../../src/nn/index.ts';
import { type AnyModule, Module } from '../../src/nn/module.ts';
import { add, cat, linear, noGrad, relu } from '../../src/ops/index.ts';
import {
  convert,
  convertDbr,
  DeQuantStub,
  defaultDynamicQConfig,
  defaultQConfig,
  FloatFunctional,
  fuseModules,
  type Pattern,
  prepare,
  prepareDbr,
  QConfigMapping,
  QuantStub,
} from '../../src/quantization/index.ts';
import * as jit from '../../src/runtime/index.ts';
import { coverage, sqnr } from '../../src/suite/index.ts';
import { randn, tensor } from '../../src/tensor/creation.ts';
import type { StateDict } from '../../src/tensor/state.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

const global = (): QConfigMapping => new QConfigMapping().setGlobal(defaultQConfig);
const mapping = global();

/** Prepares, calibrates on all inputs and converts. */
function int8<M extends AnyModule>(model: M, inputs: readonly (readonly unknown[])[], options = {}): M {
  const prepared = prepareDbr(model, mapping, inputs[0], options);
  noGrad(() => {
    for (const x of inputs) prepared(...x);
  });
  return convertDbr(prepared);
}

/** The same by hand: stubs in the model, `names` fused. */
function eager<M extends AnyModule>(model: M, inputs: readonly (readonly unknown[])[], names: string[][]): M {
  const fused = names.length ? fuseModules(model, names) : model;
  fused.qconfig = defaultQConfig;
  const prepared = prepare(fused);
  noGrad(() => {
    for (const x of inputs) prepared(...x);
  });
  return convert(prepared);
}

/** How many numbers differ; what dequantized integers of one scale are, their integers are. */
function differing(a: unknown, b: unknown): number {
  const [x, y] = [(a as Tensor).numbers(), (b as Tensor).numbers()];
  expect(x.length).toBe(y.length);
  let count = 0;
  for (let i = 0; i < x.length; i++) if (x[i] !== y[i]) count++;
  console.log(`integers compared ${x.length}, differing ${count}`);
  return count;
}

function operators(model: AnyModule): string[] {
  return coverage(model)
    .filter((row) => row.type === row.type.toLowerCase() || row.type.includes(' + '))
    .map((row) => `${row.path || '(root)'} ${row.type}: ${row.status}`);
}

class Residual extends Module {
  conv1 = new nn.Conv2d(4, 4, 3, { padding: 1, bias: false });
  bn1 = new nn.BatchNorm2d(4);
  relu = new nn.ReLU();
  conv2 = new nn.Conv2d(4, 4, 3, { padding: 1, bias: false });
  bn2 = new nn.BatchNorm2d(4);

  forward(x: Tensor): Tensor {
    const h = this.bn2(this.conv2(this.relu(this.bn1(this.conv1(x)))));
    return this.relu(add(h, x));
  }
}

class StubbedResidual extends Residual {
  quant: Module = new QuantStub();
  sum = new FloatFunctional();
  dequant: Module = new DeQuantStub();

  override forward(input: Tensor): Tensor {
    const x = this.quant(input);
    const h = this.bn2(this.conv2(this.relu(this.bn1(this.conv1(x)))));
    return this.dequant(this.sum.addRelu(h, x));
  }
}

/** Two layers and whatever lies between them. */
class Pair extends Module {
  fc1 = new nn.Linear(6, 8);
  fc2 = new nn.Linear(8, 4);
  between: (x: Tensor, model: Pair) => Tensor;

  constructor(between: (x: Tensor, model: Pair) => Tensor) {
    super();
    this.between = between;
  }

  forward(x: Tensor): Tensor {
    return this.fc2(this.between(this.fc1(x), this));
  }
}

class StubbedPair extends Pair {
  relu = new nn.ReLU();
  quant: Module = new QuantStub();
  dequant: Module = new DeQuantStub();

  override forward(x: Tensor): Tensor {
    return this.dequant(super.forward(this.quant(x)));
  }
}

/** A pair with this between its layers, define-by-run and by hand: numbers that differ. */
function pairDiffers(
  between: (x: Tensor) => Tensor,
  stubbed: (x: Tensor, model: StubbedPair) => Tensor,
  names: string[][],
): number {
  manualSeed(3);
  const model = new Pair(between).eval();
  const hand = new StubbedPair(stubbed as Pair['between']).eval();
  hand.loadStateDict(model.stateDict());
  const inputs = [[randn([5, 6])], [randn([3, 6])]];
  const [a, b] = [int8(model, inputs), eager(hand, inputs, names)];
  return noGrad(() => differing(a(inputs[0][0]), b(inputs[0][0])));
}

describe('shapes of trouble', () => {
  test('residual addition without FloatFunctional, one ReLU in two places', () => {
    manualSeed(1);
    const model = new Residual();
    noGrad(() => model(randn([8, 4, 6, 6])));
    const stubbed = new StubbedResidual();
    stubbed.loadStateDict(model.stateDict());
    const inputs = [[randn([2, 4, 6, 6])], [randn([2, 4, 6, 6])]];
    const a = int8(model.eval(), inputs);
    // Eager fusion would put an Identity in the place of the ReLU, which runs once more there.
    const b = eager(stubbed.eval(), inputs, [['conv2', 'bn2']]);
    expect(operators(a)).toEqual(['(root) add + relu: quantized']);
    expect(String(a.conv1.typeName)).toBe('QuantizedConvReLU2d');
    expect(a.bn1.typeName).toBe('Identity');
    noGrad(() => {
      const [want, got] = [model(inputs[0][0]), a(inputs[0][0])];
      expect(sqnr(want, got)).toBeGreaterThan(25);
      expect(sqnr(want, b(inputs[0][0]))).toBeLessThan(sqnr(want, got));
    });
  });

  test('functional relu is fused like the module', () => {
    expect(
      pairDiffers(
        (x) => relu(x),
        (x, m) => m.relu(x),
        [['fc1', 'relu']],
      ),
    ).toBe(0);
    expect(
      pairDiffers(
        (x) => x.sigmoid(),
        (x) => x.sigmoid(),
        [],
      ),
    ).toBe(0);
    const model = new Pair((x) => relu(x)).eval();
    expect(int8(model, [[randn([4, 6])]]).fc1.typeName).toBe('QuantizedLinearReLU');
  });

  test('a reused layer has its weights once and output parameters for each place', () => {
    manualSeed(2);
    class Twice extends Module {
      fc = new nn.Linear(6, 6);

      forward(x: Tensor): Tensor {
        return this.fc(this.fc(x).mul(10));
      }
    }
    const model = new Twice().eval();
    const x = randn([20, 6]);
    const a = int8(model, [[x]]);
    const state = a.stateDict();
    const [first, second] = ['fc.scale', '_auto_quant_state.ops.1.scale'].map(
      (key) => state.get(key) as Tensor,
    );
    expect(second.item()).toBeGreaterThan(3 * first.item());
    expect(
      sqnr(
        noGrad(() => model(x)),
        noGrad(() => a(x)),
      ),
    ).toBeGreaterThan(30);
  });

  test('layers that share a parameter, and one layer under two names', () => {
    manualSeed(4);
    class Tied extends Module {
      a = new nn.Linear(6, 6);
      b = new nn.Linear(6, 6);
      again: Module = this.a;

      forward(x: Tensor): Tensor {
        return this.again(relu(this.b(relu(this.a(x)))));
      }
    }
    const model = new Tied();
    model.b.weight = model.a.weight;
    const x = randn([9, 6]);
    const q = int8(model.eval(), [[x]]);
    expect(q.again).toBe(q.a);
    expect([q.a.typeName, q.b.typeName]).toEqual(['QuantizedLinear', 'QuantizedLinearReLU']);
    expect(
      sqnr(
        noGrad(() => model(x)),
        noGrad(() => q(x)),
      ),
    ).toBeGreaterThan(25);
    const [loaded] = [convertDbr(prepareDbr(model, mapping, [x]), { allowUnobserved: true })];
    loaded.loadStateDict(q.stateDict());
    expect(noGrad(() => differing(q(x), loaded(x)))).toBe(0);
  });

  test('concatenation: one scale for all, or its own by a row of the caller', () => {
    const own: Pattern = {
      name: 'cat',
      sequence: [],
      observe: 'none',
      output: 'own',
      operator: {
        names: ['cat'],
        quantized: 'quantized::cat',
        args: ([tensors, dim], scale, zeroPoint) => [tensors, scale, zeroPoint, dim],
      },
    };
    class Join extends Module {
      small = new nn.Linear(6, 4);
      large = new nn.Linear(6, 4);

      forward(x: Tensor): Tensor {
        return this.join([this.small(x), this.large(x.mul(8))]);
      }

      join(parts: Tensor[]): Tensor {
        return cat(parts, 1);
      }
    }
    class StubbedJoin extends Join {
      quant: Module = new QuantStub();
      wide: Module = new QuantStub();
      cat = new FloatFunctional();
      dequant: Module = new DeQuantStub();

      override forward(x: Tensor): Tensor {
        const parts = [this.small(this.quant(x)), this.large(this.wide(x.mul(8)))];
        return this.dequant(this.cat.cat(parts, 1));
      }
    }
    manualSeed(5);
    const model = new Join().eval();
    const stubbed = new StubbedJoin().eval();
    stubbed.loadStateDict(model.stateDict());
    const x = randn([7, 6]);
    const shared = int8(model, [[x]]);
    const [scales] = [
      ['small', 'large'].map((name) => (shared.stateDict().get(`${name}.scale`) as Tensor).item()),
    ];
    expect(scales[0]).toBe(scales[1]);
    expect(operators(shared)).toContain('(root) cat: quantized');
    const apart = int8(model, [[x]], { patterns: [own] });
    expect(noGrad(() => differing(apart(x), eager(stubbed, [[x]], [])(x)))).toBe(0);
    expect(
      sqnr(
        noGrad(() => model(x)),
        noGrad(() => shared(x)),
      ),
    ).toBeGreaterThan(30);
  });

  test('changes in place', () => {
    expect(
      pairDiffers(
        (x) => x.relu_(),
        (x, m) => m.relu(x),
        [['fc1', 'relu']],
      ),
    ).toBe(0);
    manualSeed(6);
    const plain = new Pair((x) => relu(add(x, x)).div(3)).eval();
    const inPlace = new Pair((x) => x.add_(x).relu_().div_(3)).eval();
    inPlace.loadStateDict(plain.stateDict());
    const x = randn([4, 6]);
    const [a, b] = [int8(plain, [[x]]), int8(inPlace, [[x]])];
    expect(noGrad(() => differing(a(x), b(x)))).toBe(0);
    const filled = new Pair((h) => h.zero_()).eval();
    const zero = int8(filled, [[x]]);
    expect(noGrad(() => differing(zero(x), filled(x)))).toBeLessThanOrEqual(16);
    const stale = new Pair((h) => {
      const view = h.view(-1);
      view.relu_();
      return h;
    }).eval();
    expect(() => int8(stale, [[x]])).toThrow(/view of a tensor that was not changed in place/);
  });

  test('view with the batch size in it', () => {
    class Flat extends Module {
      conv = new nn.Conv2d(2, 3, 3);
      fc = new nn.Linear(3 * 4 * 4, 5);

      forward(x: Tensor): Tensor {
        return this.fc(relu(this.conv(x)).view(x.shape[0], -1));
      }
    }
    manualSeed(7);
    const model = new Flat().eval();
    const q = int8(model, [[randn([2, 2, 6, 6])], [randn([90, 2, 6, 6])]]);
    for (const n of [1, 5]) {
      const x = randn([n, 2, 6, 6]);
      expect(noGrad(() => q(x)).shape).toEqual([n, 5]);
      expect(
        sqnr(
          noGrad(() => model(x)),
          noGrad(() => q(x)),
        ),
      ).toBeGreaterThan(20);
    }
  });

  test('dicts and lists in and out', () => {
    type Batch = { image: Tensor; meta: { scale: number; extras: Tensor[] } };
    class Structured extends Module<[Batch], { out: Tensor; parts: [Tensor, Tensor]; scale: number }> {
      a = new nn.Linear(4, 3);
      b = new nn.Linear(4, 3);

      forward({ image, meta }: Batch): { out: Tensor; parts: [Tensor, Tensor]; scale: number } {
        const parts: [Tensor, Tensor] = [this.a(image), this.b(meta.extras[0])];
        return { out: add(...parts), parts, scale: meta.scale };
      }
    }
    manualSeed(8);
    const model = new Structured().eval();
    const batch = { image: randn([5, 4]), meta: { scale: 2, extras: [randn([5, 4])] } };
    const q = int8(model, [[batch]]);
    const [want, got] = noGrad(() => [model(batch), q(batch)]);
    expect(got.scale).toBe(2);
    for (const [x, y] of [
      [want.out, got.out],
      [want.parts[1], got.parts[1]],
    ]) {
      expect(y.isQuantized).toBe(false);
      expect(sqnr(x, y)).toBeGreaterThan(25);
    }
  });

  test('control flow on shape, over calls that are not quantizable', () => {
    const shapes = (x: Tensor): Tensor => {
      let h = x;
      // Halves a long batch as often as it takes.
      while (h.shape[0] > 3) h = h.narrow(0, 0, Math.ceil(h.shape[0] / 2));
      return h;
    };
    manualSeed(9);
    const model = new Pair(shapes).eval();
    const q = int8(model, [[randn([2, 6])], [randn([9, 6])]]);
    for (const n of [1, 4, 30]) {
      const x = randn([n, 6]);
      const [want, got] = noGrad(() => [model(x), q(x)]);
      expect(got.shape).toEqual(want.shape);
      expect(sqnr(want, got)).toBeGreaterThan(20);
    }
  });

  test('control flow on values: branches between calls, and early exits', () => {
    class Deciding extends Module {
      fc1 = new nn.Linear(6, 6);
      fc2 = new nn.Linear(6, 6);
      fc3 = new nn.Linear(6, 6);
      exits = 0;
      margin = 0;

      forward(x: Tensor): Tensor {
        let h = this.fc1(x);
        const mean = h.mean().item();
        if (mean > 0) h = h.flip([0]);
        h = this.fc2(h);
        const first = (h.toArray() as number[][])[0][0];
        this.margin = Math.min(Math.abs(mean), Math.abs(first));
        if (first > 0) {
          this.exits++;
          return h;
        }
        return this.fc3(h);
      }
    }
    manualSeed(20);
    const model = new Deciding().eval();
    const clear = ([x]: readonly Tensor[]): boolean => {
      noGrad(() => model(x));
      return model.margin > 0.1;
    };
    const inputs = Array.from({ length: 40 }, () => [randn([3, 6])]).filter(clear);
    const goesOn = ([x]: readonly Tensor[]): boolean => {
      const before = model.exits;
      noGrad(() => model(x));
      return model.exits === before;
    };
    const long = inputs.find(goesOn);
    const q = int8(model, [long as [Tensor], ...inputs]);
    q.exits = 0;
    model.exits = 0;
    for (const [x] of inputs) {
      const [want, got] = noGrad(() => [model(x), q(x)]);
      expect(sqnr(want, got)).toBeGreaterThan(15);
    }
    expect(q.exits).toBe(model.exits);
    expect(q.exits).toBeGreaterThan(0);
    expect(q.exits).toBeLessThan(inputs.length);
  });

  test('a call into code that knows nothing of tensors', () => {
    const reversed = (x: Tensor): Tensor =>
      tensor((x.toArray() as number[][]).map((row) => [...row].reverse()));
    manualSeed(11);
    const model = new Pair(reversed).eval();
    const x = randn([6, 6]);
    const q = int8(model, [[x]]);
    expect(
      sqnr(
        noGrad(() => model(x)),
        noGrad(() => q(x)),
      ),
    ).toBeGreaterThan(25);
  });

  test('a model left in training mode is refused, naming the module', () => {
    const model = new nn.Sequential(new nn.Linear(4, 4), new nn.Dropout(0.5)).eval();
    model.at(1).train();
    const attempt = (): unknown => prepareDbr(model, mapping, [randn([2, 4])]);
    expect(attempt).toThrow(/Dropout in training mode.*model\.eval\(\).*\(in 1, a Dropout\)/s);
    expect(attempt).toThrow(QuantizationError);
  });
});

describe('order of quantizable calls', () => {
  const x = randn([4, 6], { generator: new Generator(1) });

  test('another order is an error that names the module and both calls', () => {
    class Swapping extends Module {
      inner = new (class Inner extends Module {
        a = new nn.Linear(6, 6);
        b = new nn.Linear(6, 6);
        swap = false;
        forward(h: Tensor): Tensor {
          return this.swap ? this.a(this.b(h)) : this.b(this.a(h));
        }
      })();

      forward(h: Tensor): Tensor {
        return this.inner(h);
      }
    }
    const prepared = prepareDbr(new Swapping().eval(), mapping, [x]);
    noGrad(() => prepared(x));
    const q = convertDbr(prepared);
    for (const model of [prepared, q]) {
      model.inner.swap = true;
      expect(() => noGrad(() => model(x))).toThrow(
        /in inner: expected inner\.a \((Quantized)?Linear\) as call 0.*got inner\.b \((Quantized)?Linear\).*\(in inner, a Inner\)/s,
      );
    }
  });

  test('a relu that sometimes does not come is noticed where it was fused', () => {
    let skip = false;
    const model = new Pair((h) => (skip ? h : relu(h))).eval();
    const prepared = prepareDbr(model, mapping, [x]);
    noGrad(() => prepared(x));
    const q = convertDbr(prepared);
    skip = true;
    for (const m of [prepared, q])
      expect(() => noGrad(() => m(x))).toThrow(/expected relu as call 1.*got fc2 \(/s);
    let exit = false;
    class Exiting extends Pair {
      override forward(h: Tensor): Tensor {
        const y = this.fc1(h);
        return exit ? y : relu(y);
      }
    }
    const exiting = int8(new Exiting((h) => h).eval(), [[x]]);
    exit = true;
    expect(() => noGrad(() => exiting(x))).toThrow(/fused into the one before.*read by other code/s);
  });

  test('a value read between two calls keeps them apart', () => {
    let sum = 0;
    const model = new Pair((h) => {
      sum += h.numbers()[0];
      return relu(h);
    }).eval();
    const q = int8(model, [[x]]);
    expect(q.fc1.typeName).toBe('QuantizedLinear');
    expect(sum).not.toBe(0);
  });

  test('repeated runs of a module, and ways that only further examples lead through', () => {
    class Step extends Module {
      fc = new nn.Linear(6, 6);
      forward(h: Tensor): Tensor {
        return add(relu(this.fc(h)), h);
      }
    }
    class Looping extends Module<[Tensor, number, boolean]> {
      step = new Step();
      left = new nn.Sequential(new nn.Linear(6, 2));
      right = new nn.Sequential(new nn.Linear(6, 2), new nn.ReLU());

      forward(h: Tensor, times: number, left: boolean): Tensor {
        let y = h;
        for (let i = 0; i < times; i++) y = this.step(y);
        return left ? this.left(y) : this.right(y);
      }
    }
    manualSeed(12);
    const model = new Looping().eval();
    const q = int8(
      model,
      [
        [x, 1, true],
        [x, 3, false],
      ],
      { moreExamples: [[x, 2, false]] },
    );
    for (const times of [1, 2, 3])
      for (const left of [true, false]) {
        const [want, got] = noGrad(() => [model(x, times, left), q(x, times, left)]);
        expect(sqnr(want, got)).toBeGreaterThan(15);
      }
    const narrow = prepareDbr(model, mapping, [x, 1, true]);
    expect(() => noGrad(() => narrow(x, 1, false))).toThrow(/no quantizable call.*moreExamples/s);
  });
});

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
