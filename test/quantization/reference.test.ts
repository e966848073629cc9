import { describe, expect, test } from 'vitest';
import {
  adaptiveAvgPool2d,
  add,
  avgPool2d,
  cat,
  type fx,
  hardswish,
  interpolate,
  manualSeed,
  matmul,
  maxPool2d,
  mean,
  mul,
  nn,
  noGrad,
  quantization,
  randn,
  relu,
  sigmoid,
  type Tensor,
  tanh,
} from '../../src/index.ts';

const {
  convertToReferenceFx,
  defaultPerChannelQConfig,
  getDefaultQConfigMapping,
  lowerToQuantized,
  prepareFx,
} = quantization;

class Call extends nn.Module<[Tensor, Tensor], Tensor> {
  readonly run: (x: Tensor, y: Tensor) => Tensor;
  constructor(run: (x: Tensor, y: Tensor) => Tensor) {
    super();
    this.run = run;
  }
  forward(x: Tensor, y: Tensor): Tensor {
    return this.run(x, y);
  }
}

const layer = (make: () => nn.Module): (() => nn.Module<[Tensor, Tensor], Tensor>) => {
  class One extends nn.Module<[Tensor, Tensor], Tensor> {
    layer = make();
    forward(x: Tensor, _y: Tensor): Tensor {
      return this.layer(x);
    }
  }
  return () => new One();
};
const call = (run: (x: Tensor, y: Tensor) => Tensor) => () => new Call(run);

/** Kinds whose integers are those of the reference, every one. */
const EXACT: Readonly<Record<string, () => nn.Module<[Tensor, Tensor], Tensor>>> = {
  conv2d: layer(() => new nn.Conv2d(4, 6, 3, { bias: false })),
  'conv2d + relu': layer(() => new nn.Sequential(new nn.Conv2d(4, 6, 3, { bias: false }), new nn.ReLU())),
  'conv2d, depthwise': layer(() => new nn.Conv2d(4, 4, 3, { groups: 4, bias: false })),
  'transposed conv2d': layer(() => new nn.ConvTranspose2d(4, 3, 3, { stride: 2, bias: false })),
  linear: layer(() => new nn.Linear(8, 5, { bias: false })),
  relu: call((x) => relu(x)),
  relu6: layer(() => new nn.ReLU6()),
  hardtanh: layer(() => new nn.Hardtanh()),
  'max pool': call((x) => maxPool2d(x, 2)),
  add: call((x, y) => add(x, y)),
  'add + relu': call((x, y) => relu(add(x, y))),
  mul: call((x, y) => mul(x, y)),
  'mul + relu': call((x, y) => relu(mul(x, y))),
  matmul: call((x, y) => matmul(x, y)),
  cat: call((x, y) => cat([x, y], 1)),
  'transpose, reshape': call((x) => x.transpose(1, 2).reshape([-1, 32])),
  sigmoid: call((x) => sigmoid(x)),
  tanh: call((x) => tanh(x)),
  softmax: layer(() => new nn.Softmax(-1)),
  hardswish: call((x) => hardswish(x)),
  elu: layer(() => new nn.ELU()),
  'leaky relu': layer(() => new nn.LeakyReLU(0.1)),
  'interpolate, nearest': call((x) => interpolate(x, { scaleFactor: 2 })),
  dropout: layer(() => new nn.Dropout()),
};

/** Kinds whose integers may differ from the reference's, by how many steps at most, and why. */
const EXCEPTIONS: Readonly<
  Record<string, readonly [() => nn.Module<[Tensor, Tensor], Tensor>, number, string]>
