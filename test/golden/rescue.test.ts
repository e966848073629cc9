import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { manualSeed } from '../../src/core/random.ts';
import { type AnyModule, Conv2d, Linear, Module, Sequential } from '../../src/nn/index.ts';
import { noGrad } from '../../src/ops/index.ts';
import {
  biasCorrection,
  convert,
  crossLayerEqualization,
  DeQuantStub,
  defaultWeightObserver,
  MinMaxObserver,
  prepare,
  QuantStub,
} from '../../src/quantization/index.ts';
import { rand, randn, type Tensor } from '../../src/tensor/index.ts';

/** A case as `rescue.py` writes it. */
interface Case {
  readonly kind: 'conv' | 'linear';
  readonly sizes: number[];
  readonly kernels: number[];
  readonly seed: number;
  readonly equalized: { readonly weight: number[]; readonly bias: number[] }[];
  readonly shape: number[];
  readonly scales: number[];
  readonly corrected: number[][];
}

const cases = JSON.parse(readFileSync(new URL('./data/rescue.json', import.meta.url), 'utf8')) as Case[];

class Chain extends Module {
  quant = new QuantStub();
  dequant = new DeQuantStub();
  layers: Sequential;

  constructor({ kind, sizes, kernels }: Case) {
    super();
    this.layers = new Sequential(
      ...kernels.map((k, i) =>
        kind === 'linear'
          ? new Linear(sizes[i], sizes[i + 1])
          : new Conv2d(sizes[i], sizes[i + 1], k, { padding: k >> 1 }),
      ),
    );
  }

  forward(x: Tensor): Tensor {
    return this.dequant(this.layers(this.quant(x)));
  }
}

/** The model of a case: the factors of its rows are drawn after the weights. */
function build(c: Case): Chain {
  manualSeed(c.seed);
  const model = new Chain(c).eval();
  for (const layer of layersOf(model)) {
    const { weight } = layer;
    const row = weight.numel / weight.shape[0];
    const spread = rand([weight.shape[0]]).data.map((v: number) =>
      Math.fround(Math.fround(v * 3) + Math.fround(0.1)),
    );
    for (let i = 0; i < weight.numel; i++) weight.storage[i] *= spread[Math.floor(i / row)];
  }
  return model;
}

function layersOf(model: AnyModule): (Conv2d | Linear)[] {
  return (model as Chain).layers.children() as (Conv2d | Linear)[];
}

const worst = { moved: 0, channels: 0, differs: 0 };
afterAll(() => {
  console.log(
    `bias correction: biases moved by ${(worst.moved / worst.channels).toFixed(3)} output steps on average, ` +
      `differ from PyTorch's by ${worst.differs.toFixed(3)} at most`,
  );
});

describe.each(cases.map((c, i) => [i, c] as const))('case %i', (_i, c) => {
  test('equalized weights are PyTorch’s', () => {
    const pairs = c.kernels.slice(1).map((_, j) => [`layers.${j}`, `layers.${j + 1}`] as const);
    const equalized = crossLayerEqualization(build(c), pairs);
    layersOf(equalized).forEach((layer, j) => {
      const row = layer.weight.numel / layer.weight.shape[0];
      const sums = c.equalized[j].weight.map((_, o) =>
        (layer.weight.data as Float32Array)
          .subarray(o * row, (o + 1) * row)
          .reduce((a, b) => a + Math.abs(b), 0),
      );
      sums.forEach((sum, o) => {
        expect(sum / c.equalized[j].weight[o]).toBeCloseTo(1, 4);
      });
      c.equalized[j].bias.forEach((b, o) => {
        expect(layer.bias?.data[o]).toBeCloseTo(b, 4);
      });
    });
  });

  test('corrected biases are PyTorch’s, but for the rounding of outputs', () => {
    const model = build(c);
    const batches = [0, 1, 2].map(() => randn(c.shape));
    model.qconfig = { activation: MinMaxObserver.withArgs({}), weight: defaultWeightObserver };
    const prepared = prepare(model);
    noGrad(() => {
      for (const b of batches) prepared(b);
    });
    const int8 = convert(prepared);
    const corrected = noGrad(() => biasCorrection(model, int8, batches, { reference: 'layer' }));
    const before = (int8 as Chain).layers.children() as unknown as { bias(): Tensor }[];
    const after = (corrected as Chain).layers.children() as unknown as { bias(): Tensor }[];
    // PyTorch averages outputs that were rounded: an error of up to half a step each, over so many outputs per channel.
    const outputs = 3 * c.shape[0] * (c.kind === 'conv' ? 36 : 1);
    const bound = 5 / Math.sqrt(12 * outputs);
    after.forEach((layer, j) => {
      c.corrected[j].forEach((want, o) => {
        const differs = Math.abs(layer.bias().data[o] - want) / c.scales[j];
        worst.differs = Math.max(worst.differs, differs);
        worst.moved += Math.abs(layer.bias().data[o] - before[j].bias().data[o]) / c.scales[j];
        worst.channels++;
        expect(differs, `layer ${j}, channel ${o}`).toBeLessThan(bound);
      });
    });
  });
});
