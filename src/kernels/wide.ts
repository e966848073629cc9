import { environmentVariable, isNode } from '../core/environment.ts';

/** What this file uses of `node:v8`. */
interface V8 {
  setFlagsFromString(flag: string): void;
}

/**
 * Major versions of V8 on which the wide build has been tested: those of Node 24 and 26. The flags are V8's own business
 * and can mean something else, or the end of the process, in another.
 */
const TESTED_V8: readonly number[] = [13, 14];

/**
 * What V8 is told while it compiles the wide build: pack neighbouring operations on 16 bytes into one on 32, and do it for the whole
 * module at once. Only the optimizing compiler can, it would otherwise come to a function after some thousand calls, when the
 * flags are gone, and it inlines calls by what it has seen of earlier ones, of which there are none.
 */
const FLAGS: readonly string[] = [
  'experimental-wasm-revectorize',
  'no-liftoff',
  'no-wasm-lazy-compilation',
  'no-wasm-inlining',
];

const opposite = (flag: string): string => (flag.startsWith('no-') ? flag.slice(3) : `no-${flag}`);

function v8(): V8 | undefined {
  return process.getBuiltinModule?.('node:v8');
}

/**
 * Why this host does not compile to vectors of 32 bytes; null where it does. `ZEROPOINT_KERNELS=wide` in the environment
 * allows it on a version of V8 that was not tested.
 */
export function whyNotWide(): string | null {
  if (!isNode || process.versions.deno !== undefined || process.versions.bun !== undefined) {
    return 'only Node lets a program choose how V8 compiles';
  }
  if (process.arch !== 'x64') return `on ${process.arch} vectors have 16 bytes`;
  if (v8() === undefined) return 'Node 22.3 or later is needed';
  const major = Number.parseInt(process.versions.v8, 10);
  if (TESTED_V8.includes(major) || environmentVariable('ZEROPOINT_KERNELS') === 'wide') return null;
  return `not tested with V8 ${process.versions.v8}; ZEROPOINT_KERNELS=wide tries it`;
}

/**
 * Compiles a module to vectors of 32 bytes where the kernels' operations come in pairs. Flags are process-wide in V8: they are
 * set for the some 50 ms this takes and then set back, except those the process was started with.
 *
 * @throws what `WebAssembly.Module` throws; Error where {@link whyNotWide} has a reason.
 */
export function compileWide(wasm: BufferSource): WebAssembly.Module {
  const why = whyNotWide();
  const host = v8();
  if (why !== null || host === undefined) throw new Error(why ?? 'node:v8 is missing');
  const given = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)].map((flag) =>
    flag.replaceAll('_', '-'),
  );
  const changed = FLAGS.filter((flag) => !given.includes(`--${flag}`));
  try {
    for (const flag of changed) host.setFlagsFromString(`--${flag}`);
    return new WebAssembly.Module(wasm);
  } finally {
    for (const flag of changed) host.setFlagsFromString(`--${opposite(flag)}`);
  }
}
