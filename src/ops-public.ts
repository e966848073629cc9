/** The `ops` namespace as users see it: operators below the layers, by kind. Source: `torch.ops`. */
export * as quantized from './ops/quantized/namespace.ts';
