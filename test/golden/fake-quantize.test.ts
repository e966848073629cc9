import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { backward } from '../../src/autograd/index.ts';
import {
  FakeQuantize,
  FixedQParamsFakeQuantize,
  FusedMovingAvgObsFakeQuantize,
  LearnableFakeQuantize,
} from '../../src/quantization/fake-quantize/index.ts';
import {
  FixedQParamsObserver,
  HistogramObserver,
  MinMaxObserver,
  MovingAverageMinMaxObserver,
  MovingAveragePerChannelMinMaxObserver,
} from '../../src/quantization/observers/index.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { camelKeys, checksum, type InputSpec, makeInput } from './observers-inputs.ts';

interface Summary {
  readonly checksum: number;
  readonly first: readonly number[];
}

interface FakeQuantizeCase {
  readonly module: keyof typeof MODULES;
  readonly options: Readonly<Record<string, unknown>>;
  readonly learn: { readonly scale_factor: number; readonly zero_point_shift: number } | null;
  readonly inputs: readonly InputSpec[];
  readonly gradient: Omit<InputSpec, 'shape'>;
  /** After this many inputs the observer is frozen. */
  readonly freeze_after: number;
  readonly runs: readonly {
    readonly output: Summary;
    readonly grad: Summary;
    readonly scale: readonly number[];
    readonly zero_point: readonly number[];
    readonly scale_grad?: readonly number[];
    readonly zero_point_grad?: readonly number[];
  }[];
  readonly final: { readonly scale: readonly number[]; readonly zero_point: readonly number[] };
  readonly keys: readonly string[];
  readonly repr: string;
}

type Options = Record<string, unknown>;

const OBSERVERS: Readonly<Record<string, unknown>> = {
  MinMaxObserver,
  HistogramObserver,
  MovingAverageMinMaxObserver,
  MovingAveragePerChannelMinMaxObserver,
};

const MODULES = {
  FakeQuantize: (o: Options) => new FakeQuantize(o),
  FusedMovingAvgObsFakeQuantize: (o: Options) => new FusedMovingAvgObsFakeQuantize(o),
  LearnableFakeQuantize: (o: Options) => new LearnableFakeQuantize(o),
  FixedQParamsFakeQuantize: (o: Options) =>
    new FixedQParamsFakeQuantize({
      observer: FixedQParamsObserver.withArgs(o as unknown as { scale: number; zeroPoint: number }),
    }),
};

const cases = JSON.parse(
  readFileSync(new URL('./data/fake-quantize.json', import.meta.url), 'utf8'),
) as FakeQuantizeCase[];

describe.each(Object.keys(MODULES) as (keyof typeof MODULES)[])('%s equals PyTorch', (name) => {
  const own = cases.filter((c) => c.module === name);
  test.each(own.map((c, i) => ({ ...c, title: `#${i} ${JSON.stringify(c.options)}` })))('$title', (c) => {
    const options = camelKeys(c.options);
    if (options.observer) options.observer = OBSERVERS[String(options.observer)];
    const fq = MODULES[name](options);
    c.runs.forEach((run, i) => {
      if (fq instanceof LearnableFakeQuantize && i === 1) learn(fq, c.learn!);
      else if (!(fq instanceof LearnableFakeQuantize) && i === c.freeze_after) fq.disableObserver();
      const x = makeInput(c.inputs[i]);
      x.requiresGrad = true;
      const y = fq(x);
      backward(y, makeInput({ ...c.gradient, shape: x.shape }));
      expect(Array.from(fq.scale.data), `scale ${i}`).toEqual(run.scale);
      expect(numbers(fq.zeroPoint), `zero point ${i}`).toEqual(run.zero_point.map((z) => z + 0));
      expectSame(y, run.output, `output ${i}`);
      expectSame(x.grad!, run.grad, `gradient ${i}`);
      if (!run.scale_grad || !run.zero_point_grad) return;
      expectNear(fq.scale.grad!, run.scale_grad, `gradient of scale ${i}`);
      expectNear(fq.zeroPoint.grad!, run.zero_point_grad, `gradient of zero point ${i}`);
      fq.zeroGrad();
    });
    const { scale, zeroPoint } = fq.calculateQParams();
    expect(Array.from(scale.data)).toEqual(c.final.scale);
    expect(numbers(zeroPoint)).toEqual(c.final.zero_point.map((z) => z + 0));
    expect([...fq.stateDict().keys()].sort()).toEqual([...c.keys].sort());
    expect(String(fq)).toBe(c.repr.replace(/^_/, ''));
  });
});

function learn(fq: LearnableFakeQuantize, by: NonNullable<FakeQuantizeCase['learn']>): void {
  fq.enableParamLearning();
  fq.scale.storage.forEach((v, i) => {
    fq.scale.storage[i] = v * Math.fround(by.scale_factor);
  });
  fq.zeroPoint.storage.forEach((v, i) => {
    fq.zeroPoint.storage[i] = v + Math.fround(by.zero_point_shift);
  });
}

function numbers(x: Tensor): number[] {
  return Array.from(x.data, (v) => v + 0);
}

function expectSame(x: Tensor, golden: Summary, what: string): void {
  expect(
    Array.from(x.numbers())
      .slice(0, 6)
      .map((v) => v + 0),
    what,
  ).toEqual(golden.first.map((v) => v + 0));
  expect(checksum(x), what).toBe(golden.checksum);
}

/** Sums over strided dimensions run in another order than PyTorch's: equal to a few float32 roundings of the terms. */
function expectNear(x: Tensor, golden: readonly number[], what: string): void {
  const largest = Math.max(...golden.map(Math.abs));
  golden.forEach((want, i) => {
    expect(Math.abs(x.data[i] - want), `${what}[${i}]: ${x.data[i]}, ${want}`).toBeLessThanOrEqual(
      1e-5 * Math.abs(want) + 1e-6 * largest,
    );
  });
}
