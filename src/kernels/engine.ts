import { environmentVariable } from '../core/environment.ts';
import { ArgumentError, KernelError } from '../core/errors.ts';
import { ALIGNMENT, alignedSize, FreeList, MAXIMUM_PAGES } from './allocator.ts';
import type { KernelExports } from './generated/exports.ts';
import { KERNEL_BUILDS, type KernelBuild, moduleOf, whyNotShared } from './modules.ts';
import { dotProbes } from './probe.ts';

export type { KernelBuild, KernelExports };

/** What long-lived memory is for: prepacked weights of a layer, or the arena of a compiled program. */
export type AllocationOwner = 'packed' | 'arena';

/** A long-lived block of the engine's memory. Freeing twice is harmless. */
export interface Allocation {
  readonly ptr: number;
  readonly bytes: number;
  free(): void;
  [Symbol.dispose](): void;
}

/**
 * Typed views over the engine's whole memory, which may be shared. Growth replaces them: read them again after anything that
 * allocates.
 */
export interface Heap {
  readonly u8: Uint8Array<ArrayBufferLike>;
  readonly i8: Int8Array<ArrayBufferLike>;
  readonly u16: Uint16Array<ArrayBufferLike>;
  readonly i16: Int16Array<ArrayBufferLike>;
  readonly u32: Uint32Array<ArrayBufferLike>;
  readonly i32: Int32Array<ArrayBufferLike>;
  readonly f32: Float32Array<ArrayBufferLike>;
  readonly f64: Float64Array<ArrayBufferLike>;
}

/** Counters of {@link Engine.memory}, in bytes unless the name says otherwise. */
export interface MemoryReport {
  /** Size of the linear memory. It never shrinks. */
  readonly reservedBytes: number;
  readonly packedBytes: number;
  /** Number of live allocations owned by packed weights. */
  readonly packedCount: number;
  readonly arenaBytes: number;
  /** Scratch in use right now; zero outside of {@link Engine.scratch}. */
  readonly scratchBytes: number;
}

/** What another thread needs to run the kernels of an engine. May be sent to workers. */
export interface SharedKernels {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
}

/** One instance of the kernels with its memory. */
export interface Engine {
  readonly build: KernelBuild;
  /**
   * Whether this host's 8-bit dot product is exact over the full range, found by executing it. Without it (the baseline build,
   * x86 before VNNI, ARM) int8 weights are widened to 16 bits when they are packed; results are the same.
   */
  readonly exactDot8: boolean;
  /** Raw wasm functions; pointers are byte offsets into {@link heap}. */
  readonly kernels: KernelExports;
  readonly heap: Heap;
  /** Its memory and the compiled kernels, for other threads to run on; null where memory cannot be shared. */
  readonly shared: SharedKernels | null;
  /**
   * Reserves long-lived memory, aligned to 64 bytes, contents undefined.
   *
   * @throws KernelError when the memory cannot grow any further.
   */
  alloc(bytes: number, owner: AllocationOwner): Allocation;
  /**
   * Runs `use` with a function that hands out scratch memory (64-byte aligned, contents undefined). Everything it took is
   * released when `use` returns or throws. Nests; `use` must not be async.
   *
   * @example
   * engine.scratch((take) => {
   *   const ptr = take(4 * x.length);
   *   engine.heap.f32.set(x, ptr >> 2);
   *   engine.kernels.f32_minmax(ptr, x.length, ptr);
   *   return [engine.heap.f32[ptr >> 2], engine.heap.f32[(ptr >> 2) + 1]];
   * });
   */
  scratch<T>(use: (take: (bytes: number) => number) => T): T;
  memory(): MemoryReport;
}

const PAGE = 65536;
/** Below it lies whatever static data the compiler may emit, and a null pointer stays a bug that shows. */
const HEAP_BASE = PAGE;
const INITIAL_PAGES = 16;
const SCRATCH_BLOCK = 1 << 20;

interface ScratchBlock {
  readonly ptr: number;
  readonly bytes: number;
}

