import { product, roundHalfEven } from '../../core/math.ts';
import { DTYPES, integerDTypeOf } from '../../tensor/dtype.ts';
import { contiguousStrides, hasStrides, normalizeDim } from '../../tensor/shape.ts';
import { fromStorage, quantizedDTypeOf, Tensor } from '../../tensor/tensor.ts';
import { reduction } from '../float/reduction.ts';
import type { Ops } from '../signatures/index.ts';
import type { Dims } from '../signatures/reduction.ts';
import { activationQParams } from './convolution.ts';
import { quantizeCrossing } from './crossing.ts';

/** Whether the dimensions folded are the innermost ones of row-major memory. */
function foldsInnermost(x: Tensor, dims: Dims): boolean {
  if (!hasStrides(x.shape, x.strides, contiguousStrides(x.shape))) return false;
  if (dims === undefined) return true;
  const list = typeof dims === 'number' ? [dims] : dims;
  const folded = new Set(list.map((d) => normalizeDim(d, x.ndim, 'mean')));
  return x.shape.every((_, d) => d < x.ndim - folded.size || folded.has(d));
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

/** Sums in float32, in the order of memory, since the last bit decides where the mean lies between two integers. */
function meanFloat32(x: Tensor, dims: readonly number[], keepdim: boolean): Tensor {
  const kept = x.shape.map((size, d) => (dims.includes(d) ? 1 : size));
  const shape = keepdim ? kept : x.shape.filter((_, d) => !dims.includes(d));
  const strides = contiguousStrides(kept).map((stride, d) => (dims.includes(d) ? 0 : stride));
  const sums = new Float32Array(product(shape));
  const values = x.data;
  const index = new Array<number>(x.ndim).fill(0);
  let to = 0;
  for (const v of values) {
    sums[to] += v;
    for (let d = x.ndim - 1; d >= 0; d--) {
      to += strides[d];
      if (++index[d] < x.shape[d]) break;
      to -= strides[d] * x.shape[d];
      index[d] = 0;
    }
  }
  const count = values.length / Math.max(1, sums.length);
  return fromStorage(
    sums.map((sum) => sum / count),
    shape,
    'float32',
  );
}
