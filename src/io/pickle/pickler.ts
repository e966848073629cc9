import { concatBytes } from '../bytes.ts';

/**
 * Writes pickle opcodes of protocol 2, the one `torch.save` uses. Strings and globals are memoized, so that a
 * key or a function name is spelled once.
 */
export class Pickler {
  readonly #parts: Uint8Array[] = [];
  readonly #memo = new Map<string, number>();

  constructor() {
    this.#bytes(0x80, 2);
  }

  none(): void {
    this.#bytes(0x4e);
  }

  boolean(value: boolean): void {
    this.#bytes(value ? 0x88 : 0x89);
  }

  /** Whole numbers become Python ints, others floats. */
  number(value: number): void {
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
      this.float(value);
    } else if (value >= 0 && value < 256) {
      this.#bytes(0x4b, value);
    } else if (value === (value | 0)) {
      this.#bytes(0x4a, value, value >> 8, value >> 16, value >> 24);
    } else {
      const eight = new Uint8Array(8);
      new DataView(eight.buffer).setBigInt64(0, BigInt(value), true);
      this.#bytes(0x8a, 8, ...eight);
    }
  }

  /** A Python float, whole or not. */
  float(value: number): void {
    const nine = new Uint8Array(9);
    nine[0] = 0x47;
    new DataView(nine.buffer).setFloat64(1, value, false);
    this.#parts.push(nine);
  }

  string(value: string): void {
    this.#memoized(`s${value}`, () => {
      const text = new TextEncoder().encode(value);
      const n = text.length;
      this.#bytes(0x58, n, n >> 8, n >> 16, n >> 24);
      this.#parts.push(text);
    });
  }

  global(module: string, name: string): void {
    this.#memoized(`g${module}\n${name}`, () => {
      this.#parts.push(new TextEncoder().encode(`c${module}\n${name}\n`));
    });
  }

  /** A tuple of what the calls write. */
  tuple(...items: readonly (() => void)[]): void {
    if (items.length > 3) this.#bytes(0x28);
    for (const item of items) item();
    this.#bytes([0x29, 0x85, 0x86, 0x87][items.length] ?? 0x74);
  }

  /** A call of a global with a tuple of arguments. */
  call(module: string, name: string, ...args: readonly (() => void)[]): void {
    this.global(module, name);
    this.tuple(...args);
    this.#bytes(0x52);
  }

  /** A fresh object of a class, with the state that `state` writes. */
  object(module: string, name: string, state: () => void): void {
    this.global(module, name);
    this.#bytes(0x29, 0x81);
    state();
    this.#bytes(0x62);
  }

  /** An OrderedDict. */
  orderedDict(entries: Iterable<readonly [string, () => void]>): void {
    this.call('collections', 'OrderedDict');
    this.#items(entries);
  }

  /** A plain dict. */
  dict(entries: Iterable<readonly [string, () => void]>): void {
    this.#bytes(0x7d);
    this.#items(entries);
  }

  /** Sets the attributes of the object just written. */
  attributes(entries: Iterable<readonly [string, () => void]>): void {
    this.dict(entries);
    this.#bytes(0x62);
  }

  /** Turns the tuple just written into the object that a persistent id names. */
  persistent(): void {
    this.#bytes(0x51);
  }

  /** Ends the pickle and returns it. */
  finish(): Uint8Array {
    this.#bytes(0x2e);
    return concatBytes(this.#parts);
  }

  #items(entries: Iterable<readonly [string, () => void]>): void {
    this.#bytes(0x28);
    for (const [key, value] of entries) {
      this.string(key);
      value();
    }
    this.#bytes(0x75);
  }

  #memoized(key: string, write: () => void): void {
    const known = this.#memo.get(key);
    if (known !== undefined) {
      if (known < 256) this.#bytes(0x68, known);
      else this.#bytes(0x6a, known, known >> 8, known >> 16, known >> 24);
      return;
    }
    write();
    const index = this.#memo.size;
    this.#memo.set(key, index);
    if (index < 256) this.#bytes(0x71, index);
    else this.#bytes(0x72, index, index >> 8, index >> 16, index >> 24);
  }

  #bytes(...values: readonly number[]): void {
    this.#parts.push(Uint8Array.from(values));
  }
}
