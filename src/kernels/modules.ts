import { environmentVariable, isNode } from '../core/environment.ts';
import * as baseline from './generated/baseline.ts';
import * as relaxed from './generated/relaxed.ts';
import { compileWide } from './wide.ts';

/**
 * `relaxed` uses relaxed SIMD (8-bit dot products, fused multiply-add), `baseline` plain SIMD. `wide` is `relaxed` compiled to
 * vectors of 32 bytes, which Node can be told to do. Same exports, same int8 results.
 */
export type KernelBuild = 'wide' | 'relaxed' | 'baseline';

/** All builds, the fastest first. */
export const KERNEL_BUILDS: readonly KernelBuild[] = ['wide', 'relaxed', 'baseline'];

const SOURCES = { wide: relaxed, relaxed, baseline } as const;
const UNSHARED = 1;
const SHARED = 3;
/** An empty custom section of the name `wide`: V8 keeps compiled code by the bytes of its module, and must tell the two apart. */
const WIDE_SECTION = [0, 5, 4, ...new TextEncoder().encode('wide')];

const modules = new Map<string, WebAssembly.Module | Error>();

/** The compiled module for a shared or an unshared memory, or why this host cannot compile it. */
export function moduleOf(build: KernelBuild, shared: boolean): WebAssembly.Module | Error {
  const key = `${build} ${shared}`;
  let module = modules.get(key);
  if (module === undefined) {
    const { wasmBase64, memoryFlagsAt } = SOURCES[build];
    const section = build === 'wide' ? WIDE_SECTION : [];
    const code = atob(wasmBase64);
    const bytes = new Uint8Array(code.length + section.length);
    for (let i = 0; i < code.length; i++) bytes[i] = code.charCodeAt(i);
    bytes.set(section, code.length);
    bytes[memoryFlagsAt] = shared ? SHARED : UNSHARED;
    try {
      module = build === 'wide' ? compileWide(bytes) : new WebAssembly.Module(bytes);
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
