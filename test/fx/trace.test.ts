import { describe, expect, test } from 'vitest';
import { ArgumentError, ShapeError, TraceError } from '../../src/core/errors.ts';
import { Generator, manualSeed } from '../../src/core/random.ts';
import {
  Graph,
  GraphModule,
  Interpreter,
  type Node,
  registerLeafModules,
  symbolicTrace,
  wrap,
} from '../../src/fx/index.ts';
import { create, modelInfo, modelNames } from '../../src/models/index.ts';
import {
  BatchNorm2d,
  Conv2d,
  Dropout,
  deepCopy,
  Linear,
  LSTM,
  Module,
  Parameter,
  ReLU,
  Sequential,
} from '../../src/nn/index.ts';
import { add, cat, maximum, noGrad, relu, where } from '../../src/ops/index.ts';
import { ones, rand, randint, randn, tensor, zeros } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { bits } from '../support/same-bits.ts';

describe.each(modelNames)('%s', (name) => {
  test('traced, gives bit for bit what the model gives, at the traced batch size and another', () => {
    manualSeed(0);
    const { input, inputShape } = modelInfo(name);
    const shape = input === 'image' ? inputShape.map((s) => Math.min(s, 64)) : inputShape;
    const sample = (n: number): Tensor =>
      input === 'characters' ? randint(0, 65, [n, ...shape]) : rand([n, ...shape]);
    const model = create(name).eval() as Module;
    const traced = symbolicTrace(model, [sample(1)]);
    expect([...traced.stateDict().keys()]).toEqual([...model.stateDict().keys()]);
    for (const n of [1, 3]) {
      const x = sample(n);
      expect(bits(noGrad(() => traced(x)))).toEqual(bits(noGrad(() => model(x))));
    }
  });
});

class Net extends Module {
  gain: Parameter = new Parameter(tensor([2]));
  body: Module = new Sequential(new Conv2d(2, 4, 3, { padding: 1 }), new ReLU());
  head: Module = new Linear(4, 3);

  forward(x: Tensor): Tensor {
    const features = this.body(x)
      .mul(this.gain)
      .add(ones([1]));
    return this.head(features.view([x.shape[0], 4, -1]).mean(-1));
  }
}

