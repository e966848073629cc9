import { ArgumentError } from '../core/errors.ts';
import type { Generator } from '../core/random.ts';
import { type Collated, defaultCollate } from './collate.ts';
import type { Dataset } from './dataset.ts';
import { BatchSampler, RandomSampler, type Sampler, SequentialSampler } from './sampler.ts';

/** Settings of {@link DataLoader}. */
export interface DataLoaderOptions<T, B> {
  /** Samples per batch; 1. */
  readonly batchSize?: number;
  /** A new random order at every iteration; false. */
  readonly shuffle?: boolean;
  /** Leave out the last batch where it is shorter; false. */
  readonly dropLast?: boolean;
  /** The order of samples, instead of `shuffle`. */
  readonly sampler?: Sampler;
  /** The batches themselves, instead of `batchSize`, `shuffle`, `dropLast` and `sampler`. */
  readonly batchSampler?: Sampler<number[]>;
  /** Source of randomness for `shuffle`; the default generator. */
  readonly generator?: Generator;
  /** Joins samples into a batch; {@link defaultCollate}. */
  readonly collate?: (samples: T[]) => B;
}

/**
 * Goes through a dataset batch by batch. `for` takes datasets that answer at once, `for await` also those whose `get`
 * returns promises (files, network), fetching the samples of a batch together and the next batch ahead.
 * Source: `torch.utils.data.DataLoader`.
 *
 * @example
 * const loader = new DataLoader(new TensorDataset(images, labels), { batchSize: 64, shuffle: true });
 * for (const [x, y] of loader) crossEntropy(model(x), y);
 */
export class DataLoader<T, B = Collated<Awaited<T>>> implements Iterable<B>, AsyncIterable<B> {
  readonly dataset: Dataset<T>;
  readonly batchSampler: Sampler<number[]>;
  readonly #collate: (samples: Awaited<T>[]) => B;

  constructor(dataset: Dataset<T>, options: DataLoaderOptions<Awaited<T>, B> = {}) {
    this.dataset = dataset;
    if (options.shuffle && options.sampler) throw conflict('shuffle and sampler');
    if (options.batchSampler) {
      const other = (['batchSize', 'shuffle', 'dropLast', 'sampler'] as const).find(
        (k) => options[k] !== undefined,
      );
      if (other) throw conflict(`batchSampler and ${other}`);
    }
    const { generator } = options;
    const sampler =
      options.sampler ??
      (options.shuffle ? new RandomSampler(dataset, { generator }) : new SequentialSampler(dataset));
    this.batchSampler =
      options.batchSampler ?? new BatchSampler(sampler, options.batchSize ?? 1, options.dropLast);
    this.#collate = options.collate ?? (defaultCollate as unknown as (samples: Awaited<T>[]) => B);
  }

  /** Number of batches in one iteration. */
  get length(): number {
    return this.batchSampler.length;
  }

  *[Symbol.iterator](): Iterator<B> {
    for (const indices of this.batchSampler) {
      const samples = indices.map((i) => this.dataset.get(i));
      if (samples.some((s) => s instanceof Promise)) {
        throw new ArgumentError({
          fn: 'DataLoader',
          argument: 'dataset',
          expected: 'samples that are there at once',
          got: 'promises',
          fix: 'Iterate with `for await`.',
        });
      }
      yield this.#collate(samples as Awaited<T>[]);
    }
  }

  async *[Symbol.asyncIterator](): AsyncIterator<B> {
    let pending: Promise<Awaited<T>[]> | null = null;
    for (const indices of this.batchSampler) {
      const next = Promise.all(indices.map((i) => this.dataset.get(i)));
      // The batch ahead may fail before anyone waits for it; it is reported when its turn comes.
      next.catch(() => {});
      if (pending) yield this.#collate(await pending);
      pending = next;
    }
    if (pending) yield this.#collate(await pending);
  }
}

function conflict(names: string): ArgumentError {
  return new ArgumentError({
    fn: 'DataLoader',
    argument: 'options',
    expected: 'one way to order samples',
    got: names,
  });
}
