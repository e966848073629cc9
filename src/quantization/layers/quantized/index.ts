export {
  Conv1d,
  Conv2d,
  Conv3d,
  ConvReLU1d,
  ConvReLU2d,
  ConvReLU3d,
  type QuantizedConvOptions,
} from './conv.ts';
export { Linear, LinearReLU } from './linear.ts';
export { DeQuantize, Quantize } from './quantize.ts';
