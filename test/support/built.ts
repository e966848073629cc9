import { spawnSync } from 'node:child_process';
import { globSync, statSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';

const root = join(import.meta.dirname, '../..');

/** Builds `dist` unless it is newer than every source: for tests of what users get. */
export function buildWhereStale(): void {
  const built = statSync(join(root, 'dist/index.js'), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const sources = globSync('src/**/*.ts', { cwd: root, exclude: (name) => /\.test\.ts$/.test(name) });
  if (sources.every((name) => statSync(join(root, name)).mtimeMs < built)) return;
  /** The Node that runs the tests, ahead of the machine's own. */
  const env = { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}` };
  const { status, stdout, stderr } = spawnSync('npm', ['run', 'build'], { cwd: root, env, encoding: 'utf8' });
  if (status !== 0) throw new Error(`npm run build failed:\n${stdout}${stderr}`);
}
