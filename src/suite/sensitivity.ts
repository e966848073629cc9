import { type Column, formatTable } from '../core/table.ts';
import type { AnyModule } from '../nn/module.ts';
import type { Pattern } from '../quantization/backend/pattern.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { ErrorSums } from './error-sums.ts';
import { eachBatch, formatDecibels, requireEvaluation } from './layer-rows.ts';
import { top1Agreement } from './metrics.ts';
import { type MixedLayer, MixedModels } from './mixed-model.ts';
import { type Batch, tensorsIn } from './sites.ts';

/** How good a model is, held against the float model. */
export interface Score {
  /** Signal-to-noise ratio of its outputs over all batches, in dB. */
  readonly sqnr: number;
  /** Share of samples on which both put the same class first; null where the first output is not [N, classes]. */
  readonly agreement: number | null;
  /** What the caller's metric says; null without one. */
  readonly metric: number | null;
}

/** What one layer does to a model. */
export interface SensitivityRow extends MixedLayer {
  /** The int8 model with this layer in float. */
  readonly returned: Score | null;
  /** The float model with this layer in int8. */
  readonly alone: Score | null;
  /** What returning it to float brings: in the metric where there is one, otherwise in dB. NaN where that was not tried. */
  readonly gain: number;
}

/** What {@link sensitivity} found. */
export interface Sensitivity {
  /** The float model: infinite SQNR, full agreement, and its metric. */
  readonly float: Score;
  readonly int8: Score;
  /** The most sensitive layer first. */
  readonly rows: readonly SensitivityRow[];
}

/** Options of {@link sensitivity}. */
export interface SensitivityOptions {
  /**
   * The caller's own score of a model, higher is better: accuracy on labelled data, say. The model takes and gives what the
   * float model does. Without it layers are ranked by SQNR, which needs no labels.
   */
  readonly metric?: (model: AnyModule) => number;
  /**
   * Which layers to try: paths of layers, or of modules that are then tried as a whole. Every layer that runs in both models
   * and makes noise of its own where not given.
   */
  readonly layers?: readonly string[];
  /** `returned`: each layer in float, the others in int8. `alone`: each in int8, the others in float. Both where not given. */
  readonly direction?: 'returned' | 'alone' | 'both';
  /** Called after every layer of every batch, which are counted from 0. */
  readonly onProgress?: (path: string, batch: number) => void;
  /** The rows of your own that were given to `prepare` and `convert`. */
  readonly patterns?: readonly Pattern[];
}

/**
 * Which layers lose the accuracy: each is returned to float in the int8 model, and quantized alone in the float model. The
 * models run mixed, layer by layer from one or the other, so nothing is calibrated or converted again, and eager models,
 * graphs and others are treated alike. A returned layer reads what the int8 layers before it give and, unless the next one
 * is float too, is rounded as before behind it: what `qconfig = null` for this layer would give, up to what the layers behind it
 * observe. Rows are ranked by `gain`; by the noise of the layer alone where only that was tried.
 *
 * @param batches Inputs: a tensor each, or the list of the model's arguments. What a batch gives in both models is kept while
 *   its layers are tried, so that only what comes after a layer runs again.
 * @throws {@link ArgumentError} without batches, in training mode, or for layers that do not exist.
 * @throws {@link QuantizationError} where the models do not correspond.
 * @example
 * const found = sensitivity(float, int8, batches, { metric: (m) => top1Accuracy(collectOutputs(m, test), labels) });
 * print(formatSensitivity(found));
 * const worst = found.rows.slice(0, 4).map((r) => r.path); // keep these float: qconfig null, or setModuleName(path, null)
 */
export function sensitivity(
  float: AnyModule,
  int8: AnyModule,
  batches: Iterable<Batch>,
  options: SensitivityOptions = {},
): Sensitivity {
  const fn = 'sensitivity';
  requireEvaluation(fn, float, int8);
  const { direction = 'both', metric, onProgress } = options;
  const base = new Scorer();
  let mixed: MixedModels | null = null;
  let trials: Trial[] = [];
  let count = 0;
  for (const batch of eachBatch(fn, batches)) {
    if (!mixed) {
      mixed = new MixedModels(float, int8, batch, fn, options.patterns);
      trials = chosenLayers(mixed.layers(), options.layers).map((layer) => trialOf(layer, direction));
    }
    const recording = mixed.record(batch);
    const wanted = recording.float.outputs;
    base.add(wanted, recording.int8.outputs);
    for (const { path, returned, alone } of trials) {
      returned?.add(wanted, tensorsIn(mixed.rerun('int8', [path], recording)));
      alone?.add(wanted, tensorsIn(mixed.rerun('float', [path], recording)));
      onProgress?.(path, count);
    }
    count++;
  }
  const models = mixed as unknown as MixedModels;
  const before = base.score(metric?.(int8));
  const rows = trials.map(({ path, type, returned, alone }): SensitivityRow => {
    const inFloat = returned?.score(metric?.(models.model('int8', [path]))) ?? null;
    const inInt8 = alone?.score(metric?.(models.model('float', [path]))) ?? null;
    const gain = inFloat ? gainOf(before, inFloat) : Number.NaN;
    return { path, type, returned: inFloat, alone: inInt8, gain };
  });
  return {
    float: {
      sqnr: Number.POSITIVE_INFINITY,
      agreement: before.agreement === null ? null : 1,
      metric: metric ? metric(float) : null,
    },
    int8: before,
    rows: rows.sort(bySensitivity),
  };
}

