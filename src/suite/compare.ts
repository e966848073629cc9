import { formatBytes, formatTable } from '../core/table.ts';
import type { AnyModule } from '../nn/module.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { collectOutputs, measureLatency } from './evaluate.ts';
import { sqnr, top1Accuracy, top1Agreement } from './metrics.ts';

/** One model of a comparison. The first is the reference the others are held against. */
export interface Variant {
  readonly name: string;
  readonly model: AnyModule;
  /** Size of its file, where there is one. */
  readonly bytes?: number;
}

/** What {@link compareVariants} needs to know. */
export interface ComparisonInput {
  /** Inputs in batches; called once for each variant. */
  readonly batches: () => Iterable<Tensor>;
  /** Class index per sample, or null where there are none. */
  readonly labels: Tensor | null;
  /** What one latency measurement runs: usually a single sample. */
  readonly latencyInput: Tensor;
  /** Called while it works: which variant, and how many samples it has seen. */
  readonly onProgress?: (variant: string, samples: number) => void;
}

/** One row of a comparison. */
export interface VariantReport {
  readonly name: string;
  /** Share of samples whose first class is the label; null without labels. */
  readonly top1: number | null;
  /** Share of samples on which it agrees with the reference about the first class. */
  readonly agreement: number;
  /** Signal-to-noise of its logits against the reference's, in dB over all samples; infinite for the reference. */
  readonly sqnr: number;
  readonly bytes: number | null;
  readonly medianMs: number;
  readonly minMs: number;
}

/**
 * Answers whether quantized variants are still right, smaller and faster: accuracy, agreement with the reference,
 * signal-to-noise ratio, file size, and latency measured in turn.
 *
 * @param variants The float model first.
 * @example
 * const rows = compareVariants([{ name: 'float', model }, { name: 'int8', model: int8 }], { batches, labels, latencyInput });
 * print(formatComparison(rows));
 */
export function compareVariants(variants: readonly Variant[], input: ComparisonInput): VariantReport[] {
  const outputs = variants.map(({ name, model }) =>
    collectOutputs(model, input.batches(), (samples) => input.onProgress?.(name, samples)),
  );
  const latency = measureLatency(
    Object.fromEntries(variants.map(({ name, model }) => [name, () => model(input.latencyInput)])),
  );
  return variants.map(({ name, bytes }, i) => ({
    name,
    top1: input.labels && top1Accuracy(outputs[i], input.labels),
    agreement: top1Agreement(outputs[0], outputs[i]),
    sqnr: sqnr(outputs[0], outputs[i]),
    bytes: bytes ?? null,
    ...latency[name],
  }));
}

/** The rows of {@link compareVariants} as a table, each beside its ratio to the first. */
export function formatComparison(rows: readonly VariantReport[]): string {
  const [reference] = rows;
  const percent = (v: number | null): string => (v === null ? '–' : `${(100 * v).toFixed(2)} %`);
  return formatTable(
    [
      { title: 'model' },
      { title: 'top-1', align: 'right' },
      { title: 'agreement', align: 'right' },
      { title: 'SQNR', align: 'right' },
      { title: 'bytes', align: 'right' },
      { title: 'of float', align: 'right' },
      { title: 'latency', align: 'right' },
      { title: 'speed-up', align: 'right' },
    ],
    rows.map((r) => [
      r.name,
      percent(r.top1),
      percent(r.agreement),
      r === reference ? '–' : Number.isFinite(r.sqnr) ? `${r.sqnr.toFixed(2)} dB` : 'identical',
      r.bytes === null ? '–' : formatBytes(r.bytes),
      r.bytes === null || reference.bytes === null
        ? '–'
        : `${((100 * r.bytes) / reference.bytes).toFixed(1)} %`,
      `${r.medianMs.toFixed(2)} ms`,
      `${(reference.medianMs / r.medianMs).toFixed(2)}×`,
    ]),
  );
}
