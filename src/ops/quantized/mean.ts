import { product, roundHalfEven } from '../../core/math.ts';
import { DTYPES, integerDTypeOf } from '../../tensor/dtype.ts';
import { contiguousStrides, hasStrides, normalizeDim, type Shape } from '../../tensor/shape.ts';
import { quantizedDTypeOf, Tensor } from '../../tensor/tensor.ts';
import { reduction } from '../float/reduction.ts';
import type { Ops } from '../signatures/index.ts';
import type { Dims } from '../signatures/reduction.ts';
import { activationQParams } from './convolution.ts';
import { quantizeCrossing } from './crossing.ts';

/** Whether the dimensions folded are the innermost ones of row-major memory. */
export function foldsInnermost(
  { shape, strides }: { readonly shape: Shape; readonly strides: Shape },
  dims: Dims,
): boolean {
  if (!hasStrides(shape, strides, contiguousStrides(shape))) return false;
  if (dims === undefined) return true;
  const rank = shape.length;
  const list = typeof dims === 'number' ? [dims] : dims;
  const folded = new Set(list.map((d) => normalizeDim(d, rank, 'mean')));
  return shape.every((_, d) => d < rank - folded.size || folded.has(d));
}

/** The mean of the integers, rounded. Source: `qmean_inner_dim_kernel`. */
function meanOfIntegers(x: Tensor, dim: Dims, keepdim: boolean): Tensor {
  const { storage, shape, strides, offset } = x;
  const dtype = integerDTypeOf(quantizedDTypeOf(x, 'mean'));
  const sums = reduction.sum(new Tensor({ storage, shape, strides, offset, dtype }), dim, keepdim);
  const count = product(shape) / Math.max(1, sums.numel);
  const { data } = sums;
  const means = DTYPES[x.dtype].allocate(data.length);
  for (let i = 0; i < data.length; i++) means[i] = roundHalfEven(Math.fround(Math.fround(data[i]) / count));
  return new Tensor({ storage: means, shape: sums.shape, dtype: x.dtype, qparams: x.qparams });
}

/**
 * The mean of quantized numbers, under the parameters of the input. As in PyTorch, innermost dimensions are averaged as
 * integers and others as floats; a mean that lies on a tie may round differently in the two.
 * Source: `mean_quantized_cpu`.
 */
export const mean: Ops['mean'] = (x, dim, keepdim) => {
  const { scale, zeroPoint } = activationQParams(x, 'mean');
  if (foldsInnermost(x, dim)) return meanOfIntegers(x, dim, keepdim);
  const means = reduction.mean(quantizeCrossing.dequantize(x), dim, keepdim);
  return quantizeCrossing.quantizePerTensor(means, scale, zeroPoint, quantizedDTypeOf(x, 'mean'));
};
