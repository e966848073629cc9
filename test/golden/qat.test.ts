import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { backward } from '../../src/autograd/index.ts';
import { Generator, manualSeed } from '../../src/core/random.ts';
import { Module } from '../../src/nn/module.ts';
import * as nn from '../../src/nn-public.ts';
import { dispatch, noGrad } from '../../src/ops/index.ts';
import { SGD } from '../../src/optim/index.ts';
import {
  convert,
  DeQuantStub,
  defaultDynamicQatQConfig,
  defaultEmbeddingQatQConfig,
  defaultSymmetricQnnpackQatQConfig,
  disableObserver,
  FloatFunctional,
  fuseModulesQat,
  getDefaultQatQConfig,
  prepareQat,
  type QConfig,
  type QuantizationBackend,
  QuantStub,
} from '../../src/quantization/index.ts';
import { freezeBnStats } from '../../src/quantization/layers/intrinsic-qat.ts';
import { rand } from '../../src/tensor/creation.ts';
import { fromStorage, type Tensor } from '../../src/tensor/tensor.ts';
import { makeInput } from './observers-inputs.ts';

interface Options {
  readonly seed: number;
  readonly qconfig: string;
  readonly bias?: boolean;
  readonly in: number;
  readonly out: number;
  readonly input: readonly number[];
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
  readonly dilation: number;
  readonly groups: number;
  readonly eps?: number;
  readonly momentum?: number;
  readonly mode?: 'sum' | 'mean';
  readonly padding_idx?: number | null;
}

interface LayerRun {
  readonly output: string;
  readonly grads?: Readonly<Record<string, string>>;
  readonly scale?: string;
  readonly zeroPoint?: string;
  readonly mean?: string;
  readonly var?: string;
}

interface LayerCase {
  readonly layer: keyof typeof LAYERS;
  readonly options: Options;
  /** Two training steps, one with frozen batch norm, one in evaluation mode with frozen observers. */
  readonly runs: readonly LayerRun[];
  readonly float: { readonly repr: string; readonly weight: string; readonly bias: string | null };
  readonly keys?: readonly string[];
  readonly repr?: string;
}

interface TrainingCase {
  readonly options: {
    readonly seed: number;
    readonly qconfig: string;
    readonly lr: number;
    readonly momentum: number;
    readonly channels: number;
    readonly side: number;
    readonly batch: number;
  };
  readonly losses: readonly number[];
  /** How far PyTorch's own losses (relatively) and weights wander when the last bits of its sums change at random. */
  readonly spread: { readonly losses: number; readonly weightsOff: number; readonly weightsWorst: number };
  /** Test images of 32 that the trained model labels right. */
  readonly correct: number;
  readonly keys: readonly string[];
  readonly convertedKeys: readonly string[];
  readonly converted: string;
  readonly scale: number;
  readonly zeroPoint: number;
  readonly output: string;
  readonly weights: Readonly<Record<string, string>>;
}

type TrainedLayer = Module<Tensor[]> & {
  toFloat(): Module;
  readonly weightFakeQuant: Module & { readonly scale: Tensor; readonly zeroPoint: Tensor };
  readonly bn?: nn.BatchNorm;
};

const { qat } = nn.intrinsic;

const LAYERS = {
  Conv1d: nn.qat.Conv1d,
  Conv2d: nn.qat.Conv2d,
  Conv3d: nn.qat.Conv3d,
  ConvReLU1d: qat.ConvReLU1d,
  ConvReLU2d: qat.ConvReLU2d,
  ConvReLU3d: qat.ConvReLU3d,
  ConvBn1d: qat.ConvBn1d,
  ConvBn2d: qat.ConvBn2d,
  ConvBn3d: qat.ConvBn3d,
  ConvBnReLU1d: qat.ConvBnReLU1d,
  ConvBnReLU2d: qat.ConvBnReLU2d,
  ConvBnReLU3d: qat.ConvBnReLU3d,
  Linear: nn.qat.Linear,
  LinearReLU: qat.LinearReLU,
  LinearBn1d: qat.LinearBn1d,
  DynamicLinear: nn.qat.dynamic.Linear,
  Embedding: nn.qat.Embedding,
  EmbeddingBag: nn.qat.EmbeddingBag,
} as const;

