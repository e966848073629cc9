/** The worker that a program lives in for `runAsync`: it gets the program once, then inputs, and answers with results. */
import { readProgram } from '../file.ts';
import type { Program } from '../program.ts';
import { onMessage, type Reply } from '../threads/inbox.ts';
import { getNumThreads, setNumThreads } from '../threads/num-threads.ts';
import { type Packed, pack, packError, type Request, type Response, unpack } from './messages.ts';

let program: Program;
/** Runs wait for one another: the number of threads may have to change in between. */
let last: Promise<void> = Promise.resolve();

async function run(request: Request & { kind: 'run' }, reply: Reply): Promise<void> {
  const { id, threads, inputs } = request;
  try {
    if (getNumThreads() !== threads) await setNumThreads(threads);
    const output = program.run(...(unpack(inputs) as unknown[]));
    const transfer: ArrayBuffer[] = [];
    const packed: Packed = pack(output, transfer);
    reply({ id, output: packed } satisfies Response, transfer);
  } catch (error) {
    reply({ id, error: packError(error) } satisfies Response);
  }
}

onMessage<Request>((request, reply) => {
  if (request.kind === 'load') program = readProgram(request.bytes, { adopt: true });
  else last = last.then(() => run(request, reply));
});
