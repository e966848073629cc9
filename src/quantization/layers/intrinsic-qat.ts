/** `nn.intrinsic.qat`: layers fused with their batch normalization and relu, for quantization-aware training. */
export { freezeBnStats, updateBnStats } from './qat/batch-norm.ts';
export { ConvReLU1d, ConvReLU2d, ConvReLU3d } from './qat/conv.ts';
export {
  ConvBn1d,
  ConvBn2d,
  ConvBn3d,
  ConvBnReLU1d,
  ConvBnReLU2d,
  ConvBnReLU3d,
  type QatConvBnOptions,
} from './qat/conv-bn.ts';
export { LinearReLU } from './qat/linear.ts';
export { LinearBn1d, type QatLinearBnOptions } from './qat/linear-bn.ts';
