import { ArgumentError, DTypeError, ShapeError } from '../../../core/errors.ts';
import { product } from '../../../core/math.ts';
import { DTYPES } from '../../../tensor/dtype.ts';
import { broadcastShapes, formatShape } from '../../../tensor/shape.ts';
import { Tensor } from '../../../tensor/tensor.ts';
import { dispatch } from '../../dispatch.ts';
import { TO_END } from './rearrange.ts';

/** A range of indices, as Python's `start:end:step`. */
export interface SliceSpec {
  readonly kind: 'slice';
  readonly start: number;
  readonly end: number;
  readonly step: number;
}

/**
 * One item of an index: a number takes one slice and drops the dimension, {@link slice} a range, `'...'` the dimensions
 * not named, `null` adds one, an integer tensor picks, a bool tensor keeps where true.
 */
export type IndexSpec = number | SliceSpec | '...' | null | Tensor;

/**
 * A range of indices for {@link at}, as Python's `start:end:step`. Negative bounds count from the end; null leaves them
 * open.
 *
 * @example
 * x.at(slice(1, -1), slice(null, null, 2)); // x[1:-1, ::2]
 */
export function slice(start: number | null = null, end: number | null = null, step = 1): SliceSpec {
  return { kind: 'slice', start: start ?? 0, end: end ?? TO_END, step };
}

/**
 * Python's indexing, `x[spec, spec, …]`: numbers, ranges, `'...'` and null give views; integer and bool tensors copy.
 * Several index tensors broadcast against one another; their dimension stands where the first of them stood, or in front
 * where other items come between. Source: `torch.Tensor.__getitem__`.
 *
 * @throws {@link ShapeError} where there are more items than dimensions or a mask does not fit.
 * @throws {@link ArgumentError} where an index is out of range.
 * @example
 * at(x, 0);                  // x[0]
 * at(x, '...', slice(0, 2)); // x[..., 0:2]
 * at(x, x.gt(0));            // x[x > 0]
 * at(x, tensor([2, 0], { dtype: 'int64' }));
 */
export function at(x: Tensor, ...specs: readonly IndexSpec[]): Tensor {
  const named = specs.reduce<number>((n, s) => n + dimsTaken(s), 0);
  const dots = specs.filter((s) => s === '...').length;
  if (named > x.ndim || dots > 1) {
    throw new ShapeError({
      fn: 'at',
      argument: 'specs',
      expected: dots > 1 ? "at most one '...'" : `items for at most ${x.ndim} dimensions`,
      got: dots > 1 ? `${dots}` : `items for ${named}`,
    });
  }
  let y = x;
  let dim = 0;
  const picks: { dim: number; index: Tensor }[] = [];
  for (const spec of specs) {
    if (spec === '...') dim += x.ndim - named;
    else if (spec === null) y = dispatch('unsqueeze', y, dim++);
    else if (typeof spec === 'number') y = dispatch('select', y, dim, spec);
    else if (!(spec instanceof Tensor)) y = dispatch('slice', y, dim++, spec.start, spec.end, spec.step);
    else if (spec.dtype === 'bool') {
      y = mergeMasked(y, dim, spec);
      picks.push({ dim: dim++, index: trueIndices(spec) });
    } else picks.push({ dim, index: wrapped(spec, y.shape[dim++]) });
  }
  return picks.length > 0 ? pick(y, picks) : y;
}

function dimsTaken(spec: IndexSpec): number {
  if (spec === null || spec === '...') return 0;
  return spec instanceof Tensor && spec.dtype === 'bool' ? spec.ndim : 1;
}

/** The dimensions a mask covers, merged into one. */
function mergeMasked(x: Tensor, dim: number, mask: Tensor): Tensor {
  const covered = x.shape.slice(dim, dim + mask.ndim);
  if (mask.ndim === 0 || covered.join() !== mask.shape.join()) {
    throw new ShapeError({
      fn: 'at',
      argument: 'mask',
      expected: `the sizes of the dimensions it covers, ${formatShape(covered)}`,
      got: formatShape(mask.shape),
    });
  }
  return dispatch('flatten', x, dim, dim + mask.ndim - 1);
}

function trueIndices(mask: Tensor): Tensor {
  const found: number[] = [];
  mask.data.forEach((v: number, i: number) => {
    if (v !== 0) found.push(i);
  });
  return new Tensor({ storage: Float64Array.from(found), shape: [found.length], dtype: 'int64' });
}

/** Indices counted from the front, checked. */
function wrapped(index: Tensor, size: number): Tensor {
  if (DTYPES[index.dtype].kind !== 'integer') {
    throw new DTypeError({
      fn: 'at',
      argument: 'index',
      expected: 'an integer or bool tensor',
      got: index.dtype,
      fix: "Make it with { dtype: 'int64' }, or convert with long().",
    });
  }
  const storage = Float64Array.from(index.data);
  for (let i = 0; i < storage.length; i++) {
    if (storage[i] < -size || storage[i] >= size) {
      throw new ArgumentError({
        fn: 'at',
        argument: 'index',
        expected: `indices from ${-size} to ${size - 1}`,
        got: String(storage[i]),
      });
    }
    if (storage[i] < 0) storage[i] += size;
  }
  return new Tensor({ storage, shape: index.shape, dtype: 'int64' });
}

/** Index tensors broadcast against one another and combined into one index over their merged dimensions. */
function pick(x: Tensor, picks: readonly { readonly dim: number; readonly index: Tensor }[]): Tensor {
  const shape = picks.reduce<readonly number[]>((s, p) => broadcastShapes(s, p.index.shape, 'at'), []);
  const dims = picks.map((p) => p.dim);
  const adjacent = dims.every((d, i) => i === 0 || d === dims[i - 1] + 1);
  const rest = x.shape.map((_, d) => d).filter((d) => !dims.includes(d));
  const front = adjacent ? dims[0] : 0;
  const order = [...rest.slice(0, front), ...dims, ...rest.slice(front)];
  const sizes = dims.map((d) => x.shape[d]);
  const y = adjacent ? x : dispatch('permute', x, order);
  let linear = new Float64Array(product(shape));
  picks.forEach(({ index }, k) => {
    const values = dispatch('expand', index, shape).data;
    linear = linear.map((v, i) => v * sizes[k] + values[i]);
  });
  const merged = dims.length > 1 ? dispatch('flatten', y, front, front + dims.length - 1) : y;
  const index = new Tensor({ storage: linear, shape: [linear.length], dtype: 'int64' });
  const taken = dispatch('indexSelect', merged, front, index);
  if (shape.length === 1) return taken;
  return dispatch('reshape', taken, [
    ...taken.shape.slice(0, front),
    ...shape,
    ...taken.shape.slice(front + 1),
  ]);
}