class WasmEngine implements Engine {
  readonly build: KernelBuild;
  readonly exactDot8: boolean;
  readonly kernels: KernelExports;
  readonly heap: Heap;
  readonly shared: SharedKernels | null;
  readonly #memory: WebAssembly.Memory;
  readonly #freeList = new FreeList();
  #packedBytes = 0;
  #packedCount = 0;
  #arenaBytes = 0;
  #scratchBlocks: ScratchBlock[] = [];
  #scratchIndex = 0;
  #scratchOffset = 0;
  #scratchDepth = 0;
  #scratchBytes = 0;

  constructor(build: KernelBuild, module: WebAssembly.Module, memory: WebAssembly.Memory, shared: boolean) {
    this.build = build;
    this.#memory = memory;
    this.shared = shared ? { module, memory } : null;
    this.heap = heapOf(this.#memory);
    this.kernels = new WebAssembly.Instance(module, { env: { memory: this.#memory } })
      .exports as unknown as KernelExports;
    this.#freeList.release(HEAP_BASE, this.#memory.buffer.byteLength - HEAP_BASE);
    this.exactDot8 = build !== 'baseline' && dotIsExact(this);
  }

  alloc(bytes: number, owner: AllocationOwner): Allocation {
    const size = alignedSize(checkedSize('Engine.alloc', bytes));
    const ptr = this.#reserve(size);
    this.#count(owner, size, 1);
    let live = true;
    const free = (): void => {
      if (!live) return;
      live = false;
      this.#freeList.release(ptr, size);
      this.#count(owner, -size, -1);
    };
    return { ptr, bytes, free, [Symbol.dispose]: free };
  }

  scratch<T>(use: (take: (bytes: number) => number) => T): T {
    const index = this.#scratchIndex;
    const offset = this.#scratchOffset;
    const inUse = this.#scratchBytes;
    this.#scratchDepth++;
    try {
      return use(this.#takeScratch);
    } finally {
      this.#scratchIndex = index;
      this.#scratchOffset = offset;
      this.#scratchBytes = inUse;
      if (--this.#scratchDepth === 0) this.#mergeScratchBlocks();
    }
  }

  memory(): MemoryReport {
    return {
      reservedBytes: this.#memory.buffer.byteLength,
      packedBytes: this.#packedBytes,
      packedCount: this.#packedCount,
      arenaBytes: this.#arenaBytes,
      scratchBytes: this.#scratchBytes,
    };
  }

  readonly #takeScratch = (bytes: number): number => {
    if (this.#scratchDepth === 0) {
      throw new KernelError({
        fn: 'Engine.scratch',
        argument: 'take',
        expected: 'a call inside the callback it was given to',
        got: 'a call after the callback had returned',
      });
    }
    const size = alignedSize(checkedSize('Engine.scratch', bytes));
    // Blocks never move while scratch is in use, so pointers handed out earlier stay valid.
    while (this.#scratchIndex < this.#scratchBlocks.length) {
      const block = this.#scratchBlocks[this.#scratchIndex];
      if (this.#scratchOffset + size <= block.bytes) {
        const ptr = block.ptr + this.#scratchOffset;
        this.#scratchOffset += size;
        this.#scratchBytes += size;
        return ptr;
      }
      this.#scratchIndex++;
      this.#scratchOffset = 0;
    }
    const blockBytes = Math.max(size, SCRATCH_BLOCK);
    const ptr = this.#reserve(blockBytes);
    this.#scratchBlocks.push({ ptr, bytes: blockBytes });
    this.#scratchOffset = size;
    this.#scratchBytes += size;
    return ptr;
  };

  /** Many small blocks become none; the next use takes one block of their total size. */
  #mergeScratchBlocks(): void {
    if (this.#scratchBlocks.length < 2) return;
    let total = 0;
    for (const block of this.#scratchBlocks) {
      this.#freeList.release(block.ptr, block.bytes);
      total += block.bytes;
    }
    const ptr = this.#freeList.take(total);
    this.#scratchBlocks = ptr === undefined ? [] : [{ ptr, bytes: total }];
  }

  #reserve(size: number): number {
    const ptr = this.#freeList.take(size);
    if (ptr !== undefined) return ptr;
    const end = this.#memory.buffer.byteLength;
    const missing = size - this.#freeList.freeBytesBefore(end);
    const neededPages = Math.ceil(missing / PAGE);
    // Growing copies the memory on some engines: grow by a quarter at least, unless only the bare need is left.
    const wantedPages = Math.max(neededPages, Math.ceil(end / PAGE / 4));
    const availablePages = MAXIMUM_PAGES - end / PAGE;
    const pages = Math.min(wantedPages, availablePages);
    if (neededPages > availablePages || !this.#grow(pages, neededPages)) {
      throw new KernelError({
        fn: 'Engine.alloc',
        argument: 'bytes',
        expected: `at most ${MAXIMUM_PAGES * PAGE} bytes of kernel memory in total`,
        got: `a request for ${size} bytes with ${end} bytes reserved (${this.#packedBytes} in packed weights, ${this.#arenaBytes} in arenas)`,
        fix: 'Free models that are no longer needed, or run smaller batches.',
      });
    }
    this.#freeList.release(end, this.#memory.buffer.byteLength - end);
    const grown = this.#freeList.take(size);
    if (grown === undefined) throw new Error('the grown memory does not hold the request it was grown for');
    return grown;
  }

  #grow(pages: number, neededPages: number): boolean {
    for (const count of new Set([pages, neededPages])) {
      try {
        this.#memory.grow(count);
        return true;
      } catch {
        // The host refused; the smaller step may still be possible.
      }
    }
    return false;
  }

  #count(owner: AllocationOwner, bytes: number, count: number): void {
    if (owner === 'packed') {
      this.#packedBytes += bytes;
      this.#packedCount += count;
    } else this.#arenaBytes += bytes;
  }
}

function checkedSize(fn: string, bytes: number): number {
  if (Number.isSafeInteger(bytes) && bytes >= 0) return bytes;
  throw new ArgumentError({ fn, argument: 'bytes', expected: 'a non-negative integer', got: String(bytes) });
}

/** Views that follow the memory: growing replaces its buffer, which is noticed by identity. */
function heapOf(memory: WebAssembly.Memory): Heap {
  const viewsOf = (buffer: ArrayBufferLike): Heap => ({
    u8: new Uint8Array(buffer),
    i8: new Int8Array(buffer),
    u16: new Uint16Array(buffer),
    i16: new Int16Array(buffer),
    u32: new Uint32Array(buffer),
    i32: new Int32Array(buffer),
    f32: new Float32Array(buffer),
    f64: new Float64Array(buffer),
  });
  let views = viewsOf(memory.buffer);
  const current = (): Heap => {
    if (views.u8.buffer !== memory.buffer) views = viewsOf(memory.buffer);
    return views;
  };
  return {
    get u8() {
      return current().u8;
    },
    get i8() {
      return current().i8;
    },
    get u16() {
      return current().u16;
    },
    get i16() {
      return current().i16;
    },
    get u32() {
      return current().u32;
    },
    get i32() {
      return current().i32;
    },
    get f32() {
      return current().f32;
    },
    get f64() {
      return current().f64;
    },
  };
}

/** A memory, shared if possible: a host may refuse to set aside as much address space as a shared one needs. */
function createMemory(shared: boolean): WebAssembly.Memory {
  const limits = { initial: INITIAL_PAGES, maximum: MAXIMUM_PAGES };
  if (shared) {
    try {
      return new WebAssembly.Memory({ ...limits, shared });
    } catch {
      // One thread it is.
    }
  }
  return new WebAssembly.Memory(limits);
}

/** Runs the adversarial vectors on the 8-bit dot product and compares with exact arithmetic. */
function dotIsExact(candidate: Engine): boolean {
  const { heap, kernels } = candidate;
  return candidate.scratch((take) => {
    const ptr = take(ALIGNMENT);
    return dotProbes.every((probe) => {
      heap.i8.set(probe.weights, ptr);
      heap.u8.set(probe.activations, ptr + 16);
      heap.i32.set(probe.start, (ptr + 32) >> 2);
      kernels.probe_dot_i8x16_u8x16(ptr, ptr + 16, ptr + 32);
      const got = heap.i32.subarray((ptr + 32) >> 2, (ptr + 48) >> 2);
      return probe.expected.every((value, i) => value === got[i]);
    });
  });
}

/** Whether pairs of vectors were packed into one, found by timing both: half the time, where they were not twice at best. */
function vectorsAreWide(candidate: Engine): boolean {
  const { heap, kernels } = candidate;
  const ROUNDS = 2000;
  const VECTORS = 256;
  const LEAST_TRIES = 4;
  const MOST_TRIES = 100;
  return candidate.scratch((take) => {
    const from = take(VECTORS);
    const to = take(VECTORS);
    heap.u8.fill(1, from, from + VECTORS);
    heap.u8.fill(0, to, to + VECTORS);
    const timeOf = (kernel: 'probe_vectors' | 'probe_pairs'): number => {
      const start = performance.now();
      kernels[kernel](from, ROUNDS, to);
      return performance.now() - start;
    };
    let single = Number.POSITIVE_INFINITY;
    let double = Number.POSITIVE_INFINITY;
    // Other work on the machine makes either look slow: the shortest of some runs decide, of many before giving up.
    for (let i = 0; i < MOST_TRIES; i++) {
      single = Math.min(single, timeOf('probe_vectors'));
      double = Math.min(double, timeOf('probe_pairs'));
      if (i >= LEAST_TRIES && double < 1.5 * single) return true;
    }
    return false;
  });
}

/**
 * Creates a separate engine with the given build: its own memory, nothing in common with others. Meant for tests and
 * benchmarks that compare builds; everything else uses {@link engine}.
 *
 * @param options `shared: false` keeps its memory from other threads even where sharing is possible.
 * @throws KernelError when this host cannot compile the build (no SIMD, no relaxed SIMD, no choice of wide vectors).
 */
export function createEngine(build: KernelBuild, options: { readonly shared?: boolean } = {}): Engine {
  const memory = createMemory(options.shared ?? whyNotShared() === null);
  const shared = !(memory.buffer instanceof ArrayBuffer);
  const module = moduleOf(build, shared);
  if (!(module instanceof Error)) return new WasmEngine(build, module, memory, shared);
  throw new KernelError(
    {
      fn: 'createEngine',
      argument: 'build',
      expected: `a host that compiles the '${build}' kernels`,
      got: `one that does not (${module.message})`,
      fix: build === 'baseline' ? 'WebAssembly SIMD is required.' : "Use 'baseline'.",
    },
    { cause: module },
  );
}

/** Whether {@link createEngine} accepts the build on this host. */
export function isBuildSupported(build: KernelBuild): boolean {
  return !(moduleOf(build, whyNotShared() === null) instanceof Error);
}

/** The builds that {@link createEngine} accepts on this host, the fastest first. */
export function supportedBuilds(): KernelBuild[] {
  return KERNEL_BUILDS.filter(isBuildSupported);
}

function pickEngine(): Engine {
  const forced = environmentVariable('ZEROPOINT_KERNELS');
  if (KERNEL_BUILDS.includes(forced as KernelBuild)) return createEngine(forced as KernelBuild);
  if (forced !== undefined && forced !== '') {
    throw new ArgumentError({
      fn: 'engine',
      argument: 'environment variable ZEROPOINT_KERNELS',
      expected: `${KERNEL_BUILDS.map((build) => `'${build}'`).join(', ')} or nothing`,
      got: `'${forced}'`,
    });
  }
  if (isBuildSupported('wide')) {
    const wide = createEngine('wide');
    // A processor without such vectors, or a V8 that found no pairs, would pay for kernels made for them.
    if (vectorsAreWide(wide)) return wide;
  }
  return createEngine(isBuildSupported('relaxed') ? 'relaxed' : 'baseline');
}

/**
 * The engine everything runs on: the relaxed build where this host compiles it, wide where it can be told to, with the 8-bit dot
 * product where it is exact. `ZEROPOINT_KERNELS=wide|relaxed|baseline` in the environment forces a build.
 */
export const engine: Engine = pickEngine();
