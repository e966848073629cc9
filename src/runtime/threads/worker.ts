/**
 * A thread of the pool. It gets kernels, memory and control block once, and from then on finds all its work in shared
 * memory: it blocks between runs, so messages would never reach it.
 */
import type { KernelExports, SharedKernels } from '../../kernels/engine.ts';
import {
  type Chunks,
  END,
  GENERATION,
  IDLE_SLEEPERS,
  join,
  leave,
  RUN_SLEEPERS,
  reportFault,
  SCRIPT_ID,
  SCRIPT_LENGTH,
  SCRIPT_PTR,
  STOP,
  TICKET,
  waitForChange,
  work,
} from './control.ts';
import { onMessage } from './inbox.ts';
import { bindStep, decodeScript, kernelNames } from './script.ts';

/** What a worker of the pool is told when it starts. */
export interface ThreadStart extends SharedKernels {
  readonly control: Int32Array;
  /** Its number, from 1 on; the caller is 0. */
  readonly thread: number;
  readonly threads: number;
}

/** How long a worker looks out for work before it sleeps: inside of a run, and between runs. */
const RUN_SPIN_MS = 1;
const IDLE_SPIN_MS = 0.1;
/** Scripts a worker keeps ready. */
const MOST_SCRIPTS = 16;

function serve({ module, memory, control, thread, threads }: ThreadStart): void {
  const kernels = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as KernelExports;
  const names = kernelNames(module);
  const scripts = new Map<number, readonly Chunks[]>();
  const currentScript = (): readonly Chunks[] => {
    const id = control[SCRIPT_ID];
    let steps = scripts.get(id);
    if (steps === undefined) {
      const numbers = new Float64Array(memory.buffer, control[SCRIPT_PTR], control[SCRIPT_LENGTH]);
      steps = decodeScript(numbers, names).map((step) => bindStep(step, kernels));
      if (scripts.size >= MOST_SCRIPTS) scripts.delete(scripts.keys().next().value as number);
      scripts.set(id, steps);
    }
    return steps;
  };
  const walk = (): void => {
    for (;;) {
      const index = Atomics.load(control, TICKET);
      if (index === END) return;
      work(control, index, currentScript()[index], thread, threads);
      waitForChange(control, TICKET, index, RUN_SLEEPERS, RUN_SPIN_MS);
    }
  };
  let seen = 0;
  while (Atomics.load(control, STOP) === 0) {
    waitForChange(control, GENERATION, seen, IDLE_SLEEPERS, IDLE_SPIN_MS);
    seen = Atomics.load(control, GENERATION);
    if (!join(control)) continue;
    try {
      walk();
    } catch (error) {
      reportFault(control, thread, error);
      throw error;
    } finally {
      leave(control);
    }
  }
}

onMessage<ThreadStart>((start, reply) => {
  reply('ready');
  serve(start);
});
