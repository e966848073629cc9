/** `nn.quantized`, as PyTorch lays it out: static layers, the functionals, and `dynamic` beneath. */
export { FloatFunctional, QFunctional } from '../../float-functional.ts';
export * as dynamic from '../dynamic/index.ts';
export { Conv1d, Conv2d, Conv3d, DeQuantize, Linear, Quantize } from './index.ts';
