import { locating, QuantizationError } from '../core/errors.ts';
import type { AnyModule } from '../nn/module.ts';
import { dispatch } from '../ops/dispatch.ts';
import { noGrad } from '../ops/grad-mode.ts';
import type { Pattern } from '../quantization/backend/pattern.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { ErrorSums } from './error-sums.ts';
import { eachBatch, type LayerRow, NOT_COMPARED, requireEvaluation } from './layer-rows.ts';
import { type Match, matchRuns, type SitePair, siteType } from './match.ts';
import { type Batch, callAgain, type Run, recordRun, replaceTensors, tensorsIn } from './sites.ts';

/** Two outputs of one layer, as {@link CompareOptions.onOutputs} sees them. */
export interface LayerOutputs {
  readonly path: string;
  /** The float model's class or operator. */
  readonly type: string;
  readonly float: Tensor;
  /** Quantized where the int8 layer gives quantized tensors. */
  readonly int8: Tensor;
}

/** Options of {@link compareActivations} and {@link compareShadows}. */
export interface CompareOptions {
  /**
   * Sees every pair of outputs, batch after batch, to keep or to measure what it likes: what a logger class is in PyTorch.
   * The tensors are dropped afterwards where it does not keep them.
   */
  readonly onOutputs?: (outputs: LayerOutputs) => void;
  /** The rows of your own that were given to `prepare` and `convert`. */
  readonly patterns?: readonly Pattern[];
}

/**
 * How far the outputs of an int8 model's layers are from those of the float model on the same inputs: errors of the layers
 * before are in them, so they show how noise travels. The last row is the model's own output. Sums are kept, not tensors:
 * memory is that of one batch, however many there are.
 *
 * The models may be eager, traced, or made by any flow: layers are found by path, operators by module and kind. A float
 * model that is not fused will do. Prepared models with fake-quantize may stand for the int8 model.
 * Source: `torch.ao.ns._numeric_suite.compare_model_outputs`, and `add_loggers` of `_numeric_suite_fx`.
 *
 * @param batches Inputs: a tensor each, or the list of the model's arguments.
 * @throws {@link ArgumentError} without batches or in training mode.
 * @throws {@link QuantizationError} naming the layer where the models do not correspond.
 * @example
 * const rows = compareActivations(fused, int8, batches);
 * print(formatLayers(rows));
 */
export function compareActivations(
  float: AnyModule,
  int8: AnyModule,
  batches: Iterable<Batch>,
  options: CompareOptions = {},
): LayerRow[] {
  const fn = 'compareActivations';
  return compareRuns(fn, float, int8, batches, options, (table, floatRun, int8Run, { pairs }) => {
    for (const pair of pairs) table.add(pair, pair.floatOutput, pair.int8Output);
    table.addOutputs(floatRun, int8Run);
  });
}

/**
 * How far each int8 layer is from the float layer in its place on the same inputs: those that reach it in the int8 model.
 * Errors of other layers are not in it, so it shows where noise is made. The float layer shadows the int8 one, which
 * goes on with its own output. Source: `torch.ao.ns._numeric_suite.compare_model_stub`, and `add_shadow_loggers` of
 * `_numeric_suite_fx`, which has none for operators of several tensors.
 *
 * @param batches Inputs: a tensor each, or the list of the model's arguments.
 * @throws {@link ArgumentError} without batches or in training mode.
 * @throws {@link QuantizationError} naming the layer where the models do not correspond.
 * @example
 * const worst = compareShadows(fused, int8, batches).sort((a, b) => a.sqnr - b.sqnr)[0];
 */
export function compareShadows(
  float: AnyModule,
  int8: AnyModule,
  batches: Iterable<Batch>,
  options: CompareOptions = {},
): LayerRow[] {
  const fn = 'compareShadows';
  return compareRuns(fn, float, int8, batches, options, (table, floatRun, int8Run, { pairs }) => {
    for (const pair of pairs) table.add(pair, shadowOutput(fn, pair, floatRun, int8Run), pair.int8Output);
  });
}

type AddRun = (table: LayerTable, float: Run, int8: Run, match: Match) => void;

function compareRuns(
  fn: string,
  float: AnyModule,
  int8: AnyModule,
  batches: Iterable<Batch>,
  options: CompareOptions,
  add: AddRun,
): LayerRow[] {
  requireEvaluation(fn, float, int8);
  const { patterns } = options;
  const table = new LayerTable(fn, options.onOutputs);
  for (const batch of eachBatch(fn, batches)) {
    const floatRun = recordRun(float, batch, { patterns });
    const int8Run = recordRun(int8, batch, { patterns });
    const match = matchRuns(floatRun, int8Run, fn, patterns);
    add(table, floatRun, int8Run, match);
    table.note(match);
  }
  return table.rows();
}

