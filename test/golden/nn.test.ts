import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { backward } from '../../src/autograd/index.ts';
import { manualSeed } from '../../src/core/random.ts';
import * as nn from '../../src/nn/index.ts';
import { tensor, zeros } from '../../src/tensor/creation.ts';
import type { StateDict } from '../../src/tensor/state.ts';
import { type Tensor, viewOf } from '../../src/tensor/tensor.ts';
import { BUILD, build } from '../nn/build.ts';
import { decode, decodeTensor, type EncodedTensor, expectClose } from './cases.ts';

type EncodedState = Readonly<Record<string, EncodedTensor>>;

interface LayerCase {
  readonly name: string;
  readonly repr: string;
  /** The state is what the constructor drew after `manual_seed(0)`. */
  readonly init: boolean;
  readonly train: boolean;
  readonly state: EncodedState;
  readonly inputs: readonly unknown[];
  readonly packed?: {
    readonly lengths: number[];
    readonly enforceSorted: boolean;
    readonly outLengths: number[];
  };
  readonly outputs: readonly (EncodedTensor | null)[];
  readonly gradInput?: EncodedTensor | null;
  readonly gradParameters?: EncodedState;
  readonly stateAfter?: EncodedState;
}

interface Golden {
  readonly cases: readonly LayerCase[];
  readonly fusions: readonly {
    readonly name: string;
    readonly state: EncodedState;
    readonly weight: EncodedTensor;
    readonly bias: EncodedTensor;
  }[];
  readonly inits: readonly { readonly name: string; readonly value: EncodedTensor }[];
}

const golden = JSON.parse(readFileSync(new URL('./data/nn.json', import.meta.url), 'utf8')) as Golden;

/** Several operators deep, and PyTorch sums in another order. */
const DEEP = 1e-5;

describe('layers', () => {
  for (const c of golden.cases) test(c.name, () => runLayer(c));

  test('every builder has a golden case', () => {
    const named = new Set(golden.cases.map((c) => c.name.replace(/ training$/, '')));
    expect(Object.keys(BUILD).filter((name) => !named.has(name))).toEqual([]);
  });
});

describe('folding batch normalization', () => {
  const make: Record<string, () => Tensor[]> = {
    conv: () => folded(new nn.Conv2d(3, 4, 3), new nn.BatchNorm2d(4)),
    'conv without bias': () =>
      folded(new nn.Conv2d(3, 4, 3, { bias: false }), new nn.BatchNorm2d(4, { eps: 1e-3 })),
    'plain bn': () => folded(new nn.Conv1d(3, 4, 3), new nn.BatchNorm1d(4, { affine: false })),
    transposed: () => folded(new nn.ConvTranspose2d(3, 4, 2), new nn.BatchNorm2d(4)),
    linear: () => folded(new nn.Linear(6, 4), new nn.BatchNorm1d(4)),
  };
  let state: EncodedState = {};

  function folded(layer: nn.ConvNd | nn.Linear, bn: nn.BatchNorm): Tensor[] {
    const pair = new nn.Sequential(layer, bn).eval();
    pair.loadStateDict(decodeState(state));
    const fused = layer instanceof nn.Linear ? nn.fuseLinearBn(layer, bn) : nn.fuseConvBn(layer, bn);
    expect(fused.weight).toBeInstanceOf(nn.Parameter);
    return [fused.weight, fused.bias as Tensor];
  }

  for (const f of golden.fusions) {
    test(`${f.name}: bit for bit`, () => {
      state = f.state;
      const [weight, bias] = make[f.name]();
      expect(weight.numbers()).toEqual(decodeTensor(f.weight).numbers());
      expect(bias.numbers()).toEqual(decodeTensor(f.bias).numbers());
    });
  }
});

