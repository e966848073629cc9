import { describe, expect, test } from 'vitest';
import {
  add,
  cat,
  deepCopy,
  dropout,
  enableGrad,
  linear,
  manualSeed,
  models,
  nn,
  noGrad,
  optim,
  quantization,
  randint,
  randn,
  relu,
  select,
  sigmoid,
  suite,
  type Tensor,
} from '../../src/index.ts';

const {
  convertDbr,
  convertFx,
  disableFakeQuant,
  disableObserver,
  floatQParamsWeightOnlyQConfig,
  getDefaultQatQConfigMapping,
  prepareDbr,
  prepareQatDbr,
  prepareQatFx,
} = quantization;

const mapping = getDefaultQatQConfigMapping();

/** Batch norms, a residual addition, a joint, a gate, a parameter as a weight, dropout, and a loop that follows the data. */
class Mixed extends nn.Module {
  conv1 = new nn.Conv2d(3, 8, 3, { padding: 1, bias: false });
  bn1 = new nn.BatchNorm2d(8);
  conv2 = new nn.Conv2d(8, 8, 3, { padding: 1 });
  bn2 = new nn.BatchNorm2d(8);
  pool = new nn.MaxPool2d(2);
  table = new nn.Parameter(randn([6, 16]).mul(0.3));
  step = new nn.Sequential(new nn.Linear(6, 6), new nn.ReLU());
  fc = new nn.Linear(6, 4);

  forward(x: Tensor): Tensor {
    const y = relu(this.bn1(this.conv1(x)));
    const z = relu(add(this.bn2(this.conv2(y)), y));
    const joined = this.pool(cat([y, z], 1)).mean([2, 3]);
    let h = linear(dropout(joined.mul(sigmoid(joined)), 0.2, this.training), this.table);
    for (let i = 0; i < 2 + (h.shape[0] % 2); i++) h = this.step(h);
    return this.fc(h);
  }
}

class Recurrent extends nn.Module {
  enter = new nn.Linear(6, 8);
  lstm = new nn.LSTM(8, 10, { batchFirst: true });
  leave = new nn.Linear(10, 4);

  forward(x: Tensor): Tensor {
    return this.leave(select(this.lstm(this.enter(x))[0], 1, -1));
  }
}

class Attending extends nn.Module {
  enter = new nn.Linear(6, 8);
  attention = new nn.MultiheadAttention(8, 2, { batchFirst: true });
  leave = new nn.Linear(8, 4);

  forward(x: Tensor): Tensor {
    const y = this.enter(x);
    return this.leave(this.attention(y, y, y)[0]);
  }
}

class Embedded extends nn.Module {
  table = new nn.Embedding(20, 6);
  fc = new nn.Linear(6, 4);

  forward(words: Tensor): Tensor {
    return this.fc(this.table(words));
  }
}

class Twice extends nn.Module {
  fc = new nn.Linear(6, 6);
  act = new nn.Sigmoid();

  forward(x: Tensor): Tensor {
    return this.fc(this.act(this.fc(x)));
  }
}

function train(prepared: nn.AnyModule, shape: number[], steps = 3): nn.AnyModule {
  const sgd = new optim.SGD(prepared.parameters(), { lr: 1e-2 });
  for (let i = 0; i < steps; i++) {
    sgd.zeroGrad();
    const y = prepared(randn(shape)) as Tensor;
    y.mul(y).mean().backward();
    sgd.step();
  }
  return prepared;
}

const numbers = (y: unknown): number[] => Array.from((y as Tensor).numbers());

