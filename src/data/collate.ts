import { ArgumentError, ShapeError } from '../core/errors.ts';
import { product } from '../core/math.ts';
import { DTYPES } from '../tensor/dtype.ts';
import { contiguousStrides, formatShape } from '../tensor/shape.ts';
import { copyStrided, fromStorage, Tensor } from '../tensor/tensor.ts';

/** What {@link defaultCollate} makes of a list of samples of type `T`. */
export type Collated<T> = T extends Tensor | number | boolean
  ? Tensor
  : T extends string
    ? string[]
    : T extends object
      ? { -readonly [K in keyof T]: Collated<T[K]> }
      : never;

/**
 * Joins samples into a batch: tensors of one shape are stacked along a new first dimension, whole numbers (class
 * indices) become an int64 tensor, booleans a bool tensor, strings a list, and tuples and plain objects are joined
 * member by member. Source: `torch.utils.data.default_collate`.
 *
 * @throws {@link ShapeError} where tensors differ in shape, {@link ArgumentError} for anything that has no batch form.
 */
export function defaultCollate<T>(samples: readonly T[]): Collated<T> {
  return collate(samples, '') as Collated<T>;
}

function collate(samples: readonly unknown[], path: string): unknown {
  const first = samples[0];
  if (first instanceof Tensor) return stackSamples(samples as readonly Tensor[], path);
  if (typeof first === 'string') return [...samples];
  if (typeof first === 'boolean')
    return fromStorage(Uint8Array.from(samples, Number), [samples.length], 'bool');
  if (typeof first === 'number') {
    const odd = samples.find((s) => !Number.isInteger(s));
    if (odd !== undefined) throw noBatchForm(path, `the fractional number ${odd}`);
    return fromStorage(Float64Array.from(samples as number[]), [samples.length], 'int64');
  }
  if (Array.isArray(first)) {
    return first.map((_, k) =>
      collate(
        samples.map((s) => (s as unknown[])[k]),
        `${path}[${k}]`,
      ),
    );
  }
  if (typeof first === 'object' && first !== null && Object.getPrototypeOf(first) === Object.prototype) {
    const joined: Record<string, unknown> = {};
    for (const key of Object.keys(first)) {
      joined[key] = collate(
        samples.map((s) => (s as Record<string, unknown>)[key]),
        `${path}.${key}`,
      );
    }
    return joined;
  }
  throw noBatchForm(path, first === null ? 'null' : typeof first);
}

function stackSamples(samples: readonly Tensor[], path: string): Tensor {
  const { shape, dtype } = samples[0];
  const size = product(shape);
  const storage = DTYPES[dtype].allocate(size * samples.length);
  const strides = contiguousStrides(shape);
  for (const [i, x] of samples.entries()) {
    if (!(x instanceof Tensor) || x.dtype !== dtype || x.shape.join() !== shape.join()) {
      throw new ShapeError({
        fn: 'defaultCollate',
        argument: `samples[${i}]${path}`,
        expected: `a ${dtype} tensor of shape ${formatShape(shape)}, like the first of the batch`,
        got: x instanceof Tensor ? `${x.dtype} of shape ${formatShape(x.shape)}` : typeof x,
        fix: 'Pad or crop the samples, or pass your own collate.',
      });
    }
    copyStrided(x.storage, x.offset, x.strides, storage, i * size, strides, shape);
  }
  return fromStorage(storage, [samples.length, ...shape], dtype, samples[0].qparams);
}

function noBatchForm(path: string, got: string): ArgumentError {
  return new ArgumentError({
    fn: 'defaultCollate',
    argument: `sample${path}`,
    expected: 'tensors, whole numbers, booleans, strings, and lists and plain objects of them',
    got,
    fix: 'Wrap real numbers in tensor(), or pass your own collate.',
  });
}
