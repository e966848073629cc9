import * as nn from '../../src/nn/index.ts';
import type { AnyModule } from '../../src/nn/module.ts';
import * as F from '../../src/ops/index.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

/** By the rank of the input: its shape, and the layer before the operator. */
type Enter = Readonly<
  Record<2 | 3 | 4 | 5, { readonly shape: readonly number[]; readonly layer: () => AnyModule }>
>;

export const ENTER: Enter = {
  2: { shape: [3, 8], layer: () => new nn.Linear(8, 8) },
  3: { shape: [2, 4, 8], layer: () => new nn.Conv1d(4, 4, 1) },
  4: { shape: [2, 4, 6, 6], layer: () => new nn.Conv2d(4, 4, 1) },
  5: { shape: [2, 4, 4, 4, 4], layer: () => new nn.Conv3d(4, 4, 1) },
};

export type Operator = (x: Tensor) => Tensor;

/** layer, operator, addition. */
export class Around extends nn.Module {
  enter: AnyModule;
  layer: AnyModule | null;
  readonly operator: Operator | null;

  constructor(enter: AnyModule, operator: AnyModule | Operator) {
    super();
    this.enter = enter;
    this.layer = operator instanceof nn.Module ? operator : null;
    this.operator = operator instanceof nn.Module ? null : (operator as Operator);
  }

  forward(x: Tensor): Tensor {
    const y = this.enter(x) as Tensor;
    const z = this.layer ? (this.layer(y) as Tensor) : (this.operator as Operator)(y);
    return F.add(z, z);
  }
}

const both = ([a, b]: readonly Tensor[]): Tensor => F.add(a, b);
const f = nn.functional;

export const FUNCTIONS: Readonly<Record<string, Operator>> = {
  relu: F.relu,
  relu6: F.relu6,
  hardtanh: (x) => F.hardtanh(x, -0.5, 0.75),
  clamp: (x) => F.clamp(x, -0.25, 0.5),
  elu: (x) => F.elu(x),
  leakyRelu: (x) => F.leakyRelu(x, 0.2),
  hardswish: F.hardswish,
  hardsigmoid: F.hardsigmoid,
  sigmoid: F.sigmoid,
  tanh: F.tanh,
  softmax: (x) => F.softmax(x, -1),
  logSoftmax: (x) => F.logSoftmax(x, -1),
  gelu: (x) => F.gelu(x),
  silu: F.silu,
  glu: (x) => f.glu(x, 1),
  softplus: (x) => F.softplus(x),
  dropout: (x) => F.dropout(x, 0.5, false),
  layerNorm: (x) => F.layerNorm(x, [8]),
  groupNorm: (x) => F.groupNorm(x, 2),
  instanceNorm: (x) => F.instanceNorm(x),
  maxPool1d: (x) => F.maxPool1d(x, 2),
  maxPool2d: (x) => F.maxPool2d(x, 2),
  maxPool3d: (x) => F.maxPool3d(x, 2),
  avgPool1d: (x) => F.avgPool1d(x, 2),
  avgPool2d: (x) => F.avgPool2d(x, 2),
  avgPool3d: (x) => F.avgPool3d(x, 2),
  adaptiveAvgPool1d: (x) => F.adaptiveAvgPool1d(x, 2),
  adaptiveAvgPool2d: (x) => F.adaptiveAvgPool2d(x, 2),
  adaptiveAvgPool3d: (x) => F.adaptiveAvgPool3d(x, 2),
  'interpolate nearest': (x) => F.interpolate(x, { scaleFactor: 2 }),
  'interpolate bilinear': (x) => F.interpolate(x, { size: [9, 9], mode: 'bilinear' }),
  mean: (x) => F.mean(x, [2, 3]),
  flatten: (x) => F.flatten(x, 1),
  view: (x) => x.view(2, -1),
  reshape: (x) => x.reshape([2, 8, -1]),
  permute: (x) => x.permute(0, 2, 3, 1),
  transpose: (x) => F.transpose(x, 1, 2),
  'transpose method': (x) => x.transpose(1, 2),
  squeeze: (x) => F.squeeze(x),
  unsqueeze: (x) => F.unsqueeze(x, 1),
  stack: (x) => F.stack([x, x], 1),
  cat: (x) => F.cat([x, x], 1),
  repeat: (x) => x.repeat(2, 1),
  repeatInterleave: (x) => F.repeatInterleave(x, 2, 1),
  contiguous: (x) => x.contiguous(),
  detach: (x) => x.detach(),
  size: (x) => x.reshape([x.shape[0], x.shape[1], -1]),
  'add number': (x) => F.add(x, 0.5),
  'mul number': (x) => F.mul(x, 0.5),
  'add number, relu': (x) => F.relu(F.add(x, 0.5)),
  'mul number, relu': (x) => F.relu(F.mul(x, 0.5)),
  add: (x) => F.add(x, x),
  'add, relu': (x) => F.relu(F.add(x, x)),
  mul: (x) => F.mul(x, x),
  'mul, relu': (x) => F.relu(F.mul(x, x)),
  matmul: (x) => F.matmul(x, x),
  bmm: (x) => F.bmm(x, x.transpose(1, 2)),
  sub: (x) => F.sub(x, 0.5),
  div: (x) => F.div(x, 2),
  amax: (x) => F.amax(x, 1),
  sum: (x) => F.sum(x, 1),
  exp: F.exp,
  slice: (x) => F.narrow(x, 1, 1, 2),
  select: (x) => F.select(x, 1, 1),
  pad: (x) => F.pad(x, [1, 1, 1, 1]),
  flip: (x) => F.flip(x, [2]),
  expand: (x) => F.expand(x, [2, 4, 6, 6]),
  chunk: (x) => both(F.chunk(x, 2, 1)),
  split: (x) => both(F.split(x, 2, 1)),
  unbind: (x) => both(F.unbind(x, 1)),
};

