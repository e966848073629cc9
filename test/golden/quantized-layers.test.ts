import { readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import '../../src/autograd/index.ts';
import { roundHalfEven } from '../../src/core/math.ts';
import { manualSeed } from '../../src/core/random.ts';
import * as nn from '../../src/nn/index.ts';
import { type AnyModule, Module } from '../../src/nn/module.ts';
import { dispatch, noGrad } from '../../src/ops/index.ts';
import {
  convert,
  DeQuantStub,
  defaultDynamicQConfig,
  FloatFunctional,
  fuseModules,
  getDefaultQConfig,
  MinMaxObserver,
  PerChannelMinMaxObserver,
  perChannelDynamicQConfig,
  prepare,
  type QConfig,
  type QFunctional,
  type QuantizationBackend,
  QuantStub,
  quantizeDynamic,
} from '../../src/quantization/index.ts';
import { fromStorage, rand, Tensor } from '../../src/tensor/index.ts';
import { isPerChannel } from '../../src/tensor/qparams.ts';
import type { StateValue } from '../../src/tensor/state.ts';

/** A case as `quantized_layers.py` writes it. */
interface Case {
  readonly kind: 'conv1d' | 'conv2d' | 'conv3d' | 'linear' | 'linear_dynamic' | 'functional';
  readonly seed: number;
  readonly input: number[];
  readonly exact: boolean;
  readonly backend: QuantizationBackend | 'minmax' | 'reduced';
  readonly relu: boolean;
  readonly batches: number;
  readonly low: number;
  readonly width: number;
  readonly conv?: {
    readonly inChannels: number;
    readonly outChannels: number;
    readonly kernelSize: number[];
    readonly stride: number[];
    readonly dilation: number[];
    readonly groups: number;
    readonly bias: boolean;
    readonly paddingMode: 'zeros' | 'reflect';
    readonly padding: number[] | 'same' | 'valid';
  };
  readonly linear?: { readonly inFeatures: number; readonly outFeatures: number; readonly bias: boolean };
  readonly qconfig?: 'default' | 'perChannel';
  readonly op?: 'add' | 'add_relu' | 'mul' | 'cat' | 'add_scalar' | 'mul_scalar';
  readonly value?: number;
  readonly inputCrc: number;
  readonly float: string;
  readonly repr: string;
  readonly state: [string, unknown][];
  readonly weight: { readonly scales: number[]; readonly zeroPoints: number[]; readonly ints: string };
  readonly quant: [number, number];
  readonly out: [number, number];
  readonly outQ?: [number, number];
  readonly range: [number, number];
  readonly shapeOut: number[];
  readonly ints: string;
  readonly floats?: number[];
}

const cases = JSON.parse(
  readFileSync(new URL('./data/quantized_layers.json', import.meta.url), 'utf8'),
) as Case[];

/** Steps of the grid on which every float32 sum is exact in any order; `WEIGHT_GRID` and `INPUT_GRID` of the script. */
const GRID = 64;

/** Integers compared, by kind of layer, and how many of them differ from PyTorch's. */
const tally = new Map<string, { compared: number; differing: number }>();
/** Output parameters on full random numbers, where both sides sum floats in an order of their own. */
const qparams = { equal: 0, close: 0 };

afterAll(() => {
  const lines = [...tally].map(([k, t]) => `${k}: ${t.compared} integers, ${t.differing} differ`);
  console.log(
    `layers against PyTorch:\n  ${lines.join('\n  ')}\n  output parameters off the grid: ${qparams.equal} equal, ${qparams.close} within 1e-6`,
  );
});

function qconfigOf(name: Case['backend']): QConfig {
  if (name === 'minmax') {
    return {
      activation: MinMaxObserver.withArgs({ dtype: 'quint8' }),
      weight: MinMaxObserver.withArgs({ dtype: 'qint8', qscheme: 'per_tensor_symmetric' }),
    };
  }
  if (name === 'reduced') {
    return {
      activation: MinMaxObserver.withArgs({ dtype: 'quint8', reduceRange: true }),
      weight: PerChannelMinMaxObserver.withArgs({ dtype: 'qint8', qscheme: 'per_channel_symmetric' }),
    };
  }
  return getDefaultQConfig(name);
}

/** `draw` of the script: rand in low … low + width, rounded to the grid where `exact`. */
function draw(shape: readonly number[], exact: boolean, low: number, width: number): Tensor {
  const { fround } = Math;
  const values = Float32Array.from(rand(shape).data as Float32Array, (u) => {
    const x = fround(fround(u * fround(width)) + fround(low));
    return exact ? roundHalfEven(x * GRID) / GRID + 0 : x;
  });
  return fromStorage(values, shape, 'float32');
}

function bytesOf(x: Tensor): Uint8Array {
  const { data } = x.isQuantized ? dispatch('intRepr', x) : x;
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** What a state-dict value is, in the words of `kinds` in the script. */
function kindOf(value: StateValue): unknown {
  if (value instanceof Tensor) {
    return `${value.dtype}[${value.shape.join(', ')}]${value.isQuantized ? ` ${value.qscheme()}` : ''}`;
  }
  if (Array.isArray(value)) return value.map(kindOf);
  if (value === null) return 'none';
  return value === 'qint8' ? 'dtype qint8' : typeof value;
}

function expectSameState(model: AnyModule, c: Case): void {
  const state = [...model.stateDict()].map(([k, v]): [string, unknown] => [k, kindOf(v)]);
  expect(Object.fromEntries(state)).toEqual(Object.fromEntries(c.state));
}

function expectSameWeight(weight: Tensor, c: Case): void {
  const q = weight.qparams!;
  expect(isPerChannel(q) ? [...q.scales] : [q.scale]).toEqual(c.weight.scales);
  expect((isPerChannel(q) ? [...q.zeroPoints] : [q.zeroPoint]).map((z) => z + 0)).toEqual(
    c.weight.zeroPoints,
  );
  expect(Buffer.from(bytesOf(weight)).toString('base64')).toBe(c.weight.ints);
}

function expectSameIntegers(y: Tensor, c: Case): void {
  expect(y.shape).toEqual(c.shapeOut);
  const want = new Uint8Array(Buffer.from(c.ints, 'base64'));
  const got = bytesOf(y);
  expect(got.length).toBe(want.length);
  const key = `${c.op ?? c.kind}${c.relu ? ' + relu' : ''}`;
  const t = tally.get(key) ?? { compared: 0, differing: 0 };
  t.compared += want.length;
  tally.set(key, t);
  const differing = Array.from(want.keys()).filter((i) => got[i] !== want[i]);
  t.differing += differing.length;
  expect(differing.map((i) => `${i}: ${got[i]} for ${want[i]}`)).toEqual([]);
}

/** A layer between stubs. Modules in PyTorch's order of registration, which printing follows. */
class Net extends Module {
  quant: AnyModule = new QuantStub();
  layer: AnyModule;
  relu: AnyModule;
  dequant: AnyModule = new DeQuantStub();

  constructor(layer: AnyModule, relu: boolean) {
    super();
    // Declared fields exist before the constructor body: the assignment keeps their order.
    this.layer = layer;
    this.relu = relu ? new nn.ReLU() : new nn.Identity();
  }

  forward(x: Tensor): Tensor {
    return this.dequant(this.relu(this.layer(this.quant(x))));
  }
}

function makeLayer(c: Case): nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear {
  if (c.linear) return new nn.Linear(c.linear.inFeatures, c.linear.outFeatures, { bias: c.linear.bias });
  const { inChannels, outChannels, kernelSize, ...options } = c.conv!;
  const Conv = { conv1d: nn.Conv1d, conv2d: nn.Conv2d, conv3d: nn.Conv3d }[c.kind as 'conv2d'];
  return new Conv(inChannels, outChannels, kernelSize, options);
}

/** The layer with weight and bias drawn as the script draws them. */
function seededLayer(c: Case): nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear {
  manualSeed(c.seed);
  const layer = makeLayer(c);
  layer.weight.storage.set(draw(layer.weight.shape, c.exact, -0.5, 1).data as Float32Array);
  if (layer.bias) layer.bias.storage.set(draw(layer.bias.shape, c.exact, -1, 2).data as Float32Array);
  return layer;
}

function title(c: Case): string {
  const { seed, backend, qconfig, exact, relu } = c;
  return `${JSON.stringify({ seed, backend, qconfig, exact, relu, ...(c.conv ?? c.linear) })}`;
}

function runStatic(c: Case): void {
  const net = new Net(seededLayer(c), c.relu).eval();
  net.qconfig = qconfigOf(c.backend);
  const fused = c.relu ? fuseModules(net, ['layer', 'relu']) : net;
  // PyTorch was given the numbers that 'same' and 'valid' stand for, since it takes only numbers when quantized.
  if (typeof c.conv?.padding !== 'string') expect(String(fused)).toBe(c.float);
  const prepared = prepare(fused);
  let x = rand([0]);
  for (let i = 0; i < c.batches; i++) {
    x = draw(c.input, c.exact, c.low - i * 0.5, c.width + i);
    noGrad(() => prepared(x));
  }
  expect(crc32(bytesOf(x))).toBe(c.inputCrc);
  const observer = prepared.layer.activationPostProcess as MinMaxObserver;
  const range = [observer.minVal.item(), observer.maxVal.item()];
  const int8 = convert(prepared);
  const q = int8.layer as AnyModule & { scale: number; zeroPoint: number; weight(): Tensor };
  const stub = int8.quant as AnyModule & { scale: number; zeroPoint: number };
  expect([Math.fround(stub.scale), stub.zeroPoint]).toEqual(c.quant);
  expectSameWeight(q.weight(), c);
  if (c.exact) {
    expect(range).toEqual(c.range);
    expect([q.scale, q.zeroPoint]).toEqual(c.out);
  } else {
    expect(Math.abs(q.scale - c.out[0])).toBeLessThanOrEqual(1e-6 * c.out[0]);
    expect(q.zeroPoint).toBe(c.out[1]);
    qparams[q.scale === c.out[0] ? 'equal' : 'close']++;
    [q.scale, q.zeroPoint] = c.out;
  }
  expect(String(int8).split('\n')).toEqual(c.repr.split('\n'));
  expectSameState(int8, c);
  expectSameIntegers(noGrad(() => q(stub(x))) as Tensor, c);
}

function runDynamic(c: Case): void {
  const layer = seededLayer(c);
  const net = new nn.Sequential(layer, c.relu ? new nn.ReLU() : new nn.Identity()).eval();
  const fused = c.relu ? fuseModules(net, ['0', '1']) : net;
  const qconfig = c.qconfig === 'default' ? defaultDynamicQConfig : perChannelDynamicQConfig;
  const int8 = quantizeDynamic(fused, new Map([['0', qconfig]]));
  expect(String(int8).split('\n')).toEqual(c.repr.split('\n'));
  expectSameState(int8, c);
  expectSameWeight((int8 as unknown as Record<string, { weight(): Tensor }>)['0'].weight(), c);
  const x = draw(c.input, c.exact, c.low, c.width);
  expect(crc32(bytesOf(x))).toBe(c.inputCrc);
  const y = noGrad(() => int8(x));
  expect(y.shape).toEqual(c.shapeOut);
  const largest = Math.max(...c.floats!.map(Math.abs));
  y.numbers().forEach((v, i) => {
    expect(Math.abs(v - c.floats![i]), `element ${i}`).toBeLessThanOrEqual(2e-7 * Math.max(largest, 1));
  });
}

/** Two quantized inputs into one operation of a FloatFunctional. */
class Functional extends Module<[Tensor, Tensor]> {
  quant1: AnyModule = new QuantStub();
  quant2: AnyModule = new QuantStub();
  f: FloatFunctional | QFunctional = new FloatFunctional();
  dequant: AnyModule = new DeQuantStub();
  readonly op: NonNullable<Case['op']>;
  readonly value: number;

  constructor(c: Case) {
    super();
    this.op = c.op!;
    this.value = c.value!;
  }

  forward(a: Tensor, b: Tensor): Tensor {
    return this.dequant(this.apply_(this.quant1(a), this.quant2(b)));
  }

  apply_(a: Tensor, b: Tensor): Tensor {
    switch (this.op) {
      case 'cat':
        return this.f.cat([a, b], 1);
      case 'add_scalar':
        return this.f.addScalar(a, this.value);
      case 'mul_scalar':
        return this.f.mulScalar(a, this.value);
      case 'add_relu':
        return this.f.addRelu(a, b);
      default:
        return this.f[this.op](a, b);
    }
  }
}

function runFunctional(c: Case): void {
  const net = new Functional(c).eval();
  net.qconfig = qconfigOf(c.backend);
  const prepared = prepare(net);
  manualSeed(c.seed);
  let [a, b] = [rand([0]), rand([0])];
  for (let i = 0; i < c.batches; i++) {
    a = draw(c.input, c.exact, c.low, c.width);
    b = draw(c.input, c.exact, c.low - 1, c.width + 2);
    noGrad(() => prepared(a, b));
  }
  expect(crc32(bytesOf(b))).toBe(c.inputCrc);
  const int8 = convert(prepared);
  const f = int8.f as QFunctional;
  const stub = int8.quant1 as AnyModule & { scale: number; zeroPoint: number };
  expect([Math.fround(stub.scale), stub.zeroPoint]).toEqual(c.quant);
  expect([f.scale, f.zeroPoint]).toEqual(c.out);
  expect(String(int8).split('\n')).toEqual(c.repr.split('\n'));
  expectSameState(int8, c);
  const y = noGrad(() => int8.apply_(int8.quant1(a), int8.quant2(b)));
  expect([y.qScale(), y.qZeroPoint()]).toEqual(c.outQ);
  expectSameIntegers(y, c);
}

const runs = {
  conv1d: runStatic,
  conv2d: runStatic,
  conv3d: runStatic,
  linear: runStatic,
  linear_dynamic: runDynamic,
  functional: runFunctional,
};

describe.each(Object.keys(runs) as (keyof typeof runs)[])('%s equals PyTorch', (kind) => {
  const own = cases.filter((c) => c.kind === kind);
  test.each(own.map((c, i) => ({ c, title: `#${i} ${c.op ?? ''} ${title(c)}` })))('$title', ({ c }) =>
    runs[kind](c),
  );
});
