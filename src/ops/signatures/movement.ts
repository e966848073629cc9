import type { Shape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/** Memory orders a tensor can be asked for. */
export type MemoryFormat = 'contiguous' | 'channelsLast';

/** What `pad` writes outside the input. */
export type PadMode = 'constant' | 'reflect' | 'replicate' | 'circular';

/** Operators that rearrange elements; most return views. */
export interface MovementOps {
  view(x: Tensor, shape: Shape): Tensor;
  reshape(x: Tensor, shape: Shape): Tensor;
  flatten(x: Tensor, startDim: number, endDim: number): Tensor;
  unflatten(x: Tensor, dim: number, sizes: Shape): Tensor;
  permute(x: Tensor, dims: readonly number[]): Tensor;
  transpose(x: Tensor, dim0: number, dim1: number): Tensor;
  expand(x: Tensor, shape: Shape): Tensor;
  squeeze(x: Tensor, dim: number | undefined): Tensor;
  unsqueeze(x: Tensor, dim: number): Tensor;
  slice(x: Tensor, dim: number, start: number, end: number, step: number): Tensor;
  select(x: Tensor, dim: number, index: number): Tensor;
  contiguous(x: Tensor, memoryFormat: MemoryFormat): Tensor;
  flip(x: Tensor, dims: readonly number[]): Tensor;
  repeat(x: Tensor, times: Shape): Tensor;
  /** `pads` counts from the last dimension: [left, right, top, bottom, …]. */
  pad(x: Tensor, pads: readonly number[], mode: PadMode, value: number): Tensor;
  tril(x: Tensor, diagonal: number): Tensor;
  triu(x: Tensor, diagonal: number): Tensor;

  cat(tensors: readonly Tensor[], dim: number): Tensor;
  stack(tensors: readonly Tensor[], dim: number): Tensor;
  split(x: Tensor, sizes: number | readonly number[], dim: number): Tensor[];
  chunk(x: Tensor, chunks: number, dim: number): Tensor[];
  unbind(x: Tensor, dim: number): Tensor[];

  indexSelect(x: Tensor, dim: number, index: Tensor): Tensor;
  gather(x: Tensor, dim: number, index: Tensor): Tensor;
  scatterAdd(x: Tensor, dim: number, index: Tensor, source: Tensor): Tensor;
  /** The elements where `mask` is true, as a flat tensor. */
  maskedSelect(x: Tensor, mask: Tensor): Tensor;
}
