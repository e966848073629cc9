import { describe, expect, test } from 'vitest';
import { QuantizationError } from '../../src/core/errors.ts';
import { Generator, manualSeed } from '../../src/core/random.ts';
import * as nn from '../../src/nn/index.ts';
import { Module } from '../../src/nn/module.ts';
import { add, cat, noGrad, relu } from '../../src/ops/index.ts';
import {
  convertDbr,
  DeQuantStub,
  FloatFunctional,
  type Pattern,
  prepareDbr,
  QuantStub,
} from '../../src/quantization/index.ts';
import { sqnr } from '../../src/suite/index.ts';
import { randn, tensor } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { differing, eager, int8, mapping, operators, Pair } from '../support/define-by-run.ts';

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
