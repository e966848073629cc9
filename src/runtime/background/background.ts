import { KernelError } from '../../core/errors.ts';
import { programBytes, type Writable } from '../bytes.ts';
import { type Background, provideBackground } from '../program.ts';
import { getNumThreads } from '../threads/num-threads.ts';
import { type Peer, spawn } from '../threads/spawn.ts';
import { pack, type Response, unpack, unpackError } from './messages.ts';

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** Those with runs that are not done: nobody else may hold the program any more. */
const busy = new Set<ProgramWorker>();

const stopOnCollection = new FinalizationRegistry<{ peer: Peer | null }>(({ peer }) => void peer?.stop());

/** A program in a worker of its own. The worker starts with the first run, and again after it was lost. */
class ProgramWorker implements Background {
  readonly #program: Writable;
  readonly #host: { peer: Peer | null } = { peer: null };
  readonly #pending = new Map<number, Pending>();
  #ids = 0;

  constructor(program: Writable) {
    this.#program = program;
    stopOnCollection.register(this, this.#host, this);
  }

  /** Runs the program there; rejects with what it throws, and with a {@link KernelError} where the worker is lost. */
  run(inputs: readonly unknown[]): Promise<unknown> {
    this.#host.peer ??= this.#start();
    const { peer } = this.#host;
    const id = ++this.#ids;
    const transfer: ArrayBuffer[] = [];
    const packed = pack(inputs, transfer);
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      busy.add(this);
      peer.keepAlive(true);
      peer.post({ kind: 'run', id, threads: getNumThreads(), inputs: packed }, transfer);
    });
  }

  /** Ends the worker. Runs that are not done yet reject. */
  stop(): void {
    void this.#host.peer?.stop();
    this.#lose('the program was freed before it was done');
  }

  #start(): Peer {
    const peer = spawn(
      'host',
      import.meta.url,
      () => new Worker(new URL('./host.js', import.meta.url), { type: 'module' }),
    );
    // A worker that is alive is never collected, nor is what it refers to.
    const weak = new WeakRef(this);
    const call = (method: (background: ProgramWorker) => void): void => {
      const background = weak.deref();
      if (background !== undefined) method(background);
    };
    peer.onMessage = (response) => call((background) => background.#settle(response));
    peer.onLoss = (reason) => call((background) => background.#lost(peer, reason));
    const bytes = programBytes(this.#program);
    peer.post({ kind: 'load', bytes }, [bytes.buffer as ArrayBuffer]);
    return peer;
  }

  #settle(response: Response): void {
    const pending = this.#pending.get(response.id);
    this.#pending.delete(response.id);
    if (this.#pending.size === 0) {
      this.#host.peer?.keepAlive(false);
      busy.delete(this);
    }
    if ('error' in response) pending?.reject(unpackError(response.error));
    else pending?.resolve(unpack(response.output));
  }

  #lost(peer: Peer, reason: string): void {
    if (this.#host.peer === peer) this.#lose(`a worker that ended (${reason})`);
  }

  #lose(got: string): void {
    this.#host.peer = null;
    busy.delete(this);
    const all = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of all) {
      reject(
        new KernelError({
          fn: 'jit.Program.runAsync',
          argument: 'worker',
          expected: 'a worker that answers',
          got,
          fix: 'The next call starts another one.',
        }),
      );
    }
  }
}

provideBackground((program) => new ProgramWorker(program));
