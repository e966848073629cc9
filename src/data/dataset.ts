import { ArgumentError, ShapeError } from '../core/errors.ts';
import { defaultGenerator, type Generator } from '../core/random.ts';
import { formatShape } from '../tensor/shape.ts';
import { type Tensor, viewOf } from '../tensor/tensor.ts';

/** Samples by index. Source: `torch.utils.data.Dataset`, the map-style one. */
export interface Dataset<T> {
  readonly length: number;
  /** The sample at `index`, from 0 up to `length` − 1. */
  get(index: number): T;
}

/**
 * Tensors of equal first size; sample `i` is the list of their rows `i`, as views.
 * Source: `torch.utils.data.TensorDataset`.
 *
 * @throws {@link ShapeError} where the first sizes differ.
 * @example
 * const dataset = new TensorDataset(images, labels); // [N, 1, 28, 28] and [N]
 * const [image, label] = dataset.get(0);             // [1, 28, 28] and a scalar
 */
export class TensorDataset<T extends readonly Tensor[]> implements Dataset<T> {
  readonly tensors: T;

  constructor(...tensors: T) {
    const n = tensors[0]?.shape[0];
    for (const [i, t] of tensors.entries()) {
      if (t.ndim > 0 && t.shape[0] === n) continue;
      throw new ShapeError({
        fn: 'TensorDataset',
        argument: `tensors[${i}]`,
        expected: `${n ?? 'some'} rows, as many as the first has`,
        got: formatShape(t.shape),
      });
    }
    this.tensors = tensors;
  }

  get length(): number {
    return this.tensors[0]?.shape[0] ?? 0;
  }

  get(index: number): T {
    checkIndex('TensorDataset.get', index, this.length);
    return this.tensors.map((t) =>
      viewOf(t, t.shape.slice(1), t.strides.slice(1), t.offset + index * t.strides[0]),
    ) as unknown as T;
  }
}

/** Some samples of a dataset, in the order of `indices`. Source: `torch.utils.data.Subset`. */
export class Subset<T> implements Dataset<T> {
  readonly dataset: Dataset<T>;
  readonly indices: ArrayLike<number>;

  constructor(dataset: Dataset<T>, indices: ArrayLike<number>) {
    for (let i = 0; i < indices.length; i++) checkIndex('Subset', indices[i], dataset.length);
    this.dataset = dataset;
    this.indices = indices;
  }

  get length(): number {
    return this.indices.length;
  }

  get(index: number): T {
    checkIndex('Subset.get', index, this.length);
    return this.dataset.get(this.indices[index]);
  }
}

/** Several datasets, one after the other. Source: `torch.utils.data.ConcatDataset`. */
export class ConcatDataset<T> implements Dataset<T> {
  readonly datasets: readonly Dataset<T>[];

  constructor(datasets: readonly Dataset<T>[]) {
    this.datasets = datasets;
  }

  get length(): number {
    return this.datasets.reduce((sum, d) => sum + d.length, 0);
  }

  get(index: number): T {
    checkIndex('ConcatDataset.get', index, this.length);
    let rest = index;
    let at = 0;
    while (rest >= this.datasets[at].length) rest -= this.datasets[at++].length;
    return this.datasets[at].get(rest);
  }
}

/** A dataset whose samples pass through a function when they are asked for: augmentation, normalization, decoding. */
export class MappedDataset<T, U> implements Dataset<U> {
  readonly dataset: Dataset<T>;
  readonly transform: (sample: T, index: number) => U;

  constructor(dataset: Dataset<T>, transform: (sample: T, index: number) => U) {
    this.dataset = dataset;
    this.transform = transform;
  }

  get length(): number {
    return this.dataset.length;
  }

  get(index: number): U {
    return this.transform(this.dataset.get(index), index);
  }
}

/**
 * Splits a dataset at random into parts that do not overlap. `lengths` are counts that add up to the whole, or
 * fractions that add up to 1 (what rounding leaves over goes to the first parts, one each).
 * Source: `torch.utils.data.random_split`.
 *
 * @throws {@link ArgumentError} where the lengths do not add up.
 * @example
 * const [train, test] = randomSplit(dataset, [0.8, 0.2], { generator: new Generator(42) });
 */
export function randomSplit<T>(
  dataset: Dataset<T>,
  lengths: readonly number[],
  options: { readonly generator?: Generator } = {},
): Subset<T>[] {
  const total = lengths.reduce((a, b) => a + b, 0);
  let counts = [...lengths];
  if (Math.abs(total - 1) < 1e-9 && dataset.length !== 1) {
    counts = lengths.map((f) => Math.floor(f * dataset.length + 1e-9));
    const left = dataset.length - counts.reduce((a, b) => a + b, 0);
    for (let i = 0; i < left; i++) counts[i % counts.length]++;
  } else if (total !== dataset.length || lengths.some((n) => !Number.isInteger(n) || n < 0)) {
    throw new ArgumentError({
      fn: 'randomSplit',
      argument: 'lengths',
      expected: `counts that add up to ${dataset.length}, or fractions that add up to 1`,
      got: `[${lengths.join(', ')}]`,
    });
  }
  const order = (options.generator ?? defaultGenerator).permutation(dataset.length);
  let at = 0;
  return counts.map((n) => {
    at += n;
    return new Subset(dataset, order.subarray(at - n, at));
  });
}

function checkIndex(fn: string, index: number, length: number): void {
  if (Number.isInteger(index) && index >= 0 && index < length) return;
  throw new ArgumentError({
    fn,
    argument: 'index',
    expected: `a whole number from 0 to ${length - 1}`,
    got: String(index),
  });
}
