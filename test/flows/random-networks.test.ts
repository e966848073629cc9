import { expect, test } from 'vitest';
import { Generator, manualSeed } from '../../src/core/random.ts';
import { Interpreter } from '../../src/fx/index.ts';
import * as nn from '../../src/nn/index.ts';
import type { AnyModule } from '../../src/nn/module.ts';
import {
  adaptiveAvgPool2d,
  add,
  avgPool2d,
  cat,
  chunk,
  clamp,
  flip,
  gelu,
  hardswish,
  leakyRelu,
  matmul,
  maxPool2d,
  mean,
  mul,
  narrow,
  noGrad,
  pad,
  relu,
  relu6,
  sigmoid,
  softmax,
  sub,
  tanh,
} from '../../src/ops/index.ts';
import * as optim from '../../src/optim/index.ts';
import {
  convertDbr,
  convertFx,
  defaultQConfig,
  disableObserver,
  getDefaultQatQConfigMapping,
  prepareDbr,
  prepareFx,
  prepareQatFx,
  QConfigMapping,
} from '../../src/quantization/index.ts';
import { randn } from '../../src/tensor/creation.ts';
import { Tensor } from '../../src/tensor/tensor.ts';

const CHANNELS = 4;

const pointwise = (): AnyModule => new nn.Conv2d(CHANNELS, CHANNELS, 1, { bias: false });

const LAYERS: Readonly<Record<string, () => AnyModule>> = {
  conv: () => new nn.Conv2d(CHANNELS, CHANNELS, 3, { padding: 1 }),
  pointwise,
  squeeze: () => new nn.Conv2d(2 * CHANNELS, CHANNELS, 1),
  norm: () => new nn.BatchNorm2d(CHANNELS),
  relu: () => new nn.ReLU(),
  relu6: () => new nn.ReLU6(),
  hardswish: () => new nn.Hardswish(),
  elu: () => new nn.ELU(),
  pool: () => new nn.MaxPool2d(3, { stride: 1, padding: 1 }),
  depthwise: () => new nn.Conv2d(CHANNELS, CHANNELS, 3, { padding: 1, groups: CHANNELS }),
  transposed: () => new nn.ConvTranspose2d(CHANNELS, CHANNELS, 3, { padding: 1 }),
  average: () => new nn.AvgPool2d(3, { stride: 1, padding: 1 }),
  sigmoid: () => new nn.Sigmoid(),
  tanh: () => new nn.Tanh(),
  hardsigmoid: () => new nn.Hardsigmoid(),
  hardtanh: () => new nn.Hardtanh({ minVal: -0.5, maxVal: 1.5 }),
  leaky: () => new nn.LeakyReLU(0.2),
  prelu: () => new nn.PReLU({ numParameters: CHANNELS }),
  softmax: () => new nn.Softmax(1),
  group: () => new nn.GroupNorm(2, CHANNELS),
  instance: () => new nn.InstanceNorm2d(CHANNELS),
  layer: () => new nn.LayerNorm(6),
  dropout: () => new nn.Dropout(0.5),
  // What has no quantized form is followed by a layer: a pool or a relu of floats is quantized in a graph, as in PyTorch's,
  // and stays float in define-by-run, which fuses no layers that two modules call.
  gelu: () => new nn.Sequential(new nn.GELU(), pointwise(), new nn.ELU()),
  'softmax of rows': () => new nn.Sequential(new nn.Softmax(3), pointwise(), new nn.ELU()),
};

