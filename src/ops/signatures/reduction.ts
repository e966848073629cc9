import type { Tensor } from '../../tensor/tensor.ts';

/** One dimension, several, or (undefined) all of them. */
export type Dims = number | readonly number[] | undefined;

/** Operators that fold or order elements along dimensions. */
export interface ReductionOps {
  sum(x: Tensor, dim: Dims, keepdim: boolean): Tensor;
  mean(x: Tensor, dim: Dims, keepdim: boolean): Tensor;
  prod(x: Tensor, dim: number | undefined, keepdim: boolean): Tensor;
  /** Variance with `n − correction` in the denominator. */
  var(x: Tensor, dim: Dims, correction: number, keepdim: boolean): Tensor;
  std(x: Tensor, dim: Dims, correction: number, keepdim: boolean): Tensor;
  amax(x: Tensor, dim: Dims, keepdim: boolean): Tensor;
  amin(x: Tensor, dim: Dims, keepdim: boolean): Tensor;
  /** [values, int64 indices] along one dimension. */
  maxDim(x: Tensor, dim: number, keepdim: boolean): [Tensor, Tensor];
  minDim(x: Tensor, dim: number, keepdim: boolean): [Tensor, Tensor];
  argmax(x: Tensor, dim: number | undefined, keepdim: boolean): Tensor;
  argmin(x: Tensor, dim: number | undefined, keepdim: boolean): Tensor;
  norm(x: Tensor, p: number, dim: Dims, keepdim: boolean): Tensor;
  logsumexp(x: Tensor, dim: Dims, keepdim: boolean): Tensor;
  cumsum(x: Tensor, dim: number): Tensor;
  all(x: Tensor, dim: number | undefined, keepdim: boolean): Tensor;
  any(x: Tensor, dim: number | undefined, keepdim: boolean): Tensor;
  sort(x: Tensor, dim: number, descending: boolean): [Tensor, Tensor];
  topk(x: Tensor, k: number, dim: number, largest: boolean, sorted: boolean): [Tensor, Tensor];
  softmax(x: Tensor, dim: number): Tensor;
  logSoftmax(x: Tensor, dim: number): Tensor;
}
