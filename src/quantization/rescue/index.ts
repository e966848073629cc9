/** What brings the accuracy of post-training quantization back: methods that change float models before, or int8 models after. */
export { type AbsorbOptions, type AbsorbResult, absorbHighBias } from './absorb-bias.ts';
export { type ActivationEqualizationOptions, activationEqualization } from './activation-equalization.ts';
export { type BiasCorrectionOptions, biasCorrection } from './bias-correction.ts';
export type { ChannelPair } from './channel-pairs.ts';
export { type CompensatedRoundingOptions, compensatedRounding } from './compensated-rounding.ts';
export { crossLayerEqualization, type EqualizationOptions } from './cross-layer-equalization.ts';
export { type BatchNormOptions, reestimateBatchNorm } from './reestimate-batch-norm.ts';
export { type RunInFloatOptions, runInFloat } from './run-in-float.ts';