describe('symbolicTrace', () => {
  test('records layers as modules, operators by name, parameters and constants as attributes', () => {
    const traced = symbolicTrace(new Net(), [rand([1, 2, 5, 5])]);
    expect(traced.graph.nodes.map((n) => [n.op, n.targetName])).toEqual([
      ['placeholder', 'x'],
      ['call_module', 'body.0'],
      ['call_module', 'body.1'],
      ['get_attr', 'gain'],
      ['call_function', 'mul'],
      ['get_attr', '_tensor_constant0'],
      ['call_function', 'add'],
      ['call_function', 'view'],
      ['call_function', 'mean'],
      ['call_module', 'head'],
      ['output', 'output'],
    ]);
    const mean = traced.graph.nodes[8];
    expect([mean.meta.shape, mean.meta.dtype, mean.meta.modulePath]).toEqual([[1, 4], 'float32', '']);
    expect(traced.graph.nodes[1].meta.modulePath).toBe('body');
  });

  test('prints the modules and the code; the graph prints as a list and as a table', () => {
    const traced = symbolicTrace(new Net(), [rand([2, 2, 5, 5])]);
    expect(String(traced)).toBe(`Net(
  (body): Module(
    (0): Conv2d(2, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    (1): ReLU()
  )
  (head): Linear(in_features=4, out_features=3, bias=True)
)

forward(x) {
  const batch = x.shape[0];
  const body_0 = this.body[0](x);
  const body_1 = this.body[1](body_0);
  const gain = this.gain;
  const mul = ops.mul(body_1, gain);
  const _tensor_constant0 = this._tensor_constant0;
  const add = ops.add(mul, _tensor_constant0, 1);
  const view = ops.view(add, [batch, 4, -1]);
  const mean = ops.mean(view, -1, false);
  const head = this.head(mean);
  return head;
}`);
    const small = symbolicTrace(new Sequential(new Linear(2, 1), new ReLU()), [rand([3, 2])]).graph;
    expect(String(small)).toBe(`graph():
    %input_0 : [#users=1] = placeholder[target=input_0]
    %_0 : [#users=1] = call_module[target=0](args = (%input_0,))
    %_1 : [#users=1] = call_module[target=1](args = (%_0,))
    return _1`);
    expect(small.formatTabular()).toBe(`opcode       name     target   args        shape
───────────  ───────  ───────  ──────────  ──────
placeholder  input_0  input_0  ()          [3, 2]
call_module  _0       0        (input_0,)  [3, 1]
call_module  _1       1        (_0,)       [3, 1]
output       output   output   (_1,)`);
  });

  test('shares the parameters, trains, loads state and copies', () => {
    const model = new Net();
    const traced = symbolicTrace(model, [rand([1, 2, 5, 5])]);
    expect(traced.parameters().every((p, i) => p === model.parameters()[i])).toBe(true);
    expect([...traced.stateDict().keys()]).toEqual([...model.stateDict().keys()]);
    const x = rand([4, 2, 5, 5]);
    traced(x).sum().backward();
    const gradient = bits(model.gain.grad);
    model.zeroGrad();
    model(x).sum().backward();
    expect(bits(model.gain.grad)).toEqual(gradient);

    const copy = deepCopy(traced);
    const other = new Net();
    copy.loadStateDict(other.stateDict());
    expect(bits(copy(x))).toEqual(bits(other(x)));
    expect(bits(traced(x))).toEqual(bits(model(x)));
    copy.graph.outputNode!.args = [copy.graph.nodes[1]];
    expect(copy(x).shape).toEqual([4, 4, 5, 5]);
    expect(traced(x).shape).toEqual([4, 3]);
  });

  test('leaves running statistics and random numbers as they were', () => {
    class Noisy extends Module {
      bn: Module = new BatchNorm2d(2);
      drop: Module = new Dropout(0.5);
      forward(x: Tensor): Tensor {
        return this.drop(this.bn(x));
      }
    }
    const model = new Noisy();
    const before = bits([...model.buffers()]);
    manualSeed(5);
    const expected = randn([3]).toArray();
    manualSeed(5);
    const traced = symbolicTrace(model, [rand([2, 2, 3, 3], { generator: new Generator(1) })]);
    expect(randn([3]).toArray()).toEqual(expected);
    expect(bits([...model.buffers()])).toEqual(before);
    traced(rand([4, 2, 3, 3]));
    expect(bits([...model.buffers()])).not.toEqual(before);
  });

  test('leaves fields that forward sets as they were', () => {
    class Remembers extends Module {
      last: Tensor | null = null;
      calls = 0;
      forward(x: Tensor): Tensor {
        const out = this.last ? x.add(this.last) : x.neg();
        this.last = out;
        this.calls++;
        (this as unknown as Record<string, unknown>).added = out;
        return out;
      }
    }
    const model = new Remembers();
    const traced = symbolicTrace(model, [rand([2, 2])]);
    expect(traced.graph.nodes.map((n) => n.targetName)).toEqual(['x', 'neg', 'output']);
    expect([model.last, model.calls, 'added' in model]).toEqual([null, 0, false]);
  });

  test('takes and gives lists and dicts', () => {
    type Batch = {
      readonly image: Tensor;
      readonly boxes: readonly [Tensor, Tensor];
      readonly scale: number;
    };
    type Answer = { readonly sum: Tensor; readonly pair: [Tensor, number]; readonly none: null };
    class Structured extends Module<[Batch], Answer> {
      forward({ image, boxes: [a, b], scale }: Batch): Answer {
        const sum = image.mul(scale).add(a);
        return { sum, pair: [b.neg(), scale], none: null };
      }
    }
    const batch = (n: number): Batch => ({
      image: rand([n, 2]),
      boxes: [rand([n, 2]), rand([n, 1])],
      scale: 3,
    });
    const model = new Structured();
    const traced = symbolicTrace(model, [batch(2)]);
    for (const n of [2, 5]) {
      const x = batch(n);
      expect(bits(traced(x))).toEqual(bits(model(x)));
      expect(traced(x).pair[1]).toBe(3);
    }
    expect(() => traced({ ...batch(2), scale: 4 })).toThrow(
      /input 0\.scale: expected 3, as it was traced, got 4/,
    );
    expect(() => traced({ image: rand([1, 2]) } as Batch)).toThrow(ArgumentError);
    expect(traced.code).toContain('const input_0_image = input_0.image;');
  });

  test('layers that return several tensors, and optional inputs', () => {
    class Recurrent extends Module<[Tensor, (readonly [Tensor, Tensor] | null)?], Tensor> {
      lstm: LSTM = new LSTM(3, 4, { batchFirst: true });
      forward(x: Tensor, state: readonly [Tensor, Tensor] | null = null): Tensor {
        const [out, [h]] = this.lstm(x, state);
        return cat([out.select(1, -1), h.squeeze(0)], 1);
      }
    }
    const model = new Recurrent();
    const traced = symbolicTrace(model, [rand([2, 5, 3])]);
    const x = rand([3, 7, 3]);
    expect(bits(traced(x))).toEqual(bits(model(x)));
    const state = [rand([1, 2, 4]), rand([1, 2, 4])] as const;
    const stateful = symbolicTrace(model, [rand([2, 5, 3]), state]);
    const y = rand([2, 6, 3]);
    expect(bits(stateful(y, state))).toEqual(bits(model(y, state)));
    // The state has its batch in another dimension, which the other run found out.
    expect(() => stateful(x, state)).toThrow(/batch size 2, the one that was traced, got 3/);
  });
});

