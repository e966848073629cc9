import { ArgumentError } from '../core/errors.ts';
import { type Column, formatTable } from '../core/table.ts';
import type { AnyModule } from '../nn/module.ts';
import { noGrad } from '../ops/grad-mode.ts';
import type { Pattern } from '../quantization/backend/pattern.ts';
import { type Latency, latencyOf } from './evaluate.ts';
import { requireEvaluation } from './layer-rows.ts';
import { crosses, isMove, matchRuns, siteType } from './match.ts';
import { argumentsOf, type Batch, type Run, recordRun, type Site } from './sites.ts';

/** The time one layer takes in both models. */
export interface LatencyRow {
  /** Path of the layer, or of the module in which the operator runs; in parentheses what is no layer. */
  readonly path: string;
  /** What each model has there; empty where it has nothing. */
  readonly float: string;
  readonly int8: string;
  /** Times in milliseconds, all calls of one run together; null where a model has nothing there. */
  readonly floatLatency: Latency | null;
  readonly int8Latency: Latency | null;
}

/** Options of {@link latencyByLayer}. */
export interface LayerLatencyOptions {
  /** Timed rounds after three that only warm up; 15 where not given. */
  readonly rounds?: number;
  /** The rows of your own that were given to `prepare` and `convert`. */
  readonly patterns?: readonly Pattern[];
}

/**
 * Where the time goes: every layer of a float and an int8 model, both run in turn, round by round, so that a machine's
 * drift hits them alike. `(quantize)` and `(dequantize)` are what crossing between float and int8 costs, `(moves)` what
 * rearranging elements costs, `(model)` is a whole run that nobody watches. The rest of the model's time is its own code
 * between the layers.
 *
 * @param input One batch: what a single run takes.
 * @throws {@link ArgumentError} in training mode or for less than one round.
 * @throws {@link QuantizationError} where the models do not correspond.
 * @example
 * print(formatLatencies(latencyByLayer(float, int8, x)));
 */
export function latencyByLayer(
  float: AnyModule,
  int8: AnyModule,
  input: Batch,
  options: LayerLatencyOptions = {},
): LatencyRow[] {
  const fn = 'latencyByLayer';
  const { rounds = 15, patterns } = options;
  requireEvaluation(fn, float, int8);
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new ArgumentError({
      fn,
      argument: 'rounds',
      expected: 'a whole number from 1',
      got: String(rounds),
    });
  }
  const rows = new Rows(
    recordRun(float, input, { patterns }),
    recordRun(int8, input, { patterns }),
    fn,
    patterns,
  );
  const models = [float, int8];
  const clocks = models.map(() => new Clock());
  for (let round = -3; round < rounds; round++) {
    models.forEach((model, i) => {
      const start = performance.now();
      noGrad(() => model(...argumentsOf(input)));
      const whole = performance.now() - start;
      clocks[i].run(model, input, patterns, round >= 0, whole);
    });
  }
  return rows.timed(clocks[0], clocks[1]);
}

/** The rows of {@link latencyByLayer} as a table: medians, and shares of the whole int8 model. */
export function formatLatencies(rows: readonly LatencyRow[]): string {
  const columns: Column[] = [
    { title: 'layer' },
    { title: 'float' },
    { title: 'int8' },
    { title: 'float ms', align: 'right' },
    { title: 'int8 ms', align: 'right' },
    { title: 'speed-up', align: 'right' },
    { title: 'of int8', align: 'right' },
  ];
  const whole = rows.find((r) => r.path === WHOLE)?.int8Latency?.medianMs ?? Number.NaN;
  const ms = (latency: Latency | null): string => (latency ? latency.medianMs.toFixed(3) : '–');
  return formatTable(
    columns,
    rows.map(({ path, float, int8, floatLatency, int8Latency }) => [
      path,
      float,
      int8,
      ms(floatLatency),
      ms(int8Latency),
      floatLatency && int8Latency
        ? `${(floatLatency.medianMs / Math.max(int8Latency.medianMs, 1e-6)).toFixed(2)}×`
        : '–',
      int8Latency ? `${((100 * int8Latency.medianMs) / whole).toFixed(1)} %` : '–',
    ]),
  );
}