const OPERATORS: Readonly<Record<string, (a: Tensor, b: Tensor) => Tensor>> = {
  'f.relu': (a) => relu(a),
  'f.hardswish': (a) => hardswish(a),
  'f.leaky': (a) => leakyRelu(a, 0.1),
  'f.clamp': (a) => clamp(a, -1, 2),
  'f.add': (a, b) => add(a, b),
  'f.add+relu': (a, b) => relu(add(a, b)),
  'f.mul': (a, b) => mul(a, b),
  'f.mul+relu': (a, b) => relu(mul(a, b)),
  'f.turn': (a) => a.permute(0, 1, 3, 2),
  'f.flip': (a) => flip(a, [2]),
  'f.sigmoid': (a) => sigmoid(a),
  'f.tanh': (a) => tanh(a),
  'f.relu6': (a) => relu6(a),
  'f.average': (a) => avgPool2d(a, 3, { stride: 1, padding: 1 }),
  'f.max': (a) => maxPool2d(a, 3, { stride: 1, padding: 1 }),
  'f.mean': (a, b) => mul(a, mean(b, [2, 3], { keepdim: true })),
  'f.gate': (a, b) => mul(a, sigmoid(adaptiveAvgPool2d(b, 1))),
  'f.slice': (a, b) => add(pad(narrow(a, 1, 0, CHANNELS / 2), [0, 0, 0, 0, 0, CHANNELS / 2]), b),
  'f.pad': (a) => pad(narrow(a, 2, 1, 4), [0, 0, 1, 1]),
  'f.matmul': (a, b) => matmul(a, b),
  // Not the parts themselves: where they are of what a dropout gives, or a relu of a tensor of known range, their
  // concatenation shares another observer in define-by-run than in a graph.
  'f.chunk': (a) => {
    const [one, other] = chunk(a, 2, 1);
    const product = mul(one, other);
    return cat([product, product], 1);
  },
};

/**
 * Operators on a number, whose result shares its observer with the tensor's in a graph, as in PyTorch's, and is not observed
 * in define-by-run; and operators without a quantized form: these are for comparisons within graph mode.
 */
const MORE: Readonly<Record<string, (a: Tensor, b: Tensor) => Tensor>> = {
  'f.add number': (a) => add(a, 0.75),
  'f.mul number': (a) => mul(a, 1.5),
  'f.sub': (a, b) => sub(a, b),
  'f.gelu': (a) => gelu(a),
  'f.softmax': (a) => softmax(a, 3),
};

// Much of what can be fused.
const KINDS = [
  ...Array(8).fill(['conv', 'conv', 'norm', 'f.relu', 'relu']).flat(),
  ...Object.keys(LAYERS),
  ...Object.keys(OPERATORS),
];

/** What one step does, with which of the results so far, counted from the last. */
type Step = readonly [kind: string, a: number, b: number];

/** Which results step `i` takes; result 0 is the first convolution's, and step `i` makes result `i + 1`. */
function inputsOf([kind, ...places]: Step, i: number): number[] {
  const takes = kind === 'squeeze' ? 2 : (OPERATORS[kind] ?? MORE[kind] ?? { length: 1 }).length;
  return places.slice(0, takes).map((place) => i - (place % (i + 1)));
}

/** The steps that the last result depends on. Others would be observed in define-by-run, and are not in a graph. */
function liveSteps(steps: readonly Step[]): Set<number> {
  const live = new Set<number>();
  const visit = (result: number): void => {
    if (result === 0 || live.has(result - 1)) return;
    live.add(result - 1);
    for (const input of inputsOf(steps[result - 1], result - 1)) visit(input);
  };
  visit(steps.length);
  return live;
}

/** A convolution and steps that each take any results of earlier ones. */
class RandomNetwork extends nn.Module {
  readonly steps: readonly Step[];
  readonly live: ReadonlySet<number>;
  first = new nn.Conv2d(CHANNELS, CHANNELS, 3, { padding: 1 });
  layers: nn.ModuleDict = new nn.ModuleDict();
  head = new nn.Linear(CHANNELS, 5);

  constructor(steps: readonly Step[]) {
    super();
    this.steps = steps;
    this.live = liveSteps(steps);
    steps.forEach(([kind], i) => {
      if (kind in LAYERS && this.live.has(i)) this.layers.set(`layer${i}`, LAYERS[kind]());
    });
  }

  forward(x: Tensor): Tensor {
    const results = [this.first(x)];
    this.steps.forEach((step, i) => {
      if (!this.live.has(i)) return;
      const [kind] = step;
      const [a, b] = inputsOf(step, i).map((at) => results[at]);
      const operator = OPERATORS[kind] ?? MORE[kind];
      results[i + 1] = operator
        ? operator(a, b)
        : this.layers.get(`layer${i}`)(kind === 'squeeze' ? cat([a, b], 1) : a);
    });
    const last = results[this.steps.length];
    return this.head(adaptiveAvgPool2d(last, 1).flatten(1));
  }
}

