import { MOST_CHUNKS } from '../threads/control.ts';
import { type ChunkedCall, chunksOf } from '../threads/script.ts';
import type { KernelStep, PlacedCall } from './step.ts';

/** Work that is worth handing out: less takes longer to share than to do. */
const WORTH_SHARING_MICROSECONDS = 8;
/** What one chunk should take at least. */
const CHUNK_MICROSECONDS = 20;
/** Most chunks for each thread: enough for a late one to be helped. All have as many, or one would wait for another. */
const CHUNKS_PER_THREAD = 4;

/** Rough speeds of one core, per microsecond: multiply-accumulates of int8 and float kernels, and bytes. */
const INT8_MACS = 50_000;
const FLOAT_MACS = 15_000;
const BYTES = 10_000;

/** How long a step takes on one thread, roughly. */
export function estimatedMicroseconds({ calls, cost }: KernelStep): number {
  const int8 = calls.some((call) => call.kernel.startsWith('qu8'));
  return cost.macs / (int8 ? INT8_MACS : FLOAT_MACS) + cost.bytes / BYTES;
}

/** Cuts the calls of a step into chunks of whole grains; null where the step is too small to be shared. */
export function shareStep(
  step: KernelStep,
  calls: readonly PlacedCall[],
  threads: number,
): readonly ChunkedCall[] | null {
  const time = estimatedMicroseconds(step);
  if (threads === 1 || time < WORTH_SHARING_MICROSECONDS) return null;
  const each = Math.floor(time / threads / CHUNK_MICROSECONDS);
  const chunks = threads * Math.max(1, Math.min(each, CHUNKS_PER_THREAD));
  const chunked = calls.map((call) => chunkCall(call, chunks));
  const all = chunked.reduce((sum, call) => sum + chunksOf(call), 0);
  return all > 1 && all <= MOST_CHUNKS ? chunked : null;
}

/** The calls of a step as one chunk each. */
export function wholeCalls(calls: readonly PlacedCall[]): readonly ChunkedCall[] {
  return calls.map((call) => ({ call, chunkUnits: Math.max(1, call.units) }));
}

function chunkCall(call: PlacedCall, chunks: number): ChunkedCall {
  const grains = Math.ceil(call.units / call.grain);
  return { call, chunkUnits: Math.max(1, Math.ceil(grains / chunks)) * call.grain };
}
