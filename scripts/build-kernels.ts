/**
 * Compiles `src/kernels/assembly/` to two WebAssembly builds with the same exports and writes them, together with
 * their TypeScript interface, to `src/kernels/generated/`:
 *
 * - `relaxed.ts`, `baseline.ts`: the module as base64, so that one ESM file works in Node, browsers and bundlers and
 *   can be instantiated synchronously, and where in it stands whether its memory is shared between threads;
 * - `exports.ts`: `KernelExports`, derived from the compiler's own bindings.
 *
 * Nothing happens when the sources, this script and the compiler are unchanged, so it is cheap to call before every test.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';
import { MAXIMUM_PAGES } from '../src/kernels/allocator.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const sourceDir = join(root, 'src/kernels/assembly');
const outputDir = join(root, 'src/kernels/generated');
const features = { relaxed: ['simd', 'relaxed-simd'], baseline: ['simd'] } as const;

type Build = keyof typeof features;

function digest(): string {
  const hash = createHash('sha256');
  const files = readdirSync(sourceDir)
    .filter((name) => name.endsWith('.ts'))
    .sort();
  for (const name of files)
    hash
      .update(name)
      .update('\0')
      .update(readFileSync(join(sourceDir, name)))
      .update('\0');
  hash.update(readFileSync(fileURLToPath(import.meta.url)));
  hash.update(String(MAXIMUM_PAGES));
  hash.update(readFileSync(join(root, 'node_modules/assemblyscript/package.json')));
  return hash.digest('hex');
}

/** The digest the existing output was built from, or '' when there is none. */
function builtDigest(): string {
  try {
    const stamps = ['relaxed.ts', 'baseline.ts', 'exports.ts'].map(
      (name) => /^\/\/ sources: (\w+)/.exec(readFileSync(join(outputDir, name), 'utf8'))?.[1] ?? '',
    );
    return stamps.every((stamp) => stamp === stamps[0]) ? stamps[0] : '';
  } catch {
    return '';
  }
}

async function compile(build: Build): Promise<{ wasm: Uint8Array; bindings: string }> {
  const files = new Map<string, string | Uint8Array>();
  const diagnostics: string[] = [];
  const { error } = await asc.main(
    [
      'index.ts',
      '--baseDir',
      sourceDir,
      ...features[build].flatMap((name) => ['--enable', name]),
      '--runtime',
      'stub',
      '-O3',
      '--noAssert',
      '--importMemory',
      '--maximumMemory',
      String(MAXIMUM_PAGES),
      '--bindings',
      'raw',
      '--outFile',
      'kernels.wasm',
    ],
    {
      stderr: { write: (chunk: string | Uint8Array) => void diagnostics.push(String(chunk)) },
      writeFile: (name: string, contents: string | Uint8Array) => void files.set(name, contents),
    },
  );
  const wasm = files.get('kernels.wasm');
  const bindings = files.get('kernels.d.ts');
  if (error || !(wasm instanceof Uint8Array) || typeof bindings !== 'string') {
    throw new Error(`asc failed for the ${build} build:\n${diagnostics.join('') || String(error)}`);
  }
  return { wasm, bindings };
}

const IMPORT_SECTION = 2;
const MEMORY_IMPORT = 2;
const WITH_MAXIMUM = 1;

/**
 * The byte of a module that says what memory it imports: with a maximum (1), or with a maximum and shared (3). The kernels
 * are the same either way, so one module serves both.
 * Source: "Import Section" and "Limits" of the WebAssembly specification, and its threads proposal.
 */
function memoryFlagsAt(wasm: Uint8Array): number {
  let at = 8;
  const leb = (): number => {
    for (let value = 0, shift = 0; ; shift += 7) {
      value |= (wasm[at] & 127) << shift;
      if (wasm[at++] < 128) return value;
    }
  };
  while (at < wasm.length) {
    const section = wasm[at++];
    const bytes = leb();
    if (section === IMPORT_SECTION) {
      const count = leb();
      for (let names = 2; names > 0; names--) {
        const length = leb();
        at += length;
      }
      if (count === 1 && wasm[at] === MEMORY_IMPORT && wasm[at + 1] === WITH_MAXIMUM) return at + 1;
      break;
    }
    at += bytes;
  }
  throw new Error('The kernels are expected to import one memory that has a maximum, and nothing else.');
}

/** Turns asc's raw bindings (a namespace of declared functions) into one interface. */
function toInterface(bindings: string): string {
  const members: string[] = [];
  const pattern = /(\/\*\*(?:(?!\*\/)[\s\S])*\*\/)?\s*export function (\w+)(\([^)]*\)): (\w+);/g;
  for (const [, doc = '', name, parameters, result] of bindings.matchAll(pattern)) {
    const lines = doc
      ? doc.split('\n').map((line, i) => (i === 0 ? `  ${line.trim()}` : `   ${line.trim()}`))
      : [];
    members.push(
      [...lines, `  readonly ${name}: ${parameters.replaceAll('?:', ':')} => ${result};`].join('\n'),
    );
  }
  return `/** Raw functions of a kernel build. Pointers are byte offsets into the engine's memory. */\nexport interface KernelExports {\n${members.join('\n')}\n}\n`;
}

/** Readers never see half a file: another process may be building or importing at the same time. */
function write(name: string, contents: string): void {
  const path = join(outputDir, name);
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, contents);
  renameSync(temporary, path);
}

/**
 * Builds both kernel modules if anything they depend on has changed.
 *
 * @returns true when it compiled, false when the output was already up to date.
 * @throws Error with the compiler's diagnostics when a source does not compile, or when the builds' exports differ.
 */
export async function buildKernels(): Promise<boolean> {
  const stamp = digest();
  if (builtDigest() === stamp) return false;
  mkdirSync(outputDir, { recursive: true });
  const header = `// sources: ${stamp}\n// Written by scripts/build-kernels.ts.\n`;
  const interfaces = new Set<string>();
  for (const build of Object.keys(features) as Build[]) {
    const { wasm, bindings } = await compile(build);
    interfaces.add(toInterface(bindings));
    const base64 = Buffer.from(wasm).toString('base64');
    write(
      `${build}.ts`,
      `${header}export const memoryFlagsAt: number = ${memoryFlagsAt(wasm)};\nexport const wasmBase64: string =\n  '${base64}';\n`,
    );
    console.log(`kernels: ${build} ${(wasm.length / 1024).toFixed(1)} KiB`);
  }
  if (interfaces.size !== 1) throw new Error('The relaxed and baseline builds export different functions.');
  write('exports.ts', header + [...interfaces][0]);
  return true;
}

if (import.meta.main) await buildKernels();
