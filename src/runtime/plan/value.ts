import { product } from '../../core/math.ts';
import type { Heap } from '../../kernels/engine.ts';
import { memoryOrder, stridesInOrder } from '../../ops/float/layout.ts';
import { DTYPES, type DType, type TypedArray } from '../../tensor/dtype.ts';
import type { QParams } from '../../tensor/qparams.ts';
import { contiguousStrides, hasStrides, type Shape } from '../../tensor/shape.ts';
import { copyStrided, Tensor } from '../../tensor/tensor.ts';
import { type Block, heapView } from './memory.ts';

/** What is known about a node's result before it exists. */
export interface Meta {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly qparams: QParams | null;
  /** How the eager library lays it out, without gaps. */
  readonly strides: Shape;
}

/** Where the elements of a node's result lie while a plan runs: a tensor over the engine's memory. */
export interface Value {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly qparams: QParams | null;
  /** In elements, like those of a tensor. */
  readonly strides: Shape;
  /** In elements from the start of the block. */
  readonly offset: number;
  readonly block: Block;
  /** qint8 only: stored as unsigned bytes, top bit flipped, which is what int8 kernels work on. */
  readonly flipped: boolean;
}

/** Bytes of one stored element. */
export function storedBytes(dtype: DType): number {
  return dtype === 'int64' ? 8 : DTYPES[dtype].bytes;
}

/** The meta of a tensor; strides without gaps in its memory order. */
export function metaOf(x: Tensor): Meta {
  const { shape, dtype, qparams } = x;
  return { shape, dtype, qparams, strides: stridesInOrder(shape, memoryOrder(shape, x.strides)) };
}

/** True for values, as opposed to tensors, packed weights and plain arguments. */
export function isValue(arg: unknown): arg is Value {
  return typeof arg === 'object' && arg !== null && 'block' in arg && 'flipped' in arg;
}

/** Copies the elements of a tensor into a value of the same shape. */
export function writeValue(heap: Heap, value: Value, x: Tensor): void {
  const view = heapView(heap, x.dtype);
  const at = firstElement(value);
  if (hasStrides(x.shape, x.strides, value.strides) && isDense(value.shape, value.strides)) {
    view.set(x.storage.subarray(x.offset, x.offset + x.numel), at);
  } else {
    copyStrided(x.storage, x.offset, x.strides, view, at, value.strides, value.shape);
  }
  if (value.flipped) flip(heap, at, product(value.shape));
}

/** A tensor with a copy of a value's elements: laid out as the value where that has no gaps, row-major otherwise. */
export function readValue(heap: Heap, value: Value): Tensor {
  const { shape, dtype, qparams } = value;
  const view = heapView(heap, dtype);
  const at = firstElement(value);
  let storage: TypedArray;
  let { strides } = value;
  if (isDense(shape, strides)) {
    storage = view.slice(at, at + product(shape));
  } else {
    strides = contiguousStrides(shape);
    storage = DTYPES[dtype].allocate(product(shape));
    copyStrided(view, at, value.strides, storage, 0, strides, shape);
  }
  if (value.flipped) for (let i = 0; i < storage.length; i++) storage[i] ^= -128;
  return new Tensor({ storage, shape, strides, dtype, qparams });
}

/** True where elements fill memory without gaps or repeats, in whatever order of dimensions. */
export function isDense(shape: Shape, strides: Shape): boolean {
  return hasStrides(shape, strides, stridesInOrder(shape, memoryOrder(shape, strides)));
}

function firstElement({ block, dtype, offset }: Value): number {
  return block.ptr / storedBytes(dtype) + offset;
}

function flip(heap: Heap, at: number, count: number): void {
  for (let i = at; i < at + count; i++) heap.i8[i] ^= -128;
}
