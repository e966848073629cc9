import { execFileSync } from 'node:child_process';
import { Worker } from 'node:worker_threads';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { ArgumentError, KernelError } from '../../src/core/errors.ts';
import { manualSeed } from '../../src/core/random.ts';
import { create, modelInfo, type QuantizableModel } from '../../src/models/index.ts';
import { type AnyModule, Linear, LSTM, ReLU, Sequential } from '../../src/nn/index.ts';
import { noGrad } from '../../src/ops/index.ts';
import { convert, getDefaultQConfig, prepare, quantizeDynamic } from '../../src/quantization/index.ts';
import { getNumThreads, type Program, setNumThreads, trace } from '../../src/runtime/index.ts';
import { startThreads, whyOneThread } from '../../src/runtime/threads/num-threads.ts';
import { nodePeer } from '../../src/runtime/threads/spawn.ts';
import { rand, randn } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { bits } from '../support/same-bits.ts';

afterEach(() => setNumThreads(1));
afterAll(() => setNumThreads(1));

function staticInt8(name: string, x: Tensor): AnyModule {
  const model = create(name, { quantizable: true }).eval();
  (model as QuantizableModel).fuseModel();
  model.qconfig = getDefaultQConfig('qnnpack');
  const prepared = prepare(model);
  noGrad(() => prepared(x));
  return convert(prepared);
}

/** Wide enough for every step to be shared. */
function dynamicLayers(): AnyModule {
  return quantizeDynamic(new Sequential(new Linear(512, 2048), new ReLU(), new Linear(2048, 512)));
}

const images = (name: string, batch: number): Tensor =>
  rand([batch, ...modelInfo(name).inputShape.map((s) => Math.min(s, 64))]);

const models: [string, () => { model: AnyModule; inputs: readonly Tensor[] }][] = [
  ['dynamic layers', () => ({ model: dynamicLayers(), inputs: [randn([64, 512]), randn([7, 512])] })],
  [
    'dynamic LSTM',
    () => ({
      model: quantizeDynamic(new Sequential(new LSTM(128, 256, { batchFirst: true }))),
      inputs: [randn([2, 8, 128])],
    }),
  ],
  ...['mobilenetV2', 'resnet20'].flatMap(
    (name): [string, () => { model: AnyModule; inputs: readonly Tensor[] }][] => [
      [
        `${name} in int8`,
        () => ({ model: staticInt8(name, images(name, 1)), inputs: [images(name, 1), images(name, 2)] }),
      ],
      [`${name} in float`, () => ({ model: create(name).eval(), inputs: [images(name, 1)] })],
    ],
  ),
];

describe.each(models)('%s', (name, make) => {
  test('gives the same bits on 1, 2 and 4 threads', async () => {
    manualSeed(3);
    const { model, inputs } = make();
    const program = trace(model, [inputs[0]]);
    const expected = inputs.map((x) => bits(program.run(x)));
    let compared = 0;
    for (const n of [2, 4, 1]) {
      expect(await setNumThreads(n)).toBe(n);
      for (let round = 0; round < 2; round++) {
        for (const [i, x] of inputs.entries()) {
          expect(bits(program.run(x)), `${n} threads, input ${i}`).toEqual(expected[i]);
          compared++;
        }
      }
    }
    console.log(`${name}: ${compared} results compared, 0 differing`);
  });
});

