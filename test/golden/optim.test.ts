import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Parameter } from '../../src/nn/parameter.ts';
import {
  Adam,
  AdamW,
  CosineAnnealingLR,
  ExponentialLR,
  LambdaLR,
  LinearLR,
  type LRScheduler,
  MultiStepLR,
  OneCycleLR,
  type Optimizer,
  ReduceLROnPlateau,
  RMSprop,
  SGD,
  StepLR,
} from '../../src/optim/index.ts';
import { tensor, zeros } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

interface Run {
  options: Record<string, unknown>;
  params: number[][];
  stateKeys: string[];
  state: Record<string, number | number[]>;
  groupKeys: string[];
}

interface Golden {
  initial: number[][];
  gradients: number[][][];
  optimizers: Record<string, Run[]>;
  schedulers: Record<string, Record<'sgd' | 'adam', [number, number][]>>;
  plateau: { metrics: number[]; runs: { options: Record<string, unknown>; rates: number[] }[] };
}

const golden = JSON.parse(readFileSync(new URL('data/optim.json', import.meta.url), 'utf8')) as Golden;
const shapes = [[3, 4], [5]];

const optimizers: Record<string, (params: Tensor[], options: any) => Optimizer<any>> = {
  SGD: (p, o) => new SGD(p, o),
  Adam: (p, o) => new Adam(p, o),
  AdamW: (p, o) => new AdamW(p, o),
  RMSprop: (p, o) => new RMSprop(p, o),
};

const schedulers: Record<string, (optimizer: Optimizer<any>) => LRScheduler> = {
  StepLR: (o) => new StepLR(o, 3, { gamma: 0.5 }),
  MultiStepLR: (o) => new MultiStepLR(o, [2, 5, 5], { gamma: 0.3 }),
  ExponentialLR: (o) => new ExponentialLR(o, 0.9),
  CosineAnnealingLR: (o) => new CosineAnnealingLR(o, 6, { etaMin: 0.01 }),
  LambdaLR: (o) => new LambdaLR(o, (e) => 1 / (1 + e)),
  LinearLR: (o) => new LinearLR(o, { startFactor: 0.25, endFactor: 1, totalIters: 4 }),
  OneCycleLR: (o) => new OneCycleLR(o, { maxLr: 0.5, totalSteps: 20 }),
  'OneCycleLR linear': (o) =>
    new OneCycleLR(o, {
      maxLr: 0.5,
      epochs: 4,
      stepsPerEpoch: 5,
      annealStrategy: 'linear',
      pctStart: 0.4,
      divFactor: 10,
      finalDivFactor: 100,
    }),
};

function camelOptions(options: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(options).map(([k, v]) => [k.replace(/_([a-z])/g, (_, c: string) => c.toUpperCase()), v]),
  );
}

function expectClose(actual: ArrayLike<number>, expected: readonly number[], tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  expected.forEach((e, i) => {
    expect(Math.abs(actual[i] - e), `element ${i}: ${actual[i]} and ${e}`).toBeLessThanOrEqual(
      tolerance * Math.max(1, Math.abs(e)),
    );
  });
}

describe('twenty steps as in PyTorch', () => {
  for (const [name, runs] of Object.entries(golden.optimizers)) {
    for (const run of runs) {
      test(`${name} ${JSON.stringify(run.options)}`, () => {
        const params = golden.initial.map(
          (v, i) => new Parameter(tensor(Float32Array.from(v), { shape: shapes[i] })),
        );
        const optimizer = optimizers[name](params, camelOptions(run.options));
        for (const step of golden.gradients) {
          params.forEach((p, i) => {
            p.grad = tensor(Float32Array.from(step[i]), { shape: shapes[i] });
          });
          optimizer.step();
        }
        for (const [i, p] of params.entries()) expectClose(p.data, run.params[i], 2e-6);

        const saved = optimizer.stateDict();
        const state = (saved.get('state') as Map<number, Map<string, Tensor | number>>).get(1);
        for (const [key, value] of Object.entries(run.state)) {
          const own = state?.get(key);
          expect(own, key).toBeDefined();
          if (typeof own === 'number') expect(own).toBe(value);
          else expectClose((own as Tensor).data, [value].flat(), 2e-6);
        }
        const [group] = saved.get('param_groups') as Map<string, unknown>[];
        for (const key of group.keys()) expect(run.groupKeys).toContain(key);
      });
    }
  }
});

describe('learning rates as in PyTorch', () => {
  for (const [name, rows] of Object.entries(golden.schedulers)) {
    for (const kind of ['sgd', 'adam'] as const) {
      test(`${name} on ${kind}`, () => {
        const params = [new Parameter(zeros([1]))];
        const optimizer: Optimizer<any> =
          kind === 'sgd' ? new SGD(params, { lr: 0.2, momentum: 0.9 }) : new Adam(params, { lr: 0.2 });
        const scheduler = schedulers[name](optimizer);
        rows[kind].forEach(([lr, momentum], i) => {
          if (i > 0) scheduler.step();
          const group = optimizer.paramGroups[0] as any;
          expect(group.lr).toBeCloseTo(lr, 12);
          expect(kind === 'sgd' ? group.momentum : group.betas[0]).toBeCloseTo(momentum, 12);
        });
      });
    }
  }

  test('ReduceLROnPlateau', () => {
    for (const { options, rates } of golden.plateau.runs) {
      const optimizer = new SGD([new Parameter(zeros([1]))], { lr: 0.2 });
      const scheduler = new ReduceLROnPlateau(optimizer, camelOptions(options));
      golden.plateau.metrics.forEach((m, i) => {
        scheduler.step(m);
        expect(optimizer.paramGroups[0].lr).toBeCloseTo(rates[i], 12);
      });
    }
  });
});
