import { dispatch } from '../ops/dispatch.ts';
import { normalizeDim, type Shape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { Module } from './module.ts';
import { pythonTuple } from './python-repr.ts';

/**
 * Joins dimensions `startDim` (1) to `endDim` (the last) into one. Source: `torch.nn.Flatten`.
 *
 * @example
 * new Flatten()(rand([32, 1, 5, 5])).shape; // [32, 25]
 */
export class Flatten extends Module {
  readonly startDim: number;
  readonly endDim: number;

  constructor(startDim = 1, endDim = -1) {
    super();
    this.startDim = startDim;
    this.endDim = endDim;
  }

  forward(x: Tensor): Tensor {
    const start = normalizeDim(this.startDim, x.ndim, 'Flatten', 'startDim');
    const end = normalizeDim(this.endDim, x.ndim, 'Flatten', 'endDim');
    return dispatch('flatten', x, start, end);
  }

  override extraRepr(): string {
    return `start_dim=${this.startDim}, end_dim=${this.endDim}`;
  }
}

/**
 * Splits dimension `dim` into several; one of the sizes may be −1. Source: `torch.nn.Unflatten`.
 *
 * @example
 * new Unflatten(1, [2, 5, 5])(rand([32, 50])).shape; // [32, 2, 5, 5]
 */
export class Unflatten extends Module {
  readonly dim: number;
  readonly unflattenedSize: Shape;

  constructor(dim: number, unflattenedSize: Shape) {
    super();
    this.dim = dim;
    this.unflattenedSize = unflattenedSize;
  }

  forward(x: Tensor): Tensor {
    return dispatch('unflatten', x, normalizeDim(this.dim, x.ndim, 'Unflatten'), this.unflattenedSize);
  }

  override extraRepr(): string {
    return `dim=${this.dim}, unflattened_size=${pythonTuple(this.unflattenedSize)}`;
  }
}
