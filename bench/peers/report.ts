/** Results as tables: on the terminal, and in `RESULTS.md`. */
import { NARROW } from './engines/ours.ts';
import { MODELS } from './models.ts';
import type { Absent, Row } from './row.ts';
import type { RuntimeSize } from './sizes.ts';

export interface Results {
  readonly rows: readonly Row[];
  readonly absent: readonly Absent[];
  readonly sizes: readonly RuntimeSize[];
  /** Machine, engines, date: a line each. */
  readonly setting: readonly string[];
}

/** A ratio that a published claim rests on: how much faster ours is, or takes fewer bytes. */
interface Floor {
  readonly claim: string;
  readonly atLeast: number;
  readonly now: number | null;
  /** The same with vectors of 16 bytes, where that was measured. */
  readonly narrow: number | null;
}

const OURS = 'zeropoint';

function number(x: number): string {
  return x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((h, i) => Math.max(h.length, ...rows.map((row) => row[i].length)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => (i === 0 || i === 2 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(' | ')} |`;
  return [line(head), `|${widths.map((w) => '-'.repeat(w + 2)).join('|')}|`, ...rows.map(line)].join('\n');
}

class Lookup {
  readonly #rows: readonly Row[];

  constructor(rows: readonly Row[]) {
    this.#rows = rows;
  }

  find(model: string, engine: string, dtype: string, threads: number): Row | undefined {
    return this.#rows.find(
      (r) => r.model === model && r.engine === engine && r.dtype === dtype && r.threads === threads,
    );
  }

  /**
   * How much longer `a` takes than `b`. On one thread by processor time, which other work on the machine disturbs least;
   * on more, and in a page, by the shortest runs.
   */
  ratio(a: Row | undefined, b: Row | undefined): number | null {
    if (!a || !b) return null;
    const cpu = a.threads === 1 && b.threads === 1 && a.cpuMs !== null && b.cpuMs !== null;
    return cpu ? (a.cpuMs as number) / (b.cpuMs as number) : a.minMs / b.minMs;
  }
}

/** Theirs over ours, of the same model, form and number of threads. */
function against(row: Row, rows: Lookup): string {
  const place = row.engine.endsWith('in Chromium') ? `${OURS} in Chromium` : OURS;
  const own = rows.find(row.model, place, row.dtype, row.threads);
  if (!own || row.engine === place) return '';
  return `${number(row.medianMs / own.medianMs)} (${number(row.minMs / own.minMs)})`;
}

function output(row: Row): string {
  if (row.engine.startsWith(OURS) || row.engine.startsWith('LiteRT')) return '';
  return row.decibels === null ? 'equal' : `${row.decibels.toFixed(0)} dB`;
}

function modelTable({ rows, absent }: Results): string {
  const lookup = new Lookup(rows);
  const lines: string[][] = [];
  for (const [model, { title }] of Object.entries(MODELS)) {
    for (const threads of [1, 2]) {
      for (const dtype of ['fp32', 'int8'] as const) {
        const here = (r: Row | Absent): boolean =>
          r.model === model && r.threads === threads && r.dtype === dtype;
        for (const row of rows.filter(here)) {
          lines.push([
            title,
            `${threads} × ${dtype}`,
            row.engine,
            number(row.medianMs),
            number(row.minMs),
            row.cpuMs === null ? '' : number(row.cpuMs),
            against(row, lookup),
            row.bytes === null ? '' : `${number(row.bytes / 1e6)} MB`,
            output(row),
          ]);
        }
        for (const { engine, why } of absent.filter(here))
          lines.push([title, `${threads} × ${dtype}`, engine, '–', '–', '', why, '', '']);
      }
    }
  }
  return table(
    ['model', 'threads', 'engine', 'median ms', 'min ms', 'CPU ms', 'theirs / ours', 'file', 'output'],
    lines,
  );
}

/** The ratios that were promised, and where they stand, with what is ours under a name. */
function ratios({ rows, sizes }: Results, name: string): Omit<Floor, 'narrow'>[] {
  const r = new Lookup(rows);
  const web = 'onnxruntime-web';
  const node = 'onnxruntime-node';
  const list: Omit<Floor, 'narrow'>[] = [];
  const add = (claim: string, atLeast: number, now: number | null): void => {
    list.push({ claim, atLeast, now });
  };
  const faster = (
    model: string,
    engine: string,
    dtype: string,
    threads = 1,
    ourType = 'int8',
  ): number | null => r.ratio(r.find(model, engine, dtype, threads), r.find(model, name, ourType, threads));
  const page = (engine: string): Row | undefined => r.find('mobilenetV2', `${engine} in Chromium`, 'int8', 1);
  add('MobileNetV2 int8 over LiteRT.js int8, in Chromium', 1.3, r.ratio(page('LiteRT.js'), page(OURS)));
  add('MobileNetV2 int8 over onnxruntime-web int8', 7, faster('mobilenetV2', web, 'int8'));
  for (const threads of [1, 2]) {
    const both = ['fp32', 'int8'].map((dtype) => faster('mobilenetV2', node, dtype, threads));
    const best = both.some((x) => x === null) ? null : Math.min(...(both as number[]));
    add(
      `MobileNetV2 int8 over onnxruntime-node's better form, ${threads} thread${threads > 1 ? 's' : ''}`,
      1.1,
      best,
    );
  }
  add('ResNet-50 int8 over onnxruntime-web int8', 3, faster('resnet50', web, 'int8'));
  add('ResNet-50 int8 over onnxruntime-node fp32', 1, faster('resnet50', node, 'fp32'));
  add('BERT dynamic over onnxruntime-web dynamic', 2.5, faster('bert', web, 'int8'));
  for (const [model, { title }] of Object.entries(MODELS))
    add(`${title} fp32 over onnxruntime-web fp32`, 1.3, faster(model, web, 'fp32', 1, 'fp32'));
  for (const [model, atLeast] of [
    ['resnet50', 3],
    ['mobilenetV2', 2.5],
    ['bert', 2.5],
  ] as const)
    add(`${MODELS[model].title} int8 over our own fp32`, atLeast, faster(model, name, 'fp32'));
  for (const model of ['resnet50', 'bert']) {
    const now = r.find(model, OURS, 'int8', 2)?.overOneThread ?? null;
    add(`${MODELS[model].title} int8, 2 threads over 1`, 1.75, now);
  }
  const bytes = (engine: string): number | null => sizes.find((s) => s.engine === engine)?.bytes ?? null;
  const [ours, theirs] = [bytes(OURS), bytes(web)];
  add('runtime smaller than onnxruntime-web, gzipped', 10, ours && theirs && theirs / ours);
  return list;
}

