/**
 * zeropoint: neural-network quantization for TypeScript. Tensor functions stand here by name; everything else lives in
 * namespaces, as in PyTorch.
 *
 * @example
 * import { nn, quantization, randn } from 'zeropoint';
 */
export {
  type BackwardOptions,
  backward,
  enableGrad,
  grad,
  isGradEnabled,
  noGrad,
} from './autograd/index.ts';
export * from './core/errors.ts';
export { Generator, manualSeed } from './core/random.ts';
export * as data from './data/index.ts';
export * as fx from './fx/index.ts';
export * as io from './io/index.ts';
export * as models from './models/index.ts';
export { deepCopy } from './nn/deep-copy.ts';
export { print } from './nn/module.ts';
export * as nn from './nn-public.ts';
export * from './ops/functions/elementwise.ts';
export * from './ops/functions/layer.ts';
export * from './ops/functions/movement.ts';
export * from './ops/functions/quantize.ts';
export * from './ops/functions/reduction.ts';
export * as ops from './ops-public.ts';
export * as optim from './optim/index.ts';
export * as quantization from './quantization/index.ts';
export * as jit from './runtime/index.ts';
export * as suite from './suite/index.ts';
export * from './tensor/creation.ts';
export {
  DTYPES,
  type DType,
  isFloatDType,
  isQuantizedDType,
  type PlainDType,
  type QuantizedDType,
  type TypedArray,
} from './tensor/dtype.ts';
export type { PerChannelQParams, PerTensorQParams, QParams, QScheme } from './tensor/qparams.ts';
export type { Shape } from './tensor/shape.ts';
export type { StateDict, StateValue } from './tensor/state.ts';
export { fromStorage, type NestedArray, Tensor } from './tensor/tensor.ts';
