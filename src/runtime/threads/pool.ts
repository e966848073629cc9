import { isNode } from '../../core/environment.ts';
import { KernelError } from '../../core/errors.ts';
import type { Engine, SharedKernels } from '../../kernels/engine.ts';
import {
  CALLER_SLEEPS,
  type Chunks,
  CONTROL_WORDS,
  DONE,
  END,
  FAULT,
  faultMessage,
  GENERATION,
  IDLE_SLEEPERS,
  OPEN,
  publish,
  RUN_SLEEPERS,
  SCRIPT_ID,
  SCRIPT_LENGTH,
  SCRIPT_PTR,
  STATE,
  STOP,
  spin,
  TICKET,
  work,
} from './control.ts';
import { type Peer, spawn } from './spawn.ts';
import type { ThreadStart } from './worker.ts';

/** A script in the engine's memory. */
export interface PlacedScript {
  readonly id: number;
  readonly ptr: number;
  readonly length: number;
}

/** How the threads of a pool are made and watched; tests choose otherwise. */
export interface PoolOptions {
  readonly spawn?: () => Peer;
  /** How long the caller waits for a thread that makes no progress. */
  readonly patienceMs?: number;
}

/** How long the caller looks out for the others' chunks before it sleeps, where it may. */
const CALLER_SPIN_MS = 0.5;
/** One sleep of the caller. Time is counted in slices, so that a process that was halted does not blame its threads. */
const SLICE_MS = 20;
const PATIENCE_MS = 10_000;
const START_TIMEOUT_MS = 30_000;

/** Threads that run the kernels of one engine on its memory, together with the thread that made them. */
export class ThreadPool {
  readonly engine: Engine;
  /** Threads that run kernels, the caller included. */
  readonly threads: number;
  readonly shared: SharedKernels;
  readonly #control: Int32Array;
  readonly #peers: readonly Peer[];
  readonly #patienceMs: number;
  readonly #maySleep: boolean;
  #open = false;
  #lost: string | null = null;
  #stopped: Promise<unknown> | null = null;

  private constructor(
    engine: Engine,
    shared: SharedKernels,
    peers: readonly Peer[],
    control: Int32Array,
    patienceMs: number,
  ) {
    this.engine = engine;
    this.shared = shared;
    this.threads = peers.length + 1;
    this.#peers = peers;
    this.#control = control;
    this.#patienceMs = patienceMs;
    this.#maySleep = maySleep();
    for (const [i, peer] of peers.entries()) {
      peer.keepAlive(false);
      peer.onLoss = (reason) => this.#fail(`thread ${i + 1} ended (${reason})`);
    }
  }

  /**
   * Starts threads − 1 workers and waits until all of them are ready.
   *
   * @throws {@link KernelError} where a worker does not start.
   */
  static async start(
    engine: Engine,
    shared: SharedKernels,
    threads: number,
    options: PoolOptions = {},
  ): Promise<ThreadPool> {
    const control = new Int32Array(new SharedArrayBuffer(4 * CONTROL_WORDS));
    const start = options.spawn ?? spawnThread;
    const peers: Peer[] = [];
    try {
      const ready = Array.from({ length: threads - 1 }, (_, i) => {
        const peer = start();
        peers.push(peer);
        const message: ThreadStart = { ...shared, control, thread: i + 1, threads };
        return readiness(peer, message);
      });
      await Promise.all(ready);
    } catch (error) {
      for (const peer of peers) void peer.stop();
      throw error;
    }
    return new ThreadPool(engine, shared, peers, control, options.patienceMs ?? PATIENCE_MS);
  }

  /** Why this pool runs nothing any more; null while it does. */
  get lost(): string | null {
    return this.#lost;
  }

