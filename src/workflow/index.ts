/** `zeropoint/workflow`: whole jobs as one function each; the command line calls these. */
export { type DemoOptions, demo } from './demo.ts';
export {
  type BestOptions,
  type BestResult,
  formatTrials,
  quantizeBest,
  type Trial,
} from './quantize-best.ts';
export { type QuantizeJob, type QuantizeResult, quantizeCheckpoint } from './quantize-checkpoint.ts';
export { batchesOf, type LoadSamplesOptions, loadSamples, type Samples } from './samples.ts';
