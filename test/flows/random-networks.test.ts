import { expect, test } from 'vitest';
import { Generator, manualSeed } from '../../src/core/random.ts';
import * as nn from '../../src/nn/index.ts';
import type { AnyModule } from '../../src/nn/module.ts';
import {
  adaptiveAvgPool2d,
  add,
  cat,
  clamp,
  hardswish,
  leakyRelu,
  mul,
  noGrad,
  relu,
} from '../../src/ops/index.ts';
import {
  convertDbr,
  convertFx,
  defaultQConfig,
  prepareDbr,
  prepareFx,
  QConfigMapping,
} from '../../src/quantization/index.ts';
import { randn } from '../../src/tensor/creation.ts';
import { Tensor } from '../../src/tensor/tensor.ts';

const CHANNELS = 4;

const LAYERS: Readonly<Record<string, () => AnyModule>> = {
  conv: () => new nn.Conv2d(CHANNELS, CHANNELS, 3, { padding: 1 }),
  pointwise: () => new nn.Conv2d(CHANNELS, CHANNELS, 1, { bias: false }),
  squeeze: () => new nn.Conv2d(2 * CHANNELS, CHANNELS, 1),
  norm: () => new nn.BatchNorm2d(CHANNELS),
  relu: () => new nn.ReLU(),
  relu6: () => new nn.ReLU6(),
  hardswish: () => new nn.Hardswish(),
  elu: () => new nn.ELU(),
  pool: () => new nn.MaxPool2d(3, { stride: 1, padding: 1 }),
};

const OPERATORS: Readonly<Record<string, (a: Tensor, b: Tensor) => Tensor>> = {
  'f.relu': (a) => relu(a),
  'f.hardswish': (a) => hardswish(a),
  'f.leaky': (a) => leakyRelu(a, 0.1),
  'f.clamp': (a) => clamp(a, -1, 2),
  'f.add': (a, b) => add(a, b),
  'f.add+relu': (a, b) => relu(add(a, b)),
  'f.mul': (a, b) => mul(a, b),
  'f.turn': (a) => a.permute(0, 1, 3, 2),
};

const KINDS = ['conv', 'conv', 'norm', 'f.relu', ...Object.keys(LAYERS), ...Object.keys(OPERATORS)];

/** What one step does, with which of the results so far, counted from the last. */
type Step = readonly [kind: string, a: number, b: number];

/** A convolution and steps that each take any results of earlier ones. */
class RandomNetwork extends nn.Module {
  readonly steps: readonly Step[];
  first = new nn.Conv2d(CHANNELS, CHANNELS, 3, { padding: 1 });
  layers: nn.ModuleDict = new nn.ModuleDict();
  head = new nn.Linear(CHANNELS, 5);

  constructor(steps: readonly Step[]) {
    super();
    this.steps = steps;
    steps.forEach(([kind], i) => {
      if (kind in LAYERS) this.layers.set(`layer${i}`, LAYERS[kind]());
    });
  }

  forward(x: Tensor): Tensor {
    const results = [this.first(x)];
    this.steps.forEach(([kind, ...places], i) => {
      const [a, b] = places.map((place) => results[results.length - 1 - (place % results.length)]);
      if (kind in OPERATORS) results.push(OPERATORS[kind](a, b));
      else results.push(this.layers.get(`layer${i}`)(kind === 'squeeze' ? cat([a, b], 1) : a));
    });
    const last = results[results.length - 1];
    return this.head(adaptiveAvgPool2d(last, 1).flatten(1));
  }
}

function randomSteps(seed: number): Step[] {
  const generator = new Generator(seed);
  const below = (n: number): number => Math.floor(generator.uniform() * n);
  return Array.from({ length: 3 + below(8) }, (): Step => {
    // Mostly the last result, so that there is something to fuse.
    return [KINDS[below(KINDS.length)], below(3) === 0 ? below(3) : 0, below(3)];
  });
}

/** Integers of every layer in one run, by path, and the output's numbers. */
function integers(model: AnyModule, x: Tensor): Map<string, ArrayLike<number>> {
  const seen = new Map<string, ArrayLike<number>>();
  for (const [path, module] of model.namedModules()) {
    module.registerForwardHook((_module, _inputs, output) => {
      if (output instanceof Tensor && output.isQuantized) seen.set(path, output.intRepr().numbers());
      return undefined;
    });
  }
  return seen.set('output', (noGrad(() => model(x)) as Tensor).numbers());
}

test('40 networks of random steps: graph mode and define-by-run give the same integers', () => {
  const mapping = new QConfigMapping().setGlobal(defaultQConfig);
  let compared = 0;
  let fused = 0;
  for (let seed = 0; seed < 40; seed++) {
    manualSeed(seed);
    const steps = randomSteps(seed);
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