  /**
   * Opens a run for the workers to join. False where that is not possible any more: the caller then does everything itself.
   * A run must be ended, whatever happens.
   */
  begin(script: PlacedScript): boolean {
    // A worker that is late to leave the run before must not see this one.
    if (this.#lost !== null || !this.settle()) return false;
    const control = this.#control;
    control[SCRIPT_PTR] = script.ptr;
    control[SCRIPT_LENGTH] = script.length;
    control[SCRIPT_ID] = script.id;
    this.#open = false;
    return true;
  }

  /** Runs all chunks of a step of the script, this thread taking part. */
  share(index: number, step: Chunks): void {
    const control = this.#control;
    publish(control, index, step.chunks, this.threads);
    if (this.#open) {
      if (Atomics.load(control, RUN_SLEEPERS) !== 0) Atomics.notify(control, TICKET);
    } else {
      this.#open = true;
      Atomics.store(control, STATE, OPEN);
      Atomics.add(control, GENERATION, 1);
      if (Atomics.load(control, IDLE_SLEEPERS) !== 0) Atomics.notify(control, GENERATION);
    }
    work(control, index, step, 0, this.threads);
    for (;;) {
      const done = Atomics.load(control, DONE);
      if (done === step.chunks) return;
      if (!this.#await(DONE, done))
        throw this.#failure(`a thread that ${this.#hasEnded() ? 'ended' : 'stopped responding'}`);
      if (Atomics.load(control, FAULT) !== 0) {
        throw this.#failure(`an error in thread ${control[FAULT]}: ${faultMessage(control)}`);
      }
    }
  }

  /** Closes the run. Workers leave it on their own; {@link settle} waits for them. */
  end(): void {
    if (!this.#open) return;
    this.#open = false;
    const control = this.#control;
    Atomics.store(control, TICKET, END);
    Atomics.sub(control, STATE, OPEN);
    if (Atomics.load(control, RUN_SLEEPERS) !== 0) Atomics.notify(control, TICKET);
  }

  /**
   * Waits until no worker is in a run, which is a matter of microseconds: what they read and write may change then. False
   * where one does not come back; it may be freed when {@link stop} resolves.
   */
  settle(): boolean {
    const control = this.#control;
    for (;;) {
      const state = Atomics.load(control, STATE);
      if (state === 0) return true;
      if (this.#lost === null && this.#await(STATE, state)) continue;
      this.#fail('a thread did not come back from a run');
      return false;
    }
  }

  /** Ends the workers; resolves when they have ended, and none of them touches the engine's memory any more. */
  stop(): Promise<unknown> {
    if (this.#stopped === null) {
      this.#lost ??= 'it was stopped';
      const control = this.#control;
      Atomics.store(control, STOP, 1);
      Atomics.add(control, GENERATION, 1);
      Atomics.notify(control, GENERATION);
      this.#stopped = Promise.all(this.#peers.map((peer) => peer.stop()));
    }
    return this.#stopped;
  }

  /** Waits for a word to change, or a fault; false where neither happened in time, or nobody is left to bring it about. */
  #await(word: number, value: number): boolean {
    const control = this.#control;
    if (spin(control, word, value, CALLER_SPIN_MS)) return true;
    for (let waited = 0; waited < this.#patienceMs; waited += SLICE_MS) {
      if (waited > 0 && this.#hasEnded()) return Atomics.load(control, word) !== value;
      if (word === DONE && Atomics.load(control, FAULT) !== 0) return true;
      if (!this.#maySleep) {
        if (spin(control, word, value, SLICE_MS)) return true;
        continue;
      }
      Atomics.store(control, CALLER_SLEEPS, 1);
      Atomics.wait(control, word, value, SLICE_MS);
      Atomics.store(control, CALLER_SLEEPS, 0);
      if (Atomics.load(control, word) !== value) return true;
    }
    return false;
  }

  #hasEnded(): boolean {
    return this.#peers.some((peer) => peer.ended());
  }

  #failure(got: string): KernelError {
    this.#fail(got);
    return new KernelError({
      fn: 'jit.Program.run',
      argument: 'threads',
      expected: `${this.threads} threads that finish their part`,
      got,
      fix: 'The next runs use one thread. Call jit.setNumThreads to start new ones.',
    });
  }

  #fail(reason: string): void {
    if (this.#lost !== null) return;
    this.#lost = reason;
    void this.stop();
  }
}

function spawnThread(): Peer {
  return spawn(
    'worker',
    import.meta.url,
    () => new Worker(new URL('./worker.js', import.meta.url), { type: 'module' }),
  );
}

/** Resolves when a worker says that it has its kernels. */
function readiness(peer: Peer, start: ThreadStart): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (got: string): void => {
      clearTimeout(timer);
      reject(
        new KernelError({
          fn: 'jit.setNumThreads',
          argument: 'n',
          expected: 'workers that start',
          got,
          fix: "The worker's script must be served beside the library, as a module that the page's content security policy allows.",
        }),
      );
    };
    const timer = setTimeout(() => fail(`none after ${START_TIMEOUT_MS / 1000} seconds`), START_TIMEOUT_MS);
    peer.onLoss = fail;
    peer.onMessage = () => {
      clearTimeout(timer);
      resolve();
    };
    peer.post(start);
  });
}

/** Whether this thread may block: everywhere but in a page itself. */
function maySleep(): boolean {
  if (isNode) return true;
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1);
    return true;
  } catch {
    return false;
  }
}
