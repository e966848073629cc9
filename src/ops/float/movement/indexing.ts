import { ArgumentError, DTypeError, ShapeError } from '../../../core/errors.ts';
import { product } from '../../../core/math.ts';
import { DTYPES, type TypedArray } from '../../../tensor/dtype.ts';
import {
  broadcastShapes,
  contiguousStrides,
  formatShape,
  normalizeDim,
  type Shape,
} from '../../../tensor/shape.ts';
import { Tensor, viewOf } from '../../../tensor/tensor.ts';
import type { MovementOps } from '../../signatures/index.ts';
import { broadcastInLayout, copyElements, memoryOrder, slicesAlong, stridesInOrder } from '../layout.ts';
import { sliceRange } from './views.ts';

/** A new tensor from the slices of `x` along `dim` that `picks` names, in that order, in the memory order of `x`. */
export function pickSlices(x: Tensor, dim: number, picks: ArrayLike<number>): Tensor {
  const { data, outer, size, inner, order } = slicesAlong(x, dim);
  const shape = x.shape.map((s, d) => (d === dim ? picks.length : s));
  const storage = DTYPES[x.dtype].allocate(product(shape));
  let at = 0;
  for (let o = 0; o < outer; o++) {
    const base = o * size * inner;
    if (inner === 1) for (let j = 0; j < picks.length; j++) storage[at++] = data[base + picks[j]];
    else {
      for (let j = 0; j < picks.length; j++, at += inner) {
        const from = base + picks[j] * inner;
        if (inner > 16) storage.set(data.subarray(from, from + inner), at);
        else for (let i = 0; i < inner; i++) storage[at + i] = data[from + i];
      }
    }
  }
  return new Tensor({
    storage,
    shape,
    strides: stridesInOrder(shape, order),
    dtype: x.dtype,
    qparams: x.qparams,
  });
}

/** Adds the slices of `source` along `dim` to those of a zero tensor of `size` slices: the gradient of {@link pickSlices}. */
export function addSlices(source: Tensor, dim: number, picks: ArrayLike<number>, size: number): Tensor {
  const { data, outer, inner, order } = slicesAlong(source, dim);
  const shape = source.shape.map((s, d) => (d === dim ? size : s));
  const storage = DTYPES[source.dtype].allocate(product(shape));
  let at = 0;
  for (let o = 0; o < outer; o++) {
    for (let j = 0; j < picks.length; j++, at += inner) {
      const to = (o * size + picks[j]) * inner;
      for (let i = 0; i < inner; i++) storage[to + i] += data[at + i];
    }
  }
  return new Tensor({ storage, shape, strides: stridesInOrder(shape, order), dtype: source.dtype });
}

/** Puts `x` where a slice of a zero tensor of `shape` would be: the gradient of `slice` (and of `select`, with `x` unsqueezed). */
export function placeSlice(
  x: Tensor,
  shape: Shape,
  dim: number,
  start: number,
  end: number,
  step: number,
): Tensor {
  const strides = stridesInOrder(shape, memoryOrder(x.shape, x.strides));
  const storage = DTYPES[x.dtype].allocate(product(shape));
  const [from] = sliceRange(shape[dim], start, end, step);
  const steps = strides.map((s, d) => (d === dim ? s * step : s));
  copyElements(x, storage, from * strides[dim], steps);
  return new Tensor({ storage, shape, strides, dtype: x.dtype });
}

/** Writes the elements of `source` where `mask` is true, zeros elsewhere: the gradient of `maskedSelect`. */
export function placeMasked(source: Tensor, mask: Tensor, shape: Shape): Tensor {
  const places = broadcastInLayout(mask, shape, contiguousStrides(shape));
  const storage = DTYPES[source.dtype].allocate(product(shape));
  const { data } = source;
  for (let i = 0, at = 0; i < places.length; i++) if (places[i] !== 0) storage[i] = data[at++];
  return new Tensor({ storage, shape, dtype: source.dtype });
}

/** Checks indices against `size` (negative ones are errors, as in PyTorch) and returns them. */
function checkedIndices(index: Tensor, size: number, fn: string): TypedArray {
  if (DTYPES[index.dtype].kind !== 'integer') {
    throw new DTypeError({
      fn,
      argument: 'index',
      expected: 'an integer tensor',
      got: index.dtype,
      fix: "Make it with { dtype: 'int64' }, or convert with long().",
    });
  }
  const picks = index.data;
  for (let i = 0; i < picks.length; i++) {
    if (picks[i] < 0 || picks[i] >= size) {
      throw new ArgumentError({
        fn,
        argument: 'index',
        expected: `indices from 0 to ${size - 1}`,
        got: `${picks[i]} at place ${i}`,
      });
    }
  }
  return picks;
}

