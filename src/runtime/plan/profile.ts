import { product } from '../../core/math.ts';
import { formatBytes, formatTable } from '../../core/table.ts';
import { type KernelCeiling, kernelCeiling } from '../../kernels/ceiling.ts';
import type { Shape } from '../../tensor/shape.ts';
import type { Plan } from './plan.ts';
import type { Step } from './step.ts';

/** One step of a {@link Profile}. Times are medians over the runs. */
export interface ProfileRow {
  /** Name of the node whose result the step makes, and what it runs. */
  readonly name: string;
  readonly op: string;
  readonly shape: Shape;
  readonly milliseconds: number;
  /** Part of the time of all rows. */
  readonly share: number;
  /** Multiply-accumulates; 0 where there are none. */
  readonly macs: number;
  /** 10⁹ multiply-accumulates a second. */
  readonly gmacPerSecond: number;
  /** Bytes the step reads and writes, weights included, and 10⁹ of them a second. */
  readonly bytes: number;
  readonly gbytePerSecond: number;
  /** Part of what the best kernel reaches on as many threads; null without multiply-accumulates. */
  readonly ceilingShare: number | null;
  /** How many chunks the threads share; 1 where one thread does it all. */
  readonly chunks: number;
  /** Why it is slow; empty where it is not. */
  readonly note: string;
}

/** Where the time of a program goes: plain data, and a table as text. */
export interface Profile {
  readonly rows: readonly ProfileRow[];
  /** Median time of a whole run, copies of inputs and results included. */
  readonly milliseconds: number;
  readonly runs: number;
  readonly threads: number;
  /** What one thread reaches on data in its caches. */
  readonly ceiling: KernelCeiling;
  toString(): string;
}

/** Runs a plan several times and keeps the time of every step. */
export function profilePlan(
  plan: Plan,
  run: (clock: (step: number) => void) => void,
  runs: number,
  threads: number,
): Profile {
  const { steps } = plan;
  const times = [...steps, 'whole'].map(() => new Float64Array(runs));
  // The first run prepares, and lets the kernels be compiled.
  run(() => undefined);
  for (let r = 0; r < runs; r++) {
    const start = performance.now();
    let before = start;
    run((step) => {
      const now = performance.now();
      if (step >= 0) times[step][r] = now - before;
      before = now;
    });
    times[steps.length][r] = performance.now() - start;
  }
  const medians = times.map((series) => series.sort()[runs >> 1]);
  const milliseconds = medians.pop() as number;
  const sum = medians.reduce((a, b) => a + b, 0) || 1;
  const ceiling = kernelCeiling(plan.engine);
  const chunks = plan.chunks();
  const rows = steps.map((step, i): ProfileRow => {
    const time = medians[i];
    const { macs, bytes } = step.cost;
    const seconds = time / 1000 || Number.POSITIVE_INFINITY;
    const best = (isInt8(step) ? ceiling.int8 : ceiling.float32) * (chunks[i] > 1 ? threads : 1);
    const row = {
      name: step.name,
      op: step.op,
      shape: step.shape,
      milliseconds: time,
      share: time / sum,
      macs,
      gmacPerSecond: macs / seconds / 1e9,
      bytes,
      gbytePerSecond: bytes / seconds / 1e9,
      ceilingShare: macs === 0 ? null : macs / seconds / 1e9 / best,
      chunks: chunks[i],
    };
    return { ...row, note: whySlow(step, row, threads) };
  });
  const profile = { rows, milliseconds, runs, threads, ceiling };
  return { ...profile, toString: () => profileTable(profile) };
}

/** Steps below this part of the time need no explanation. */
const SMALL_SHARE = 0.002;
const NEAR_CEILING = 0.6;
/** Multiply-accumulates for each byte that a kernel needs to be busy. */
const BUSY_MACS_PER_BYTE = 16;
/** GB/s at which memory, not the kernel, sets the pace. */
const MEMORY_BOUND = 15;
/** Rows that fill the tiles of a kernel. */
const FULL_ROWS = 6;

function isInt8(step: Step): boolean {
  return step.kind === 'kernels' && step.calls.some(({ kernel }) => kernel.startsWith('qu8'));
}

function whySlow(step: Step, row: Omit<ProfileRow, 'note'>, threads: number): string {
  if (step.kind !== 'kernels')
    return step.kind === 'host' ? '' : 'no kernel: the eager operator, on copies, on one thread';
  const reasons: string[] = [];
  if (step.calls.every(({ kernel }) => kernel.startsWith('copy') || kernel.startsWith('u8_stage')))
    reasons.push('moves elements to another layout');
  else if (row.ceilingShare !== null && row.ceilingShare < NEAR_CEILING && row.share > SMALL_SHARE) {
    if (row.macs / row.bytes < BUSY_MACS_PER_BYTE)
      reasons.push(
        `${row.gbytePerSecond > MEMORY_BOUND ? 'memory bound' : 'little arithmetic'}: ${(row.macs / row.bytes).toFixed(1)} MAC a byte`,
      );
    if (rowsOf(step.shape) < FULL_ROWS) reasons.push('few rows: tiles are not full');
  }
  if (threads > 1 && row.chunks === 1 && row.share > SMALL_SHARE) reasons.push('too small to split');
  return reasons.join('; ');
}

/** Rows of the product behind a result: pixels of images, tokens of text. */
function rowsOf(shape: Shape): number {
  if (shape.length < 3) return product(shape.slice(0, -1));
  return shape.length === 3 ? shape[0] * shape[1] : product(shape) / shape[1];
}

function profileTable({ rows, milliseconds, runs, threads, ceiling }: Omit<Profile, 'toString'>): string {
  const right = (title: string): { title: string; align: 'right' } => ({ title, align: 'right' });
  const table = formatTable(
    [
      { title: 'step' },
      { title: 'op' },
      { title: 'shape' },
      right('ms'),
      right('share'),
      right('MMAC'),
      right('GMAC/s'),
      right('of ceiling'),
      right('bytes'),
      right('GB/s'),
      { title: 'note' },
    ],
    rows.map((row) => [
      row.name,
      row.op,
      row.shape.join('×'),
      row.milliseconds.toFixed(3),
      percent(row.share),
      row.macs === 0 ? '' : (row.macs / 1e6).toFixed(1),
      row.macs === 0 ? '' : row.gmacPerSecond.toFixed(1),
      row.ceilingShare === null ? '' : percent(row.ceilingShare),
      formatBytes(row.bytes),
      row.gbytePerSecond.toFixed(1),
      row.note,
    ]),
  );
  const threadsText = threads === 1 ? '1 thread' : `${threads} threads`;
  return (
    `${table}\n${milliseconds.toFixed(3)} ms a run, copies of inputs and results included; median of ${runs} runs on ${threadsText}; ` +
    `one thread reaches ${ceiling.int8.toFixed(0)} GMAC/s in int8 and ${ceiling.float32.toFixed(0)} in float32`
  );
}

function percent(part: number): string {
  return `${(100 * part).toFixed(1)}%`;
}