describe('values of traced tensors', () => {
  const fails = (forward: (x: Tensor) => Tensor): TraceError => {
    class Reader extends Module {
      forward(x: Tensor): Tensor {
        return forward(relu(x));
      }
    }
    class Outer extends Module {
      inner: Module = new Reader();
      forward(x: Tensor): Tensor {
        return this.inner(x);
      }
    }
    try {
      symbolicTrace(new Outer(), [rand([2, 3])]);
    } catch (error) {
      expect(error).toBeInstanceOf(TraceError);
      return error as TraceError;
    }
    throw new Error('was traced');
  };

  test.each<[string, (x: Tensor) => Tensor]>([
    ['item()', (x) => (x.sum().item() > 0 ? x : x.neg())],
    ['toArray()', (x) => tensor(x.toArray() as number[][])],
    ['numbers()', (x) => x.mul(x.numbers()[0])],
    ['data', (x) => x.mul(x.data[0])],
    ['the storage', (x) => x.mul(x.storage[0])],
    ['relu_()', (x) => x.relu_()],
    ['the storage', (x) => zeros([2, 3]).copy_(x)],
  ])('%s throws, naming the module and the line', (what, forward) => {
    const error = fails(forward);
    expect(error.message).toContain(what);
    expect(error.modulePath).toBe('inner');
    expect(error.location).toMatch(/test\/fx\/trace\.test\.ts:\d+:\d+$/);
  });

  test('can be shown, and are read freely once tracing is over', () => {
    let kept: Tensor | undefined;
    let shown = '';
    class Keeper extends Module {
      forward(x: Tensor): Tensor {
        kept = x.add(1);
        shown = String(kept);
        return kept.detach();
      }
    }
    const traced = symbolicTrace(new Keeper(), [tensor([1, 2])]);
    expect(shown).toBe('TracedTensor(add, shape=[2], dtype=float32)');
    expect(kept?.toArray()).toEqual([2, 3]);
    expect(String(kept)).toBe('tensor([2., 3.])');
    expect(traced(tensor([5])).toArray()).toEqual([6]);
  });

  test('inside of leaf modules and wrapped functions they are read freely', () => {
    const scaleToOne = wrap(function scaleToOne(x: Tensor): Tensor {
      return x.div(Math.max(...(x.numbers() as Float32Array)));
    });
    class Loud extends Module {
      forward(x: Tensor): Tensor {
        return x.mul(x.sum().item());
      }
    }
    class Outer extends Module {
      loud: Module = new Loud();
      forward(x: Tensor): Tensor {
        return scaleToOne(this.loud(x));
      }
    }
    const model = new Outer();
    const x = tensor([[1, 2]]);
    for (const leafModules of [[Loud], ['loud'], (m: unknown) => m instanceof Loud] as const) {
      const traced = symbolicTrace(model, [rand([1, 2])], { leafModules });
      expect(traced.graph.nodes.map((n) => n.op)).toEqual([
        'placeholder',
        'call_module',
        'call_function',
        'output',
      ]);
      expect(bits(traced(x))).toEqual(bits(model(x)));
      expect(traced.code).toContain('const scaleToOne = scaleToOne(loud);');
    }
    expect(() => symbolicTrace(model, [rand([1, 2])])).toThrow(TraceError);
    registerLeafModules(Loud);
    expect(symbolicTrace(model, [rand([1, 2])]).graph.nodes[1].target).toBe('loud');
  });
});

