import { expect, test } from 'vitest';
import { manualSeed } from '../../src/core/random.ts';
import { demucs, quantizableDemucs } from '../../src/models/index.ts';
import { noGrad } from '../../src/ops/index.ts';
import { defaultQConfig, prepare, quantize } from '../../src/quantization/index.ts';
import { sqnr } from '../../src/suite/index.ts';
import { randn } from '../../src/tensor/creation.ts';

const options = { hidden: 8, depth: 3 };

test('has the parameters and keys of the causal speech model', () => {
  const model = demucs();
  expect(model.parameters().reduce((sum, p) => sum + p.numel, 0)).toBe(18_867_937);
  const small = [...demucs({ hidden: 4, depth: 1 }).stateDict().keys()];
  expect(small.filter((key) => key.endsWith('.weight'))).toEqual([
    'encoder.0.0.weight',
    'encoder.0.2.weight',
    'decoder.0.0.weight',
    'decoder.0.2.weight',
  ]);
  expect(small).toContain('lstm.lstm.weight_ih_l1');
});

test('gives back any length, and equals its quantizable form', () => {
  manualSeed(3);
  const model = demucs({ ...options, audioChannels: 2 }).eval();
  const quantizable = quantizableDemucs({ ...options, audioChannels: 2 }).eval();
  quantizable.loadStateDict(model.stateDict());
  for (const length of [1, 7, 532, 533]) {
    const x = randn([2, 2, length]);
    const [a, b] = noGrad(() => [model(x), quantizable(x)]);
    expect(a.shape).toEqual([2, 2, length]);
    expect(sqnr(a, b)).toBeGreaterThan(100);
  }
  expect([1, 532, 533].map((n) => model.validLength(n))).toEqual([148, 532, 596]);
});

test('int8 follows float at lengths that it was not calibrated on', () => {
  manualSeed(3);
  const float = quantizableDemucs(options).eval().fuseModel();
  expect(() =>
    prepare(demucs(options).eval(), { qconfigDict: { '': defaultQConfig }, strict: true }),
  ).toThrow(/QuantStub/);
  const int8 = quantize(
    float,
    (m) => {
      for (const length of [1000, 2001]) m(randn([2, 1, length]));
    },
    { qconfigDict: { '': defaultQConfig }, strict: true },
  );
  for (const length of [333, 3000]) {
    const x = randn([1, 1, length]);
    const [want, got] = noGrad(() => [float(x), int8(x)]);
    expect(got.shape).toEqual([1, 1, length]);
    expect(sqnr(want, got)).toBeGreaterThan(25);
  }
});
