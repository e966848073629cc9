import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { manualSeed, nn, noGrad, quantization, rand, randn, type Tensor, tensor } from '../../src/index.ts';

const {
  convert,
  DeQuantStub,
  defaultWeightObserver,
  floatQParamsWeightOnlyQConfig,
  floatQParamsWeightOnlyQConfig4bit,
  fuseModules,
  MinMaxObserver,
  prepare,
  QuantStub,
} = quantization;

/** A case as `quantized_networks.py` writes it. */
interface Case {
  readonly network: string;
  readonly seed: number;
  readonly bits: 4 | 8;
  readonly shape: number[];
  readonly out: string;
  readonly converted?: string;
  readonly keys?: string[];
}

interface Network {
  readonly layers: () => nn.Module<any, any>[];
  /** Shape of the input; null for indices. */
  readonly input: number[] | null;
  readonly fuse?: string[];
}

const NETWORKS: Readonly<Record<string, Network>> = {
  images: {
    layers: () => [
      new QuantStub(),
      new nn.Conv2d(3, 8, 3, { padding: 1 }),
      new nn.BatchNorm2d(8),
      new nn.ReLU6(),
      new nn.Hardswish(),
      new nn.Dropout(0.3),
      new nn.MaxPool2d(2),
      new nn.Sigmoid(),
      new DeQuantStub(),
    ],
    input: [2, 3, 8, 8],
  },
  sequences: {
    layers: () => [
      new QuantStub(),
      new nn.LayerNorm(16),
      new nn.LeakyReLU(0.1),
      new nn.ELU(),
      new nn.Tanh(),
      new DeQuantStub(),
    ],
    input: [3, 5, 16],
  },
  groups: {
    layers: () => [
      new QuantStub(),
      new nn.GroupNorm(2, 8),
      new nn.InstanceNorm2d(8, { affine: true }),
      new nn.Hardsigmoid(),
      new DeQuantStub(),
    ],
    input: [2, 8, 6, 5],
  },
  fused: {
    layers: () => [
      new QuantStub(),
      new nn.BatchNorm2d(8),
      new nn.ReLU(),
      new nn.InstanceNorm2d(8),
      new DeQuantStub(),
    ],
    input: [2, 8, 6, 5],
    fuse: ['1', '2'],
  },
  volumes: {
    layers: () => [
      new QuantStub(),
      new nn.BatchNorm3d(3),
      new nn.InstanceNorm3d(3, { affine: true }),
      new DeQuantStub(),
    ],
    input: [2, 3, 4, 3, 5],
  },
  upsampling: {
    layers: () => [
      new QuantStub(),
      new nn.ConvTranspose2d(3, 6, 4, { stride: 2, padding: 1 }),
      new nn.LeakyReLU(0.1),
      new DeQuantStub(),
    ],
    input: [2, 3, 5, 6],
  },
  lines: {
    layers: () => [
      new QuantStub(),
      new nn.ConvTranspose1d(4, 3, 5, { stride: 3, outputPadding: 1 }),
      new nn.InstanceNorm1d(3),
      new DeQuantStub(),
    ],
    input: [2, 4, 7],
  },
  table: { layers: () => [new nn.Embedding(12, 8)], input: null },
  bag: { layers: () => [new nn.EmbeddingBag(12, 8, { mode: 'sum' })], input: null },
};

const MIN_MAX: quantization.QConfig = {
  activation: MinMaxObserver.withArgs({ dtype: 'quint8' }),
  weight: defaultWeightObserver,
};

const cases = JSON.parse(
  readFileSync(new URL('./data/quantized_networks.json', import.meta.url), 'utf8'),
) as Case[];

let elements = 0;
let differing = 0;
afterAll(() => console.log(`against PyTorch's networks: ${elements} elements, ${differing} differ`));

function fill(model: nn.Module<any, any>): void {
  for (const [key, t] of model.stateDict()) {
    if (!(typeof t === 'object' && t !== null && 'dtype' in t) || t.dtype !== 'float32') continue;
    t.copy_(key.endsWith('running_var') ? rand(t.shape).add(0.5) : randn(t.shape).mul(0.5));
  }
}

function run(c: Case): { converted: nn.Module<any, any>; y: Tensor } {
  const { layers, input, fuse } = NETWORKS[c.network];
  let model: nn.Module<any, any> = new nn.Sequential(...layers()).eval();
  manualSeed(c.seed);
  fill(model);
  const draw = (): Tensor => {
    if (input) return randn(input);
    return tensor(
      [
        [1, 4, 4, 0],
        [11, 2, 7, 7],
      ],
      { dtype: 'int64' },
    );
  };
  if (fuse) model = fuseModules(model, fuse);
  model.qconfig = input
    ? MIN_MAX
    : c.bits === 4
      ? floatQParamsWeightOnlyQConfig4bit
      : floatQParamsWeightOnlyQConfig;
  const prepared = prepare(model);
  for (let i = 0; i < 3; i++) prepared(draw());
  const converted = convert(prepared);
  return { converted, y: converted(draw()) };
}

/**
 * What both print: PyTorch hands `affine` on as `momentum` when it converts an instance norm, and the last bits of observed
 * scales depend on the order of float sums in the layer.
 */
function comparable(text: string): string {
  return text
    .replace(/(InstanceNorm\dd\(\d+, eps=1e-05), momentum=.*?, affine=\w+/g, '$1')
    .replace(/scale=(0\.\d+)/g, (_, scale) => `scale=${Number(scale).toPrecision(6)}`);
}

for (const network of Object.keys(NETWORKS)) {
  describe(network, () => {
    test.each(cases.filter((c) => c.network === network))('seed $seed, $bits bits', (c) => {
      const { converted, y } = noGrad(() => run(c));
      if (c.converted) expect(comparable(String(converted))).toBe(comparable(c.converted));
      const keys = [...converted.stateDict().keys()];
      // Hardswish and ELU keep their output parameters here, which PyTorch loses between saving and loading.
      if (c.keys) expect(keys).toEqual(expect.arrayContaining(c.keys));
      expect(y.shape).toEqual(c.shape);
      const bytes = Buffer.from(c.out, 'base64');
      const want = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
      const step = Math.max(...want.map(Math.abs)) / 50;
      want.forEach((w, i) => {
        elements++;
        const distance = Math.abs(y.data[i] - w);
        if (distance > 2e-6 * Math.max(1, Math.abs(w))) differing++;
        expect(distance, `element ${i}: ${y.data[i]} against ${w}`).toBeLessThanOrEqual(step);
      });
    });
  });
}

test('hardly any element differs', () => {
  expect(differing / elements).toBeLessThan(0.002);
});
