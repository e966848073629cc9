import { KernelError, ShapeError } from '../../core/errors.ts';
import type { Allocation, Engine } from '../engine.ts';

/** Columns of a float32 panel: two vectors of four. */
export const PANEL_COLUMNS: number = 8;

/** Bytes of one packed row of a panel. */
export const PACKED_ROW_BYTES: number = PANEL_COLUMNS * 4;

/** Number of panels that hold `columns` columns. */
export function panelCount(columns: number): number {
  return Math.ceil(columns / PANEL_COLUMNS);
}

/** Whether products take two panels at once: where vectors are wide, their sums fit the registers. The results are the same. */
export function takesPairs(engine: Engine): boolean {
  return engine.build === 'wide';
}

/** Throws a {@link ShapeError} unless `array` has exactly the expected length. */
export function checkLength(fn: string, argument: string, array: ArrayLike<number>, length: number): void {
  if (array.length === length) return;
  throw new ShapeError({ fn, argument, expected: `${length} elements`, got: `${array.length}` });
}

/** Throws a {@link ShapeError} unless every named size is a non-negative integer. */
export function checkSizes(fn: string, sizes: Readonly<Record<string, number>>): void {
  for (const [argument, value] of Object.entries(sizes)) {
    if (Number.isSafeInteger(value) && value >= 0) continue;
    throw new ShapeError({ fn, argument, expected: 'a non-negative integer', got: String(value) });
  }
}

/** Bounds that a kernel applies to what it stores; a fused ReLU is `{ min: 0 }`, ReLU6 `{ min: 0, max: 6 }`. */
export interface ClampF32 {
  readonly min?: number;
  readonly max?: number;
}

/** Copies a bias into scratch, padded with zeros to whole panels; null gives zeros. Returns its address. */
export function stageBias(
  engine: Engine,
  take: (bytes: number) => number,
  bias: Float32Array | null | undefined,
  columns: number,
): number {
  const padded = panelCount(columns) * PANEL_COLUMNS;
  const ptr = take(padded * 4);
  const f32 = engine.heap.f32;
  f32.fill(0, ptr >> 2, (ptr >> 2) + padded);
  if (bias) f32.set(bias, ptr >> 2);
  return ptr;
}

/** Byte offsets 0, step, 2·step, … in scratch: the row table of a plain matrix. */
export function stageRowTable(
  engine: Engine,
  take: (bytes: number) => number,
  rows: number,
  stepBytes: number,
): number {
  const ptr = take(rows * 4);
  const u32 = engine.heap.u32;
  const at = ptr >> 2;
  for (let i = 0; i < rows; i++) u32[at + i] = i * stepBytes;
  return ptr;
}

const collected = new FinalizationRegistry<Allocation>((allocation) => allocation.free());

/**
 * The right-hand matrix of a product (k × n), packed once into panels of 8 columns in the engine's memory, for reuse over many calls
 * of `gemmF32`. Free it with {@link PackedF32Weights.free} or `using`; a collected object frees its panels too.
 */
export class PackedF32Weights {
  readonly engine: Engine;
  readonly k: number;
  readonly n: number;
  readonly #allocation: Allocation;
  #freed = false;

  constructor(engine: Engine, k: number, n: number) {
    this.engine = engine;
    this.k = k;
    this.n = n;
    this.#allocation = engine.alloc(Math.max(1, panelCount(n) * k * PANEL_COLUMNS * 4), 'packed');
    collected.register(this, this.#allocation, this);
  }

  /** Address of the first panel; panels are `k * 32` bytes apart. */
  get ptr(): number {
    if (this.#freed) {
      throw new KernelError({
        fn: 'PackedF32Weights',
        argument: 'ptr',
        expected: 'packed weights that are still alive',
        got: 'weights that were freed',
        fix: 'Pack the weights again, or free them later.',
      });
    }
    return this.#allocation.ptr;
  }

  /** Bytes held in the engine's memory. */
  get bytes(): number {
    return this.#allocation.bytes;
  }

  /** Returns the panels to the engine. Harmless when repeated. */
  free(): void {
    this.#freed = true;
    collected.unregister(this);
    this.#allocation.free();
  }

  [Symbol.dispose](): void {
    this.free();
  }
}
