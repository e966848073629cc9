/**
 * Our programs against the runtimes a JavaScript user could pick instead, in float and int8, on 1 and 2 threads.
 *
 *   npm run bench                                        everything
 *   npm run bench -- --models mobilenetV2,bert --engines zeropoint,onnxruntime-web --threads 1 --rounds 30
 *   npm run bench -- --seconds 60                        more time for every model and number of threads
 *   npm run bench -- --json rows.json                    rows of {model, engine, dtype, threads, medianMs, minMs, bytes}
 *   npm run bench -- --write                             keeps the tables in bench/RESULTS.md
 *
 * The peers are installed into bench/node_modules on first use, without their install scripts. LiteRT.js runs in
 * Chromium (`CHROMIUM`, else /usr/bin/chromium) on `mobilenet_v2_int8.tflite` from the folder in `ZEROPOINT_DATA`.
 */
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { engine } from '../src/kernels/engine.ts';
import { measureInBrowser } from './peers/browser/run.ts';
import { NARROW } from './peers/engines/ours.ts';
import { MODELS } from './peers/models.ts';
import { installPeers, type Versions } from './peers/packages.ts';
import { formatReport } from './peers/report.ts';
import type { Absent, Job, Message, Row } from './peers/row.ts';
import { runtimeSizes } from './peers/sizes.ts';

const ENGINES = ['zeropoint', 'onnxruntime-web', 'onnxruntime-node', 'tfjs-wasm', 'litert'];

const { values: flags } = parseArgs({
  options: {
    models: { type: 'string', default: Object.keys(MODELS).join() },
    engines: { type: 'string', default: ENGINES.join() },
    threads: { type: 'string', default: '1,2' },
    rounds: { type: 'string', default: '20' },
    seconds: { type: 'string', default: '20' },
    json: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
});

function listed(flag: string, text: string, known: readonly string[]): string[] {
  const names = text.split(',').filter((name) => name !== '');
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length === 0) return names;
  console.error(`--${flag} takes ${known.join(', ')}; got ${unknown.join(', ')}`);
  process.exit(2);
}

const models = listed('models', flags.models, Object.keys(MODELS));
const engines = listed('engines', flags.engines, ENGINES);
const threads = listed('threads', flags.threads, ['1', '2']).map(Number);
const rounds = Number(flags.rounds);
if (!(rounds >= 1)) {
  console.error(`--rounds takes a number from 1; got ${flags.rounds}`);
  process.exit(2);
}

const seconds = Number(flags.seconds);
if (!(seconds > 0)) {
  console.error(`--seconds takes a positive number; got ${flags.seconds}`);
  process.exit(2);
}

/** Shows where the work is: over itself on a terminal, else only what begins. */
function showProgress(job: string, text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${job}: ${text}`);
  else if (!text.startsWith('round')) process.stderr.write(`${job}: ${text}\n`);
}

/** Runs a measuring process and collects what it says. */
async function measure(job: Job, title: string): Promise<{ rows: Row[]; absent: Absent[] }> {
  const script = fileURLToPath(new URL('peers/measure.ts', import.meta.url));
  const child = spawn(process.execPath, [script, JSON.stringify(job)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const rows: Row[] = [];
  const absent: Absent[] = [];
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  for await (const line of createInterface({ input: child.stdout })) {
    // Engines print here too.
    if (!line.startsWith('{')) continue;
    const message = JSON.parse(line) as Message;
    if ('row' in message) rows.push(message.row);
    else if ('absent' in message) absent.push(message.absent);
    else showProgress(title, message.progress);
  }
  const code = await ended;
  if (code !== 0) console.error(`${title}: the process ended with ${code}`);
  return { rows, absent };
}

function setting(versions: Versions, chromium: string | null): string[] {
  const [cpu] = cpus();
  const info = process.platform === 'linux' ? readFileSync('/proc/cpuinfo', 'utf8') : '';
  const dots = ['avx_vnni', 'avx512_vnni', 'amx_int8'].filter((flag) => info.includes(flag));
  const packages = Object.entries(versions)
    .filter(([name]) => name !== 'protobufjs' && name !== 'rolldown' && name !== 'playwright-core')
    .map(([name, version]) => `${name} ${version ?? 'could not be had'}`);
  return [
    `${new Date().toISOString().slice(0, 10)}, ${cpus().length} × ${cpu.model}${dots.length ? ` (${dots.join(', ')})` : ''}, ${process.platform}`,
    `Node ${process.versions.node}, ${chromium ?? 'no Chromium'}; our kernels: ${engine.build}`,
    packages.join(', '),
    `\`npm run bench -- --rounds ${rounds} --seconds ${seconds}\`; load average at the start ${LOAD.toFixed(1)}`,
  ];
}

const rows: Row[] = [];
const absent: Absent[] = [];

/** What else the machine was doing: above the number of cores, times by the clock say little. */
const [LOAD] = loadavg();
const versions = installPeers();
const inNode = engines.filter((name) => name !== 'litert');
const here = inNode.filter((name) => {
  const needed = name === 'tfjs-wasm' ? '@tensorflow/tfjs-backend-wasm' : name;
  return name === 'zeropoint' || versions[needed] !== undefined;
});
let chromium: string | null = null;
if (engines.includes('litert') && models.includes('mobilenetV2')) {
  showProgress('Chromium', 'MobileNetV2 in a page');
  const page = await measureInBrowser(rounds);
  rows.push(...page.rows);
  absent.push(...page.absent);
  chromium = page.version;
}
const sizes = await runtimeSizes();

/** Keeps what there is so far, so that a run that is broken off leaves something. */
function publish(): string {
  const report = formatReport({ rows, absent, sizes, setting: setting(versions, chromium) });
  if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(rows, null, 1)}\n`);
  if (flags.write) writeFileSync(new URL('RESULTS.md', import.meta.url), report);
  return report;
}

/** Ours as hosts run it that do not compile to wide vectors: in turn with the rest, where that is another thing. */
const narrow = engine.build === 'wide' && here.includes('zeropoint') ? [NARROW] : [];
const jobs = threads.flatMap((n) =>
  models.map((model) => ({
    model,
    threads: n,
    rounds,
    seconds,
    engines: [...here, ...(n === 1 ? narrow : [])],
  })),
);
for (const [i, job] of jobs.entries()) {
  if (here.length === 0) break;
  const title = `[${i + 1}/${jobs.length}] ${MODELS[job.model].title}, ${job.threads} thread${job.threads > 1 ? 's' : ''}`;
  const found = await measure(job, title);
  rows.push(...found.rows);
  absent.push(...found.absent);
  for (const missing of inNode.filter((name) => !here.includes(name)))
    absent.push({
      model: job.model,
      engine: missing,
      dtype: 'fp32',
      threads: job.threads,
      why: 'could not be installed',
    });
  publish();
}
if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');

console.log(publish());
