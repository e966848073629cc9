import { describe, expect, test } from 'vitest';
import { manualSeed } from '../../src/core/random.ts';
import {
  add,
  amax,
  cat,
  chunk,
  fx,
  models,
  nn,
  noGrad,
  optim,
  quantization,
  relu,
  sigmoid,
  softmax,
  sort,
  type Tensor,
} from '../../src/index.ts';
import { deepCopy } from '../../src/nn/deep-copy.ts';
import { noiseTensor } from '../support/hashed-weights.ts';

const {
  convertFx,
  disableObserver,
  FakeQuantizeBase,
  getDefaultQatQConfigMapping,
  prepareQatFx,
  PrepareCustomConfig,
} = quantization;

/** Convolutions with batch norms, a residual addition, a concatenation, pools, functional activations, a float softmax. */
class Mixed extends nn.Module {
  conv1 = new nn.Conv2d(3, 8, 3, { padding: 1, bias: false });
  bn1 = new nn.BatchNorm2d(8);
  conv2 = new nn.Conv2d(8, 8, 3, { padding: 1 });
  bn2 = new nn.BatchNorm2d(8);
  pool = new nn.MaxPool2d(2);
  fc = new nn.Linear(16, 4);

  forward(x: Tensor): Tensor {
    const y = relu(this.bn1(this.conv1(x)));
    const z = relu(add(this.bn2(this.conv2(y)), y));
    const joined = this.pool(cat([y, z], 1)).mean([2, 3]);
    return softmax(this.fc(joined.mul(sigmoid(joined))), 1);
  }
}

/** Halves of a tensor, its extremes and its order. */
class Parted extends nn.Module {
  enter = new nn.Linear(12, 16);
  leave = new nn.Linear(8, 4);

  forward(x: Tensor): Tensor {
    const [value, gate] = chunk(this.enter(x), 2, 1);
    const [sorted] = sort(value.mul(sigmoid(gate)), 1);
    return this.leave(add(sorted, amax(value, 1, { keepdim: true })));
  }
}

class Recurrent extends nn.Module<[Tensor, Tensor, Tensor], Tensor> {
  enter = new nn.Linear(6, 8);
  lstm = new nn.LSTM(8, 10);
  leave = new nn.Linear(10, 4);

  forward(x: Tensor, h: Tensor, c: Tensor): Tensor {
    return this.leave(this.lstm(this.enter(x), [h, c])[0]);
  }
}

interface Case {
  readonly make: () => nn.Module<any, any>;
  readonly shapes: readonly (readonly number[])[];
  readonly options?: quantization.PrepareFxOptions;
}

const CASES: Readonly<Record<string, Case>> = {
  mlp: { make: models.mlp, shapes: [[4, 1, 28, 28]] },
  resnet18: { make: models.resnet18, shapes: [[2, 3, 32, 32]] },
  mobilenetV2: { make: models.mobilenetV2, shapes: [[2, 3, 32, 32]] },
  dsCnn: { make: models.dsCnn, shapes: [[2, 1, 49, 10]] },
  mixed: { make: () => new Mixed(), shapes: [[4, 3, 8, 8]] },
  'parts of tensors': { make: () => new Parted(), shapes: [[4, 12]] },
  'lstm, observed in parts': {
    make: () => new Recurrent(),
    shapes: [
      [5, 3, 6],
      [1, 3, 10],
      [1, 3, 10],
    ],
    options: {
      batchDim: 1,
      prepareCustomConfig: new PrepareCustomConfig().setFloatToObservedMapping(nn.LSTM, nn.quantizable.LSTM),
    },
  },
};

/** A model after some steps of training through quantization. */
function trained({ make, shapes, options }: Case, steps: number): fx.GraphModule<any, any> {
  manualSeed(5);
  const batch = (stream: number): Tensor[] => shapes.map((s, i) => noiseTensor(s, 10 * stream + i));
  const prepared = prepareQatFx(make().train(), getDefaultQatQConfigMapping(), batch(0) as never, options);
  const sgd = new optim.SGD(prepared.parameters(), { lr: 1e-3 });
  for (let step = 1; step <= steps; step++) {
    sgd.zeroGrad();
    const y = (prepared as any)(...batch(step)) as Tensor;
    y.mul(y).mean().backward();
    sgd.step();
  }
  return prepared.eval();
}

/** Keeps the quantized results of a converted graph by the names of the fake-quantizes in whose places they are. */
class Recorder extends fx.Interpreter {
  readonly integers = new Map<string, Tensor>();

