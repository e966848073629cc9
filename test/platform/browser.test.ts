import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { build } from 'vite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { manualSeed } from '../../src/core/random.ts';
import { create, type QuantizableModel } from '../../src/models/index.ts';
import { type AnyModule, Linear, ReLU, Sequential } from '../../src/nn/index.ts';
import { noGrad } from '../../src/ops/index.ts';
import { convert, getDefaultQConfig, prepare, quantizeDynamic } from '../../src/quantization/index.ts';
import { type Program, trace, writeProgram } from '../../src/runtime/index.ts';
import { rand, randn } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { buildWhereStale } from '../support/built.ts';
import { haveChromium, launchChromium } from '../support/chromium.ts';
import { type StaticServer, serve } from '../support/static-server.ts';

const root = join(import.meta.dirname, '../..');
const page = join(import.meta.dirname, 'page.js');
/** Where Vite builds: inside of the repository, so that dependencies are found. */
const viteRoot = join(root, 'node_modules/.cache/zeropoint-vite');

interface Case {
  readonly program: Program;
  readonly x: Tensor;
}

function staticInt8(): Case {
  const x = rand([1, 3, 96, 96]);
  const model = create('mobilenetV2', { quantizable: true }).eval();
  (model as QuantizableModel).fuseModel();
  model.qconfig = getDefaultQConfig('qnnpack');
  const prepared = prepare(model);
  noGrad(() => prepared(x));
  return { program: trace(convert(prepared) as AnyModule, [x]), x };
}

function dynamicInt8(): Case {
  const x = randn([64, 512]);
  const model = quantizeDynamic(new Sequential(new Linear(512, 2048), new ReLU(), new Linear(2048, 512)));
  return { program: trace(model, [x]), x };
}

/** What a page gives back for one program. */
interface PageResult {
  readonly bits: Readonly<Record<string, string>>;
  readonly chunks: Readonly<Record<number, number>>;
  readonly why: Readonly<Record<number, string | null>>;
  readonly text: string;
  readonly ticks: number;
  readonly error: { readonly name: string; readonly message: string };
  readonly profileRows: number;
}

/** Imports of the library by name, for a page without a bundler. */
const importMap = JSON.stringify({
  imports: {
    zeropoint: '/dist/index.js',
    fflate: '/node_modules/fflate/esm/browser.js',
  },
});

const pages: Readonly<Record<string, string>> = {
  '/index.html': `<!doctype html><script type="importmap">${importMap}</script><script type="module">
    import * as zeropoint from 'zeropoint';
    import { runEverything } from '/page.js';
    globalThis.runEverything = (names) => runEverything(zeropoint, names);
  </script>`,
};

