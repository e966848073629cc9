/**
 * Kernel speed on one thread: int8 against float32, for each build that this engine runs.
 *
 *   node bench/kernels.ts [--rounds 15] [--filter gemm,conv]   on this Node
 *   node bench/kernels.ts --all-nodes                     on Node 22, 24 and 26 from npm, in one table
 *
 * Operations, builds and Node versions take turns in every round, so that drift of the machine meets all alike. Printed are
 * median and best rates over the rounds, and the ratio of int8 to float32 from the best ones. Where a median lies far below
 * its best, other work shared the machine.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { arch, cpus, platform, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { formatTable } from '../src/core/table.ts';
import { type KernelBuild, supportedBuilds } from '../src/kernels/engine.ts';
import { int8Comparisons } from './kernels/int8.ts';

/** Rates of one line, one entry a round. */
interface Series {
  readonly name: string;
  readonly build: KernelBuild;
  readonly unit: string;
  readonly int8: number[];
  readonly f32: number[];
}

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    filter: { type: 'string', default: '' },
    'all-nodes': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});

const WARM_UP_MS = 60;

/** Work per nanosecond. */
function rate(work: number, run: () => void): number {
  const start = performance.now();
  run();
  return work / ((performance.now() - start) * 1e6);
}

function measure(rounds: number): Series[] {
  const builds = supportedBuilds();
  const lines = builds.flatMap((build) =>
    int8Comparisons(build)
      .filter(({ name }) => flags.filter.split(',').some((part) => name.includes(part)))
      .map((comparison) => {
        // The optimizing compiler works beside us: give it time before the clock starts.
        const until = performance.now() + WARM_UP_MS;
        do {
          comparison.int8();
          comparison.f32?.();
        } while (performance.now() < until);
        const { name, unit } = comparison;
        return { comparison, series: { name, build, unit, int8: [], f32: [] } as Series };
      }),
  );
  if (lines.length === 0) throw new Error(`no kernel's name contains any of: ${flags.filter}`);
  for (let round = 0; round < rounds; round++) {
    for (const { comparison, series } of lines) {
      series.int8.push(rate(comparison.work, comparison.int8));
      if (comparison.f32) series.f32.push(rate(comparison.work, comparison.f32));
    }
  }
  return lines.map(({ series }) => series);
}

/** Installs one Node version of npm's platform packages (no install script involved) and returns its binary. */
function installNode(version: string, dir: string): string {
  const name = `node-${platform() === 'win32' ? 'win' : platform()}-${arch()}`;
  const options = ['--no-save', '--no-audit', '--no-fund', '--loglevel=error'];
  execFileSync('npm', ['install', '--prefix', join(dir, version), ...options, `${name}@${version}`], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return join(dir, version, 'node_modules', name, 'bin', platform() === 'win32' ? 'node.exe' : 'node');
}

function measureElsewhere(binary: string, rounds: number): Series[] {
  const args = [import.meta.filename, '--json', '--rounds', String(rounds), '--filter', flags.filter];
  const child = spawnSync(binary, args, { encoding: 'utf8', maxBuffer: 1 << 26 });
  if (child.status !== 0) throw new Error(`${binary} failed:\n${child.stderr}`);
  return JSON.parse(child.stdout) as Series[];
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}

function printTable(results: ReadonlyMap<string, readonly Series[]>): void {
  const rows: string[][] = [];
  const names = new Set([...results.values()].flatMap((list) => list.map(({ name }) => name)));
  for (const name of names) {
    for (const [node, list] of results) {
      for (const series of list.filter((s) => s.name === name)) {
        const { int8, f32 } = series;
        const show = (values: readonly number[]): string[] =>
          values.length ? [median(values).toFixed(1), Math.max(...values).toFixed(1)] : ['', ''];
        const ratio = f32.length ? (Math.max(...int8) / Math.max(...f32)).toFixed(2) : '';
        rows.push([name, node, series.build, series.unit, ...show(int8), ...show(f32), ratio]);
      }
    }
  }
  const titles = ['kernel', 'node', 'build', 'unit'];
  const numbers = ['int8 median', 'int8 best', 'f32 median', 'f32 best', 'int8/f32 ratio'];
  console.log(
    formatTable(
      [
        ...titles.map((title) => ({ title })),
        ...numbers.map((title) => ({ title, align: 'right' as const })),
      ],
      rows,
    ),
  );
}

function merge(all: Map<string, Series[]>, node: string, fresh: readonly Series[]): void {
  const known = all.get(node) ?? [];
  for (const series of fresh) {
    const same = known.find(({ name, build }) => name === series.name && build === series.build);
    if (!same) known.push(series);
    else {
      same.int8.push(...series.int8);
      same.f32.push(...series.f32);
    }
  }
  all.set(node, known);
}

function main(): void {
  const rounds = Number(flags.rounds);
  if (flags.json) {
    console.log(JSON.stringify(measure(rounds)));
    return;
  }
  const results = new Map<string, Series[]>();
  console.log(
    `${cpus()[0].model}, one thread, ${rounds} rounds; rates are work per second, higher is better`,
  );
  if (!flags['all-nodes']) {
    merge(results, process.version, measure(rounds));
    printTable(results);
    return;
  }
  const dir = mkdtempSync(join(tmpdir(), 'zeropoint-nodes-'));
  try {
    const binaries = ['22', '24', '26'].map((version) => installNode(version, dir));
    const perTurn = 5;
    for (let done = 0; done < rounds; done += perTurn) {
      for (const binary of binaries) {
        const version = execFileSync(binary, ['--version'], { encoding: 'utf8' }).trim();
        merge(results, version, measureElsewhere(binary, Math.min(perTurn, rounds - done)));
      }
    }
    printTable(results);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

main();