const WHOLE = '(model)';

/** Times of one model, by call and round. */
class Clock {
  readonly #times = new Map<string, number[]>();

  run(
    model: AnyModule,
    input: Batch,
    patterns: readonly Pattern[] | undefined,
    counts: boolean,
    whole: number,
  ): void {
    const spent = new Map<string, number>([[WHOLE, whole]]);
    recordRun(model, input, {
      patterns,
      keep: false,
      around: (call, run) => {
        const start = performance.now();
        const result = run(call.args);
        spent.set(call.key, performance.now() - start);
        return result;
      },
    });
    if (!counts) return;
    for (const [key, ms] of spent) {
      const list = this.#times.get(key);
      if (list) list.push(ms);
      else this.#times.set(key, [ms]);
    }
  }

  /** What these calls take together; null for none. */
  latency(keys: readonly string[]): Latency | null {
    if (keys.length === 0) return null;
    const lists = keys.map((key) => this.#times.get(key) ?? []);
    return latencyOf(lists[0].map((_, round) => lists.reduce((sum, list) => sum + (list[round] ?? 0), 0)));
  }
}

interface OpenRow {
  readonly path: string;
  float: string;
  int8: string;
  readonly floatKeys: string[];
  readonly int8Keys: string[];
}

/** Which calls make which row. */
class Rows {
  readonly #rows = new Map<string, OpenRow>();

  constructor(float: Run, int8: Run, fn: string, patterns?: readonly Pattern[]) {
    const { pairs, alone } = matchRuns(float, int8, fn, patterns);
    const taken = new Set<Site>();
    for (const pair of pairs) {
      const row = this.#row(pair.path);
      row.float = pair.float.map(siteType).join(' + ');
      row.int8 = siteType(pair.int8);
      row.floatKeys.push(...pair.float.map((s) => s.key));
      row.int8Keys.push(pair.int8.key);
      for (const site of [...pair.float, pair.int8]) taken.add(site);
    }
    for (const { site, model } of alone) this.#add(site.path, site, model, taken);
    for (const [model, run] of [
      ['float', float],
      ['int8', int8],
    ] as const) {
      for (const site of run.sites) {
        if (taken.has(site)) continue;
        const quantizes = site.op !== 'dequantize' && !siteType(site).startsWith('DeQuant');
        this.#add(
          crosses(site) ? (quantizes ? '(quantize)' : '(dequantize)') : isMove(site) ? '(moves)' : site.path,
          site,
          model,
          taken,
        );
      }
    }
  }

  timed(float: Clock, int8: Clock): LatencyRow[] {
    const rows = [...this.#rows.values()].map(
      (row): LatencyRow => ({
        path: row.path,
        float: row.float,
        int8: row.int8,
        floatLatency: float.latency(row.floatKeys),
        int8Latency: int8.latency(row.int8Keys),
      }),
    );
    const whole = { floatLatency: float.latency([WHOLE]), int8Latency: int8.latency([WHOLE]) };
    return [...rows, { path: WHOLE, float: '', int8: '', ...whole }];
  }

  #add(path: string, site: Site, model: 'float' | 'int8', taken: Set<Site>): void {
    const row = this.#row(path);
    if (!path.startsWith('(')) row[model] ||= siteType(site);
    (model === 'float' ? row.floatKeys : row.int8Keys).push(site.key);
    taken.add(site);
  }

  #row(path: string): OpenRow {
    const row = this.#rows.get(path) ?? { path, float: '', int8: '', floatKeys: [], int8Keys: [] };
    this.#rows.set(path, row);
    return row;
  }
}
