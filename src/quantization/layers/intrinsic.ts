/** `nn.intrinsic`, as PyTorch lays it out: fused float modules, and their `qat` and `quantized` forms beneath. */
export * from '../../nn/intrinsic/index.ts';
export * as qat from './intrinsic-qat.ts';
export * as quantized from './intrinsic-quantized.ts';
