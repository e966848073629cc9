/**
 * Measures one model with one number of threads, all engines and forms in turn, one run each per round. A process of its
 * own, since some engines fix their number of threads when they start: reads a {@link Job} as its argument and prints
 * {@link Message}s, one a line.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { jit, suite, type Tensor, tensor } from '../../src/index.ts';
import type { Engine, Runner, Task } from './engines/engine.ts';
import { Unavailable } from './engines/engine.ts';
import { onnxruntimeNode, onnxruntimeWeb } from './engines/onnxruntime.ts';
import { firstTensor, NARROW, ours, oursNarrow } from './engines/ours.ts';
import { tfjsWasm } from './engines/tfjs.ts';
import { onnxFile } from './files.ts';
import { type DType, MODELS } from './models.ts';
import type { Job, Message, Row } from './row.ts';

const ENGINES: Readonly<Record<string, Engine>> = {
  zeropoint: ours,
  [NARROW]: oursNarrow,
  'onnxruntime-web': onnxruntimeWeb,
  'onnxruntime-node': onnxruntimeNode,
  'tfjs-wasm': tfjsWasm,
};

/** Runs shorter than this are repeated within a round, so that the clock's grain does not count. */
const SHORTEST_MS = 4;
const WARM_UP_MS = 400;
const MOST_RUNS = 50;
/** An engine that takes longer than this takes part in every second to every fourth round only. */
const SLOW_MS = 150;
const MOST_ROUNDS_APART = 4;
/** What the time that a job is given does not cut off. */
const LEAST_TIMES = 3;
/** Pairs of runs for what threads bring: as many as fit into the time, but not fewer than these. */
const PAIRS = 30;
const LEAST_PAIRS = 7;
const PAIRS_MS = 10_000;
/**
 * Threads of pools look out for work for a while after a run, those of onnxruntime-node for 40 ms; who runs next would share
 * the cores with them. The process counts as quiet once it uses less than this part of a core.
 */
const QUIET = 0.1;
const LOOK_MS = 5;
const LONGEST_UNREST_MS = 500;

interface Contestant {
  readonly engine: string;
  readonly dtype: DType;
  readonly runner: Runner;
  readonly decibels: number;
  readonly times: number[];
  readonly cpu: number[];
  /** Runs of one turn. */
  runs: number;
  /** It takes part in every round whose number this divides. */
  every: number;
}

const job = JSON.parse(process.argv[2]) as Job;

function say(message: Message): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

function progress(text: string): void {
  say({ progress: text });
}

function makeTask(): Task {
  const entry = MODELS[job.model];
  const subject = entry.make();
  const { float, int8, input, batchDim } = subject;
  const files: Partial<Record<DType, Promise<Uint8Array>>> = {};
  const programs = {
    fp32: jit.trace(float, [input], { batchDim }),
    int8: jit.trace(int8, [input], { batchDim }),
  };
  return {
    name: job.model,
    entry,
    subject,
    programs,
    threads: job.threads,
    onnx(dtype) {
      files[dtype] ??= onnxFile(job.model, dtype, subject, programs[dtype]);
      return files[dtype];
    },
  };
}

/** Milliseconds of a run by the clock and of processor time, over as many runs as the contestant needs. */
async function time({ runner, runs }: Contestant): Promise<{ wall: number; cpu: number }> {
  const used = process.cpuUsage();
  const start = performance.now();
  for (let i = 0; i < runs; i++) await runner.run();
  const wall = (performance.now() - start) / runs;
  const { user, system } = process.cpuUsage(used);
  return { wall, cpu: (user + system) / 1000 / runs };
}

/** Waits until no thread of this process is busy any more. */
async function quiet(): Promise<void> {
  const start = performance.now();
  for (let share = 1; share > QUIET && performance.now() - start < LONGEST_UNREST_MS; ) {
    const used = process.cpuUsage();
    const from = performance.now();
    await sleep(LOOK_MS);
    const { user, system } = process.cpuUsage(used);
    share = (user + system) / 1000 / (performance.now() - from);
  }
}

async function warmUp(contestant: Contestant): Promise<void> {
  let last = 0;
  const start = performance.now();
  for (let i = 0; i < 3 || (performance.now() - start < WARM_UP_MS && i < 200); i++)
    last = (await time(contestant)).wall;
  contestant.runs = Math.max(1, Math.min(MOST_RUNS, Math.ceil(SHORTEST_MS / last)));
  contestant.every = Math.max(1, Math.min(MOST_ROUNDS_APART, Math.ceil(last / SLOW_MS)));
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** How much longer our program takes on one thread, both in turn. */
async function overOneThread(program: jit.Program, input: Tensor): Promise<number> {
  const timed = async (threads: number): Promise<number> => {
    await jit.setNumThreads(threads);
    // The first run after a change wakes the threads.
    program.run(input);
    const from = performance.now();
    program.run(input);
    return performance.now() - from;
  };
  const ratios: number[] = [];
  const start = performance.now();
  await quiet();
  for (let i = 0; i < PAIRS && (i < LEAST_PAIRS || performance.now() - start < PAIRS_MS); i++)
    ratios.push((await timed(1)) / (await timed(job.threads)));
  return median(ratios);
}

const task = makeTask();
const contestants: Contestant[] = [];
for (const dtype of ['fp32', 'int8'] as const) {
  const reference = firstTensor(task.programs[dtype].run(task.subject.input));
  for (const name of job.engines) {
    const engine = ENGINES[name];
    if (!engine?.dtypes.includes(dtype)) continue;
    progress(`loading ${name} ${dtype}`);
    try {
      const runner = await engine.load(task, dtype);
      const values = tensor(await runner.output(), { shape: reference.shape });
      const decibels = suite.sqnr(reference, values);
      const contestant = { engine: name, dtype, runner, decibels, times: [], cpu: [], runs: 1, every: 1 };
      await warmUp(contestant);
      contestants.push(contestant);
    } catch (error) {
      const { message } = error as Error;
      const why = error instanceof Unavailable ? message : `failed: ${message.slice(0, 200)}`;
      say({ absent: { model: job.model, engine: name, dtype, threads: job.threads, why } });
    }
  }
}

const start = performance.now();
const spent = (): number => (performance.now() - start) / 1000;
for (let round = 0; round < job.rounds; round++) {
  if (spent() > job.seconds && contestants.every(({ times }) => times.length >= LEAST_TIMES)) break;
  for (const contestant of contestants) {
    if (round % contestant.every !== 0) continue;
    await quiet();
    // The others' data are in the caches, and the threads asleep.
    if (contestant.every === 1) await contestant.runner.run();
    const { wall, cpu } = await time(contestant);
    contestant.times.push(wall);
    contestant.cpu.push(cpu);
  }
  progress(`round ${round + 1}/${job.rounds}, ${spent().toFixed(0)} s`);
}

for (const { engine, dtype, times, cpu, runner, decibels } of contestants) {
  const row: Row = {
    model: job.model,
    engine,
    dtype,
    threads: job.threads,
    medianMs: median(times),
    minMs: Math.min(...times),
    cpuMs: Math.min(...cpu),
    bytes: runner.bytes,
    decibels: Number.isFinite(decibels) ? decibels : null,
    rounds: times.length,
    ...(engine === 'zeropoint' && job.threads > 1
      ? { overOneThread: await overOneThread(task.programs[dtype], task.subject.input) }
      : {}),
  };
  say({ row });
  await runner.close();
}
process.exit(0);