export const MODULES: Readonly<Record<string, () => AnyModule>> = {
  'nn.ReLU': () => new nn.ReLU(),
  'nn.ReLU6': () => new nn.ReLU6(),
  'nn.Hardtanh': () => new nn.Hardtanh({ minVal: -0.5, maxVal: 0.75 }),
  'nn.ELU': () => new nn.ELU(0.7),
  'nn.LeakyReLU': () => new nn.LeakyReLU(0.2),
  'nn.PReLU': () => new nn.PReLU({ numParameters: 4 }),
  'nn.Hardswish': () => new nn.Hardswish(),
  'nn.Hardsigmoid': () => new nn.Hardsigmoid(),
  'nn.Sigmoid': () => new nn.Sigmoid(),
  'nn.Tanh': () => new nn.Tanh(),
  'nn.Softmax': () => new nn.Softmax(-1),
  'nn.GELU': () => new nn.GELU(),
  'nn.SiLU': () => new nn.SiLU(),
  'nn.Dropout': () => new nn.Dropout(0.5),
  'nn.Dropout2d': () => new nn.Dropout2d(0.5),
  'nn.Identity': () => new nn.Identity(),
  'nn.LayerNorm': () => new nn.LayerNorm(8),
  'nn.GroupNorm': () => new nn.GroupNorm(2, 4),
  'nn.InstanceNorm1d': () => new nn.InstanceNorm1d(4, { affine: true }),
  'nn.InstanceNorm2d': () => new nn.InstanceNorm2d(4),
  'nn.InstanceNorm3d': () => new nn.InstanceNorm3d(4, { affine: true }),
  'nn.BatchNorm3d': () => new nn.Sequential(new nn.Identity(), new nn.BatchNorm3d(4)),
  'nn.BatchNorm2d, relu': () => new nn.Sequential(new nn.Identity(), new nn.BatchNorm2d(4), new nn.ReLU()),
  'nn.MaxPool1d': () => new nn.MaxPool1d(2),
  'nn.MaxPool2d': () => new nn.MaxPool2d(3, { stride: 1, padding: 1 }),
  'nn.MaxPool3d': () => new nn.MaxPool3d(2),
  'nn.AvgPool1d': () => new nn.AvgPool1d(2),
  'nn.AvgPool2d': () => new nn.AvgPool2d(3, { stride: 1, padding: 1 }),
  'nn.AvgPool3d': () => new nn.AvgPool3d(2),
  'nn.AdaptiveAvgPool1d': () => new nn.AdaptiveAvgPool1d(2),
  'nn.AdaptiveAvgPool2d': () => new nn.AdaptiveAvgPool2d(2),
  'nn.AdaptiveAvgPool3d': () => new nn.AdaptiveAvgPool3d(2),
  'nn.Upsample': () => new nn.Upsample({ scaleFactor: 2 }),
  'nn.Flatten': () => new nn.Flatten(),
  'nn.ConvTranspose1d': () => new nn.ConvTranspose1d(4, 4, 2),
  'nn.ConvTranspose2d': () => new nn.ConvTranspose2d(4, 4, 2),
  'nn.ConvTranspose3d': () => new nn.ConvTranspose3d(4, 4, 2),
  'nn.Conv3d, relu': () => new nn.Sequential(new nn.Conv3d(4, 4, 2), new nn.ReLU()),
};

/** The names of all cases, as in test/golden/fx_operators.py. */
export const NAMED: readonly string[] = [...Object.keys(FUNCTIONS), ...Object.keys(MODULES)];

/** A model around one operator, in evaluation mode. */
export function around(name: string, rank: keyof typeof ENTER): Around {
  return new Around(ENTER[rank].layer(), MODULES[name]?.() ?? FUNCTIONS[name]).eval();
}
