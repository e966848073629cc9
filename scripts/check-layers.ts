/**
 * Checks that imports between the rooms of `src/` point down only. Prints every import that does not, and fails.
 *
 * Run: node scripts/check-layers.ts
 */
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';

const SRC = join(import.meta.dirname, '..', 'src');

/** Each room and the rooms it may import besides itself; a room listed by name brings its own list along. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  core: [],
  tensor: ['core'],
  kernels: ['tensor'],
  ops: ['kernels'],
  autograd: ['ops'],
  nn: ['autograd'],
  optim: ['nn'],
  data: ['nn'],
  fx: ['nn'],
  quantization: ['fx'],
  io: ['tensor'],
  runtime: ['quantization', 'io'],
  suite: ['runtime', 'data'],
  models: ['quantization'],
  workflow: ['io', 'suite', 'models', 'optim', 'data'],
  cli: ['workflow', 'public'],
  public: ['workflow'],
};

/** Flows of the quantization room: they share layers and the backend table, never one another. */
const FLOWS = ['eager', 'graph', 'define-by-run'];

const faults: string[] = [];
let files = 0;
for (const file of globSync('**/*.ts', { cwd: SRC })) {
  const path = file.split(sep);
  if (file.endsWith('.test.ts')) continue;
  if (path[0] === 'kernels' && (path[1] === 'assembly' || path[1] === 'generated')) continue;
  files++;
  const from = roomOf(path);
  const text = readFileSync(join(SRC, file), 'utf8');
  for (const [, specifier] of text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)) {
    const target = relative(SRC, join(SRC, dirname(file), specifier)).split(sep);
    const to = roomOf(target);
    if (from !== to && !reaches(from, to))
      faults.push(`${file}: ${from} may not import ${to} (${specifier})`);
    const [a, b] = [flowOf(path), flowOf(target)];
    if (a && b && a !== b) faults.push(`${file}: the ${a} flow may not import the ${b} flow (${specifier})`);
  }
}

for (const fault of faults) console.error(fault);
console.log(`layers: ${files} files, ${faults.length} imports that point up`);
process.exitCode = faults.length ? 1 : 0;

function roomOf(path: readonly string[]): string {
  if (path.length === 1) return 'public';
  if (!(path[0] in ROOMS))
    faults.push(`${path.join('/')}: "${path[0]}" is not a room of scripts/check-layers.ts`);
  return path[0];
}

function reaches(from: string, to: string): boolean {
  return (ROOMS[from] ?? []).some((room) => room === to || reaches(room, to));
}

function flowOf(path: readonly string[]): string | undefined {
  return path[0] === 'quantization' ? FLOWS.find((flow) => flow === path[1]) : undefined;
}
