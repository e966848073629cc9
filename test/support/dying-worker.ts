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
  TICKET,
  waitForChange,
} from '../../src/runtime/threads/control.ts';
import { onMessage } from '../../src/runtime/threads/inbox.ts';
import type { ThreadStart } from '../../src/runtime/threads/worker.ts';

/** Takes the first chunk of the run it comes across; false where another thread was faster. */
function takeChunk(control: Int32Array): boolean {
  const ticket = Atomics.load(control, TICKET);
  return ticket < END && Atomics.compareExchange(control, TICKET, ticket, ticket + 1) === ticket;
}

onMessage<ThreadStart>(({ control, thread }, reply) => {
  reply('ready');
  for (let seen = 0; ; ) {
    waitForChange(control, GENERATION, seen, IDLE_SLEEPERS, 1);
    seen = Atomics.load(control, GENERATION);
    if (!join(control)) continue;
    if (takeChunk(control)) break;
    leave(control);
  }
  if (workerData === 'exit') process.exit(1);
  const error = new WebAssembly.RuntimeError('unreachable');
  reportFault(control, thread, error);
  leave(control);
  throw error;
});
