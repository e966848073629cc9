/** LiteRT.js and our programs in one page of headless Chromium. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jit } from '../../../src/index.ts';
import { DATA } from '../../../test/support/trained-data.ts';
import { bundle } from '../bundle.ts';
import { MODELS } from '../models.ts';
import { peerFile } from '../packages.ts';
import type { Absent, Row } from '../row.ts';
import type { PageTimes } from './page.ts';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
/** Keep Chromium from asking the network for anything but the page. */
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

interface Page {
  goto(url: string): Promise<unknown>;
  evaluate<T>(code: string): Promise<T>;
}

interface Browser {
  newPage(): Promise<Page>;
  close(): Promise<void>;
}

interface Playwright {
  readonly chromium: {
    launchPersistentContext(folder: string, options: object): Promise<Browser>;
  };
}

export interface BrowserResult {
  readonly rows: readonly Row[];
  readonly absent: readonly Absent[];
  /** The browser's own name and version; null where it did not start. */
  readonly version: string | null;
}

/** What the page asks for, by path. */
function serve(
  files: ReadonlyMap<string, { readonly type: string; readonly body: string | Uint8Array }>,
): Promise<Server> {
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://localhost').pathname;
    const isolated = {
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-embedder-policy': 'require-corp',
    };
    const file = files.get(path) ?? liteRtFile(path);
    response.writeHead(file ? 200 : 404, { ...isolated, 'content-type': file?.type ?? 'text/plain' });
    response.end(file?.body ?? '');
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve(server));
  });
}

function liteRtFile(path: string): { readonly type: string; readonly body: Uint8Array } | null {
  const name = /^\/litert\/([\w.]+)$/.exec(path)?.[1];
  const file = name && peerFile(`@litertjs/core/wasm/${name}`);
  if (!file || !existsSync(file)) return null;
  return { type: name.endsWith('.wasm') ? 'application/wasm' : 'text/javascript', body: readFileSync(file) };
}

/** Measures MobileNetV2 in a page. */
export async function measureInBrowser(rounds: number): Promise<BrowserResult> {
  const nothing = (why: string): BrowserResult => ({
    rows: [],
    absent: [{ model: 'mobilenetV2', engine: 'LiteRT.js', dtype: 'int8', threads: 1, why }],
    version: null,
  });
  const tflite = join(DATA, 'mobilenet_v2_int8.tflite');
  if (!existsSync(CHROMIUM)) return nothing(`no ${CHROMIUM}; set CHROMIUM`);
  if (!existsSync(tflite)) return nothing('no mobilenet_v2_int8.tflite; set ZEROPOINT_DATA');
  const { float, int8, input } = MODELS.mobilenetV2.make();
  const programs = { fp32: jit.trace(float, [input]), int8: jit.trace(int8, [input]) };
  const model = readFileSync(tflite);
  const sizes: Record<string, number> = { 'LiteRT.js int8': model.length };
  const files = new Map<string, { type: string; body: string | Uint8Array }>([
    ['/', { type: 'text/html', body: '<script type="module" src="/page.js"></script>' }],
    ['/page.js', { type: 'text/javascript', body: await bundle(new URL('page.ts', import.meta.url)) }],
    ['/model.tflite', { type: 'application/octet-stream', body: model }],
  ]);
  for (const [dtype, program] of Object.entries(programs)) {
    const body = jit.writeProgram(program);
    files.set(`/${dtype}`, { type: 'application/octet-stream', body });
    sizes[`zeropoint ${dtype}`] = body.length;
  }
  const server = await serve(files);
  const profile = await mkdtemp(join(tmpdir(), 'zeropoint-bench-'));
  let browser: Browser | null = null;
  try {
    const { chromium } = (await import('playwright-core' as string)) as Playwright;
    browser = await chromium.launchPersistentContext(profile, { executablePath: CHROMIUM, args: FLAGS });
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    const version = spawnSync(CHROMIUM, ['--version'], { encoding: 'utf8' }).stdout.trim();
    const { times, failed } = await page.evaluate<{ times: PageTimes; failed: Record<string, string> }>(
      `measure(${rounds})`,
    );
    const absent = Object.entries(failed).map(([name, why]) => ({ ...named(name), why }));
    const rows = Object.entries(times).map(([name, values]) => {
      const sorted = values.toSorted((a, b) => a - b);
      return {
        ...named(name),
        medianMs: sorted[Math.floor(sorted.length / 2)],
        minMs: sorted[0],
        cpuMs: null,
        bytes: sizes[name],
        decibels: null,
        rounds,
      };
    });
    return { rows, absent, version };
  } catch (error) {
    return nothing(`failed: ${(error as Error).message.slice(0, 200)}`);
  } finally {
    await browser?.close();
    server.close();
    await rm(profile, { recursive: true, force: true });
  }
}

function named(name: string): Pick<Row, 'model' | 'engine' | 'dtype' | 'threads'> {
  const [engine, dtype] = name.split(' ');
  const inPage = engine === 'zeropoint' ? 'zeropoint in Chromium' : `${engine} in Chromium`;
  return { model: 'mobilenetV2', engine: inPage, dtype: dtype as Row['dtype'], threads: 1 };
}