describe('setNumThreads', () => {
  test('takes whole numbers from 1 to 64', async () => {
    for (const n of [0, -1, 1.5, 65, Number.NaN])
      await expect(setNumThreads(n)).rejects.toThrow(ArgumentError);
    expect(getNumThreads()).toBe(1);
  });

  test('calls at the same time take effect in order', async () => {
    await Promise.all([setNumThreads(3), setNumThreads(1), setNumThreads(2)]);
    expect(getNumThreads()).toBe(2);
  });

  test('threads at rest neither keep a process alive nor use the processor', () => {
    const script = `
      const { jit, nn, randn, quantization } = await import(${JSON.stringify(new URL('../../src/index.ts', import.meta.url).href)});
      const x = randn([64, 512]);
      const program = jit.trace(quantization.quantizeDynamic(new nn.Sequential(new nn.Linear(512, 512))), [x]);
      await jit.setNumThreads(2);
      program.run(x);
      await new Promise((resolve) => setTimeout(resolve, 200));
      const before = process.cpuUsage();
      await new Promise((resolve) => setTimeout(resolve, 500));
      const { user, system } = process.cpuUsage(before);
      console.log(JSON.stringify({ threads: jit.getNumThreads(), microseconds: user + system }));
    `;
    const out = execFileSync(process.execPath, ['--input-type=module', '-e', script], { timeout: 60_000 });
    const { threads, microseconds } = JSON.parse(String(out));
    expect(threads).toBe(2);
    // Half a second of a thread that spins would be 500 000.
    expect(microseconds).toBeLessThan(100_000);
  });
});

describe('a thread that is lost', () => {
  const dying = (how: 'exit' | 'throw') => ({
    spawn: () =>
      nodePeer(new Worker(new URL('../support/dying-worker.ts', import.meta.url), { workerData: how })),
    patienceMs: 20_000,
  });

  /** Runs until the worker took a chunk. */
  function runUntilItFails(program: Program, x: Tensor): unknown {
    for (let i = 0; i < 2000; i++) {
      try {
        program.run(x);
      } catch (error) {
        return error;
      }
    }
    return null;
  }

  test.each(['exit', 'throw'] as const)(
    'in the middle of a run (%s): a typed error, and the next run works',
    async (how) => {
      manualSeed(4);
      const x = randn([64, 512]);
      const program = trace(dynamicLayers(), [x]);
      const expected = bits(program.run(x));
      for (let round = 0; round < 2; round++) {
        expect(await startThreads(2, dying(how))).toBe(2);
        const error = runUntilItFails(program, x);
        expect(error).toBeInstanceOf(KernelError);
        expect(String(error)).toMatch(
          how === 'exit' ? /a thread that ended/ : /thread 1: RuntimeError: unreachable/,
        );
        expect(getNumThreads()).toBe(1);
        expect(whyOneThread()).toMatch(how === 'exit' ? /a thread that ended/ : /unreachable/);
        for (let i = 0; i < 3; i++) expect(bits(program.run(x))).toEqual(expected);
      }
      expect(await setNumThreads(2)).toBe(2);
      expect(whyOneThread()).toBeNull();
      for (let i = 0; i < 3; i++) expect(bits(program.run(x))).toEqual(expected);
    },
  );

  test('between runs: the next run does without it', async () => {
    const x = randn([64, 512]);
    const program = trace(dynamicLayers(), [x]);
    const expected = bits(program.run(x));
    const workers: Worker[] = [];
    const spawn = () => {
      workers.push(new Worker(new URL('../../src/runtime/threads/worker.ts', import.meta.url)));
      return nodePeer(workers[0]);
    };
    await startThreads(2, { spawn, patienceMs: 20_000 });
    expect(bits(program.run(x))).toEqual(expected);
    const ended = workers[0].terminate();
    // It may end with a chunk in its hands, which is a loss in the middle of a run.
    try {
      expect(bits(program.run(x))).toEqual(expected);
    } catch (error) {
      expect(error).toBeInstanceOf(KernelError);
    }
    await ended;
    expect(bits(program.run(x))).toEqual(expected);
    expect(getNumThreads()).toBe(1);
    expect(whyOneThread()).toMatch(/thread 1 ended|thread that ended|did not come back/);
  });

  test('at the start: setNumThreads says so', async () => {
    const spawn = () => nodePeer(new Worker('throw new Error("no such thread")', { eval: true }));
    await expect(startThreads(2, { spawn })).rejects.toThrow(/workers that start, got Error: no such thread/);
    expect(getNumThreads()).toBe(1);
    expect(await setNumThreads(2)).toBe(2);
  });
});
