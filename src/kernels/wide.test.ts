import { afterEach, describe, expect, it, vi } from 'vitest';
import { engine, supportedBuilds } from './engine.ts';
import { wasmBase64 } from './generated/relaxed.ts';
import { compileWide, whyNotWide } from './wide.ts';

const EMPTY_MODULE = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0);

/** A process that differs in some properties from this one, with a V8 that only notes the flags it is given. */
function pretend(differences: Record<string, unknown>): string[] {
  const flags: string[] = [];
  vi.stubEnv('ZEROPOINT_KERNELS', '');
  vi.stubGlobal('process', {
    env: process.env,
    execArgv: [],
    arch: 'x64',
    versions: { node: '26.0.0', v8: '14.6.1' },
    getBuiltinModule: () => ({ setFlagsFromString: (flag: string) => flags.push(flag) }),
    ...differences,
  });
  return flags;
}

afterEach(() => {
  vi.unstubAllGlobals();
  vi.unstubAllEnvs();
});

/**
 * How often types of a module's functions name a vector. Source: "Type Section" of the WebAssembly specification, which is a
 * module's first.
 */
function vectorsInTypes(wasm: Uint8Array): { readonly types: number; readonly vectors: number } {
  const V128 = 0x7b;
  let at = 8;
  const leb = (): number => {
    for (let value = 0, shift = 0; ; shift += 7) {
      value |= (wasm[at] & 127) << shift;
      if (wasm[at++] < 128) return value;
    }
  };
  expect(wasm[at++]).toBe(1);
  leb();
  const types = leb();
  let vectors = 0;
  for (let type = 0; type < types; type++) {
    expect(wasm[at++]).toBe(0x60);
    for (let list = 0; list < 2; list++)
      for (let count = leb(); count > 0; count--) if (wasm[at++] === V128) vectors++;
  }
  return { types, vectors };
}

describe('the wide build', () => {
  it('is there on x64 in the versions of Node that were tested', () => {
    const tested = process.arch === 'x64' && /^1[34]\./.test(process.versions.v8);
    expect(supportedBuilds().includes('wide')).toBe(tested);
    if (!tested) expect(engine.build).not.toBe('wide');
  });

  it('has no functions that take vectors: V8 13 ends the process where they are part of wider ones', () => {
    const { types, vectors } = vectorsInTypes(Buffer.from(wasmBase64, 'base64'));
    expect(types).toBeGreaterThan(20);
    expect(vectors).toBe(0);
  });

  it.each([
    [{ versions: { node: '30.0.0', v8: '99.1.2' } }, /not tested with V8 99\.1\.2/],
    [{ versions: { node: '26.0.0', v8: '14.6.1', deno: '3.0.0' } }, /only Node/],
    [{ arch: 'arm64' }, /on arm64 vectors have 16 bytes/],
    [{ getBuiltinModule: undefined }, /Node 22\.3/],
  ])('says why it is not elsewhere: %o', (differences, why) => {
    const flags = pretend(differences);
    expect(whyNotWide()).toMatch(why);
    expect(() => compileWide(EMPTY_MODULE)).toThrow(why);
    expect(flags).toEqual([]);
  });

  it('may be asked for on a version that was not tested', () => {
    pretend({ versions: { node: '30.0.0', v8: '99.1.2' } });
    vi.stubEnv('ZEROPOINT_KERNELS', 'wide');
    expect(whyNotWide()).toBeNull();
  });

  it('sets the flags of V8 back, those it was started with excepted', () => {
    const flags = pretend({ execArgv: ['--no_liftoff'] });
    expect(compileWide(EMPTY_MODULE)).toBeInstanceOf(WebAssembly.Module);
    expect(flags).toEqual([
      '--experimental-wasm-revectorize',
      '--no-wasm-lazy-compilation',
      '--no-wasm-inlining',
      '--no-experimental-wasm-revectorize',
      '--wasm-lazy-compilation',
      '--wasm-inlining',
    ]);
  });

  it('sets them back when the module is refused', () => {
    const flags = pretend({});
    expect(() => compileWide(EMPTY_MODULE.slice(0, 3))).toThrow(WebAssembly.CompileError);
    expect(flags).toHaveLength(8);
    expect(flags.at(-1)).toBe('--wasm-inlining');
  });
});
