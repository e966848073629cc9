import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  globSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildWhereStale } from '../support/built.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** The Node that runs the tests, ahead of the machine's own. */
const env = { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}` };

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly bin: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, string | { readonly types: string; readonly default: string }>>;
  readonly dependencies: Readonly<Record<string, string>>;
}

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest;
let dir: string;
let tarball: string;
/** The package as it lies in the `node_modules` of a project. */
let installed: string;
let files: readonly string[];

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'zeropoint-pack-'));
  buildWhereStale();
  execFileSync('npm', ['pack', '--ignore-scripts', '--pack-destination', dir], {
    cwd: root,
    env,
    stdio: 'pipe',
  });
  tarball = join(dir, `${manifest.name}-${manifest.version}.tgz`);
  installed = install(join(dir, 'node_modules'));
  writeFileSync(join(dir, 'package.json'), '{ "type": "module", "private": true }');
  files = globSync('**/*', { cwd: installed, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(installed.length + 1));
}, 300_000);

afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Unpacks the tarball as `npm install` would, without a network: dependencies are those of the repository. */
function install(modules: string): string {
  const target = join(modules, manifest.name);
  mkdirSync(target, { recursive: true });
  execFileSync('tar', ['-xzf', tarball, '-C', target, '--strip-components=1']);
  for (const name of Object.keys(manifest.dependencies)) {
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), join(modules, name), 'dir');
  }
  mkdirSync(join(modules, '.bin'));
  for (const [name, script] of Object.entries(manifest.bin)) {
    chmodSync(join(target, script), 0o755);
    symlinkSync(join('..', manifest.name, script), join(modules, '.bin', name));
  }
  return target;
}

/** Runs a program in the project. */
function run(command: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: dir, env, encoding: 'utf8' });
  expect(status, `${command} ${args.join(' ')}\n${stdout}${stderr}`).toBe(0);
  return stdout;
}

describe('the tarball', () => {
  test('passes publint', async () => {
    const { messages } = await publint({ pkgDir: installed, strict: true });
    expect(messages.map((message) => formatMessage(message, manifest))).toEqual([]);
  });

  test('holds the built package, its sources, and nothing of the workshop', () => {
    for (const name of [
      'LICENSE',
      'README.md',
      'package.json',
      'dist/index.js',
      'dist/types/index.d.ts',
      'src/index.ts',
    ])
      expect(files).toContain(name);
    const code = files.filter((name) => /^dist\/[^/]+\.js$/.test(name));
    const kernels = code
      .map((name) => readFileSync(join(installed, name), 'utf8'))
      .flatMap((text) => [...text.matchAll(/wasmBase64[^=]*= ["']([A-Za-z0-9+/=]+)["']/g)]);
    expect(kernels).toHaveLength(2);
    for (const [, base64] of kernels) expect(WebAssembly.validate(Buffer.from(base64, 'base64'))).toBe(true);
    const strangers = files.filter(
      (name) =>
        /\.test\.|^(test|bench|examples|scripts|node_modules)\//.test(name) || /^\.(?!npmignore)/.test(name),
    );
    expect(strangers).toEqual([]);
    expect(statSync(tarball).size).toBeLessThan(3_000_000);
  });

  test('every source map finds its source', () => {
    const maps = files.filter((name) => name.endsWith('.js.map'));
    expect(maps.length).toBeGreaterThan(20);
    for (const name of maps) {
      const { sources } = JSON.parse(readFileSync(join(installed, name), 'utf8')) as { sources: string[] };
      for (const source of sources)
        expect(
          lstatSync(join(installed, dirname(name), source), { throwIfNoEntry: false }),
          `${name}: ${source}`,
        ).toBeDefined();
    }
  });

  test('the library asks for Node only when it is about to touch a file', () => {
    const asking = files.filter(
      (name) =>
        /^dist\/(?!cli\/).*\.js$/.test(name) &&
        /^\s*(?:import|export)\b[^(]*from 'node:/m.test(readFileSync(join(installed, name), 'utf8')),
    );
    expect(asking).toEqual([]);
  });
});

describe('in a project of its own', () => {
  test('every subpath resolves, to code and to types', () => {
    const subpaths = Object.entries(manifest.exports).filter(([, target]) => typeof target === 'object');
    expect(subpaths.length).toBeGreaterThan(5);
    const imports = subpaths.map(([path]) => join(manifest.name, path));
    const script = `for (const name of ${JSON.stringify(imports)}) console.log(name, Object.keys(await import(name)).length);`;
    const lines = run(process.execPath, '--input-type=module', '--eval', script).trim().split('\n');
    expect(lines.map((line) => line.split(' ')[0])).toEqual(imports);
    for (const line of lines) expect(Number(line.split(' ')[1]), line).toBeGreaterThan(0);
    for (const [, target] of subpaths)
      if (typeof target === 'object') expect(files).toContain(target.types.slice(2));
  });

  const readme = (): string => {
    const [, code] = /```ts\n([\s\S]*?)```/.exec(
      readFileSync(join(root, 'README.md'), 'utf8'),
    ) as RegExpExecArray;
    writeFileSync(join(dir, 'example.ts'), code);
    return 'example.ts';
  };

  test('the example of the README runs', () => {
    const stdout = run(process.execPath, readme());
    expect(stdout).toContain('(0): QuantizedConvReLU2d(1, 8, kernel_size=(5, 5)');
    const [, decibels] = /([\d.]+) dB against float/.exec(stdout) as RegExpExecArray;
    expect(Number(decibels)).toBeGreaterThan(30);
    expect(statSync(join(dir, 'net-int8.safetensors')).size).toBeGreaterThan(3000);
  });

  test('the example of the README is well typed, and so are our declarations', () => {
    run(
      join(root, 'node_modules/.bin/tsc'),
      ...[
        '--noEmit',
        '--strict',
        '--module',
        'nodenext',
        '--target',
        'es2024',
        '--lib',
        'es2024,esnext.disposable,dom',
      ],
      ...[
        '--types',
        'node',
        '--typeRoots',
        join(root, 'node_modules/@types'),
        '--skipLibCheck',
        'false',
        readme(),
      ],
    );
  });

  test('npx finds the command line', () => {
    expect(run('npx', '--no-install', 'zeropoint', '--help')).toMatch(/^Usage: zeropoint /);
  });
});
