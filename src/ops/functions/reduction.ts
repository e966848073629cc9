import type { Tensor } from '../../tensor/tensor.ts';
import { dispatch } from '../dispatch.ts';
import type { Dims } from '../signatures/reduction.ts';

/** Options of the reductions. */
export interface ReduceOptions {
  /** Keep reduced dimensions as dimensions of size 1. */
  readonly keepdim?: boolean;
}

/** Options of {@link variance} and {@link std}. */
export interface VarianceOptions extends ReduceOptions {
  /** Subtracted from the number of elements in the denominator; 1 (unbiased) where not given. */
  readonly correction?: number;
}

/** Options of {@link topk}. */
export interface TopkOptions {
  /** Where not given, the last dimension. */
  readonly dim?: number;
  /** False picks the smallest. */
  readonly largest?: boolean;
  /** The result is ordered either way. */
  readonly sorted?: boolean;
}

/** Options of {@link sort} and {@link argsort}. */
export interface SortOptions {
  readonly descending?: boolean;
}

/**
 * The sum over one, several or all dimensions, accumulated in double precision. Integers and bools give int64.
 * Source: `torch.sum`.
 *
 * @example
 * sum(tensor([[1, 2], [3, 4]])); // 10
 * sum(tensor([[1, 2], [3, 4]]), 0); // [4, 6]
 */
export function sum(x: Tensor, dim?: Dims, options: ReduceOptions = {}): Tensor {
  return dispatch('sum', x, dim, options.keepdim ?? false);
}

/**
 * The mean over one, several or all dimensions, accumulated in double precision.
 *
 * @throws {@link DTypeError} for integers.
 * Source: `torch.mean`.
 *
 * @example
 * mean(x, [2, 3]); // global average pool
 */
export function mean(x: Tensor, dim?: Dims, options: ReduceOptions = {}): Tensor {
  return dispatch('mean', x, dim, options.keepdim ?? false);
}

/**
 * The product over one or all dimensions. Integers give int64.
 * Source: `torch.prod`.
 *
 * @example
 * prod(tensor([2, 3])); // 6
 */
export function prod(x: Tensor, dim?: number, options: ReduceOptions = {}): Tensor {
  return dispatch('prod', x, dim, options.keepdim ?? false);
}

/**
 * The variance over one, several or all dimensions (two passes, in double precision). `Tensor.var` as a method.
 *
 * @throws {@link DTypeError} for integers.
 * Source: `torch.var`.
 *
 * @example
 * variance(tensor([1, 2, 3])); // 1
 * variance(x, 0, { correction: 0 }); // biased
 */
export function variance(x: Tensor, dim?: Dims, options: VarianceOptions = {}): Tensor {
  return dispatch('var', x, dim, options.correction ?? 1, options.keepdim ?? false);
}

/**
 * The square root of the {@link variance}.
 * Source: `torch.std`.
 *
 * @example
 * std(tensor([1, 2, 3])); // 1
 */
export function std(x: Tensor, dim?: Dims, options: VarianceOptions = {}): Tensor {
  return dispatch('std', x, dim, options.correction ?? 1, options.keepdim ?? false);
}

/**
 * The largest element over one, several or all dimensions; NaN wins. Ties share the gradient.
 *
 * @throws {@link ArgumentError} where there is nothing to reduce.
 * Source: `torch.amax`.
 *
 * @example
 * amax(x, [0, 2]);
 */
export function amax(x: Tensor, dim?: Dims, options: ReduceOptions = {}): Tensor {
  return dispatch('amax', x, dim, options.keepdim ?? false);
}

/**
 * The smallest element over one, several or all dimensions; NaN wins. Ties share the gradient.
 *
 * @throws {@link ArgumentError} where there is nothing to reduce.
 * Source: `torch.amin`.
 *
 * @example
 * amin(x, [0, 2]);
 */
export function amin(x: Tensor, dim?: Dims, options: ReduceOptions = {}): Tensor {
  return dispatch('amin', x, dim, options.keepdim ?? false);
}

/**
 * The largest element of the whole tensor; or, with a dimension, [values, int64 indices] along it (the first of equals).
 * NaN wins. Source: `torch.max`. For two tensors see `maximum`.
 *
 * @throws {@link ArgumentError} where there is nothing to reduce.
 * @example
 * max(tensor([3, 1, 2])); // 3
 * const [values, indices] = max(x, 1);
 */
export function max(x: Tensor): Tensor;
export function max(x: Tensor, dim: number, options?: ReduceOptions): [Tensor, Tensor];
export function max(x: Tensor, dim?: number, options: ReduceOptions = {}): Tensor | [Tensor, Tensor] {
  if (dim === undefined) return dispatch('amax', x, undefined, false);
  return dispatch('maxDim', x, dim, options.keepdim ?? false);
}

/**
 * The smallest element of the whole tensor; or, with a dimension, [values, int64 indices] along it (the first of equals).
 * NaN wins. Source: `torch.min`. For two tensors see `minimum`.
 *
 * @throws {@link ArgumentError} where there is nothing to reduce.
 * @example
 * min(tensor([3, 1, 2])); // 1
 * const [values, indices] = min(x, 1);
 */
