/** `nn.intrinsic.quantized.dynamic`. */
export { LinearReLU } from './dynamic/index.ts';
