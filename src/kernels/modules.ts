import { environmentVariable, isNode } from '../core/environment.ts';
import * as baseline from './generated/baseline.ts';
import * as relaxed from './generated/relaxed.ts';

/** `relaxed` uses relaxed SIMD (8-bit dot products, fused multiply-add), `baseline` plain SIMD. Same exports, same int8 results. */
export type KernelBuild = 'relaxed' | 'baseline';

const BUILDS = { relaxed, baseline } as const;
const UNSHARED = 1;
const SHARED = 3;

const modules = new Map<string, WebAssembly.Module | Error>();

/** The compiled module for a shared or an unshared memory, or why this host cannot compile it. */
export function moduleOf(build: KernelBuild, shared: boolean): WebAssembly.Module | Error {
  const key = `${build} ${shared}`;
  let module = modules.get(key);
  if (module === undefined) {
    const { wasmBase64, memoryFlagsAt } = BUILDS[build];
    const bytes = Uint8Array.from(atob(wasmBase64), (c) => c.charCodeAt(0));
    bytes[memoryFlagsAt] = shared ? SHARED : UNSHARED;
    try {
      module = new WebAssembly.Module(bytes);
    } catch (error) {
      module = error as Error;
    }
    modules.set(key, module);
  }
  return module;
}

/** Why memory cannot be shared between threads here; null where it can. */
export function whyNotShared(): string | null {
  if (environmentVariable('ZEROPOINT_SHARED_MEMORY') === '0') return 'ZEROPOINT_SHARED_MEMORY=0 forbids it';
  if (isNode) return null;
  if (typeof SharedArrayBuffer !== 'undefined' && globalThis.crossOriginIsolated) return null;
  return (
    'the page is not cross-origin isolated; serve it with the headers ' +
    'Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp'
  );
}