/** How many sampled values were compared, and how far the worst lay off, in units of the largest one. */
const compared = { values: 0, worst: 0 };
const notes: string[] = [];

afterAll(() => {
  notes.push(
    `layers: ${compared.values} sampled values, the worst ${compared.worst.toExponential(1)} of its tensor's largest off`,
  );
  console.log(`quantization-aware training against PyTorch:\n  ${notes.join('\n  ')}`);
});

describe.each(Object.keys(LAYERS) as (keyof typeof LAYERS)[])('%s trains as in PyTorch', (name) => {
  const own = (read('qat-layers') as LayerCase[]).filter((c) => c.layer === name);
  test.each(own.map((c, i) => ({ ...c, title: `#${i} ${JSON.stringify(c.options)}` })))('$title', (c) => {
    expect(own.length).toBeGreaterThanOrEqual(20);
    const o = c.options;
    manualSeed(o.seed);
    const layer = makeLayer(name, o);
    c.runs.forEach((run, step) => {
      if (step === 2) layer.apply(freezeBnStats);
      if (step === 3) layer.eval().apply(disableObserver);
      const x = stepInput(o, step);
      if (x.dtype === 'float32') x.requiresGrad = true;
      const y = layer(x);
      layer.zeroGrad();
      backward(y, makeInput({ seed: o.seed + 100 + step, shape: y.shape, scale: 2, shift: -0.9 }));
      expectSample(y, run.output, `output ${step}`);
      const grads: Record<string, Tensor | null> = { input: x.grad };
      for (const [key, p] of layer.namedParameters()) grads[key] = p.grad;
      // Before a batch norm gradients cancel out: what is left is rounding, to be measured by what went into it.
      const unit = Math.max(...Object.values(grads).map((g) => (g ? largestOf(g) : 0)));
      for (const [key, want] of Object.entries(run.grads ?? {}))
        expectSample(grads[key]!, want, `gradient of ${key} ${step}`, unit);
      if (run.scale) expectSample(layer.weightFakeQuant.scale, run.scale, 'scale');
      if (run.zeroPoint) expectSample(layer.weightFakeQuant.zeroPoint, run.zeroPoint, 'zero point');
      if (run.mean) expectSample(layer.bn!.runningMean!, run.mean, 'running mean');
      if (run.var) expectSample(layer.bn!.runningVar!, run.var, 'running variance');
    });
    const float = layer.toFloat();
    const inner = (float instanceof nn.Sequential ? float.children()[0] : float) as unknown as {
      weight: Tensor;
      bias?: Tensor | null;
    };
    expect(String(float)).toBe(c.float.repr);
    expectSample(inner.weight, c.float.weight, 'folded weight');
    if (c.float.bias) expectSample(inner.bias!, c.float.bias, 'folded bias');
    else expect(inner.bias ?? null).toBeNull();
    if (c.keys) expect([...layer.stateDict().keys()]).toEqual(c.keys);
    if (c.repr) expect(String(layer)).toBe(c.repr);
  });
});

/** Convolutions with batch norm, a residual addition, a strided convolution for pooling, linear layers. */
class Net extends Module {
  quant: Module = new QuantStub();
  conv1: Module;
  bn1: Module;
  relu1: Module = new nn.ReLU();
  conv2: Module;
  bn2: Module;
  skip: FloatFunctional = new FloatFunctional();
  conv3: Module;
  relu3: Module = new nn.ReLU();
  fc1: Module;
  bn4: Module = new nn.BatchNorm1d(24);
  fc2: Module;
  relu5: Module = new nn.ReLU();
  fc3: Module;
  dequant: Module = new DeQuantStub();

  constructor(channels: number, side: number) {
    super();
    this.conv1 = new nn.Conv2d(1, channels, 3, { padding: 1, bias: false });
    this.bn1 = new nn.BatchNorm2d(channels);
    this.conv2 = new nn.Conv2d(channels, channels, 3, { padding: 1 });
    this.bn2 = new nn.BatchNorm2d(channels);
    this.conv3 = new nn.Conv2d(channels, channels, 3, { stride: 3 });
    this.fc1 = new nn.Linear(channels * Math.floor(side / 3) ** 2, 24);
    this.fc2 = new nn.Linear(24, 16);
    this.fc3 = new nn.Linear(16, 4);
  }

