import type { Allocation, Engine } from '../../kernels/engine.ts';
import { type Chunks, MOST_STEPS } from '../threads/control.ts';
import { currentPool } from '../threads/num-threads.ts';
import type { PlacedScript, ThreadPool } from '../threads/pool.ts';
import { bindStep, type ChunkedCall, encodeScript, kernelNames } from '../threads/script.ts';
import { shareStep, wholeCalls } from './chunks.ts';
import { placeCall, type Step } from './step.ts';

/** A step as this thread runs it. */
interface Runner {
  /** Place of the step in the script; −1 where this thread runs it alone. */
  readonly index: number;
  readonly step: Chunks;
}

/** Memory that threads of a pool may read or write as long as they have not left the run. */
interface Lent {
  readonly memory: Allocation;
  pool: ThreadPool | null;
}

const freeOnCollection = new FinalizationRegistry<ReadonlySet<Lent>>((all) => {
  for (const lent of all) giveBack(lent);
});

let scripts = 0;

/**
 * Runs the steps of a plan, alone or with the threads of the pool. Steps too small to be worth a meeting run on the calling
 * thread, as do operators without kernels. It owns the plan's arena.
 */
export class Executor {
  readonly #engine: Engine;
  readonly #steps: readonly Step[];
  readonly #arena: Lent;
  readonly #lent: Set<Lent>;
  #pool: ThreadPool | null = null;
  #runners: readonly Runner[] | null = null;
  #script: (PlacedScript & { readonly lent: Lent }) | null = null;

  constructor(engine: Engine, steps: readonly Step[], arena: Allocation) {
    this.#engine = engine;
    this.#steps = steps;
    this.#arena = { memory: arena, pool: null };
    this.#lent = new Set([this.#arena]);
    freeOnCollection.register(this, this.#lent, this);
  }

  /** Runs every step. `clock`, where given, is called with −1 before the first step, and with its place after each. */
  run(clock?: (step: number) => void): void {
    const runners = this.#prepare();
    const pool = this.#pool;
    const script = this.#script;
    const together = pool !== null && script !== null && pool.begin(script);
    clock?.(-1);
    try {
      for (let i = 0; i < runners.length; i++) {
        const { index, step } = runners[i];
        if (together && index >= 0) pool.share(index, step);
        else for (let chunk = 0; chunk < step.chunks; chunk++) step.run(chunk);
        clock?.(i);
      }
    } finally {
      if (together) pool.end();
    }
  }

  /** True once a thread may still be writing into the arena although its run is over: nothing may run here any more. */
  get spoiled(): boolean {
    return this.#pool !== null && this.#pool.lost !== null && !this.#pool.settle();
  }

  /** Chunks of every step that is shared with other threads; 1 for the others. */
  chunks(): number[] {
    return this.#prepare().map(({ index, step }) => (index < 0 ? 1 : step.chunks));
  }

  /** Gives the memory back. */
  free(): void {
    freeOnCollection.unregister(this);
    for (const lent of this.#lent) giveBack(lent);
    this.#lent.clear();
  }

  /** The steps made ready for the threads there are now. */
  #prepare(): readonly Runner[] {
    const pool = currentPool(this.#engine);
    if (this.#runners !== null && this.#pool === pool) return this.#runners;
    if (this.#script !== null) {
      giveBack(this.#script.lent);
      this.#lent.delete(this.#script.lent);
      this.#script = null;
    }
    const threads = pool?.threads ?? 1;
    const shared: (readonly ChunkedCall[])[] = [];
    const { kernels } = this.#engine;
    this.#runners = this.#steps.map((step): Runner => {
      if (step.kind !== 'kernels') return { index: -1, step: { chunks: 1, run: step.run } };
      const calls = step.calls.map(placeCall);
      const chunked = shareStep(step, calls, threads);
      if (chunked === null || shared.length >= MOST_STEPS)
        return { index: -1, step: bindStep(wholeCalls(calls), kernels) };
      return { index: shared.push(chunked) - 1, step: bindStep(chunked, kernels) };
    });
    if (pool !== null && shared.length > 0) this.#script = this.#place(shared, pool);
    this.#pool = pool;
    this.#arena.pool = pool;
    return this.#runners;
  }

  #place(steps: readonly (readonly ChunkedCall[])[], pool: ThreadPool): PlacedScript & { lent: Lent } {
    const numbers = encodeScript(steps, kernelNames(pool.shared.module));
    const memory = this.#engine.alloc(numbers.byteLength, 'arena');
    const lent = { memory, pool };
    this.#lent.add(lent);
    this.#engine.heap.f64.set(numbers, memory.ptr / 8);
    return { id: ++scripts, ptr: memory.ptr, length: numbers.length, lent };
  }
}

/** Frees memory as soon as no thread can be using it any more. */
function giveBack({ memory, pool }: Lent): void {
  if (pool === null || pool.settle()) memory.free();
  else void pool.stop().then(() => memory.free());
}
