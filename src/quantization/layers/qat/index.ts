/** `nn.qat`: float layers with fake-quantized weights, for quantization-aware training. */
export { Conv1d, Conv2d, Conv3d, type QatConvOptions } from './conv.ts';
export * as dynamic from './dynamic.ts';
export {
  Embedding,
  EmbeddingBag,
  type QatEmbeddingBagOptions,
  type QatEmbeddingOptions,
} from './embedding.ts';
export { Linear, type QatLinearOptions } from './linear.ts';
export type { QatOptions } from './weight-fake-quant.ts';
