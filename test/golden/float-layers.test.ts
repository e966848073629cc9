import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { backward } from '../../src/autograd/index.ts';
import { Generator, manualSeed } from '../../src/core/random.ts';
import * as nn from '../../src/nn/index.ts';
import { rand, tensor } from '../../src/tensor/creation.ts';
import { fromStorage, Tensor } from '../../src/tensor/tensor.ts';
import { makeInput } from './observers-inputs.ts';

type Spec = readonly [name: string, args: readonly unknown[], options: Readonly<Record<string, unknown>>];
/** All elements times cos(1), cos(2), …, added up; and the length of the whole. */
type Fingerprint = readonly [number, number];

interface Case {
  readonly spec: Spec;
  readonly inputs: readonly number[][];
  readonly seed: number;
  readonly train: boolean;
  /** Which inputs are whole numbers below a limit. */
  readonly indices?: { readonly of: readonly number[]; readonly below: number };
  readonly outputs: readonly Fingerprint[];
  readonly grads: readonly Fingerprint[];
  readonly buffers?: readonly Fingerprint[];
}

const cases = [1, 2].flatMap(
  (part) =>
    JSON.parse(readFileSync(new URL(`data/float_layers_${part}.json`, import.meta.url), 'utf8')) as Case[],
);

const compared = { tensors: 0, elements: 0, worst: 0 };
afterAll(() =>
  console.log(
    `float layers against PyTorch: ${cases.length} random configurations, ${compared.tensors} results and gradients of ` +
      `${compared.elements} elements, the worst ${compared.worst.toExponential(1)} of its length off`,
  ),
);

/** Relative to a tensor's length (or 1, where all cancels out): sums in another order, in float32. */
const TOLERANCE = 5e-5;

const byName = new Map<string, Case[]>();
for (const c of cases) byName.set(c.spec[0], [...(byName.get(c.spec[0]) ?? []), c]);

/** Only there to be extended, made of others, or checked elsewhere. */
const ELSEWHERE = new Set([
  'Module',
  'Sequential',
  'ModuleList',
  'ModuleDict',
  'ParameterList',
  'NonDynamicallyQuantizableLinear',
]);

test('every float layer has its 20 configurations', () => {
  const exported = [...Object.entries(nn), ...Object.entries(nn.intrinsic)].filter(
    ([name, value]) =>
      typeof value === 'function' &&
      value.prototype instanceof nn.Module &&
      !/Nd$|Base$|^(BatchNorm|InstanceNorm|FusedModule)$/.test(name) &&
      !ELSEWHERE.has(name),
  );
  const few = exported.flatMap(([name]) => ((byName.get(name)?.length ?? 0) < 20 ? [name] : []));
  expect(few).toEqual([]);
});

describe.each([...byName])('%s', (_name, own) => {
  test.each(own.map((c, i) => ({ ...c, title: `#${i} ${JSON.stringify(c.spec)}` })))('$title', (c) => {
    manualSeed(c.seed);
    const module = build(c.spec).train(c.train);
    const inputs = inputsOf(c);
    manualSeed(c.seed);
    const outputs = flat((module as unknown as (...x: Tensor[]) => unknown)(...inputs));
    const [first] = outputs;
    if (first.requiresGrad) {
      const ramp = Float32Array.from({ length: first.numel }, (_, i) => (i % 5) - 1.5);
      backward(first, tensor(ramp, { shape: first.shape }));
    }
    const grads = [...inputs, ...module.parameters()].flatMap((t) => (t.grad ? [t.grad] : []));
    compare(outputs, c.outputs, 'output');
    // Where gradients cancel out (a bias before a normalization) what is left is rounding of what went into it.
    compare(grads, c.grads, 'gradient', Math.max(1, ...c.grads.map(([, length]) => length)));
    if (c.train) compare(module.buffers(), c.buffers!, 'buffer');
  });
});

function build([name, args, options]: Spec): nn.AnyModule {
  const classes = { ...nn, ...nn.intrinsic } as unknown as Record<string, new (...a: any[]) => nn.AnyModule>;
  const made = args.map((a) =>
    Array.isArray(a) && typeof a[0] === 'string' ? build(a as unknown as Spec) : a,
  );
  const given = Object.fromEntries(Object.entries(options).filter(([, v]) => v !== null));
  return new classes[name](...made, ...(Object.keys(given).length ? [given] : []));
}

function inputsOf(c: Case): Tensor[] {
  return c.inputs.map((shape, i) => {
    const seed = c.seed + 1 + i;
    if (c.indices?.of.includes(i)) {
      const { below } = c.indices;
      const u = rand(shape, { generator: new Generator(seed) });
      const whole = Float64Array.from(u.data, (v) => Math.floor(Math.fround(v * below)));
      return fromStorage(whole, shape, 'int64');
    }
    const x = makeInput({ seed, shape, scale: 4, shift: -2 });
    x.requiresGrad = true;
    return x;
  });
}

function flat(result: unknown): Tensor[] {
  if (result instanceof Tensor) return [result];
  return Array.isArray(result) ? result.flatMap(flat) : [];
}

function compare(ours: readonly Tensor[], golden: readonly Fingerprint[], what: string, unit = 1): void {
  expect(ours.length, `${what}s`).toBe(golden.length);
  golden.forEach(([product, length], k) => {
    const numbers = ours[k].numbers();
    let [sum, squares] = [0, 0];
    for (let i = 0; i < numbers.length; i++) {
      sum += numbers[i] * Math.cos(i + 1);
      squares += numbers[i] ** 2;
    }
    const scale = Math.max(length, unit);
    const distance = Math.max(Math.abs(sum - product), Math.abs(Math.sqrt(squares) - length)) / scale;
    expect(distance, `${what} ${k}: ${sum}, ${product}`).toBeLessThan(TOLERANCE);
    compared.tensors++;
    compared.elements += numbers.length;
    compared.worst = Math.max(compared.worst, distance);
  });
}
