import type { MessagePort, Transferable } from 'node:worker_threads';
import { isNode } from '../../core/environment.ts';

/** Sends a message to whoever started this worker. */
export type Reply = (message: unknown, transfer?: readonly ArrayBuffer[]) => void;

/** Calls `receive` for every message that this worker is sent. */
export function onMessage<T>(receive: (message: T, reply: Reply) => void): void {
  if (isNode) {
    const port = process.getBuiltinModule('node:worker_threads').parentPort as MessagePort;
    const reply: Reply = (message, transfer = []) => port.postMessage(message, transfer as Transferable[]);
    port.on('message', (message: T) => receive(message, reply));
    return;
  }
  const scope = globalThis as unknown as {
    onmessage: (event: { readonly data: T }) => void;
    postMessage(message: unknown, transfer: readonly ArrayBuffer[]): void;
  };
  const reply: Reply = (message, transfer = []) => scope.postMessage(message, transfer);
  scope.onmessage = ({ data }) => receive(data, reply);
}
