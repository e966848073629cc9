import type { Shape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import * as ops from '../functions/movement.ts';
import type { MemoryFormat } from '../signatures/movement.ts';
import { installMethods } from './install.ts';

declare module '../../tensor/tensor.ts' {
  interface Tensor {
    /** See {@link ops.flatten}. */
    flatten(startDim?: number, endDim?: number): Tensor;
    /** See {@link ops.unflatten}. */
    unflatten(dim: number, sizes: Shape): Tensor;
    /** See {@link ops.transpose}. */
    transpose(dim0: number, dim1: number): Tensor;
    /** See {@link ops.squeeze}. */
    squeeze(dim?: number): Tensor;
    /** See {@link ops.unsqueeze}. */
    unsqueeze(dim: number): Tensor;
    /** See {@link ops.select}. */
    select(dim: number, index: number): Tensor;
    /** See {@link ops.narrow}. */
    narrow(dim: number, start: number, length: number): Tensor;
    /** See {@link ops.t}. */
    t(): Tensor;
    /** See {@link ops.contiguous}. */
    contiguous(memoryFormat?: MemoryFormat): Tensor;
    /** See {@link ops.pad}. */
    pad(pads: readonly number[], options?: ops.PadOptions): Tensor;
    /** See {@link ops.tril}. */
    tril(diagonal?: number): Tensor;
    /** See {@link ops.triu}. */
    triu(diagonal?: number): Tensor;
    /** See {@link ops.indexSelect}. */
    indexSelect(dim: number, index: Tensor): Tensor;
    /** See {@link ops.gather}. */
    gather(dim: number, index: Tensor): Tensor;
    /** See {@link ops.scatterAdd}. */
    scatterAdd(dim: number, index: Tensor, source: Tensor): Tensor;
    /** See {@link ops.maskedSelect}. */
    maskedSelect(mask: Tensor): Tensor;
    /** Takes sizes one by one or as one list. See {@link ops.view}. */
    view(...shape: number[] | [Shape]): Tensor;
    /** Takes sizes one by one or as one list. See {@link ops.reshape}. */
    reshape(...shape: number[] | [Shape]): Tensor;
    /** Takes sizes one by one or as one list. See {@link ops.expand}. */
    expand(...shape: number[] | [Shape]): Tensor;
    /** Takes counts one by one or as one list. See {@link ops.repeat}. */
    repeat(...times: number[] | [Shape]): Tensor;
    /** See {@link ops.repeatInterleave}. */
    repeatInterleave(times: number, dim: number): Tensor;
    /** Takes dimensions one by one or as one list. See {@link ops.permute}. */
    permute(...dims: number[] | [Shape]): Tensor;
    /** See {@link ops.flip}. */
    flip(...dims: number[] | [Shape]): Tensor;
    /** In the shape of `other`. See {@link ops.view}. */
    viewAs(other: Tensor): Tensor;
    /** Repeated to the shape of `other`. See {@link ops.expand}. */
    expandAs(other: Tensor): Tensor;
    /** See {@link ops.split}. */
    split(sizes: number | readonly number[], dim?: number): Tensor[];
    /** See {@link ops.chunk}. */
    chunk(chunks: number, dim?: number): Tensor[];
    /** See {@link ops.unbind}. */
    unbind(dim?: number): Tensor[];
    /** Python's indexing. See {@link ops.at}. */
    at(...specs: ops.IndexSpec[]): Tensor;
    /** The slices along the first dimension, one after the other. */
    [Symbol.iterator](): IterableIterator<Tensor>;
  }
}

/** Sizes given one by one, or as one list. */
function listOf(sizes: number[] | [Shape]): Shape {
  return typeof sizes[0] === 'object' ? sizes[0] : (sizes as number[]);
}

installMethods({
  flatten(startDim?: number, endDim?: number): Tensor {
    return ops.flatten(this, startDim, endDim);
  },
  unflatten(dim: number, sizes: Shape): Tensor {
    return ops.unflatten(this, dim, sizes);
  },
  transpose(dim0: number, dim1: number): Tensor {
    return ops.transpose(this, dim0, dim1);
  },
  squeeze(dim?: number): Tensor {
    return ops.squeeze(this, dim);
  },
  unsqueeze(dim: number): Tensor {
    return ops.unsqueeze(this, dim);
  },
  select(dim: number, index: number): Tensor {
    return ops.select(this, dim, index);
  },
  narrow(dim: number, start: number, length: number): Tensor {
    return ops.narrow(this, dim, start, length);
  },
  t(): Tensor {
    return ops.t(this);
  },
  contiguous(memoryFormat?: MemoryFormat): Tensor {
    return ops.contiguous(this, memoryFormat);
  },
  pad(pads: readonly number[], options?: ops.PadOptions): Tensor {
    return ops.pad(this, pads, options);
  },
  tril(diagonal?: number): Tensor {
    return ops.tril(this, diagonal);
  },
  triu(diagonal?: number): Tensor {
    return ops.triu(this, diagonal);
  },
  indexSelect(dim: number, index: Tensor): Tensor {
    return ops.indexSelect(this, dim, index);
  },
  gather(dim: number, index: Tensor): Tensor {
    return ops.gather(this, dim, index);
  },
  scatterAdd(dim: number, index: Tensor, source: Tensor): Tensor {
    return ops.scatterAdd(this, dim, index, source);
  },
  maskedSelect(mask: Tensor): Tensor {
    return ops.maskedSelect(this, mask);
  },
  view(...shape: number[] | [Shape]): Tensor {
    return ops.view(this, listOf(shape));
  },
  reshape(...shape: number[] | [Shape]): Tensor {
    return ops.reshape(this, listOf(shape));
  },
  expand(...shape: number[] | [Shape]): Tensor {
    return ops.expand(this, listOf(shape));
  },
  repeat(...times: number[] | [Shape]): Tensor {
    return ops.repeat(this, listOf(times));
  },
  repeatInterleave(times: number, dim: number): Tensor {
    return ops.repeatInterleave(this, times, dim);
  },
  permute(...dims: number[] | [Shape]): Tensor {
    return ops.permute(this, listOf(dims));
  },
  flip(...dims: number[] | [Shape]): Tensor {
    return ops.flip(this, listOf(dims));
  },
  viewAs(other: Tensor): Tensor {
    return ops.view(this, other.shape);
  },
  expandAs(other: Tensor): Tensor {
    return ops.expand(this, other.shape);
  },
  split(sizes: number | readonly number[], dim?: number): Tensor[] {
    return ops.split(this, sizes, dim);
  },
  chunk(chunks: number, dim?: number): Tensor[] {
    return ops.chunk(this, chunks, dim);
  },
  unbind(dim?: number): Tensor[] {
    return ops.unbind(this, dim);
  },
  at(...specs: ops.IndexSpec[]): Tensor {
    return ops.at(this, ...specs);
  },
  [Symbol.iterator](): IterableIterator<Tensor> {
    return ops.unbind(this).values();
  },
});
