import { describe, expect, test } from 'vitest';
import { ArgumentError } from '../../src/core/errors.ts';
import {
  chain,
  findMatches,
  foldBatchNorms,
  foldConstants,
  Graph,
  GraphModule,
  replacePattern,
  symbolicTrace,
} from '../../src/fx/index.ts';
import { resnet20 } from '../../src/models/index.ts';
import {
  BatchNorm1d,
  BatchNorm2d,
  Conv2d,
  Hardswish,
  Linear,
  Module,
  Parameter,
  ReLU,
  Sequential,
} from '../../src/nn/index.ts';
import { add, noGrad } from '../../src/ops/index.ts';
import { rand, randn, tensor } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { bits } from '../support/same-bits.ts';

describe('Graph', () => {
  test('names are unique and usable in code', () => {
    const graph = new Graph();
    const x = graph.placeholder('x');
    const names = ['quantized::add', 'layer1.0.conv', '0', 'return', 'x'].map(
      (target) => graph.callFunction(target, [x]).name,
    );
    expect(names).toEqual(['quantized_add', 'layer1_0_conv', '_0', '_return', 'x_1']);
  });

  test('nodes are inserted, replaced and erased; users are kept', () => {
    const graph = new Graph();
    const x = graph.placeholder('x');
    const relu = graph.callFunction('relu', [x]);
    const out = graph.output(relu);
    const neg = graph.insertingAfter(x, () => graph.callFunction('neg', [x]));
    relu.replaceInputWith(x, neg);
    expect(graph.nodes.map(String)).toEqual(['x', 'neg', 'relu', 'output']);
    expect([...x.users]).toEqual([neg]);
    expect(() => graph.eraseNode(relu)).toThrow(/expected a node without users, got relu, used by output/);
    expect(relu.replaceAllUsesWith(neg)).toEqual([out]);
    graph.eraseNode(relu);
    graph.lint();
    expect(new GraphModule(new Sequential(), graph)(tensor([2])).item()).toBe(-2);
    expect(() => graph.eraseNode(relu)).toThrow(/not in it/);
  });

  test('eliminateDeadCode takes out chains nobody reads, and keeps inputs', () => {
    const graph = new Graph();
    const x = graph.placeholder('x');
    const y = graph.placeholder('y');
    graph.callFunction('relu', [graph.callFunction('neg', [y])]);
    graph.output(graph.callFunction('abs', [x]));
    expect(graph.eliminateDeadCode()).toBe(true);
    expect(graph.nodes.map(String)).toEqual(['x', 'y', 'abs', 'output']);
    expect(graph.eliminateDeadCode()).toBe(false);
  });

  test('lint finds what is out of order, missing or foreign', () => {
    const graph = new Graph();
    const x = graph.placeholder('x');
    const a = graph.callFunction('neg', [x]);
    expect(() => graph.lint()).toThrow(/expected an output/);
    const out = graph.output(a);
    const late = graph.insertingBefore(out, () => graph.callFunction('abs', [x]));
    a.args = [late];
    expect(() => graph.lint()).toThrow(
      /node neg: expected a place after its arguments, got a place before abs/,
    );
    a.args = [x];
    graph.lint();
    expect(() => {
      a.args = [new Graph().placeholder('z')];
    }).toThrow(ArgumentError);
    const other = new Graph();
    other.output(other.callModule('missing', [other.placeholder('x')]));
    expect(() => new GraphModule(new Sequential(), other)).toThrow(/has no child "missing"/);
  });
});

class Block extends Module {
  conv: Module = new Conv2d(3, 4, 3, { bias: false });
  bn: Module = new BatchNorm2d(4);
  relu: Module = new ReLU();
  fc: Module = new Linear(4, 2);
  norm: Module = new BatchNorm1d(2);

  forward(x: Tensor): Tensor {
    const features = this.relu(this.bn(this.conv(x)));
    return this.norm(this.fc(features.mean([2, 3])));
  }
}

function close(a: Tensor, b: Tensor): void {
  const [p, q] = [a.numbers(), b.numbers()];
  expect(p.length).toBe(q.length);
  for (let i = 0; i < p.length; i++) expect(Math.abs(p[i] - q[i])).toBeLessThan(1e-5);
}