describe('init', () => {
  const { init } = nn;
  const fill: Record<string, (x: Tensor) => Tensor> = {
    uniform_: (x) => init.uniform_(x, -1.5, 0.5),
    normal_: (x) => init.normal_(x, 1, 2),
    truncNormal_: (x) => init.truncNormal_(x, 0.5, 1, -1, 1.5),
    constant_: (x) => init.constant_(x, 0.3),
    eye_: init.eye_,
    xavierUniform_: (x) => init.xavierUniform_(x, 2),
    xavierNormal_: (x) => init.xavierNormal_(x),
    kaimingUniform_: (x) => init.kaimingUniform_(x, { nonlinearity: 'relu' }),
    kaimingNormal_: (x) => init.kaimingNormal_(x, { mode: 'fan_out', a: 0.1 }),
    orthogonal_: (x) => init.orthogonal_(x, 1.5),
    'orthogonal_ tall': (x) => init.orthogonal_(x),
    dirac_: (x) => init.dirac_(x, 2),
  };

  for (const { name, value } of golden.inits) {
    test(name, () => {
      manualSeed(5);
      const x = zeros(value.shape);
      expect(fill[name](x)).toBe(x);
      expectClose(x, value, name, 5e-6);
    });
  }

  test('fills transposed views in reading order', () => {
    const x = zeros([6, 4]);
    manualSeed(5);
    init.uniform_(viewOf(x, [4, 6], [1, 4]), -1.5, 0.5);
    expectClose(viewOf(x, [4, 6], [1, 4]), golden.inits[0].value, 'transposed');
  });
});

function runLayer(c: LayerCase): void {
  manualSeed(0);
  const module = build(c.name);
  module.train(c.train);
  expect(String(module)).toBe(c.repr);
  const state = module.stateDict();
  expect([...state.keys()].sort()).toEqual(Object.keys(c.state).sort());
  if (c.init) expectInitialState(state, c);
  module.loadStateDict(decodeState(c.state));

  const inputs = c.inputs.map((v) => decode(v));
  const [first] = inputs as Tensor[];
  first.requiresGrad = (c.gradInput ?? null) !== null;
  const outputs = flatten(c.packed ? runPacked(module, inputs, c.packed) : module(...inputs));
  expect(outputs.length).toBe(c.outputs.length);
  c.outputs.forEach((expected, i) => {
    const got = outputs[i];
    if (expected === null) expect(got).toBeNull();
    else expectClose(got as Tensor, expected, `output ${i}`, DEEP);
  });
  for (const [name, buffer] of module.namedBuffers()) {
    if (c.stateAfter) expectClose(buffer, c.stateAfter[name], name, DEEP);
  }
  if (c.gradInput === undefined) return;
  const out = outputs[0] as Tensor;
  // The same numbers as in nn.py.
  const ramp = Float32Array.from({ length: out.numel }, (_, i) => (i % 5) - 1.5);
  backward(out, tensor(ramp, { shape: out.shape }));
  if (c.gradInput) expectClose(first.grad as Tensor, c.gradInput, 'gradient of the input', DEEP);
  for (const [name, p] of module.namedParameters()) {
    const expected = c.gradParameters?.[name];
    if (expected) expectClose(p.grad as Tensor, expected, `gradient of ${name}`, DEEP);
  }
}

/** Uniform numbers equal PyTorch's bit for bit; normal ones to the rounding of logarithm and cosine. */
function expectInitialState(state: StateDict, c: LayerCase): void {
  const normal = c.name.startsWith('Embedding') || 'bias_k' in c.state;
  for (const [key, value] of state) {
    if (normal) expectClose(value as Tensor, c.state[key], key);
    else expect((value as Tensor).numbers(), key).toEqual(decodeTensor(c.state[key]).numbers());
  }
}

function runPacked(
  module: nn.AnyModule,
  [x, ...rest]: readonly unknown[],
  packed: NonNullable<LayerCase['packed']>,
): unknown[] {
  const { batchFirst } = module as unknown as { batchFirst: boolean };
  const { lengths, enforceSorted } = packed;
  const sequence = nn.packPaddedSequence(x as Tensor, lengths, { batchFirst, enforceSorted });
  const [out, state] = module(sequence, ...rest) as [nn.PackedSequence, unknown];
  const [padded, outLengths] = nn.padPackedSequence(out, { batchFirst });
  expect(outLengths.toArray()).toEqual(packed.outLengths);
  return [padded, state];
}

function decodeState(state: EncodedState): StateDict {
  return new Map(Object.entries(state).map(([key, t]) => [key, decodeTensor(t)]));
}

function flatten(result: unknown): unknown[] {
  return Array.isArray(result) ? result.flatMap(flatten) : [result];
}