  forward(image: Tensor): Tensor {
    let x = this.relu1(this.bn1(this.conv1(this.quant(image))));
    x = this.skip.addRelu(this.bn2(this.conv2(x)), x);
    x = this.relu3(this.conv3(x)).flatten(1);
    return this.dequant(this.fc3(this.relu5(this.fc2(this.bn4(this.fc1(x))))));
  }
}

const FUSED = [
  ['conv1', 'bn1', 'relu1'],
  ['conv2', 'bn2'],
  ['conv3', 'relu3'],
  ['fc1', 'bn4'],
  ['fc2', 'relu5'],
];

describe('fifty steps follow PyTorch and convert to the same integers', () => {
  test.each((read('qat-runs') as TrainingCase[]).map((c) => ({ ...c, ...c.options })))(
    '$qconfig, $channels channels, seed $seed',
    (c) => {
      const { seed, side } = c.options;
      manualSeed(seed);
      const net = new Net(c.options.channels, side);
      net.qconfig = qconfigOf(c.options.qconfig);
      const prepared = prepareQat(fuseModulesQat(net, FUSED));
      expect([...prepared.stateDict().keys()]).toEqual(c.keys);
      const { lr, momentum } = c.options;
      const sgd = new SGD(prepared.parameters(), { lr, momentum });
      const distances = c.losses.map((want, step) => {
        if (step === 30) prepared.apply(disableObserver);
        if (step === 40) prepared.apply(freezeBnStats);
        const [x, labels] = batch(seed, step, c.options.batch, side);
        sgd.zeroGrad();
        const loss = nn.functional.crossEntropy(prepared(x), labels);
        loss.backward();
        sgd.step();
        return Math.abs(loss.item() - want) / want;
      });
      const worst = Math.max(...distances);
      // Elsewhere last bits decide about roundings, and the losses wander about as far as PyTorch's from each other.
      const stable = c.spread.losses < 1e-5;
      expect(worst, 'distance of the losses').toBeLessThan(stable ? 1e-5 : 4 * c.spread.losses);

      prepared.eval();
      const [x, labels] = batch(seed, 999, 32, side);
      const predicted = noGrad(() => prepared(x)).argmax(1).data;
      expect(Array.from(labels.data).filter((label, i) => label === predicted[i]).length).toBe(c.correct);

      const converted = convert(prepared);
      expect([...converted.stateDict().keys()]).toEqual(c.convertedKeys);
      expect(withoutScales(String(converted))).toBe(withoutScales(c.converted));
      const weights = differences(
        Object.entries(c.weights).flatMap(([name, golden]) => {
          const layer = converted.getSubmodule(name) as unknown as { weight(): Tensor };
          return pairs(layer.weight(), new Int8Array(bytes(golden)));
        }),
      );
      const results: Tensor[] = [];
      converted.getSubmodule('fc3').registerForwardHook((_m, _x, y) => void results.push(y as Tensor));
      noGrad(() => converted(x));
      const outputs = differences(pairs(results[0], new Uint8Array(bytes(c.output))));
      if (stable) {
        expect(Math.abs(results[0].qScale() / c.scale - 1)).toBeLessThan(1e-6);
        expect(results[0].qZeroPoint()).toBe(c.zeroPoint);
        expect(weights.worst, 'steps between the weights').toBeLessThanOrEqual(1);
        expect(outputs.worst, 'steps between the outputs').toBeLessThanOrEqual(1);
      }
      const { losses, weightsOff, weightsWorst } = c.spread;
      notes.push(
        `${c.options.qconfig}, ${c.options.channels} channels, seed ${seed}: losses within ${worst.toExponential(1)}` +
          ` (PyTorch against itself ${losses.toExponential(1)}); ${weights.off} of ${weights.of} weights off, by at most` +
          ` ${weights.worst} (itself ${weightsOff}, ${weightsWorst}); ${outputs.off} of ${outputs.of} outputs, by ${outputs.worst}`,
      );
    },
  );
});

