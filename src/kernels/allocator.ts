/** Alignment of every allocation in bytes: one cache line, and enough for any vector load. */
export const ALIGNMENT = 64;

/**
 * Most pages of 64 KiB that a memory of kernels may have. Pointers stay below 2 GiB, so that `ptr >> 2` is exact and no
 * pointer turns negative on its way through wasm.
 */
export const MAXIMUM_PAGES = 32767;

interface Span {
  ptr: number;
  bytes: number;
}

/** Rounds a size up to a whole number of cache lines; zero bytes still take one. */
export function alignedSize(bytes: number): number {
  return Math.max(ALIGNMENT, Math.ceil(bytes / ALIGNMENT) * ALIGNMENT);
}

/**
 * First-fit address-ordered free list over `[0, end)` of a linear memory. Neighbouring free spans are always merged, so
 * a memory whose allocations have all been freed is one span again. It holds addresses only and never touches memory.
 */
export class FreeList {
  readonly #free: Span[] = [];

  /** Adds a span that is free from now on: a freed allocation, or memory gained by growing. */
  release(ptr: number, bytes: number): void {
    let low = 0;
    let high = this.#free.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#free[middle].ptr < ptr) low = middle + 1;
      else high = middle;
    }
    this.#free.splice(low, 0, { ptr, bytes });
    this.#mergeWithNext(low);
    if (low > 0) this.#mergeWithNext(low - 1);
  }

  /** Takes `bytes` (a multiple of {@link ALIGNMENT}) and returns their address, or undefined when nothing fits. */
  take(bytes: number): number | undefined {
    const index = this.#free.findIndex((span) => span.bytes >= bytes);
    if (index < 0) return undefined;
    const span = this.#free[index];
    const ptr = span.ptr;
    if (span.bytes === bytes) this.#free.splice(index, 1);
    else {
      span.ptr += bytes;
      span.bytes -= bytes;
    }
    return ptr;
  }

  /** Bytes of the free span that ends at `end`: growing by the difference is enough to extend it. */
  freeBytesBefore(end: number): number {
    const last = this.#free.at(-1);
    return last && last.ptr + last.bytes === end ? last.bytes : 0;
  }

  /** Free spans in address order, for tests. */
  spans(): readonly Readonly<Span>[] {
    return this.#free;
  }

  #mergeWithNext(index: number): void {
    const span = this.#free[index];
    const next = this.#free[index + 1];
    if (next && span.ptr + span.bytes === next.ptr) {
      span.bytes += next.bytes;
      this.#free.splice(index + 1, 1);
    }
  }
}