function floors(results: Results): Floor[] {
  const narrow = ratios(results, NARROW);
  return ratios(results, OURS).map((floor, i) => ({
    ...floor,
    // What does not depend on it is the same number.
    narrow: narrow[i].now === floor.now ? null : narrow[i].now,
  }));
}

/** The whole report as Markdown. */
export function formatReport(results: Results): string {
  const measured = floors(results).filter((floor) => floor.now !== null);
  const promised = measured.map(({ claim, atLeast, now, narrow }) => [
    claim,
    `${atLeast} ×`,
    `${number(now as number)} × ${(now as number) < atLeast ? '(missed)' : ''}`.trimEnd(),
    narrow === null ? '' : `${number(narrow)} ×`,
  ]);
  const sizes = results.sizes.map(({ engine, what, bytes }) => [
    engine,
    bytes === null ? 'not here' : `${(bytes / 1024).toFixed(0)} KiB`,
    what,
  ]);
  return [
    '# Measured against peers',
    results.setting.map((line) => `- ${line}`).join('\n'),
    [
      'One process a model and number of threads; in every round each engine runs once, slow ones in every second to every',
      'fourth, after the threads of the one before have gone to sleep. Batch 1. Theirs over ours: of medians, and of the',
      'shortest runs in brackets. CPU ms: processor time of the cheapest run, all threads together.',
      'Output: how far theirs is from ours in the same form, in decibels of signal over noise. The peers get our models,',
      'batch norms folded; int8 as QuantizeLinear and DequantizeLinear pairs, or dynamically quantized. LiteRT.js runs',
      'another MobileNetV2 of the same architecture. In Node our kernels are compiled to vectors of 32 bytes; those with 16',
      'are what a page runs.',
    ].join('\n'),
    modelTable(results),
    '## How ours compares',
    [
      'On one thread by processor time, which other work on the machine disturbs least; on two, and in pages, by the shortest',
      'runs. Two threads over one: the median of up to thirty pairs of runs, in turn in one process.',
    ].join('\n'),
    table(['what', 'at least', 'now', 'with 16-byte vectors'], promised),
    '## What a page downloads to run a model, gzipped',
    table(['engine', 'size', 'of what'], sizes),
    '',
  ].join('\n\n');
}
