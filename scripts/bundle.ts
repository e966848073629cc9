/**
 * Bundles `src/` into `dist/`: a file for each entry of package.json, one for the command line and one for each kind of worker,
 * and the chunks they share, all in one folder, since workers are looked for beside the file that starts them. Loading hundreds of
 * small files takes Node several times as long as loading these, and a page without a bundler longer still.
 *
 * Entries are read from package.json: what `dist/types/x.d.ts` declares comes from `src/x.ts`.
 */
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build } from 'rolldown';

interface Manifest {
  readonly exports: Readonly<Record<string, string | { readonly types: string; readonly default: string }>>;
  readonly dependencies: Readonly<Record<string, string>>;
}

const root = join(import.meta.dirname, '..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest;

const input: Record<string, string> = {
  cli: 'src/cli/main.ts',
  worker: 'src/runtime/threads/worker.ts',
  host: 'src/runtime/background/host.ts',
};
for (const entry of Object.values(manifest.exports)) {
  if (typeof entry === 'string') continue;
  input[basename(entry.default, '.js')] = entry.types
    .replace('./dist/types/', 'src/')
    .replace(/\.d\.ts$/, '.ts');
}

await build({
  cwd: root,
  input,
  platform: 'neutral',
  external: [/^node:/, ...Object.keys(manifest.dependencies).map((name) => new RegExp(`^${name}(/|$)`))],
  logLevel: 'warn',
  output: {
    dir: 'dist',
    format: 'esm',
    sourcemap: true,
    entryFileNames: '[name].js',
    chunkFileNames: '[name]-[hash].js',
  },
});