describe('replacePattern', () => {
  test('operators by name, with a function', () => {
    class Activations extends Module {
      forward(x: Tensor): Tensor {
        return x.relu().neg().relu().add(1);
      }
    }
    const traced = symbolicTrace(new Activations(), [randn([4])]);
    const matches = replacePattern(traced, chain('relu'), ({ inputs }, graph) =>
      graph.callFunction('hardtanh', [inputs[0], 0, 6]),
    );
    expect(matches.length).toBe(2);
    expect(traced.graph.nodes.map((n) => n.targetName)).toEqual([
      'x',
      'hardtanh',
      'neg',
      'hardtanh',
      'add',
      'output',
    ]);
    expect(traced(tensor([9, -1])).toArray()).toEqual([1, 1]);
    expect(replacePattern(traced, chain('relu'), () => null)).toEqual([]);
  });

  test('a traced pattern by a traced replacement, several inputs, plain arguments compared', () => {
    class Pattern extends Module<[Tensor, Tensor]> {
      forward(a: Tensor, b: Tensor): Tensor {
        return add(a, b).relu();
      }
    }
    class Replacement extends Module<[Tensor, Tensor]> {
      gain: Parameter = new Parameter(tensor([10]));
      act: Module = new Hardswish();
      forward(a: Tensor, b: Tensor): Tensor {
        return this.act(a.sub(b).mul(this.gain));
      }
    }
    class Host extends Module<[Tensor, Tensor]> {
      forward(a: Tensor, b: Tensor): Tensor {
        const first = add(a, b).relu();
        return add(add(first, b, { alpha: 2 }).relu(), first).relu();
      }
    }
    const [a, b] = [randn([3]), randn([3])];
    const traced = symbolicTrace(new Host(), [a, b]);
    const replacement = new Replacement();
    const matches = replacePattern(
      traced,
      symbolicTrace(new Pattern(), [a, b]),
      symbolicTrace(replacement, [a, b]),
    );
    expect(matches.length).toBe(2);
    const first = replacement(a, b);
    expect(bits(traced(a, b))).toEqual(bits(replacement(add(first, b, { alpha: 2 }).relu(), first)));
  });

  test('a node that is read from outside of the match keeps it from matching', () => {
    class Leaky extends Module {
      conv: Module = new Conv2d(1, 1, 1);
      bn: Module = new BatchNorm2d(1);
      forward(x: Tensor): Tensor {
        const y = this.conv(x);
        return this.bn(y).add(y);
      }
    }
    const traced = symbolicTrace(new Leaky().eval(), [rand([1, 1, 2, 2])]);
    expect(findMatches(traced, chain(Conv2d, BatchNorm2d))).toEqual([]);
    expect(findMatches(traced, chain(Conv2d)).length).toBe(1);
    expect(foldBatchNorms(traced)).toBe(0);
  });
});

describe('passes', () => {
  test('foldBatchNorms gives the same numbers with fewer layers, and leaves the model alone', () => {
    const model = new Block();
    noGrad(() => model(rand([8, 3, 6, 6])));
    model.eval();
    const x = rand([2, 3, 6, 6]);
    const expected = noGrad(() => model(x));
    const traced = symbolicTrace(model, [x]);
    expect(foldBatchNorms(traced)).toBe(2);
    expect(String(traced)).toBe(`Block(
  (conv): Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))
  (relu): ReLU()
  (fc): Linear(in_features=4, out_features=2, bias=True)
)

forward(x) {
  const conv_1 = this.conv(x);
  const relu = this.relu(conv_1);
  const mean = ops.mean(relu, [2, 3], false);
  const fc_1 = this.fc(mean);
  return fc_1;
}`);
    close(
      noGrad(() => traced(x)),
      expected,
    );
    expect(bits(noGrad(() => model(x)))).toEqual(bits(expected));
  });

  test('foldBatchNorms on a residual network, not in training', () => {
    const model = resnet20();
    noGrad(() => model(rand([4, 3, 32, 32])));
    const x = rand([2, 3, 32, 32]);
    expect(foldBatchNorms(symbolicTrace(model, [x]))).toBe(0);
    const traced = symbolicTrace(model.eval(), [x]);
    expect(foldBatchNorms(traced)).toBe(19);
    close(
      noGrad(() => traced(x)),
      noGrad(() => model(x)),
    );
  });

  test('foldConstants computes what inputs do not reach', () => {
    class Normed extends Module {
      weight: Parameter = new Parameter(randn([4, 3]));
      forward(x: Tensor): Tensor {
        const [upper] = this.weight.div(this.weight.norm()).split(2, 0);
        return x.matmul(upper.t());
      }
    }
    const model = new Normed();
    const x = randn([5, 3]);
    const traced = symbolicTrace(model, [x]);
    expect(foldConstants(traced)).toBeGreaterThanOrEqual(4);
    expect(traced.graph.nodes.map((n) => n.op)).toEqual([
      'placeholder',
      'get_attr',
      'call_function',
      'output',
    ]);
    expect(bits(noGrad(() => traced(x)))).toEqual(bits(noGrad(() => model(x))));
  });
});
