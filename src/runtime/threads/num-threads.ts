import { ArgumentError } from '../../core/errors.ts';
import { type Engine, engine } from '../../kernels/engine.ts';
import { whyNotShared } from '../../kernels/modules.ts';
import { MOST_THREADS } from './control.ts';
import { type PoolOptions, ThreadPool } from './pool.ts';

/** It stays when one thread is asked for: its threads sleep, and may be wanted again. */
let pool: ThreadPool | null = null;
let inUse = false;
/** Why there is no pool, where one was wanted. */
let lost: string | null = null;
let pending: Promise<unknown> = Promise.resolve();

/**
 * Sets how many threads programs run on, the calling one included; 1 at the start. Results do not depend on it, to the bit.
 * Threads sleep between runs and do not keep a process alive. More of them than the machine has cores only cost time.
 *
 * Source: `torch.set_num_threads`; it returns a promise because workers start outside of the current task.
 *
 * @returns the number in effect: 1 where memory cannot be shared between threads (in browsers, a page that is not cross-origin
 *   isolated), which {@link Program.describe} explains.
 * @throws {@link ArgumentError} for anything but a whole number from 1 to 64.
 * @throws {@link KernelError} where workers are possible but do not start.
 * @example
 * await jit.setNumThreads(4);
 */
export function setNumThreads(n: number): Promise<number> {
  return startThreads(n);
}

/** {@link setNumThreads} with workers of another kind, which always start anew. */
export async function startThreads(n: number, options?: PoolOptions): Promise<number> {
  if (!Number.isInteger(n) || n < 1 || n > MOST_THREADS) {
    throw new ArgumentError({
      fn: 'jit.setNumThreads',
      argument: 'n',
      expected: `a whole number from 1 to ${MOST_THREADS}`,
      got: String(n),
    });
  }
  const change = pending.then(() => startPool(n, options));
  pending = change.catch(() => undefined);
  await change;
  return getNumThreads();
}

async function startPool(n: number, options: PoolOptions | undefined): Promise<void> {
  lost = null;
  inUse = n > 1;
  if (n === 1 || (options === undefined && currentPool(engine)?.threads === n)) return;
  void pool?.stop();
  pool = null;
  if (engine.shared === null) {
    lost = whyNotShared() ?? 'the host refused shared memory';
    return;
  }
  pool = await ThreadPool.start(engine, engine.shared, n, options);
}

/**
 * How many threads programs run on now.
 *
 * Source: `torch.get_num_threads`.
 */
export function getNumThreads(): number {
  return currentPool(engine)?.threads ?? 1;
}

/** Why programs run on one thread although more were asked for; null where they do not. */
export function whyOneThread(): string | null {
  return inUse ? (pool?.lost ?? lost) : null;
}

/** The threads that run kernels of an engine beside the caller; null where there are none. */
export function currentPool(of: Engine): ThreadPool | null {
  return inUse && pool !== null && pool.engine === of && pool.lost === null ? pool : null;
}
