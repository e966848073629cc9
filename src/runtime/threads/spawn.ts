import type { Worker as NodeWorker, Transferable } from 'node:worker_threads';
import { isNode } from '../../core/environment.ts';

/** A worker of this host, Node's or the web's. */
export interface Peer {
  post(message: unknown, transfer?: readonly ArrayBuffer[]): void;
  /** Called with every message. */
  onMessage: (message: any) => void;
  /** Called once when it has ended without having been stopped. */
  onLoss: (reason: string) => void;
  /** Whether it keeps the process alive. Only Node asks. */
  keepAlive(yes: boolean): void;
  /** True once it has ended, which in Node shows without a return to the event loop; false where that is not known. */
  ended(): boolean;
  /** Ends it; resolves when it has ended. */
  stop(): Promise<void>;
}

/**
 * Starts a worker: in Node the file `name` beside `base` (an `import.meta.url`), elsewhere what `web` creates, which must
 * spell `new Worker(new URL('./name.js', import.meta.url), { type: 'module' })` out for bundlers to see it.
 */
export function spawn(name: string, base: string, web: () => Worker): Peer {
  if (!isNode) return webPeer(web());
  const { Worker } = process.getBuiltinModule('node:worker_threads');
  const extension = base.endsWith('.ts') ? 'ts' : 'js';
  // The one flag that Node refuses for workers that are files.
  const execArgv = process.execArgv.filter((flag) => !flag.startsWith('--input-type'));
  return nodePeer(new Worker(new URL(`./${name}.${extension}`, base), { execArgv }));
}

/** A worker of Node. */
export function nodePeer(worker: NodeWorker): Peer {
  let stopped = false;
  let reason = '';
  const peer: Peer = {
    post: (message, transfer = []) => worker.postMessage(message, transfer as Transferable[]),
    onMessage: () => undefined,
    onLoss: () => undefined,
    keepAlive: (yes) => (yes ? worker.ref() : worker.unref()),
    // Node counts no idle time for a thread that is no more, and says -1.
    ended: () => worker.performance.eventLoopUtilization().idle < 0,
    stop: async () => {
      stopped = true;
      await worker.terminate();
    },
  };
  // Of a thread that was never asked while it ran, nothing is known later.
  worker.once('message', () => peer.ended());
  worker.on('message', (message) => peer.onMessage(message));
  worker.on('error', (error) => {
    reason = String(error);
  });
  worker.on('exit', (code) => {
    if (!stopped) peer.onLoss(reason || `exit code ${code}`);
  });
  return peer;
}

function webPeer(worker: Worker): Peer {
  let stopped = false;
  const peer: Peer = {
    post: (message, transfer = []) => worker.postMessage(message, transfer as ArrayBuffer[]),
    onMessage: () => undefined,
    onLoss: () => undefined,
    keepAlive: () => undefined,
    ended: () => false,
    stop: async () => {
      stopped = true;
      worker.terminate();
    },
  };
  worker.onmessage = ({ data }) => peer.onMessage(data);
  worker.onerror = (event) => {
    event.preventDefault();
    if (stopped) return;
    stopped = true;
    worker.terminate();
    peer.onLoss(event.message || 'its script did not load');
  };
  return peer;
}
