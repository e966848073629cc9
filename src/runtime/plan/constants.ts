import type { Allocation, Engine } from '../../kernels/engine.ts';
import type { Block } from './memory.ts';

const freeOnCollection = new FinalizationRegistry<Map<string, Allocation>>((owned) => {
  for (const allocation of owned.values()) allocation.free();
});

/**
 * What the plans of one program read and never write: weights in the layout of their kernels, tables, constants. Made
 * once, on first need, and shared by the plans of all input shapes.
 */
export class Constants {
  readonly engine: Engine;
  readonly #blocks = new Map<string, Block>();
  readonly #owned = new Map<string, Allocation>();

  constructor(engine: Engine) {
    this.engine = engine;
    freeOnCollection.register(this, this.#owned, this);
  }

  /**
   * The block under a key; `fill` writes it where it does not exist yet. The key must say everything that the contents
   * depend on.
   */
  get(key: string, bytes: number, fill: (ptr: number) => void): Block {
    const existing = this.#blocks.get(key);
    if (existing) return existing;
    const allocation = this.engine.alloc(bytes, 'packed');
    this.#owned.set(key, allocation);
    fill(allocation.ptr);
    const block = { bytes, ptr: allocation.ptr, first: 0, last: 0 };
    this.#blocks.set(key, block);
    return block;
  }

  /** Memory they take. */
  get bytes(): number {
    return [...this.#owned.values()].reduce((sum, allocation) => sum + allocation.bytes, 0);
  }

  /** Gives the memory back. */
  free(): void {
    freeOnCollection.unregister(this);
    for (const allocation of this.#owned.values()) allocation.free();
    this.#owned.clear();
    this.#blocks.clear();
  }
}