function randomSteps(seed: number, kinds: readonly string[]): Step[] {
  const generator = new Generator(seed);
  const below = (n: number): number => Math.floor(generator.uniform() * n);
  return Array.from({ length: 3 + below(8) }, (): Step => {
    // Mostly the last result, so that there is something to fuse.
    return [kinds[below(kinds.length)], below(3) === 0 ? below(3) : 0, below(3)];
  });
}

/** Integers of every layer in one run and their scale, by path, and the output's numbers. */
function integers(model: AnyModule, x: Tensor): Map<string, ArrayLike<number>> {
  const seen = new Map<string, ArrayLike<number>>();
  for (const [path, module] of model.namedModules()) {
    module.registerForwardHook((_module, _inputs, output) => {
      if (output instanceof Tensor && output.isQuantized)
        seen.set(path, [...output.intRepr().numbers(), output.qScale()]);
      return undefined;
    });
  }
  return seen.set('output', (noGrad(() => model(x)) as Tensor).numbers());
}

const NETWORKS = 60;

test('60 networks of random steps: graph mode and define-by-run give the same integers', () => {
  const mapping = new QConfigMapping().setGlobal(defaultQConfig);
  let compared = 0;
  let fused = 0;
  for (let seed = 0; seed < NETWORKS; seed++) {
    manualSeed(seed);
    const steps = randomSteps(seed, KINDS);
    const model = new RandomNetwork(steps);
    const batches = [randn([2, CHANNELS, 6, 6]), randn([3, CHANNELS, 6, 6])];
    noGrad(() => batches.forEach((x) => void model(x)));
    model.eval();
    const graph = prepareFx(model, mapping, [batches[0]]);
    const byRun = prepareDbr(model, mapping, [batches[0]]);
    noGrad(() => {
      for (const x of batches) for (const prepared of [graph, byRun]) prepared(x);
    });
    const converted = convertDbr(byRun);
    fused += converted.modules().filter((m) => m.typeName === 'QuantizedConvReLU2d').length;
    const [a, b] = [integers(convertFx(graph), batches[1]), integers(converted, batches[1])];
    let differing = 0;
    for (const [path, values] of a) {
      const twins = b.get(path);
      if (!twins) continue;
      expect(twins.length).toBe(values.length);
      compared += values.length;
      for (let i = 0; i < values.length; i++) if (values[i] !== twins[i]) differing++;
    }
    expect(differing, `network ${seed}: ${steps.map((step) => step.join(' ')).join(', ')}`).toBe(0);
  }
  console.log(`integers compared ${compared}, differing 0; ${fused} convolutions fused with relu`);
  expect(compared).toBeGreaterThan(40_000);
  expect(fused).toBeGreaterThan(10);
});

test('30 networks of random steps: trained in graph mode, they predict the integers of their int8 form', () => {
  const kinds = [...KINDS, ...Object.keys(MORE)];
  const mapping = getDefaultQatQConfigMapping();
  let compared = 0;
  let simulated = 0;
  for (let seed = 100; seed < 130; seed++) {
    manualSeed(seed);
    const steps = randomSteps(seed, kinds);
    const x = randn([3, CHANNELS, 6, 6]);
    const prepared = prepareQatFx(new RandomNetwork(steps), mapping, [x]);
    const sgd = new optim.SGD(prepared.parameters(), { lr: 0.01 });
    for (let step = 0; step < 2; step++) {
      sgd.zeroGrad();
      const y = prepared(randn([3, CHANNELS, 6, 6]));
      mul(y, y).mean().backward();
      sgd.step();
    }
    prepared.eval().apply(disableObserver);
    const [predicted, computed, float] = noGrad(() => [
      prepared(x),
      convertFx(prepared)(x),
      new Interpreter(prepared.graph, prepared).run(x) as Tensor,
    ]).map((y) => y.numbers());
    compared += computed.length;
    simulated += computed.filter((v, i) => v !== float[i]).length;
    const differing = computed.filter((v, i) => v !== predicted[i]).length;
    expect(differing, `network ${seed}: ${steps.map((step) => step.join(' ')).join(', ')}`).toBe(0);
  }
  console.log(`outputs compared ${compared}, differing 0; simulation in float misses ${simulated}`);
  expect(simulated).toBeGreaterThan(0);
});
