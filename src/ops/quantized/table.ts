import type { OpName, Ops, QuantizedOps } from '../signatures/index.ts';
import { convolutions } from './convolution.ts';
import { quantizeCrossing } from './crossing.ts';
import { dynamicProducts } from './dynamic.ts';
import { pointwise } from './pointwise.ts';
import { pooling } from './pooling.ts';
import { rearranging } from './rearrange.ts';

/** What runs when any tensor argument is quantized. */
export const quantizedImplementations: { readonly [K in OpName]?: Ops[K] } & QuantizedOps = {
  dequantize: quantizeCrossing.dequantize,
  intRepr: quantizeCrossing.intRepr,
  ...rearranging,
  ...pointwise,
  ...pooling,
  ...convolutions,
  ...dynamicProducts,
};