/** The output of the float layers on the inputs that their int8 form was given. */
export function shadowOutput(fn: string, pair: SitePair, float: Run, int8: Run): Tensor {
  const [head, ...rest] = pair.float;
  if (!head) return pair.int8.args[0] as Tensor;
  const given = tensorsIn(pair.int8.args).filter(int8.isActivation);
  const expected = tensorsIn(head.args).filter(float.isActivation);
  if (given.length !== expected.length) {
    throw new QuantizationError({
      fn,
      argument: pair.path,
      expected: `${expected.length} tensors that depend on the inputs, as in the float model`,
      got: `${given.length} in the int8 model`,
      fix: 'Pass the float model that the int8 model was made from.',
    });
  }
  const inputs = new Map(expected.map((tensor, i) => [tensor, given[i]]));
  return noGrad(() => {
    const args = replaceTensors(head.args, (t) => {
      const input = inputs.get(t);
      return input ? dispatch('dequantize', input) : t;
    });
    let result = callAgain(head, args as readonly unknown[]);
    for (const site of rest) result = callAgain(site, [tensorsIn(result)[0]]);
    return tensorsIn(result)[0];
  });
}

interface OpenRow {
  readonly path: string;
  readonly float: string;
  readonly int8: string;
  readonly sums: ErrorSums | null;
  readonly note: string;
}

/** Rows by what they compare, in the order in which they were first met. */
class LayerTable {
  readonly #fn: string;
  readonly #onOutputs: ((outputs: LayerOutputs) => void) | undefined;
  readonly #rows = new Map<string, OpenRow>();
  readonly #outputs = new Map<string, OpenRow>();

  constructor(fn: string, onOutputs?: (outputs: LayerOutputs) => void) {
    this.#fn = fn;
    this.#onOutputs = onOutputs;
  }

  add(pair: SitePair, float: Tensor, int8: Tensor): void {
    const types = pair.float.map(siteType);
    const key = pair.int8.module ? pair.path : pair.int8.key;
    const fresh = { path: pair.path, float: types.join(' + ') || '–', int8: siteType(pair.int8) };
    this.#addTo(this.#rows, key, fresh, float, int8);
  }

  /** The tensors that the models return. */
  addOutputs(float: Run, int8: Run): void {
    if (float.outputs.length !== int8.outputs.length) {
      throw new QuantizationError({
        fn: this.#fn,
        argument: '(output)',
        expected: `${float.outputs.length} tensors, as from the float model`,
        got: `${int8.outputs.length} from the int8 model`,
        fix: 'Pass the float model that the int8 model was made from.',
      });
    }
    float.outputs.forEach((output, i) => {
      const path = float.outputs.length === 1 ? '(output)' : `(output ${i})`;
      this.#addTo(this.#outputs, path, { path, float: '', int8: '' }, output, int8.outputs[i]);
    });
  }

  /** Layers that only one of the models has. */
  note({ alone }: Match): void {
    for (const { site, model } of alone) {
      const type = siteType(site);
      const types = model === 'float' ? { float: type, int8: '–' } : { float: '–', int8: type };
      const key = `${model} ${site.module ? site.path : site.key}`;
      const note = `only in the ${model} model`;
      if (!this.#rows.has(key)) this.#rows.set(key, { path: site.path, ...types, sums: null, note });
    }
  }

  rows(): LayerRow[] {
    return [...this.#rows.values(), ...this.#outputs.values()].map(({ sums, ...row }) => ({
      ...row,
      value: 'output',
      ...(sums?.metrics() ?? NOT_COMPARED),
      bytes: null,
    }));
  }

  #addTo(
    rows: Map<string, OpenRow>,
    key: string,
    fresh: Pick<OpenRow, 'path' | 'float' | 'int8'>,
    float: Tensor,
    int8: Tensor,
  ): void {
    let row = rows.get(key);
    if (!row) {
      row = { ...fresh, sums: new ErrorSums(this.#fn), note: '' };
      rows.set(key, row);
    }
    const { sums } = row;
    locating(row.path, row.float, () => sums?.add(float, int8));
    this.#onOutputs?.({ path: row.path, type: row.float, float, int8 });
  }
}
