export { ELU, Hardswish, LeakyReLU, PReLU, ReLU6, Sigmoid, Softmax } from './activation.ts';
export {
  Conv1d,
  Conv2d,
  Conv3d,
  ConvReLU1d,
  ConvReLU2d,
  ConvReLU3d,
  type QuantizedConvOptions,
} from './conv.ts';
export { ConvTranspose1d, ConvTranspose2d, ConvTranspose3d } from './conv-transpose.ts';
export { Dropout } from './dropout.ts';
export {
  Embedding,
  EmbeddingBag,
  type EmbeddingDType,
  type QuantizedEmbeddingBagOptions,
  type QuantizedEmbeddingOptions,
} from './embedding.ts';
export { Linear, LinearReLU } from './linear.ts';
export {
  BatchNorm2d,
  BatchNorm3d,
  BNReLU2d,
  BNReLU3d,
  GroupNorm,
  InstanceNorm1d,
  InstanceNorm2d,
  InstanceNorm3d,
  LayerNorm,
  type QuantizedBatchNormOptions,
} from './normalization.ts';
export { DeQuantize, Quantize } from './quantize.ts';