  override runNode(node: fx.Node): unknown {
    const result = super.runNode(node);
    const { origin } = node.meta;
    if (origin !== undefined && (result as Tensor).isQuantized) this.integers.set(origin, result as Tensor);
    return result;
  }
}

/** Watches the fake-quantizes of a graph: gives, after a run, what the node of that name gave. */
function outputsOf(prepared: fx.GraphModule<any, any>): (name: string) => Tensor {
  const given = new Map<unknown, Tensor[]>();
  const callers = new Map<unknown, string[]>();
  const calledBy = (node: fx.Node): unknown =>
    node.op === 'call_module' ? prepared.getSubmodule(node.targetName) : null;
  for (const node of prepared.graph.nodes) {
    const module = calledBy(node);
    if (!(module instanceof FakeQuantizeBase)) continue;
    callers.set(module, [...(callers.get(module) ?? []), node.name]);
  }
  for (const module of callers.keys()) {
    (module as quantization.FakeQuantizeBase).registerForwardHook((_module, _inputs, y) => {
      given.set(module, [...(given.get(module) ?? []), y as Tensor]);
      return undefined;
    });
  }
  return (name) => {
    const [module, names] = [...callers].find(([, all]) => all.includes(name)) as [unknown, string[]];
    return (given.get(module) as Tensor[])[names.indexOf(name)];
  };
}

const different = (a: Tensor, b: Tensor): number => {
  const [x, y] = [a.numbers(), b.numbers()];
  expect(x.length).toBe(y.length);
  let count = 0;
  for (let i = 0; i < x.length; i++) if (x[i] !== y[i]) count++;
  return count;
};

describe('in evaluation mode, a graph prepared for training predicts what convertFx gives', () => {
  test.each(Object.keys(CASES))('%s', (name) => {
    const prepared = trained(CASES[name], name === 'resnet18' ? 1 : 2);
    const inputs = CASES[name].shapes.map((s, i) => noiseTensor(s, 990 + i));
    prepared.apply(disableObserver);
    const outputs = outputsOf(prepared);
    const predicted = noGrad(() => (prepared as any)(...inputs)) as Tensor;
    const converted = convertFx(prepared);
    const recorder = new Recorder(converted.graph, converted);
    const computed = noGrad(() => recorder.run(...inputs)) as Tensor;
    let compared = 0;
    let differing = 0;
    for (const [place, integers] of recorder.integers) {
      const simulated = outputs(place);
      compared += simulated.numel;
      differing += different(simulated, integers.dequantize());
    }
    const simulation = noGrad(() => new fx.Interpreter(prepared.graph, prepared).run(...inputs)) as Tensor;
    console.log(
      `${name}: integers of ${recorder.integers.size} places compared ${compared}, differing ${differing}; ` +
        `outputs ${predicted.numel}, differing ${different(predicted, computed)} (simulated in float: ${different(simulation, computed)})`,
    );
    expect(recorder.integers.size).toBeGreaterThan(2);
    expect(differing).toBe(0);
    expect(different(predicted, computed)).toBe(0);
  });

  test('observers that are left on see every batch once, as in the simulation', () => {
    const prepared = trained(CASES.mixed, 2);
    const simulated = deepCopy(prepared);
    const x = noiseTensor([4, 3, 8, 8], 990).mul(3);
    const predicted = noGrad(() => prepared(x)) as Tensor;
    noGrad(() => new fx.Interpreter(simulated.graph, simulated).run(x));
    const [one, other] = [prepared, simulated].map((m) => [...m.stateDict()] as [string, Tensor][]);
    expect(one.map(([key, t]) => [key, t.toArray()])).toEqual(other.map(([key, t]) => [key, t.toArray()]));
    expect(
      different(
        predicted,
        noGrad(() => convertFx(prepared)(x)),
      ),
    ).toBe(0);
  });

  test('gradients pass, and what is switched off is simulated', () => {
    const prepared = trained(CASES.mixed, 2);
    prepared.apply(disableObserver);
    for (const p of prepared.parameters()) p.grad = null;
    const x = noiseTensor([4, 3, 8, 8], 990);
    const y = prepared(x) as Tensor;
    y.mul(y).sum().backward();
    expect(prepared.parameters().every((p) => p.grad !== null && p.grad.abs().sum().item() > 0)).toBe(true);
    (prepared.getSubmodule('activation_post_process_2') as quantization.FakeQuantize).disableFakeQuant();
    const simulation = noGrad(() => new fx.Interpreter(prepared.graph, prepared).run(x)) as Tensor;
    expect(different(noGrad(() => prepared(x)) as Tensor, simulation)).toBe(0);
  });
});