function makeLayer(name: keyof typeof LAYERS, o: Options): TrainedLayer {
  const { kernel, stride, padding, dilation, groups, bias, eps, momentum, mode } = o;
  const qconfig = qconfigOf(o.qconfig);
  const made = new (LAYERS[name] as any)(
    ...(name.startsWith('Conv')
      ? [o.in, o.out, kernel, { stride, padding, dilation, groups, bias, eps, momentum, qconfig }]
      : [o.in, o.out, { bias, eps, momentum, mode, paddingIdx: o.padding_idx, qconfig }]),
  );
  return made as TrainedLayer;
}

function stepInput(o: Options, step: number): Tensor {
  const seed = o.seed + step;
  if (o.qconfig !== 'embedding') return makeInput({ seed, shape: o.input, scale: 3, shift: -1.2 });
  const x = rand(o.input, { generator: new Generator(seed) });
  return fromStorage(
    Float64Array.from(x.data, (u) => Math.floor(Math.fround(u * o.in))),
    x.shape,
    'int64',
  );
}

/** Images with one bright quadrant, whose number is the label. */
function batch(seed: number, step: number, n: number, side: number): [Tensor, Tensor] {
  const x = makeInput({ seed: seed * 1000 + step, shape: [n, 1, side, side], scale: 1, shift: -0.3 });
  const labels = Float64Array.from({ length: n }, (_, i) => (step + 3 * i) % 4);
  const half = side / 2;
  labels.forEach((quadrant, i) => {
    const [top, left] = [half * (quadrant >> 1), half * (quadrant & 1)];
    for (let row = top; row < top + half; row++)
      for (let column = left; column < left + half; column++)
        x.storage[(i * side + row) * side + column] += 0.5;
  });
  return [x, fromStorage(labels, [n], 'int64')];
}

function qconfigOf(name: string): QConfig {
  if (name === 'embedding') return defaultEmbeddingQatQConfig;
  if (name === 'dynamic') return defaultDynamicQatQConfig;
  if (name === 'symmetric') return defaultSymmetricQnnpackQatQConfig;
  const [backend, version] = name.split(':');
  return getDefaultQatQConfig(backend as QuantizationBackend, Number(version) as 0 | 1);
}

/** PyTorch's and our integers, side by side. */
function pairs(ours: Tensor, golden: Int8Array | Uint8Array): [number, number][] {
  const own = dispatch('intRepr', ours).numbers();
  expect(own.length).toBe(golden.length);
  return Array.from(golden, (want, i) => [want, own[i]]);
}

function differences(integers: readonly [number, number][]): {
  readonly of: number;
  readonly off: number;
  readonly worst: number;
} {
  const distances = integers.map(([a, b]) => Math.abs(a - b));
  return {
    of: integers.length,
    off: distances.filter((d) => d > 0).length,
    worst: Math.max(...distances),
  };
}

/** The printed tree without scales and zero points. */
function withoutScales(text: string): string {
  return text.replace(/(scale|zero_point)=(tensor\(\[)?[\d.e-]+/g, '$1=');
}

function largestOf(x: Tensor): number {
  return Float64Array.from(x.numbers()).reduce((a, v) => Math.max(a, Math.abs(v)), 0);
}

function expectSample(x: Tensor, golden: string, what: string, unit: number = largestOf(x)): void {
  const all = x.numbers();
  const want = new Float32Array(bytes(golden));
  const stride = Math.ceil(all.length / 8);
  expect(want.length, what).toBe(Math.ceil(all.length / stride));
  want.forEach((w, i) => {
    const distance = Math.abs(all[i * stride] - w);
    expect(distance, `${what}[${i * stride}]: ${all[i * stride]}, ${w}`).toBeLessThanOrEqual(1e-5 * unit);
    compared.values++;
    if (unit > 0) compared.worst = Math.max(compared.worst, distance / unit);
  });
}

function bytes(text: string): ArrayBuffer {
  const { buffer, byteOffset, length } = Buffer.from(text, 'base64');
  return buffer.slice(byteOffset, byteOffset + length) as ArrayBuffer;
}

function read(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`data/${name}.json`, import.meta.url), 'utf8'));
}
