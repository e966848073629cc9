import { ArgumentError } from './errors.ts';

/** A place in the stream of a {@link Generator}. */
export interface GeneratorState {
  readonly words: Uint32Array;
  readonly next: number;
  readonly seed: number;
  readonly spareNormal: number | null;
}

/**
 * Mersenne Twister 19937, with PyTorch's ways of turning its words into numbers, so that the same seed gives
 * the same `rand`, `randn` and `randperm` as `torch.manual_seed` on the CPU.
 *
 * Source: Matsumoto and Nishimura, "Mersenne Twister" (1998); at::mt19937, at::CPUGeneratorImpl.
 *
 * @example
 * const g = new Generator(0);
 * g.uniform(); // 0.49625658988952637, as torch.manual_seed(0); torch.rand(1)
 */
export class Generator {
  readonly #state: Uint32Array = new Uint32Array(624);
  #next = 624;
  #seed = 0;
  #spareNormal: number | null = null;

  constructor(seed: number = 67280421310721) {
    this.manualSeed(seed);
  }

  /** Restarts the stream. `seed` is a non-negative integer; its low 32 bits count, as in PyTorch. */
  manualSeed(seed: number): this {
    if (!Number.isSafeInteger(seed) || seed < 0) {
      throw new ArgumentError({
        fn: 'manualSeed',
        argument: 'seed',
        expected: 'an integer from 0 to 2^53 - 1',
        got: String(seed),
      });
    }
    const s = this.#state;
    s[0] = seed % 4294967296;
    for (let i = 1; i < 624; i++) {
      const x = s[i - 1] ^ (s[i - 1] >>> 30);
      s[i] = Math.imul(1812433253, x) + i;
    }
    this.#next = 624;
    this.#seed = seed;
    this.#spareNormal = null;
    return this;
  }

  /** The seed this stream was last started with. */
  initialSeed(): number {
    return this.#seed;
  }

  /** The place in the stream, to come back to with {@link setState}. Source: `torch.Generator.get_state`. */
  getState(): GeneratorState {
    return {
      words: this.#state.slice(),
      next: this.#next,
      seed: this.#seed,
      spareNormal: this.#spareNormal,
    };
  }

  /** Continues from a place that {@link getState} gave. Source: `torch.Generator.set_state`. */
  setState(state: GeneratorState): this {
    this.#state.set(state.words);
    this.#next = state.next;
    this.#seed = state.seed;
    this.#spareNormal = state.spareNormal;
    return this;
  }

  /** The next 32 random bits, as an unsigned integer. */
  random32(): number {
    if (this.#next === 624) this.#refill();
    let y = this.#state[this.#next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  /** A float32 in [0, 1), 24 bits of resolution: `torch.rand`'s element. */
  uniform(): number {
    return (this.random32() & 0xffffff) / 16777216;
  }

  /** A double in [0, 1), 53 bits of resolution. */
  uniformDouble(): number {
    const high = this.random32();
    const low = this.random32();
    return ((high & 0x1fffff) * 4294967296 + low) / 9007199254740992;
  }

  /** A standard normal number; pairs are cached as in `torch.normal` of fewer than 16 elements. */
  normal(): number {
    if (this.#spareNormal !== null) {
      const spare = this.#spareNormal;
      this.#spareNormal = null;
      return spare;
    }
    const u1 = this.uniformDouble();
    const u2 = this.uniformDouble();
    const r = Math.sqrt(-2 * Math.log1p(-u2));
    const theta = 2 * Math.PI * u1;
    this.#spareNormal = r * Math.sin(theta);
    return r * Math.cos(theta);
  }

  /** Fills `out` with standard normal numbers as `torch.randn` does (blocks of 16 by Box-Muller from 16 elements up). */
  fillNormal(out: Float32Array | Float64Array): void {
    const n = out.length;
    if (n < 16) {
      for (let i = 0; i < n; i++) out[i] = this.normal();
      return;
    }
    const boxMuller = out instanceof Float32Array ? boxMuller16 : boxMuller16Double;
    this.fillUniform(out);
    for (let i = 0; i + 16 <= n; i += 16) boxMuller(out, i);
    if (n % 16 !== 0) {
      // The tail block is drawn afresh and overlaps the one before it, as in PyTorch.
      this.fillUniform(out.subarray(n - 16));
      boxMuller(out, n - 16);
    }
  }

  /** Fills `out` with numbers in [0, 1) as `torch.rand` does: 24 random bits for float32, 53 for float64. */
  fillUniform(out: Float32Array | Float64Array): void {
    const single = out instanceof Float32Array;
    for (let i = 0; i < out.length; i++) out[i] = single ? this.uniform() : this.uniformDouble();
  }

  /** A whole number in [0, bound), `bound` from 1 to 2^53. Takes one word, or two from 2^32 up, as `torch.randint`. */
  below(bound: number): number {
    if (bound < 4294967296) return this.random32() % bound;
    const high = BigInt(this.random32());
    return Number(((high << 32n) | BigInt(this.random32())) % BigInt(bound));
  }

  /** A random order of 0 … n − 1 (`torch.randperm`). */
  permutation(n: number): Int32Array {
    const order = Int32Array.from({ length: n }, (_, i) => i);
    for (let i = 0; i < n - 1; i++) {
      const j = i + (this.random32() % (n - i));
      const t = order[i];
      order[i] = order[j];
      order[j] = t;
    }
    return order;
  }

  #refill(): void {
    const s = this.#state;
    for (let i = 0; i < 624; i++) {
      const y = (s[i] & 0x80000000) | (s[(i + 1) % 624] & 0x7fffffff);
      s[i] = s[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.#next = 0;
  }
}

/** The generator used where none is given. */
export const defaultGenerator: Generator = new Generator();

/** Seeds the default generator (`torch.manual_seed`). */
export function manualSeed(seed: number): Generator {
  return defaultGenerator.manualSeed(seed);
}

function boxMuller16Double(data: Float32Array | Float64Array, at: number): void {
  for (let j = 0; j < 8; j++) {
    const radius = Math.sqrt(-2 * Math.log(1 - data[at + j]));
    const theta = 2 * Math.PI * data[at + j + 8];
    data[at + j] = radius * Math.cos(theta);
    data[at + j + 8] = radius * Math.sin(theta);
  }
}

/** Rounds after every step, as PyTorch's float32 loop does. */
function boxMuller16(data: Float32Array | Float64Array, at: number): void {
  for (let j = 0; j < 8; j++) {
    const u1 = Math.fround(1 - data[at + j]);
    const u2 = data[at + j + 8];
    const radius = Math.fround(Math.sqrt(Math.fround(-2 * Math.fround(Math.log(u1)))));
    const theta = Math.fround(Math.fround(2 * Math.PI) * u2);
    data[at + j] = radius * Math.fround(Math.cos(theta));
    data[at + j + 8] = radius * Math.fround(Math.sin(theta));
  }
}
