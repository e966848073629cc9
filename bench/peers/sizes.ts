/** What a page downloads before it can load and run a model, gzipped. */
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { bundle, bundleSource } from './bundle.ts';
import { peerFile } from './packages.ts';

export interface RuntimeSize {
  readonly engine: string;
  readonly what: string;
  /** Gzipped; null where the package is not here. */
  readonly bytes: number | null;
}

function gzipped(data: string | Uint8Array): number {
  return gzipSync(data, { level: 9 }).length;
}

/** Sums gzipped files of packages; null where one is missing. */
function files(...names: readonly string[]): number | null {
  try {
    return names.reduce((sum, name) => sum + gzipped(readFileSync(peerFile(name))), 0);
  } catch {
    return null;
  }
}

async function bundled(code: Promise<string>): Promise<number | null> {
  try {
    return gzipped(await code);
  } catch {
    return null;
  }
}

/** The smallest page that runs tfjs operators on WebAssembly. */
const TFJS_PAGE = `import '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
globalThis.tf = tf;`;

/** Sizes of the runtimes. */
export async function runtimeSizes(): Promise<RuntimeSize[]> {
  const backend = files('@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm');
  const operators = await bundled(bundleSource(TFJS_PAGE));
  return [
    {
      engine: 'zeropoint',
      what: 'jit.load and run, bundled; both kernel builds inside',
      bytes: await bundled(bundle(new URL('browser/runtime.ts', import.meta.url))),
    },
    {
      engine: 'onnxruntime-web',
      what: 'ort.wasm.bundle.min.mjs and its wasm (CPU only)',
      bytes: files(
        'onnxruntime-web/dist/ort.wasm.bundle.min.mjs',
        'onnxruntime-web/dist/ort-wasm-simd-threaded.wasm',
      ),
    },
    {
      engine: 'tfjs-wasm',
      what: 'core and backend, bundled, and the SIMD wasm; no model loader',
      bytes: backend === null || operators === null ? null : backend + operators,
    },
    {
      engine: 'LiteRT.js',
      what: 'index.js, and the wasm with its loader',
      bytes: files(
        '@litertjs/core/dist/index.js',
        '@litertjs/core/wasm/litert_wasm_internal.js',
        '@litertjs/core/wasm/litert_wasm_internal.wasm',
      ),
    },
  ];
}
