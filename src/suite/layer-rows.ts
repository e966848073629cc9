import { ArgumentError } from '../core/errors.ts';
import { type Column, formatBytes, formatTable } from '../core/table.ts';
import type { AnyModule } from '../nn/module.ts';
import { Tensor } from '../tensor/tensor.ts';
import type { ErrorMetrics } from './error-sums.ts';
import { requireModels } from './require-models.ts';
import type { Batch } from './sites.ts';

/** One layer of a float model beside its int8 form. */
export interface LayerRow extends ErrorMetrics {
  /** Path of the layer, or of the module in which the operator runs; `(output)` for what the model returns. */
  readonly path: string;
  /** What was compared: a weight by its name in state dicts (`weight`, `weight_ih_l0`), or `output`. */
  readonly value: string;
  /** What the float model has there: a class or operator, and what was fused behind it. */
  readonly float: string;
  /** What the int8 model has there. */
  readonly int8: string;
  /** Bytes of the weight in the float model and in the int8 model; null for outputs. */
  readonly bytes: { readonly float: number; readonly int8: number } | null;
  /** Why there is nothing to compare: `only in the int8 model`. Empty otherwise; metrics are NaN where it is not. */
  readonly note: string;
}

/** The rows of `compareWeights`, `compareActivations` and `compareShadows` as a table. */
export function formatLayers(rows: readonly LayerRow[]): string {
  const withBytes = rows.some((r) => r.bytes);
  const withNotes = rows.some((r) => r.note !== '');
  const columns: Column[] = [
    { title: 'layer' },
    { title: 'float' },
    { title: 'int8' },
    { title: 'SQNR', align: 'right' },
    { title: 'cosine', align: 'right' },
    { title: 'L2', align: 'right' },
    { title: 'max error', align: 'right' },
    { title: 'saturated', align: 'right' },
    ...(withBytes ? [{ title: 'bytes', align: 'right' } as const] : []),
    ...(withNotes ? [{ title: 'note' }] : []),
  ];
  return formatTable(
    columns,
    rows.map((r) => [
      r.value === 'output' || r.value === 'weight' ? r.path : `${r.path}.${r.value}`,
      r.float,
      r.int8,
      ...(r.note === ''
        ? [
            formatDecibels(r.sqnr),
            r.cosine.toFixed(6),
            r.normalizedL2.toPrecision(3),
            r.maxError.toPrecision(3),
            formatShare(r.saturation),
          ]
        : ['–', '–', '–', '–', '–']),
      ...(withBytes ? [r.bytes ? `${formatBytes(r.bytes.float)} → ${formatBytes(r.bytes.int8)}` : '–'] : []),
      ...(withNotes ? [r.note] : []),
    ]),
  );
}

/** A signal-to-noise ratio: `26.30 dB`, or `identical`. */
export function formatDecibels(sqnr: number): string {
  return sqnr === Number.POSITIVE_INFINITY ? 'identical' : `${sqnr.toFixed(2)} dB`;
}

/** A share as percent, `–` where there is none. */
export function formatShare(share: number | null): string {
  return share === null ? '–' : `${(100 * share).toFixed(2)} %`;
}

/** The metrics of rows that only one model has. */
export const NOT_COMPARED: ErrorMetrics = {
  elements: 0,
  sqnr: Number.NaN,
  cosine: Number.NaN,
  normalizedL2: Number.NaN,
  maxError: Number.NaN,
  meanError: Number.NaN,
  saturation: null,
};

/**
 * Throws where a model is in training mode: dropout and batch statistics would make two runs differ whatever is quantized.
 *
 * @throws {@link ArgumentError} naming which model.
 */
export function requireEvaluation(fn: string, float: AnyModule, int8: AnyModule): void {
  requireModels(fn, { float, int8 });
  for (const [argument, model] of Object.entries({ float, int8 })) {
    if (!model.training) continue;
    throw new ArgumentError({
      fn,
      argument,
      expected: 'a model in evaluation mode',
      got: `${model.typeName} in training mode`,
      fix: 'Call model.eval() first.',
    });
  }
}

/**
 * The batches one by one.
 *
 * @throws {@link ArgumentError} where there are none, or something else is among them.
 */
export function* eachBatch(fn: string, batches: Iterable<Batch>): Generator<Batch> {
  const fail = (expected: string, got: string): ArgumentError => {
    const fix =
      'Pass a list of inputs, each a tensor or a list of arguments; a generator that was read before is empty.';
    return new ArgumentError({ fn, argument: 'batches', expected, got, fix });
  };
  // A tensor is iterable too: sample by sample.
  if (batches instanceof Tensor || typeof batches?.[Symbol.iterator] !== 'function') {
    throw fail('a list of batches', batches instanceof Tensor ? 'one tensor' : typeof batches);
  }
  let count = 0;
  for (const batch of batches) {
    if (!(batch instanceof Tensor) && !Array.isArray(batch))
      throw fail('tensors or lists of arguments', typeof batch);
    yield batch;
    count++;
  }
  if (count === 0) throw fail('at least one batch of inputs', 'none');
}
