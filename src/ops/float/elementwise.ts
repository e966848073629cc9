import { Tensor } from '../../tensor/tensor.ts';
import type { ElementwiseOps } from '../signatures/index.ts';
import { activation } from './elementwise/activation.ts';
import { arithmetic } from './elementwise/arithmetic.ts';
import { comparison } from './elementwise/comparison.ts';
import { convert } from './elementwise/map.ts';
import { unary } from './elementwise/unary.ts';
import { dense } from './layout.ts';

function clone(x: Tensor): Tensor {
  const { data, strides } = dense(x);
  return new Tensor({ storage: data.slice(), shape: x.shape, strides, dtype: x.dtype, qparams: x.qparams });
}

/** Implementations of the element-wise operators on plain tensors. */
export const elementwise: ElementwiseOps = {
  ...unary,
  ...activation,
  ...arithmetic,
  ...comparison,
  to: convert,
  clone,
};
