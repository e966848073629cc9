import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { bert, wordLanguageModel } from '../../src/models/index.ts';
import { type AnyModule, Linear, LSTM } from '../../src/nn/index.ts';
import { noGrad, sub } from '../../src/ops/index.ts';
import { quantizeDynamic } from '../../src/quantization/index.ts';
import { trace } from '../../src/runtime/index.ts';
import { ones, tensor } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { fill } from '../support/hashed-weights.ts';
import { bits, tensorsIn } from '../support/same-bits.ts';

interface Summary {
  shape: number[];
  first: number[];
  sum: number;
  norm: number;
}

interface Golden {
  state: [string, number[]][];
  outputs: Summary[];
  masked?: Summary[];
  int8: Summary[];
  parameters?: number;
  noise?: number[];
}

const golden = JSON.parse(
  readFileSync(new URL('data/language_models.json', import.meta.url), 'utf8'),
) as Record<'small' | 'base' | 'words', Golden>;

const SMALL = {
  vocabSize: 50,
  hiddenSize: 32,
  numHiddenLayers: 2,
  numAttentionHeads: 4,
  intermediateSize: 64,
  maxPositionEmbeddings: 20,
};

let compared = 0;
afterAll(() => console.log(`language models: ${compared} numbers compared with PyTorch's`));

function tokens(shape: number[], count: number): Tensor {
  const n = shape.reduce((a, b) => a * b);
  return tensor(
    Array.from({ length: n }, (_, i) => (i * 7919) % count),
    { shape, dtype: 'int64' },
  );
}

/** Holds outputs against PyTorch's; `tolerance` is relative to the root mean square of each. */
function expectClose(outputs: unknown, expected: readonly Summary[], tolerance: number): void {
  const found = tensorsIn(outputs);
  expect(found.map((t) => [...t.shape])).toEqual(expected.map((e) => e.shape));
  for (const [i, e] of expected.entries()) {
    const values = found[i].numbers();
    const unit = e.norm / Math.sqrt(values.length);
    expect(Math.abs(Math.hypot(...values) / e.norm - 1)).toBeLessThan(tolerance);
    for (const [n, want] of e.first.entries()) {
      compared++;
      expect(Math.abs(values[n] - want), `output ${i}, ${n}: ${values[n]} and ${want}`).toBeLessThan(
        tolerance * unit,
      );
    }
  }
}

function expectKeys(model: AnyModule, expected: Golden): void {
  expect([...model.stateDict()].map(([key, t]) => [key, [...(t as Tensor).shape]])).toEqual(expected.state);
}

describe('BERT', () => {
  test("keys and numbers are PyTorch's, with mask and segments too; programs give the same bits", () => {
    const model = bert(SMALL).eval();
    expectKeys(model, golden.small);
    fill(model);
    const ids = tokens([2, 12], 50);
    const mask = tensor(
      Array.from({ length: 24 }, (_, i) => (i < 19 ? 1 : 0)),
      { shape: [2, 12], dtype: 'int64' },
    );
    const types = tensor(
      Array.from({ length: 24 }, (_, i) => (i % 12 < 5 ? 0 : 1)),
      { shape: [2, 12], dtype: 'int64' },
    );
    const int8 = quantizeDynamic(model, [Linear]);
    expectClose(
      noGrad(() => model(ids)),
      golden.small.outputs,
      2e-5,
    );
    expectClose(
      noGrad(() => model(ids, mask, types)),
      golden.small.masked as Summary[],
      2e-5,
    );
    expectClose(
      noGrad(() => int8(ids, mask, types)),
      golden.small.int8,
      1e-4,
    );
    const [text, whole] = [tokens([3, 12], 50), ones([3, 12], { dtype: 'bool' })];
    for (const form of [model, int8]) {
      const program = trace(form, [ids]);
      expect(program.graph.batch?.fixed).toBeNull();
      expect(bits(program.run(text))).toEqual(bits(noGrad(() => form(text))));
      const masked = trace(form, [ids, mask, types]);
      expect(bits(masked.run(ids, mask, types))).toEqual(bits(noGrad(() => form(ids, mask, types))));
      expect(bits(noGrad(() => form(text, whole)))).toEqual(bits(noGrad(() => form(text))));
    }
    expect(noGrad(() => bert({ ...SMALL, pooler: false }).eval()(ids))[1]).toBeNull();
  });

  test("two layers of the base model's width, 128 tokens, are PyTorch's in float and int8", () => {
    const model = bert({ vocabSize: 1000, numHiddenLayers: 2 }).eval();
    expectKeys(model, golden.base);
    expect(model.parameters().reduce((n, p) => n + p.numel, 0)).toBe(golden.base.parameters);
    fill(model);
    const ids = tokens([1, 128], 1000);
    const float = noGrad(() => model(ids));
    const int8 = noGrad(() => quantizeDynamic(model, [Linear])(ids));
    expectClose(float, golden.base.outputs, 2e-5);
    // A sum in another order turns a rounding to int8 now and then, and each turn moves all that follows: the numbers
    // drift by as much as int8 itself is off, and how far that is has to agree.
    expectClose(int8, golden.base.int8, 5e-2);
    const [want, got] = [tensorsIn(float), tensorsIn(int8)];
    for (const [i, noise] of (golden.base.noise as number[]).entries()) {
      const ratio = sub(want[i], got[i]).norm().item() / noise;
      expect(ratio, `noise of output ${i} over PyTorch's`).toBeGreaterThan(0.85);
      expect(ratio, `noise of output ${i} over PyTorch's`).toBeLessThan(1.15);
    }
  });

  test('refuses masks of another shape, longer texts and heads that do not divide', () => {
    const model = bert(SMALL).eval();
    expect(() => model(tokens([1, 21], 50))).toThrow(/at most 20 tokens/);
    expect(() => model(tokens([1, 8], 50), ones([1, 7]))).toThrow(/the shape of ids, \[1, 8\]/);
    expect(() => bert({ ...SMALL, numAttentionHeads: 5 })).toThrow(/a multiple of numAttentionHeads = 5/);
  });
});

describe('word language model', () => {
  test("keys and numbers are PyTorch's in float and int8; programs give the same", () => {
    const model = wordLanguageModel({ vocabSize: 1000 }).eval();
    expectKeys(model, golden.words);
    fill(model);
    const text = tokens([35, 3], 1000);
    const int8 = quantizeDynamic(model, [LSTM, Linear]);
    expectClose(
      noGrad(() => model(text)),
      golden.words.outputs,
      2e-5,
    );
    expectClose(
      noGrad(() => int8(text)),
      golden.words.int8,
      1e-3,
    );
    const other = tokens([35, 2], 1000);
    for (const form of [model, int8]) {
      const program = trace(form, [text], { batchDim: 1 });
      expect(program.graph.batch?.fixed).toBeNull();
      expect(bits(program.run(other))).toEqual(bits(noGrad(() => form(other))));
    }
  });

  test('shares one weight where told to', () => {
    const model = wordLanguageModel({ vocabSize: 10, embeddingSize: 4, hiddenSize: 4, tieWeights: true });
    expect(model.stateDict().get('decoder.weight')).toBe(model.stateDict().get('encoder.weight'));
    expect(() => wordLanguageModel({ vocabSize: 10, embeddingSize: 4, tieWeights: true })).toThrow(/differ/);
  });
});