describe('training through quantization, define-by-run', () => {
  const subjects: Readonly<Record<string, [() => nn.AnyModule, number[]]>> = {
    mixed: [() => new Mixed(), [4, 3, 8, 8]],
    dsCnn: [models.dsCnn, [2, 1, 49, 10]],
    resnet20: [models.resnet20, [2, 3, 32, 32]],
  };

  test.each(Object.keys(subjects))('%s: an evaluated model predicts what convertDbr gives', (name) => {
    manualSeed(4);
    const [make, shape] = subjects[name];
    const model = make().train();
    const before = [...model.stateDict()].map(([key, value]) => [key, numbers(value)]);
    const prepared = prepareQatDbr(model, mapping, [randn(shape)]);
    expect([...model.stateDict()].map(([key, value]) => [key, numbers(value)])).toEqual(before);
    train(prepared, shape);
    for (const p of prepared.parameters()) expect(p.grad, name).not.toBeNull();
    prepared.eval().apply(disableObserver);
    const x = randn(shape);
    const predicted = noGrad(() => prepared(x));
    const simulated = enableGrad(() => prepared(x)) as Tensor;
    const int8 = convertDbr(prepared);
    const computed = noGrad(() => int8(x));
    expect(numbers(predicted)).toEqual(numbers(computed));
    const off = simulated.detach().sub(computed).abs().max().item() as number;
    const range = (computed as Tensor).abs().max().item() as number;
    console.log(
      `${name}: ${numbers(computed).length} outputs equal; simulated in float off by ${((100 * off) / range).toFixed(2)} % of the range`,
    );
    expect(off).toBeLessThan(0.1 * range);
  });

  const parts: Readonly<Record<string, [() => nn.AnyModule, () => Tensor]>> = {
    'an LSTM, observed in parts': [() => new Recurrent(), () => randn([3, 5, 6])],
    'an attention, observed in parts': [() => new Attending(), () => randn([3, 5, 6])],
    'an embedding, weights alone': [() => new Embedded(), () => randint(0, 20, [3, 5])],
    'a layer in two places': [() => new Twice(), () => randn([3, 6])],
  };

  test.each(Object.keys(parts))('%s: predictions, copies and states', (name) => {
    manualSeed(1);
    const [make, inputs] = parts[name];
    const own = getDefaultQatQConfigMapping('qnnpack').setObjectType(
      nn.Embedding,
      floatQParamsWeightOnlyQConfig,
    );
    const prepare = (): nn.AnyModule => prepareQatDbr(make().train(), own, [inputs()]);
    const prepared = prepare();
    const sgd = new optim.SGD(prepared.parameters(), { lr: 1e-2 });
    for (let i = 0; i < 2; i++) {
      sgd.zeroGrad();
      const y = prepared(inputs()) as Tensor;
      y.mul(y).mean().backward();
      sgd.step();
    }
    prepared.eval().apply(disableObserver);
    const x = inputs();
    const int8 = convertDbr(prepared);
    const want = numbers(noGrad(() => int8(x)));
    expect(numbers(noGrad(() => prepared(x)))).toEqual(want);
    expect(numbers(noGrad(() => deepCopy(prepared)(x)))).toEqual(want);
    const other = prepare();
    other(inputs());
    other.loadStateDict(prepared.stateDict());
    expect(numbers(noGrad(() => other.eval()(x)))).toEqual(want);
    const left = suite.coverage(int8).filter((row) => row.status === 'float');
    expect(left.every((row) => row.reason.startsWith('works on what it is given'))).toBe(true);
  });

  test('graph mode trains the same numbers where no fake-quantize stands in two places', () => {
    manualSeed(6);
    const model = new nn.Sequential(
      new nn.Conv2d(3, 8, 3),
      new nn.BatchNorm2d(8),
      new nn.ReLU(),
      new nn.Conv2d(8, 8, 1),
      new nn.Hardswish(),
      new nn.Conv2d(8, 4, 3),
      new nn.BatchNorm2d(4),
    ).train();
    const shape = [4, 3, 8, 8];
    const x = randn(shape);
    const byRun = prepareQatDbr(model, mapping, [x]);
    const graph = prepareQatFx(model, mapping, [x]);
    for (const prepared of [byRun, graph]) {
      manualSeed(8);
      train(prepared, shape);
      prepared.eval().apply(disableObserver);
    }
    const [a, b] = noGrad(() => [convertDbr(byRun)(x), convertFx(graph)(x)]).map(numbers);
    const differing = a.filter((v, i) => v !== b[i]).length;
    console.log(`after three steps in both ways: ${a.length} outputs compared, ${differing} differ`);
    expect(differing).toBe(0);
  });

  test('gradients reach weights that are arguments, and switches the fake-quantizes of operators', () => {
    manualSeed(7);
    const prepared = prepareQatDbr(new Mixed().train(), mapping, [randn([4, 3, 8, 8])]) as Mixed;
    train(prepared, [4, 3, 8, 8], 1);
    expect(numbers(prepared.table.grad).some((g) => g !== 0)).toBe(true);
    prepared.eval().apply(disableObserver);
    const x = randn([4, 3, 8, 8]);
    const rounded = numbers(enableGrad(() => prepared(x)));
    prepared.apply(disableFakeQuant);
    expect(numbers(enableGrad(() => prepared(x)))).not.toEqual(rounded);
    // With a rounding off, an evaluated model is the simulation, gradients or not.
    expect(numbers(noGrad(() => prepared(x)))).toEqual(numbers(enableGrad(() => prepared(x))));
  });

  test('modes and models that do not fit are refused', () => {
    const x = randn([4, 3, 8, 8]);
    expect(() => prepareQatDbr(new Mixed().eval(), mapping, [x])).toThrow(
      /prepareQatDbr: model: expected a model in training mode.*prepareDbr/,
    );
    const watched = prepareDbr(new Mixed().eval(), mapping, [x]);
    expect(() => watched.train()(x)).toThrow(/prepareQatDbr/);
    const prepared = train(prepareQatDbr(new Mixed().train(), mapping, [x]), [4, 3, 8, 8], 1);
    expect(() => convertDbr(prepared)(x)).toThrow(/evaluation mode/);
  });
});