describe('batch sizes', () => {
  const net = (forward: (x: Tensor) => Tensor): Module => {
    class Made extends Module {
      forward(x: Tensor): Tensor {
        return forward(x);
      }
    }
    return new Made();
  };

  test.each<[string, (x: Tensor) => Tensor]>([
    ['sizes', (x) => x.reshape([x.shape[0] * 2, 3]).expand([2, x.shape[0] * 2, 3])],
    ['a constant per sample', (x) => x.add(zeros([x.shape[0], 6]).add(2))],
    ['slices', (x) => x.narrow(0, 0, x.shape[0] - 1 + 1).add(x.at(-1))],
  ])('%s follow the batch', (_, forward) => {
    const model = net(forward);
    for (const example of [1, 2, 4]) {
      const traced = symbolicTrace(model, [rand([example, 6])]);
      expect(traced.graph.batch).toEqual({ dim: 0, example, fixed: null });
      for (const n of [1, 2, 3, 7]) {
        const x = rand([n, 6]);
        expect(bits(traced(x))).toEqual(bits(model(x)));
      }
    }
  });

  test.each<[string, (x: Tensor) => Tensor, RegExp]>([
    ['a branch', (x) => (x.shape[0] === 1 ? x.neg() : x.abs()), /runs neg where at batch 2 it runs abs/],
    ['a loop', (x) => x.unbind(0).reduce((a, b) => maximum(a, b)), /steps|runs/],
    [
      'a number per sample',
      (x) => x.add(tensor(Array.from({ length: x.shape[0] }, (_, i) => [i]))),
      /made in forward/,
    ],
    ['a mean', (x) => x.mul(1 / x.shape[0]), /argument 1 of mul is 1 at batch 1 and 0.5 at batch 2/],
    ['a size that others cannot have', (x) => x.view([1, 6]), /at batch 2 the model throws/],
  ])('%s ties the graph to its batch, and it says why', (_, forward, reason) => {
    const model = net(forward);
    const traced = symbolicTrace(model, [rand([1, 6])]);
    const x = rand([1, 6]);
    expect(bits(traced(x))).toEqual(bits(model(x)));
    expect(() => traced(rand([2, 6]))).toThrow(ShapeError);
    expect(() => traced(rand([2, 6]))).toThrow(reason);
  });

  test('a branch on a shape that is not the batch takes the way of the example', () => {
    const model = net((x) => (x.shape[1] > 3 ? x.neg() : where(x.gt(0), x, x.exp())));
    expect(symbolicTrace(model, [rand([2, 6])]).graph.nodes[1].target).toBe('neg');
    expect(symbolicTrace(model, [rand([2, 2])]).graph.nodes.at(-2)?.target).toBe('where');
  });
});

describe('Interpreter', () => {
  test('runs node by node, frees what is not needed, and can be subclassed', () => {
    const traced = symbolicTrace(new Net(), [rand([1, 2, 5, 5])]);
    const ran: string[] = [];
    let most = 0;
    class Watch extends Interpreter {
      override runNode(node: Node): unknown {
        ran.push(node.name);
        most = Math.max(most, this.env.size);
        return super.runNode(node);
      }
      override callFunction(node: Node, args: readonly unknown[]): unknown {
        return node.target === 'mul' ? args[0] : super.callFunction(node, args);
      }
    }
    const x = rand([2, 2, 5, 5]);
    const model = new Net();
    const result = new Watch(traced.graph, traced).run(x);
    expect(ran).toEqual(traced.graph.nodes.slice(1).map((n) => n.name));
    expect(most).toBeLessThanOrEqual(2);
    model.loadStateDict(traced.stateDict());
    noGrad(() => model.gain.fill_(1));
    expect(bits(result)).toEqual(bits(noGrad(() => model(x))));
  });

  test('runs graphs written by hand, methods included', () => {
    const graph = new Graph();
    const a = graph.placeholder('a');
    const b = graph.placeholder('b');
    const sum = graph.callFunction('add', [a, b, 1]);
    graph.output([graph.callMethod('neg', [sum]), sum]);
    const module = new GraphModule<[Tensor, Tensor], [Tensor, Tensor]>(new Sequential(), graph);
    const [negated, plain] = module(tensor([1]), tensor([2]));
    expect([negated.item(), plain.item()]).toEqual([-3, 3]);
    expect(bits(add(tensor([1]), tensor([2])))).toEqual(bits(plain));
    expect(() =>
      (module as unknown as (...x: Tensor[]) => void)(tensor([1]), tensor([1]), tensor([1])),
    ).toThrow(/inputs: expected 2 of them, got 3/);
  });
});