/** The result of {@link sensitivity} as a table, `limit` rows of it. */
export function formatSensitivity(found: Sensitivity, limit: number = found.rows.length): string {
  const { rows, float, int8 } = found;
  const withMetric = int8.metric !== null;
  const withAgreement = int8.agreement !== null;
  const cells = (score: Score | null): string[] => {
    if (!score) return ['–', ...(withAgreement ? ['–'] : []), ...(withMetric ? ['–'] : [])];
    return [
      formatDecibels(score.sqnr),
      ...(withAgreement ? [`${(100 * (score.agreement ?? 0)).toFixed(1)} %`] : []),
      ...(withMetric ? [(score.metric as number).toPrecision(4)] : []),
    ];
  };
  const group = (title: string): Column[] =>
    [title, ...(withAgreement ? ['agreement'] : []), ...(withMetric ? ['metric'] : [])].map((t) => ({
      title: t,
      align: 'right',
    }));
  const hasBoth = rows.some((r) => r.returned) && rows.some((r) => r.alone);
  const second = hasBoth || rows.some((r) => r.alone);
  const first = hasBoth || rows.some((r) => r.returned);
  return formatTable(
    [
      { title: 'layer' },
      { title: 'type' },
      ...(first ? group('in float') : []),
      ...(first ? [{ title: 'gain', align: 'right' } as const] : []),
      ...(second ? group('alone in int8') : []),
    ],
    [
      ['(int8 model)', '', ...(first ? [...cells(int8), ''] : []), ...(second ? cells(float) : [])],
      ...rows
        .slice(0, limit)
        .map((r) => [
          r.path,
          r.type,
          ...(first ? [...cells(r.returned), formatGain(r.gain, withMetric)] : []),
          ...(second ? cells(r.alone) : []),
        ]),
    ],
  );
}

function formatGain(gain: number, isMetric: boolean): string {
  const sign = gain >= 0 ? '+' : '−';
  return isMetric ? `${sign}${Math.abs(gain).toPrecision(3)}` : `${sign}${Math.abs(gain).toFixed(2)} dB`;
}

function chosenLayers(all: readonly MixedLayer[], paths: readonly string[] | undefined): MixedLayer[] {
  if (!paths) return [...all];
  return paths.map((path) => ({ path, type: all.find((layer) => layer.path === path)?.type ?? '' }));
}

function gainOf(base: Score, returned: Score): number {
  return returned.metric !== null && base.metric !== null
    ? returned.metric - base.metric
    : returned.sqnr - base.sqnr;
}

/** By gain, and where that is equal or was not tried by the noise that remains or that the layer makes. */
function bySensitivity(a: SensitivityRow, b: SensitivityRow): number {
  if (a.gain !== b.gain && !Number.isNaN(a.gain)) return b.gain - a.gain;
  if (a.returned && b.returned) return b.returned.sqnr - a.returned.sqnr;
  return (a.alone?.sqnr ?? 0) - (b.alone?.sqnr ?? 0);
}

/** A layer that is being tried. */
interface Trial extends MixedLayer {
  readonly returned: Scorer | null;
  readonly alone: Scorer | null;
}

function trialOf(layer: MixedLayer, direction: 'returned' | 'alone' | 'both'): Trial {
  return {
    ...layer,
    returned: direction === 'alone' ? null : new Scorer(),
    alone: direction === 'returned' ? null : new Scorer(),
  };
}

/** Adds up how far a model's outputs are from the float model's. */
class Scorer {
  readonly #sums = new ErrorSums('sensitivity');
  #agreeing = 0;
  #samples = 0;

  add(wanted: readonly Tensor[], outputs: readonly Tensor[]): void {
    wanted.forEach((float, i) => {
      this.#sums.add(float, outputs[i]);
    });
    const [logits] = wanted;
    if (logits.ndim !== 2 || logits.shape[1] < 2) return;
    this.#agreeing += top1Agreement(logits, outputs[0]) * logits.shape[0];
    this.#samples += logits.shape[0];
  }

  score(metric: number | undefined): Score {
    return {
      sqnr: this.#sums.metrics().sqnr,
      agreement: this.#samples === 0 ? null : this.#agreeing / this.#samples,
      metric: metric ?? null,
    };
  }
}
