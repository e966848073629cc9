import type { Tensor } from '../../tensor/tensor.ts';
import * as ops from '../functions/reduction.ts';
import type { Dims } from '../signatures/reduction.ts';
import { installMethods } from './install.ts';

declare module '../../tensor/tensor.ts' {
  interface Tensor {
    /** See {@link ops.sum}. */
    sum(dim?: Dims, options?: ops.ReduceOptions): Tensor;
    /** See {@link ops.mean}. */
    mean(dim?: Dims, options?: ops.ReduceOptions): Tensor;
    /** See {@link ops.prod}. */
    prod(dim?: number, options?: ops.ReduceOptions): Tensor;
    /** See {@link ops.std}. */
    std(dim?: Dims, options?: ops.VarianceOptions): Tensor;
    /** See {@link ops.amax}. */
    amax(dim?: Dims, options?: ops.ReduceOptions): Tensor;
    /** See {@link ops.amin}. */
    amin(dim?: Dims, options?: ops.ReduceOptions): Tensor;
    /** See {@link ops.argmax}. */
    argmax(dim?: number, options?: ops.ReduceOptions): Tensor;
    /** See {@link ops.argmin}. */
    argmin(dim?: number, options?: ops.ReduceOptions): Tensor;
    /** See {@link ops.norm}. */
    norm(dim?: Dims, options?: ops.NormOptions): Tensor;
    /** See {@link ops.logsumexp}. */
    logsumexp(dim?: Dims, options?: ops.ReduceOptions): Tensor;
    /** See {@link ops.cumsum}. */
    cumsum(dim: number): Tensor;
    /** See {@link ops.all}. */
    all(dim?: number, options?: ops.ReduceOptions): Tensor;
    /** See {@link ops.any}. */
    any(dim?: number, options?: ops.ReduceOptions): Tensor;
    /** See {@link ops.argsort}. */
    argsort(dim?: number, options?: ops.SortOptions): Tensor;
    /** See {@link ops.softmax}. */
    softmax(dim: number): Tensor;
    /** See {@link ops.logSoftmax}. */
    logSoftmax(dim: number): Tensor;
    /** See {@link ops.sort}. */
    sort(dim?: number, options?: ops.SortOptions): [Tensor, Tensor];
    /** See {@link ops.topk}. */
    topk(k: number, options?: ops.TopkOptions): [Tensor, Tensor];
    /** See {@link ops.variance}. */
    var(dim?: Dims, options?: ops.VarianceOptions): Tensor;
    /** See {@link ops.max}. */
    max(): Tensor;
    max(dim: number, options?: ops.ReduceOptions): [Tensor, Tensor];
    /** See {@link ops.min}. */
    min(): Tensor;
    min(dim: number, options?: ops.ReduceOptions): [Tensor, Tensor];
  }
}

installMethods({
  sum(dim?: Dims, options?: ops.ReduceOptions): Tensor {
    return ops.sum(this, dim, options);
  },
  mean(dim?: Dims, options?: ops.ReduceOptions): Tensor {
    return ops.mean(this, dim, options);
  },
  prod(dim?: number, options?: ops.ReduceOptions): Tensor {
    return ops.prod(this, dim, options);
  },
  std(dim?: Dims, options?: ops.VarianceOptions): Tensor {
    return ops.std(this, dim, options);
  },
  amax(dim?: Dims, options?: ops.ReduceOptions): Tensor {
    return ops.amax(this, dim, options);
  },
  amin(dim?: Dims, options?: ops.ReduceOptions): Tensor {
    return ops.amin(this, dim, options);
  },
  argmax(dim?: number, options?: ops.ReduceOptions): Tensor {
    return ops.argmax(this, dim, options);
  },
  argmin(dim?: number, options?: ops.ReduceOptions): Tensor {
    return ops.argmin(this, dim, options);
  },
  norm(dim?: Dims, options?: ops.NormOptions): Tensor {
    return ops.norm(this, dim, options);
  },
  logsumexp(dim?: Dims, options?: ops.ReduceOptions): Tensor {
    return ops.logsumexp(this, dim, options);
  },
  cumsum(dim: number): Tensor {
    return ops.cumsum(this, dim);
  },
  all(dim?: number, options?: ops.ReduceOptions): Tensor {
    return ops.all(this, dim, options);
  },
  any(dim?: number, options?: ops.ReduceOptions): Tensor {
    return ops.any(this, dim, options);
  },
  argsort(dim?: number, options?: ops.SortOptions): Tensor {
    return ops.argsort(this, dim, options);
  },
  softmax(dim: number): Tensor {
    return ops.softmax(this, dim);
  },
  logSoftmax(dim: number): Tensor {
    return ops.logSoftmax(this, dim);
  },
  sort(dim?: number, options?: ops.SortOptions): [Tensor, Tensor] {
    return ops.sort(this, dim, options);
  },
  topk(k: number, options?: ops.TopkOptions): [Tensor, Tensor] {
    return ops.topk(this, k, options);
  },
  var(dim?: Dims, options?: ops.VarianceOptions): Tensor {
    return ops.variance(this, dim, options);
  },
  max(...args: any[]): Tensor | [Tensor, Tensor] {
    return (ops.max as (x: Tensor, ...rest: unknown[]) => Tensor | [Tensor, Tensor])(this, ...args);
  },
  min(...args: any[]): Tensor | [Tensor, Tensor] {
    return (ops.min as (x: Tensor, ...rest: unknown[]) => Tensor | [Tensor, Tensor])(this, ...args);
  },
});