describe.runIf(haveChromium('the library in a browser'))('in Chromium', () => {
  let browser: Browser;
  let cases: Readonly<Record<string, Case>>;
  const files = new Map<string, string | Uint8Array>();
  const servers: StaticServer[] = [];

  beforeAll(async () => {
    buildWhereStale();
    manualSeed(0);
    cases = { mobilenet: staticInt8(), dynamic: dynamicInt8() };
    for (const [name, { program, x }] of Object.entries(cases)) {
      files.set(`/${name}.safetensors`, writeProgram(program));
      files.set(`/${name}.input`, new Uint8Array((x.data as Float32Array).slice().buffer));
    }
    for (const [path, html] of Object.entries(pages)) files.set(path, html);
    files.set('/page.js', await readFile(page));
    browser = await launchChromium();
  }, 300_000);

  afterAll(async () => {
    await browser?.close();
    for (const server of servers) await server.close();
    rmSync(viteRoot, { recursive: true, force: true });
  });

  /** Opens the page of a server and runs every case there; errors of the page fail the test. */
  async function visit(server: StaticServer, threads: readonly number[]) {
    servers.push(server);
    const tab = await browser.newPage();
    const complaints: string[] = [];
    tab.on('pageerror', (error) => complaints.push(String(error)));
    tab.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text());
    });
    await tab.goto(server.url);
    await tab.waitForFunction('globalThis.runEverything !== undefined', undefined, { timeout: 60_000 });
    const names = Object.entries(cases).map(([name, { x }]) => ({ name, shape: [...x.shape], threads }));
    const answer = (await tab.evaluate(`runEverything(${JSON.stringify(names)})`)) as {
      readonly isolated: boolean;
      readonly results: Readonly<Record<string, PageResult>>;
    };
    expect(server.missing).toEqual([]);
    expect(complaints).toEqual([]);
    await tab.close();
    return answer;
  }

  /** Compares what a page computed with what Node computes, to the bit. */
  function expectNodesBits(name: string, result: PageResult, calls: number): void {
    const { program, x } = cases[name];
    const { buffer, byteOffset, byteLength } = (program.run(x) as Tensor).data;
    const expected = Buffer.from(buffer, byteOffset, byteLength).toString('hex');
    expect(Object.keys(result.bits)).toHaveLength(calls);
    for (const [how, bits] of Object.entries(result.bits)) expect(bits, `${name}: ${how}`).toBe(expected);
    console.log(`${name}: ${calls} results of ${byteLength} bytes compared with Node's, 0 differing`);
  }

  /** One long runAsync must leave the page its turns; on the page's own thread there would be one. */
  function expectResponsive({ ticks }: PageResult): void {
    expect(ticks).toBeGreaterThan(2);
  }

  test('a plain page that is cross-origin isolated: 1 and 2 threads', async () => {
    const { isolated, results } = await visit(await serve([root], { isolated: true, files }), [1, 2]);
    expect(isolated).toBe(true);
    for (const [name, result] of Object.entries(results)) {
      expectNodesBits(name, result, 10);
      expect(Object.keys(result.bits)).toContain('run, 2 asked, 2 given');
      expect(result.chunks[1]).toBe(1);
      expect(result.chunks[2]).toBeGreaterThan(1);
      expect(result.why).toEqual({ 1: null, 2: null });
      expect(result.error.name).toMatch(/^(Shape|Argument)Error$/);
      expect(result.profileRows).toBe(cases[name].program.describe([cases[name].x]).steps.length);
      expectResponsive(result);
    }
  });

  test('a plain page that is not: one thread, and it says why', async () => {
    const { isolated, results } = await visit(await serve([root], { isolated: false, files }), [1, 2]);
    expect(isolated).toBe(false);
    for (const [name, result] of Object.entries(results)) {
      expectNodesBits(name, result, 10);
      expect(Object.keys(result.bits)).toContain('run, 2 asked, 1 given');
      expect(result.why[2]).toMatch(/not cross-origin isolated.*Cross-Origin-Opener-Policy: same-origin/);
      expect(result.text).toContain('Cross-Origin-Embedder-Policy: require-corp');
      expectResponsive(result);
    }
  });

  test('a page built by Vite: 1 and 2 threads', async () => {
    mkdirSync(viteRoot, { recursive: true });
    writeFileSync(
      join(viteRoot, 'index.html'),
      '<!doctype html><script type="module" src="./main.js"></script>',
    );
    writeFileSync(
      join(viteRoot, 'main.js'),
      `import * as zeropoint from 'zeropoint';
       import { runEverything } from ${JSON.stringify(page)};
       globalThis.runEverything = (names) => runEverything(zeropoint, names);`,
    );
    await build({
      root: viteRoot,
      configFile: false,
      logLevel: 'error',
      resolve: { alias: { zeropoint: join(root, 'dist/index.js') } },
      worker: { format: 'es' },
    });
    const held = new Map([...files].filter(([path]) => path !== '/index.html' && path !== '/page.js'));
    const server = await serve([join(viteRoot, 'dist')], { isolated: true, files: held });
    const { isolated, results } = await visit(server, [1, 2]);
    expect(isolated).toBe(true);
    for (const [name, result] of Object.entries(results)) {
      expectNodesBits(name, result, 10);
      expect(Object.keys(result.bits)).toContain('run, 2 asked, 2 given');
      expectResponsive(result);
    }
  });
});
