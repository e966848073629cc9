/** `nn.intrinsic.quantized`: layers fused with their relu. */
export * as dynamic from './intrinsic-quantized-dynamic.ts';
export { BNReLU2d, BNReLU3d, ConvReLU1d, ConvReLU2d, ConvReLU3d, LinearReLU } from './quantized/index.ts';
