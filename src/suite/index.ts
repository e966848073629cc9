/** `zeropoint/suite`: is it still right, is it smaller, is it faster, and which layer is to blame. */
export {
  type ComparisonInput,
  compareVariants,
  formatComparison,
  type Variant,
  type VariantReport,
} from './compare.ts';
export {
  type CompareOptions,
  compareActivations,
  compareShadows,
  type LayerOutputs,
} from './compare-runs.ts';
export { compareWeights } from './compare-weights.ts';
export { type CoverageRow, coverage, formatCoverage } from './coverage.ts';
export { type Cause, type CauseLabel, type Diagnosis, diagnose, formatDiagnoses } from './diagnose.ts';
export { type ErrorMetrics, ErrorSums } from './error-sums.ts';
export { collectOutputs, type Latency, measureLatency } from './evaluate.ts';
export {
  formatLatencies,
  type LatencyRow,
  type LayerLatencyOptions,
  latencyByLayer,
} from './layer-latency.ts';
export { formatLayers, type LayerRow } from './layer-rows.ts';
export { formatSizes, type SizeRow, sizeByLayer } from './layer-size.ts';
export { cosineSimilarity, maxError, normalizedL2, sqnr, top1Accuracy, top1Agreement } from './metrics.ts';
export {
  formatSensitivity,
  type Score,
  type Sensitivity,
  type SensitivityOptions,
  type SensitivityRow,
  sensitivity,
} from './sensitivity.ts';
export type { Batch } from './sites.ts';
