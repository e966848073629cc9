import { ArgumentError } from '../core/errors.ts';
import { defaultGenerator, type Generator } from '../core/random.ts';

/** An order to visit samples in: indices, anew at every iteration. Source: `torch.utils.data.Sampler`. */
export interface Sampler<I = number> extends Iterable<I> {
  /** How many indices (or batches) one iteration gives. */
  readonly length: number;
}

/** 0, 1, 2, … Source: `torch.utils.data.SequentialSampler`. */
export class SequentialSampler implements Sampler {
  readonly length: number;

  constructor(source: { readonly length: number }) {
    this.length = source.length;
  }

  *[Symbol.iterator](): Iterator<number> {
    for (let i = 0; i < this.length; i++) yield i;
  }
}

/** Settings of {@link RandomSampler}. */
export interface RandomSamplerOptions {
  /** Draw with replacement; false: every sample once, in a new order at every iteration. */
  readonly replacement?: boolean;
  /** How many to draw; all. */
  readonly numSamples?: number;
  /** Source of randomness; the default generator. */
  readonly generator?: Generator;
}

/** Indices in random order. Source: `torch.utils.data.RandomSampler`. */
export class RandomSampler implements Sampler {
  readonly length: number;
  readonly #size: number;
  readonly #replacement: boolean;
  readonly #generator: Generator;

  constructor(source: { readonly length: number }, options: RandomSamplerOptions = {}) {
    this.#size = source.length;
    this.length = options.numSamples ?? source.length;
    this.#replacement = options.replacement ?? false;
    this.#generator = options.generator ?? defaultGenerator;
  }

  *[Symbol.iterator](): Iterator<number> {
    let left = this.length;
    if (this.#replacement) {
      while (left-- > 0) yield this.#generator.below(this.#size);
      return;
    }
    while (left > 0) {
      const order = this.#generator.permutation(this.#size);
      yield* order.subarray(0, left);
      left -= order.length;
    }
  }
}

/**
 * Indices drawn in proportion to `weights` (they need not add up to 1). Source: `torch.utils.data.WeightedRandomSampler`;
 * without replacement by exponential keys: Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006).
 *
 * @example
 * new WeightedRandomSampler(labels.map((y) => 1 / classCount[y]), labels.length); // balances classes
 */
export class WeightedRandomSampler implements Sampler {
  readonly length: number;
  readonly #weights: Float64Array;
  readonly #replacement: boolean;
  readonly #generator: Generator;

  /**
   * @throws {@link ArgumentError} where a weight is negative, all are zero, or more samples than positive weights are
   *   asked for without replacement.
   */
  constructor(
    weights: ArrayLike<number>,
    numSamples: number,
    options: { readonly replacement?: boolean; readonly generator?: Generator } = {},
  ) {
    this.#weights = Float64Array.from(weights);
    this.length = numSamples;
    this.#replacement = options.replacement ?? true;
    this.#generator = options.generator ?? defaultGenerator;
    const positive = this.#weights.filter((w) => w > 0).length;
    if (!this.#weights.every((w) => w >= 0 && w < Number.POSITIVE_INFINITY) || positive === 0) {
      throw new ArgumentError({
        fn: 'WeightedRandomSampler',
        argument: 'weights',
        expected: 'numbers from 0 up, not all 0',
        got: `${weights.length} weights, ${positive} of them positive`,
      });
    }
    if (!this.#replacement && numSamples > positive) {
      throw new ArgumentError({
        fn: 'WeightedRandomSampler',
        argument: 'numSamples',
        expected: `at most ${positive}, the number of positive weights, without replacement`,
        got: String(numSamples),
      });
    }
  }

  *[Symbol.iterator](): Iterator<number> {
    if (this.#replacement) yield* this.#withReplacement();
    else yield* this.#withoutReplacement();
  }

  *#withReplacement(): Iterable<number> {
    const cumulative = this.#weights.slice();
    for (let i = 1; i < cumulative.length; i++) cumulative[i] += cumulative[i - 1];
    const total = cumulative[cumulative.length - 1];
    for (let n = 0; n < this.length; n++) {
      const mark = this.#generator.uniformDouble() * total;
      let low = 0;
      let high = cumulative.length - 1;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (cumulative[middle] > mark) high = middle;
        else low = middle + 1;
      }
      yield low;
    }
  }

  #withoutReplacement(): number[] {
    const keys = this.#weights.map((w) =>
      w > 0 ? -Math.log1p(-this.#generator.uniformDouble()) / w : Number.POSITIVE_INFINITY,
    );
    const order = Array.from(keys, (_, i) => i).sort((a, b) => keys[a] - keys[b]);
    return order.slice(0, this.length);
  }
}

/** The indices of another sampler in lists of `batchSize`. Source: `torch.utils.data.BatchSampler`. */
export class BatchSampler implements Sampler<number[]> {
  readonly sampler: Sampler;
  readonly batchSize: number;
  /** Leave out the last list where it is shorter. */
  readonly dropLast: boolean;

  constructor(sampler: Sampler, batchSize: number, dropLast = false) {
    if (!Number.isInteger(batchSize) || batchSize <= 0) {
      throw new ArgumentError({
        fn: 'BatchSampler',
        argument: 'batchSize',
        expected: 'a whole number above 0',
        got: String(batchSize),
      });
    }
    this.sampler = sampler;
    this.batchSize = batchSize;
    this.dropLast = dropLast;
  }

  get length(): number {
    const batches = this.sampler.length / this.batchSize;
    return this.dropLast ? Math.floor(batches) : Math.ceil(batches);
  }

  *[Symbol.iterator](): Iterator<number[]> {
    let batch: number[] = [];
    for (const index of this.sampler) {
      batch.push(index);
      if (batch.length < this.batchSize) continue;
      yield batch;
      batch = [];
    }
    if (batch.length > 0 && !this.dropLast) yield batch;
  }
}
