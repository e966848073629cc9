/** `nn.quantized`, as PyTorch lays it out: static layers, the functionals, and `dynamic` beneath. */
export { MaxPool2d } from '../../../nn/index.ts';
export { FloatFunctional, FXFloatFunctional, QFunctional } from '../../float-functional.ts';
export * as functional from '../../functional.ts';
export * as dynamic from '../dynamic/index.ts';
export {
  QuantizedLSTM as LSTM,
  QuantizedMultiheadAttention as MultiheadAttention,
} from '../quantizable/index.ts';
export {
  BatchNorm2d,
  BatchNorm3d,
  Conv1d,
  Conv2d,
  Conv3d,
  ConvTranspose1d,
  ConvTranspose2d,
  ConvTranspose3d,
  DeQuantize,
  Dropout,
  ELU,
  Embedding,
  EmbeddingBag,
  GroupNorm,
  Hardswish,
  InstanceNorm1d,
  InstanceNorm2d,
  InstanceNorm3d,
  LayerNorm,
  LeakyReLU,
  Linear,
  PReLU,
  Quantize,
  ReLU6,
  Sigmoid,
  Softmax,
} from './index.ts';
