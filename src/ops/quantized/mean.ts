import { product, roundHalfEven } from '../../core/math.ts';
import { DTYPES, integerDTypeOf } from '../../tensor/dtype.ts';
import { quantizedDTypeOf, Tensor } from '../../tensor/tensor.ts';
import { reduction } from '../float/reduction.ts';
import type { Ops } from '../signatures/index.ts';
import { activationQParams } from './convolution.ts';

/**
 * The mean of quantized numbers, under the parameters of the input: the mean of their integers, rounded.
 * Source: `qmean_inner_dim_kernel`.
 */
export const mean: Ops['mean'] = (x, dim, keepdim) => {
  const qparams = activationQParams(x, 'mean');
  const { storage, shape, strides, offset } = x;
  const integers = new Tensor({
    storage,
    shape,
    strides,
    offset,
    dtype: integerDTypeOf(quantizedDTypeOf(x, 'mean')),
  });
  const sums = reduction.sum(integers, dim, keepdim);
  const count = product(shape) / Math.max(1, sums.numel);
  const { data } = sums;
  const means = DTYPES[x.dtype].allocate(data.length);
  for (let i = 0; i < data.length; i++) means[i] = roundHalfEven(Math.fround(Math.fround(data[i]) / count));
  return new Tensor({ storage: means, shape: sums.shape, dtype: x.dtype, qparams });
};
