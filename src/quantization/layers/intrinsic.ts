/** `nn.intrinsic`, as PyTorch lays it out: fused float modules, and their `quantized` forms beneath. */
export * from '../../nn/intrinsic/index.ts';
export * as quantized from './intrinsic-quantized.ts';