export function min(x: Tensor): Tensor;
export function min(x: Tensor, dim: number, options?: ReduceOptions): [Tensor, Tensor];
export function min(x: Tensor, dim?: number, options: ReduceOptions = {}): Tensor | [Tensor, Tensor] {
  if (dim === undefined) return dispatch('amin', x, undefined, false);
  return dispatch('minDim', x, dim, options.keepdim ?? false);
}

/**
 * The int64 index of the largest element along `dim`, or in the flattened tensor. The first of equals.
 * Source: `torch.argmax`.
 *
 * @example
 * argmax(logits, 1); // [batch]
 */
export function argmax(x: Tensor, dim?: number, options: ReduceOptions = {}): Tensor {
  return dispatch('argmax', x, dim, options.keepdim ?? false);
}

/**
 * The int64 index of the smallest element along `dim`, or in the flattened tensor. The first of equals.
 * Source: `torch.argmin`.
 *
 * @example
 * argmin(logits, 1); // [batch]
 */
export function argmin(x: Tensor, dim?: number, options: ReduceOptions = {}): Tensor {
  return dispatch('argmin', x, dim, options.keepdim ?? false);
}

/** Options of {@link norm}. */
export interface NormOptions extends ReduceOptions {
  /** The order; 2 (Euclidean) where not given. `Infinity` gives the largest magnitude, 0 counts nonzeros. */
  readonly p?: number;
}

/**
 * The p-norm (Σ|x|ᵖ)^(1/p) over one, several or all dimensions.
 * Source: `torch.linalg.vector_norm`.
 *
 * @example
 * norm(tensor([3, 4])); // 5
 * norm(x, 1, { p: 1 });
 */
export function norm(x: Tensor, dim?: Dims, options: NormOptions = {}): Tensor {
  return dispatch('norm', x, options.p ?? 2, dim, options.keepdim ?? false);
}

/**
 * log Σ eˣ over one, several or all dimensions, without overflow.
 * Source: `torch.logsumexp`.
 *
 * @example
 * logsumexp(tensor([1000, 1000])); // 1000.6931
 */
export function logsumexp(x: Tensor, dim?: Dims, options: ReduceOptions = {}): Tensor {
  return dispatch('logsumexp', x, dim, options.keepdim ?? false);
}

/**
 * Running sums along `dim`. Integers give int64.
 * Source: `torch.cumsum`.
 *
 * @example
 * cumsum(tensor([1, 2, 3]), 0); // [1, 3, 6]
 */
export function cumsum(x: Tensor, dim: number): Tensor {
  return dispatch('cumsum', x, dim);
}

/**
 * True where every element (along `dim`, or of the whole tensor) is nonzero.
 * Source: `torch.all`.
 *
 * @example
 * all(x.ge(0)).item();
 */
export function all(x: Tensor, dim?: number, options: ReduceOptions = {}): Tensor {
  return dispatch('all', x, dim, options.keepdim ?? false);
}

/**
 * True where some element (along `dim`, or of the whole tensor) is nonzero.
 * Source: `torch.any`.
 *
 * @example
 * any(x.ne(x)).item();
 */
export function any(x: Tensor, dim?: number, options: ReduceOptions = {}): Tensor {
  return dispatch('any', x, dim, options.keepdim ?? false);
}

/**
 * [sorted values, int64 indices] along `dim`. Stable; NaN counts as the largest.
 * Source: `torch.sort`.
 *
 * @example
 * const [values, indices] = sort(tensor([3, 1, 2]));
 */
export function sort(x: Tensor, dim = -1, options: SortOptions = {}): [Tensor, Tensor] {
  return dispatch('sort', x, dim, options.descending ?? false);
}

/**
 * The int64 indices that {@link sort} would put in order.
 * Source: `torch.argsort`.
 *
 * @example
 * argsort(tensor([3, 1, 2])); // [1, 2, 0]
 */
export function argsort(x: Tensor, dim = -1, options: SortOptions = {}): Tensor {
  return sort(x, dim, options)[1];
}

/**
 * [values, int64 indices] of the k largest (or smallest) elements along a dimension, in order.
 *
 * @throws {@link ArgumentError} where the dimension has fewer than k elements.
 * Source: `torch.topk`.
 *
 * @example
 * const [values, classes] = topk(logits, 5);
 */
export function topk(x: Tensor, k: number, options: TopkOptions = {}): [Tensor, Tensor] {
  return dispatch('topk', x, k, options.dim ?? -1, options.largest ?? true, options.sorted ?? true);
}

/**
 * eˣ / Σ eˣ along `dim`.
 * Source: `torch.nn.functional.softmax`.
 *
 * @example
 * softmax(logits, 1);
 */
export function softmax(x: Tensor, dim: number): Tensor {
  return dispatch('softmax', x, dim);
}

/**
 * x − log Σ eˣ along `dim`.
 * Source: `torch.nn.functional.log_softmax`.
 *
 * @example
 * logSoftmax(logits, 1);
 */
export function logSoftmax(x: Tensor, dim: number): Tensor {
  return dispatch('logSoftmax', x, dim);
}
