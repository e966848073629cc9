import type { OpName, Ops, QuantizedOps } from '../signatures/index.ts';
import { activations } from './activation.ts';
import { comparisons } from './comparison.ts';
import { convolutions } from './convolution.ts';
import { quantizeCrossing } from './crossing.ts';
import { dynamicProducts } from './dynamic.ts';
import { embeddings } from './embedding.ts';
import { products } from './matmul.ts';
import { mean } from './mean.ts';
import { normalizations } from './normalization.ts';
import { pointwise } from './pointwise.ts';
import { pooling } from './pooling.ts';
import { volumePooling } from './pooling-3d.ts';
import { rearranging } from './rearrange.ts';
import { resizing } from './resize.ts';
import { transposedConvolutions } from './transposed.ts';

/** What runs when any tensor argument is quantized. */
export const quantizedImplementations: { readonly [K in OpName]?: Ops[K] } & QuantizedOps = {
  dequantize: quantizeCrossing.dequantize,
  intRepr: quantizeCrossing.intRepr,
  mean,
  ...rearranging,
  ...pointwise,
  ...comparisons,
  ...activations,
  ...normalizations,
  ...pooling,
  ...volumePooling,
  ...resizing,
  ...convolutions,
  ...dynamicProducts,
  ...transposedConvolutions,
  ...embeddings,
  ...products,
};
