/** `zeropoint/suite`: is it still right, is it smaller, is it faster. */
export {
  type ComparisonInput,
  compareVariants,
  formatComparison,
  type Variant,
  type VariantReport,
} from './compare.ts';
export { type CoverageRow, coverage, formatCoverage } from './coverage.ts';
export { collectOutputs, type Latency, measureLatency } from './evaluate.ts';
export { cosineSimilarity, maxError, normalizedL2, sqnr, top1Accuracy, top1Agreement } from './metrics.ts';
