/** The `nn` namespace as users see it: float layers, with the quantized ones beside them as in PyTorch. */
export * from './nn/index.ts';
export * as intrinsic from './quantization/layers/intrinsic.ts';
export * as qat from './quantization/layers/qat/index.ts';
export * as quantizable from './quantization/layers/quantizable/namespace.ts';
export * as quantized from './quantization/layers/quantized/namespace.ts';
