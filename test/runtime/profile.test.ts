import { afterEach, describe, expect, test } from 'vitest';
import { ArgumentError } from '../../src/core/errors.ts';
import { manualSeed } from '../../src/core/random.ts';
import { Conv2d, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential } from '../../src/nn/index.ts';
import { maskedSelect, noGrad } from '../../src/ops/index.ts';
import {
  convert,
  getDefaultQConfig,
  prepare,
  QuantWrapper,
  quantizeDynamic,
} from '../../src/quantization/index.ts';
import { memory, type Program, setNumThreads, trace } from '../../src/runtime/index.ts';
import { rand, randn } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { bits } from '../support/same-bits.ts';

afterEach(() => setNumThreads(1));

function int8Program(x: Tensor): Program {
  manualSeed(0);
  const model = new QuantWrapper(
    new Sequential(
      new Conv2d(3, 64, 3, { padding: 1 }),
      new ReLU(),
      new MaxPool2d(2),
      new Conv2d(64, 64, 3, { padding: 1 }),
      new Flatten(),
      new Linear(64 * 28 * 28, 10),
    ),
  ).eval();
  model.qconfig = getDefaultQConfig('qnnpack');
  const prepared = prepare(model);
  noGrad(() => prepared(x));
  return trace(convert(prepared), [x]);
}

describe('profile', () => {
  const x = rand([1, 3, 56, 56]);

  test('has a row for every step, with the arithmetic of the layers', async () => {
    const program = int8Program(x);
    const before = bits(program.run(x));
    for (const threads of [1, 2]) {
      await setNumThreads(threads);
      const profile = program.profile([x], { runs: 3 });
      expect(profile.threads).toBe(threads);
      expect(profile.rows.map((row) => row.op)).toEqual(program.describe([x]).steps.map((step) => step.op));
      const macs = profile.rows.map((row) => row.macs).filter((n) => n > 0);
      expect(macs).toEqual([56 * 56 * 9 * 3 * 64, 28 * 28 * 9 * 64 * 64, 64 * 28 * 28 * 10]);
      const sum = (of: readonly number[]): number => of.reduce((a, b) => a + b, 0);
      expect(sum(profile.rows.map((row) => row.share))).toBeCloseTo(1, 6);
      for (const row of profile.rows) {
        expect(row.milliseconds).toBeGreaterThanOrEqual(0);
        expect(row.bytes).toBeGreaterThan(0);
        expect(row.gmacPerSecond * row.milliseconds).toBeCloseTo(
          row.milliseconds === 0 ? 0 : row.macs / 1e6,
          6,
        );
        expect(row.ceilingShare === null).toBe(row.macs === 0);
      }
      expect(profile.ceiling.int8).toBeGreaterThan(0);
      const text = String(profile);
      expect(text.split('\n')).toHaveLength(profile.rows.length + 3);
      expect(text).toContain(threads === 1 ? 'on 1 thread' : 'on 2 threads');
      expect(JSON.parse(JSON.stringify(profile.rows))).toEqual(profile.rows);
      expect(bits(program.run(x))).toEqual(before);
    }
  });

  test('says which steps have no kernel', () => {
    class Sorted extends Module {
      forward(y: Tensor): Tensor {
        return y.sort()[0];
      }
    }
    const program = trace(new Sorted(), [randn([4, 8])]);
    const [row] = program.profile([randn([4, 8])]).rows;
    expect(row).toMatchObject({ op: 'sort', macs: 0, chunks: 1 });
    expect(row.note).toMatch(/no kernel/);
    expect(String(program.describe([randn([4, 8])]))).toMatch(/steps {6}1, 1 of them without kernels/);
  });

  test('refuses what it cannot time', () => {
    class Selected extends Module {
      forward(y: Tensor): Tensor {
        return maskedSelect(y, y.gt(0));
      }
    }
    const program = trace(new Selected(), [randn([4, 8])]);
    expect(() => program.profile([randn([4, 8])])).toThrow(
      /maskedSelect, for which the program runs operator by operator/,
    );
    expect(() => program.describe([randn([4, 8])])).toThrow(ArgumentError);
    expect(() => int8Program(x).profile([x], { runs: 0 })).toThrow(/whole number of at least 1/);
  });
});

describe('describe', () => {
  test('says steps, memory, threads and kernels', async () => {
    const x = randn([64, 512]);
    const program = trace(
      quantizeDynamic(new Sequential(new Linear(512, 2048), new ReLU(), new Linear(2048, 512))),
      [x],
    );
    const alone = program.describe([x]);
    expect(alone).toMatchObject({ threads: 1, whyOneThread: null });
    expect(alone.steps.every((step) => step.chunks === 1)).toBe(true);
    expect(alone.arenaBytes).toBeGreaterThan(4 * 64 * 2048);
    expect(alone.arenaBytes).toBeLessThan(alone.resultBytes + 64 * 200);
    await setNumThreads(2);
    const both = program.describe([x]);
    expect(both.threads).toBe(2);
    expect(Math.max(...both.steps.map((step) => step.chunks))).toBeGreaterThan(1);
    expect(String(both)).toMatch(/threads {4}2\n/);
  });
});

test('memory that a program took comes back', async () => {
  const x = randn([64, 512]);
  const model = quantizeDynamic(new Sequential(new Linear(512, 512)));
  await setNumThreads(2);
  trace(model, [x]).run(x);
  const before = memory();
  {
    using program = trace(model, [x]);
    program.run(x);
    expect(memory().arenaBytes).toBeGreaterThan(before.arenaBytes);
  }
  expect(memory().arenaBytes).toBe(before.arenaBytes);
});

test('10,000 runs: flat memory, identical output', async () => {
  const x = rand([1, 3, 32, 32]);
  manualSeed(1);
  const model = new QuantWrapper(
    new Sequential(
      new Conv2d(3, 32, 3, { padding: 1 }),
      new ReLU(),
      new Flatten(),
      new Linear(32 * 32 * 32, 16),
    ),
  ).eval();
  model.qconfig = getDefaultQConfig('qnnpack');
  const prepared = prepare(model);
  noGrad(() => prepared(x));
  const program = trace(convert(prepared), [x]);
  const expected = program.run(x) as Tensor;
  for (const threads of [1, 2]) {
    await setNumThreads(threads);
    const chunks = program.describe([x]).steps.map((step) => step.chunks);
    expect(Math.max(...chunks) > 1).toBe(threads > 1);
    program.run(x);
    const before = memory();
    let differing = 0;
    for (let i = 0; i < 5000; i++) {
      const { data } = program.run(x) as Tensor;
      for (let k = 0; k < data.length; k++) if (data[k] !== expected.data[k]) differing++;
    }
    console.log(
      `5000 runs on ${threads} threads: ${5000 * expected.numel} elements compared, ${differing} differing`,
    );
    expect(differing).toBe(0);
    expect(memory()).toEqual(before);
  }
});