function indexSelect(x: Tensor, dim: number, index: Tensor): Tensor {
  const d = normalizeDim(dim, x.ndim, 'indexSelect');
  if (index.ndim > 1 || x.ndim === 0) {
    throw new ShapeError({
      fn: 'indexSelect',
      argument: index.ndim > 1 ? 'index' : 'x',
      expected: index.ndim > 1 ? 'one dimension' : 'at least one dimension',
      got: formatShape(index.ndim > 1 ? index.shape : x.shape),
    });
  }
  return pickSlices(x, d, checkedIndices(index, x.shape[d], 'indexSelect'));
}

/** For each element of `index` (row-major), the row-major place in `shape` that it names along `dim`. */
function places(index: Tensor, shape: Shape, dim: number, fn: string): Int32Array {
  const fits = index.ndim === shape.length && index.shape.every((size, d) => d === dim || size <= shape[d]);
  if (!fits) {
    throw new ShapeError({
      fn,
      argument: 'index',
      expected: `the rank of ${formatShape(shape)}, and no larger except along dimension ${dim}`,
      got: formatShape(index.shape),
    });
  }
  const picks = checkedIndices(index, shape[dim] ?? 1, fn);
  const strides = contiguousStrides(shape);
  const out = new Int32Array(picks.length);
  const counter = new Array<number>(shape.length).fill(0);
  let base = 0;
  for (let i = 0; i < out.length; i++) {
    out[i] = base + picks[i] * (strides[dim] ?? 1);
    for (let d = shape.length - 1; d >= 0; d--) {
      const step = d === dim ? 0 : strides[d];
      base += step;
      if (++counter[d] < index.shape[d]) break;
      base -= step * index.shape[d];
      counter[d] = 0;
    }
  }
  return out;
}

function gather(x: Tensor, dim: number, index: Tensor): Tensor {
  const d = normalizeDim(dim, x.ndim, 'gather');
  const at = places(index, x.shape, d, 'gather');
  const { data } = x;
  const storage = DTYPES[x.dtype].allocate(at.length);
  for (let i = 0; i < at.length; i++) storage[i] = data[at[i]];
  return new Tensor({ storage, shape: index.shape, dtype: x.dtype, qparams: x.qparams });
}

function scatterAdd(x: Tensor, dim: number, index: Tensor, source: Tensor): Tensor {
  const d = normalizeDim(dim, x.ndim, 'scatterAdd');
  const fits = source.ndim === index.ndim && index.shape.every((size, k) => size <= source.shape[k]);
  if (!fits || source.dtype !== x.dtype) {
    throw new ShapeError({
      fn: 'scatterAdd',
      argument: 'source',
      expected: `a ${x.dtype} tensor at least as large as index, ${formatShape(index.shape)}`,
      got: `${source.dtype} ${formatShape(source.shape)}`,
    });
  }
  const at = places(index, x.shape, d, 'scatterAdd');
  const window = viewOf(source, index.shape, source.strides);
  const values = window.data;
  const storage = x.data.slice();
  for (let i = 0; i < at.length; i++) storage[at[i]] += values[i];
  return new Tensor({ storage, shape: x.shape, dtype: x.dtype });
}

function maskedSelect(x: Tensor, mask: Tensor): Tensor {
  if (mask.dtype !== 'bool') {
    throw new DTypeError({
      fn: 'maskedSelect',
      argument: 'mask',
      expected: 'a bool tensor',
      got: mask.dtype,
      fix: 'Compare first: x.gt(0).',
    });
  }
  const shape = broadcastShapes(x.shape, mask.shape, 'maskedSelect');
  const strides = contiguousStrides(shape);
  const data = broadcastInLayout(x, shape, strides);
  const kept = broadcastInLayout(mask, shape, strides);
  let count = 0;
  for (let i = 0; i < kept.length; i++) if (kept[i] !== 0) count++;
  const storage = DTYPES[x.dtype].allocate(count);
  for (let i = 0, at = 0; i < kept.length; i++) if (kept[i] !== 0) storage[at++] = data[i];
  return new Tensor({ storage, shape: [count], dtype: x.dtype, qparams: x.qparams });
}

/** Operators that pick elements by index or mask, and the one that adds them back. */
export const indexing: Pick<MovementOps, 'indexSelect' | 'gather' | 'scatterAdd' | 'maskedSelect'> = {
  indexSelect,
  gather,
  scatterAdd,
  maskedSelect,
};
