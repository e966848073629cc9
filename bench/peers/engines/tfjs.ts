import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { Network } from '../network.ts';
import { buildTfjs, type Tfjs } from '../tfjs/graph.ts';
import { type Engine, Unavailable } from './engine.ts';

interface Backend {
  setWasmPaths(folder: string): void;
}

let loading: Promise<Tfjs> | null = null;

async function load(): Promise<Tfjs> {
  // The package fetches its module, and Node's fetch reads no files.
  const files = globalThis.fetch;
  globalThis.fetch = async (url, options) =>
    String(url).startsWith('/')
      ? new Response(readFileSync(String(url)), { headers: { 'content-type': 'application/wasm' } })
      : files(url, options);
  const require = createRequire(import.meta.url);
  const tf = require('@tensorflow/tfjs-core') as Tfjs;
  const path = require.resolve('@tensorflow/tfjs-backend-wasm');
  (require(path) as Backend).setWasmPaths(`${dirname(path)}/`);
  if (!(await tf.setBackend('wasm'))) throw new Unavailable('its WebAssembly backend does not start');
  await tf.ready();
  return tf;
}

/** The same network in tfjs operators, on its WebAssembly backend. */
export const tfjsWasm: Engine = {
  dtypes: ['fp32'],
  async load(task, dtype) {
    if (task.threads > 1) throw new Unavailable('has no threads in Node');
    loading ??= load();
    const tf = await loading;
    const { input } = task.subject;
    const graph = buildTfjs(tf, new Network(task.programs[dtype]), input);
    return {
      run: async () => {
        const y = graph.run();
        await y.data();
        y.dispose();
      },
      output: async () => {
        const y = graph.run();
        const values = await y.data();
        y.dispose();
        return values.slice();
      },
      bytes: null,
      close: () => graph.dispose(),
    };
  },
};
