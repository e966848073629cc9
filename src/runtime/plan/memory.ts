import { alignedSize } from '../../kernels/allocator.ts';
import type { Heap } from '../../kernels/engine.ts';
import type { DType, TypedArray } from '../../tensor/dtype.ts';

/** A stretch of the engine's memory. Blocks of the arena get their place when the whole plan is known. */
export interface Block {
  readonly bytes: number;
  /** Byte offset in the engine's memory; −1 before it is placed. */
  ptr: number;
  /** The first and the last step that touch it, both included; −1 before there are any. */
  first: number;
  last: number;
}

/** Kernels read whole vectors, and may run this far over the end of any block. */
export const SLACK = 64;

/** A block without a place. */
export function unplaced(bytes: number): Block {
  return { bytes, ptr: -1, first: -1, last: -1 };
}

/** A block of memory that somebody else owns. */
export function placedAt(ptr: number, bytes: number): Block {
  return { bytes, ptr, first: 0, last: 0 };
}

/**
 * Gives every block an offset so that blocks in use at the same time never overlap: the largest first, each at the lowest
 * offset that is free during its whole life. Returns the size of the arena.
 * Source: "greedy by size", Y. Pisarchyk and J. Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020.
 */
export function placeBlocks(blocks: readonly Block[]): number {
  const placed: Block[] = [];
  let total = 0;
  for (const block of [...blocks].sort((a, b) => b.bytes - a.bytes || a.first - b.first)) {
    const size = alignedSize(block.bytes + SLACK);
    const neighbours = placed
      .filter((other) => other.first <= block.last && block.first <= other.last)
      .sort((a, b) => a.ptr - b.ptr);
    let at = 0;
    for (const other of neighbours) {
      if (at + size <= other.ptr) break;
      at = Math.max(at, other.ptr + alignedSize(other.bytes + SLACK));
    }
    block.ptr = at;
    placed.push(block);
    total = Math.max(total, at + size);
  }
  return total;
}

/** The view over the engine's memory that holds elements of a dtype as tensors store them, and its bytes per element. */
export function heapView(heap: Heap, dtype: DType): TypedArray {
  switch (dtype) {
    case 'float32':
      return heap.f32;
    case 'float64':
    case 'int64':
      return heap.f64;
    case 'int8':
    case 'qint8':
      return heap.i8;
    case 'uint8':
    case 'bool':
    case 'quint8':
    case 'quint4x2':
      return heap.u8;
    case 'int16':
      return heap.i16;
    case 'float16':
    case 'bfloat16':
      return heap.u16;
    case 'int32':
    case 'qint32':
      return heap.i32;
  }
}
