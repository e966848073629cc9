/**
 * A thread of the pool that dies in the middle of a run, a chunk in hand. It is told how: `exit` ends without a word, as a
 * worker that is terminated does; `throw` fails as a trap in a kernel does.
 */
import { workerData } from 'node:worker_threads';
import {
  END,
  GENERATION,
  IDLE_SLEEPERS,
  join,
  leave,
  reportFault,
  SCRIPT_LENGTH,
  SCRIPT_PTR,
  TICKET,
  takeChunk,
  waitForChange,
} from '../../src/runtime/threads/control.ts';
import { onMessage } from '../../src/runtime/threads/inbox.ts';
import { chunksOf, decodeScript, kernelNames } from '../../src/runtime/threads/script.ts';
import type { ThreadStart } from '../../src/runtime/threads/worker.ts';

onMessage<ThreadStart>(({ module, memory, control, thread, threads }, reply) => {
  reply('ready');
  for (let seen = 0; ; ) {
    waitForChange(control, GENERATION, seen, IDLE_SLEEPERS, 1);
    seen = Atomics.load(control, GENERATION);
    if (!join(control)) continue;
    const step = Atomics.load(control, TICKET);
    const numbers = new Float64Array(memory.buffer, control[SCRIPT_PTR], control[SCRIPT_LENGTH]);
    const calls = step < END ? decodeScript(numbers, kernelNames(module))[step] : [];
    const chunks = calls.reduce((sum, call) => sum + chunksOf(call), 0);
    if (takeChunk(control, step, chunks, thread, threads) >= 0) break;
    leave(control);
  }
  if (workerData === 'exit') process.exit(1);
  const error = new WebAssembly.RuntimeError('unreachable');
  reportFault(control, thread, error);
  leave(control);
  throw error;
});