> = {
  'conv2d with bias': [layer(() => new nn.Conv2d(4, 6, 3)), 1, 'biases lie on the grid of the products'],
  'transposed conv2d with bias': [
    layer(() => new nn.ConvTranspose2d(4, 3, 3, { stride: 2 })),
    1,
    'biases lie on the grid of the products',
  ],
  'linear with bias': [layer(() => new nn.Linear(8, 5)), 1, 'biases lie on the grid of the products'],
  'average pool': [call((x) => avgPool2d(x, 2)), 1, 'integers are averaged, in PyTorch too'],
  'adaptive average pool': [call((x) => adaptiveAvgPool2d(x, 1)), 1, 'integers are averaged, in PyTorch too'],
  mean: [call((x) => mean(x, [2, 3])), 1, 'integers are averaged, in PyTorch too'],
  bn2d: [layer(() => new nn.BatchNorm2d(4)), 1, 'folded into one multiplication'],
  'layer norm': [layer(() => new nn.LayerNorm(8)), 1, 'statistics of integers'],
  'group norm': [layer(() => new nn.GroupNorm(2, 4)), 1, 'statistics of integers'],
  'instance norm': [layer(() => new nn.InstanceNorm2d(4)), 1, 'statistics of integers'],
  prelu: [layer(() => new nn.PReLU()), 2, 'slopes are rounded to eight bits'],
};

/** Elements compared, how many differ, and by how many steps of the output at most. */
function agreement(make: () => nn.Module<[Tensor, Tensor], Tensor>): [number, number, number] {
  manualSeed(5);
  const model = make().eval();
  const inputs = (): [Tensor, Tensor] => [randn([2, 4, 8, 8]), randn([2, 4, 8, 8])];
  const mapping = getDefaultQConfigMapping('qnnpack').setObjectType(nn.Linear, defaultPerChannelQConfig);
  const prepared = prepareFx(model, mapping, inputs());
  const x = inputs();
  noGrad(() => prepared(...x));
  const reference = convertToReferenceFx(prepared);
  const int8 = lowerToQuantized(reference);
  const crossings = int8.graph.nodes.filter((n: fx.Node) => n.target === 'quantizePerTensor');
  expect(crossings.length, 'only inputs are quantized').toBeLessThanOrEqual(2);
  const [a, b] = noGrad(() => [reference(...x), int8(...x)].map((t) => t.numbers()));
  const steps = smallestStep(b);
  let differ = 0;
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    const off = Math.abs(a[i] - b[i]);
    if (off > 0) differ++;
    most = Math.max(most, Math.round(off / steps));
  }
  return [a.length, differ, most];
}

/** The distance between neighbouring values. */
function smallestStep(values: ArrayLike<number>): number {
  const sorted = [...new Set(Array.from(values))].sort((p, q) => p - q);
  return sorted.slice(1).reduce((least, v, i) => Math.min(least, v - sorted[i]), Number.POSITIVE_INFINITY);
}

describe('the reference graph and int8, kind by kind', () => {
  test('equal, every integer', () => {
    const lines = Object.entries(EXACT).map(([name, make]) => [name, ...agreement(make)] as const);
    console.log(lines.map(([name, n, differ]) => `${name}: ${n} compared, ${differ} differ`).join('\n'));
    expect(lines.filter(([, , differ]) => differ > 0)).toEqual([]);
  });

  test('the exceptions differ by a step where a value lies between two', () => {
    for (const [name, [make, steps, why]] of Object.entries(EXCEPTIONS)) {
      const [n, differ, most] = agreement(make);
      console.log(`${name}: ${n} compared, ${differ} differ by ${most} at most (${why})`);
      expect(most, name).toBeLessThanOrEqual(steps);
    }
  });

  test('a number added or multiplied moves the parameters of int8, and rounds nothing', () => {
    const model = new Call((x) => mul(add(x, 0.5), 2)).eval();
    const x = [randn([4, 8]), randn([4, 8])] as const;
    const prepared = prepareFx(model, getDefaultQConfigMapping(), [...x]);
    noGrad(() => prepared(...x));
    const int8 = lowerToQuantized(convertToReferenceFx(prepared));
    const names = int8.graph.nodes.map((n) => n.targetName).filter((n) => n.startsWith('quantized::'));
    expect(names).toEqual(['quantized::add_scalar', 'quantized::mul_scalar']);
  });
});
