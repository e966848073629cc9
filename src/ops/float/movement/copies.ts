import { ArgumentError, ShapeError } from '../../../core/errors.ts';
import { product } from '../../../core/math.ts';
import { DTYPES, promoteDTypes, type TypedArray } from '../../../tensor/dtype.ts';
import {
  channelsLastStrides,
  contiguousStrides,
  formatShape,
  normalizeDim,
  normalizeDims,
  type Shape,
} from '../../../tensor/shape.ts';
import { encodeNumbers, Tensor, viewOf } from '../../../tensor/tensor.ts';
import type { MovementOps } from '../../signatures/index.ts';
import type { MemoryFormat, PadMode } from '../../signatures/movement.ts';
import { convert } from '../elementwise/map.ts';
import { copyElements, inLayout, memoryOrder, stridesInOrder } from '../layout.ts';
import { pickSlices } from './indexing.ts';
import { views } from './views.ts';

function made(storage: TypedArray, shape: Shape, strides: Shape, like: Tensor): Tensor {
  return new Tensor({ storage, shape, strides, dtype: like.dtype, qparams: like.qparams });
}

function contiguous(x: Tensor, memoryFormat: MemoryFormat): Tensor {
  if (memoryFormat === 'channelsLast' && x.ndim < 3) {
    throw new ShapeError({
      fn: 'contiguous',
      argument: 'memoryFormat',
      expected: 'at least 3 dimensions (batch, channels, positions) for channelsLast',
      got: formatShape(x.shape),
    });
  }
  if (x.isContiguous(memoryFormat)) return x;
  const strides = memoryFormat === 'channelsLast' ? channelsLastStrides(x.shape) : contiguousStrides(x.shape);
  return made(inLayout(x, strides), x.shape, strides, x);
}

function flip(x: Tensor, dims: readonly number[]): Tensor {
  const flipped = normalizeDims(dims, x.ndim, 'flip');
  return flipped.reduce(
    (y, d) =>
      pickSlices(
        y,
        d,
        Int32Array.from({ length: y.shape[d] }, (_, i) => y.shape[d] - 1 - i),
      ),
    x,
  );
}

function repeat(x: Tensor, times: Shape): Tensor {
  const lead = times.length - x.ndim;
  if (lead < 0 || times.some((t) => !Number.isInteger(t) || t < 0)) {
    throw new ShapeError({
      fn: 'repeat',
      argument: 'times',
      expected: `at least ${x.ndim} non-negative whole numbers, one per dimension`,
      got: formatShape(times),
    });
  }
  const sizes = [...new Array<number>(lead).fill(1), ...x.shape];
  const steps = [...new Array<number>(lead).fill(0), ...x.strides];
  const repeated = viewOf(
    x,
    sizes.flatMap((size, d) => [times[d], size]),
    steps.flatMap((step) => [0, step]),
  );
  const shape = sizes.map((size, d) => size * times[d]);
  return made(repeated.layOut(contiguousStrides(repeated.shape)), shape, contiguousStrides(shape), x);
}

/** Which source index each padded index of a dimension reads, for the modes that repeat the input. */
export function padIndices(size: number, before: number, after: number, mode: PadMode): Int32Array {
  const reach = mode === 'reflect' ? size - 1 : size;
  if ((mode !== 'replicate' && Math.max(before, after) > reach) || size === 0) {
    throw new ArgumentError({
      fn: 'pad',
      argument: 'pads',
      expected: `at most ${reach} on each side of a dimension of ${size} (mode ${mode})`,
      got: `${before} and ${after}`,
    });
  }
  return Int32Array.from({ length: Math.max(size + before + after, 0) }, (_, i) => {
    const k = i - before;
    if (mode === 'circular') return (k + size) % size;
    if (mode === 'replicate') return Math.min(Math.max(k, 0), size - 1);
    return k < 0 ? -k : k >= size ? 2 * (size - 1) - k : k;
  });
}

/** The dimensions that `pads` names, from the last inwards, with what each gets before and after. */
export function padPlan(
  x: Tensor,
  pads: readonly number[],
): { dim: number; before: number; after: number }[] {
  if (pads.length % 2 !== 0 || pads.length > 2 * x.ndim || pads.some((p) => !Number.isInteger(p))) {
    throw new ArgumentError({
      fn: 'pad',
      argument: 'pads',
      expected: `pairs of whole numbers for at most ${x.ndim} dimensions, from the last inwards`,
      got: `[${pads.join(', ')}]`,
    });
  }
  return Array.from({ length: pads.length / 2 }, (_, i) => ({
    dim: x.ndim - 1 - i,
    before: pads[2 * i],
    after: pads[2 * i + 1],
  }));
}

function pad(x: Tensor, pads: readonly number[], mode: PadMode, value: number): Tensor {
  const plan = padPlan(x, pads);
  if (mode !== 'constant') {
    return plan.reduce(
      (y, { dim, before, after }) => pickSlices(y, dim, padIndices(y.shape[dim], before, after, mode)),
      x,
    );
  }
  const shape = [...x.shape];
  const starts = x.shape.map(() => 0);
  let inside = x;
  for (const { dim, before, after } of plan) {
    shape[dim] += before + after;
    if (shape[dim] < 0) {
      throw new ShapeError({
        fn: 'pad',
        argument: 'pads',
        expected: `not to remove more than the ${x.shape[dim]} elements of dimension ${dim}`,
        got: `${before} and ${after}`,
      });
    }
    starts[dim] = Math.max(before, 0);
    // Negative pads crop.
    inside = views.slice(inside, dim, Math.max(-before, 0), x.shape[dim] - Math.max(-after, 0), 1);
  }
  const strides = stridesInOrder(shape, memoryOrder(x.shape, x.strides));
  const storage = DTYPES[x.dtype].allocate(product(shape));
  if (value !== 0) storage.fill(encodeNumbers([value], x.dtype)[0]);
  const offset = starts.reduce((sum, start, d) => sum + start * strides[d], 0);
  copyElements(inside, storage, offset, strides);
  return made(storage, shape, strides, x);
}

/** Zeroes the elements of each matrix outside the kept triangle. */
function triangle(
  x: Tensor,
  diagonal: number,
  fn: string,
  keep: (row: number, column: number) => boolean,
): Tensor {
  if (x.ndim < 2) {
    throw new ShapeError({
      fn,
      argument: 'x',
      expected: 'at least two dimensions',
      got: formatShape(x.shape),
    });
  }
  const [rows, columns] = x.shape.slice(-2);
  const storage = x.data.slice();
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      if (keep(r + diagonal, c)) continue;
      for (let at = r * columns + c; at < storage.length; at += rows * columns) storage[at] = 0;
    }
  }
  return made(storage, x.shape, contiguousStrides(x.shape), x);
}

function cat(tensors: readonly Tensor[], dim: number): Tensor {
  requireTensors(tensors, 'cat');
  // An empty vector joins with anything, as in PyTorch.
  const full = tensors.filter((t) => t.ndim !== 1 || t.numel > 0);
  if (full.length === 0) return tensors[0];
  const first = full[0];
  if (first.ndim === 0) {
    throw new ShapeError({
      fn: 'cat',
      argument: 'tensors',
      expected: 'tensors with at least one dimension',
      got: 'a scalar',
      fix: 'Use stack().',
    });
  }
  const d = normalizeDim(dim, first.ndim, 'cat');
  full.forEach((t, i) => {
    const fits = t.ndim === first.ndim && t.shape.every((size, k) => k === d || size === first.shape[k]);
    if (!fits) {
      throw new ShapeError({
        fn: 'cat',
        argument: `tensors[${i}]`,
        expected: `the shape ${formatShape(first.shape)} except along dimension ${d}`,
        got: formatShape(t.shape),
      });
    }
  });
  const dtype = full.reduce((a, t) => promoteDTypes(a, t.dtype, 'cat'), first.dtype);
  const shape = first.shape.map((size, k) => (k === d ? full.reduce((sum, t) => sum + t.shape[d], 0) : size));
  const order = memoryOrder(first.shape, first.strides);
  const strides = stridesInOrder(shape, order);
  const storage = DTYPES[dtype].allocate(product(shape));
  const line = shape[d] * strides[d];
  let at = 0;
  for (const t of full) {
    const block = t.shape[d] * strides[d];
    const data = inLayout(convert(t, dtype), stridesInOrder(t.shape, order));
    if (block > 0) {
      for (let from = 0, to = at; from < data.length; from += block, to += line) {
        storage.set(data.subarray(from, from + block), to);
      }
    }
    at += block;
  }
  return new Tensor({ storage, shape, strides, dtype, qparams: first.qparams });
}

function stack(tensors: readonly Tensor[], dim: number): Tensor {
  requireTensors(tensors, 'stack');
  const first = tensors[0];
  tensors.forEach((t, i) => {
    if (t.shape.join() === first.shape.join()) return;
    throw new ShapeError({
      fn: 'stack',
      argument: `tensors[${i}]`,
      expected: `the shape of the first, ${formatShape(first.shape)}`,
      got: formatShape(t.shape),
    });
  });
  const d = normalizeDim(dim, first.ndim + 1, 'stack');
  return cat(
    tensors.map((t) => views.unsqueeze(t, d)),
    d,
  );
}

function requireTensors(tensors: readonly Tensor[], fn: string): void {
  if (tensors.length > 0) return;
  throw new ArgumentError({ fn, argument: 'tensors', expected: 'at least one tensor', got: 'an empty list' });
}

function split(x: Tensor, sizes: number | readonly number[], dim: number): Tensor[] {
  const d = normalizeDim(dim, x.ndim, 'split');
  const size = x.shape[d];
  let lengths: readonly number[];
  if (typeof sizes === 'number') {
    if (!Number.isInteger(sizes) || sizes < 1) {
      throw new ArgumentError({
        fn: 'split',
        argument: 'sizes',
        expected: 'a positive whole number, or a list of sizes',
        got: String(sizes),
      });
    }
    const parts = Math.max(Math.ceil(size / sizes), 1);
    lengths = Array.from({ length: parts }, (_, i) => Math.min(sizes, size - i * sizes));
  } else {
    lengths = sizes;
    if (sizes.reduce((sum, s) => sum + s, 0) !== size || sizes.some((s) => s < 0)) {
      throw new ArgumentError({
        fn: 'split',
        argument: 'sizes',
        expected: `sizes that add up to ${size} (dimension ${d})`,
        got: `[${sizes.join(', ')}]`,
      });
    }
  }
  let start = 0;
  return lengths.map((length) => {
    const part = views.slice(x, d, start, start + length, 1);
    start += length;
    return part;
  });
}

function chunk(x: Tensor, chunks: number, dim: number): Tensor[] {
  if (!Number.isInteger(chunks) || chunks < 1) {
    throw new ArgumentError({
      fn: 'chunk',
      argument: 'chunks',
      expected: 'a positive whole number',
      got: String(chunks),
    });
  }
  const d = normalizeDim(dim, x.ndim, 'chunk');
  return split(x, Math.max(Math.ceil(x.shape[d] / chunks), 1), d);
}

function unbind(x: Tensor, dim: number): Tensor[] {
  const d = normalizeDim(dim, x.ndim, 'unbind');
  return Array.from({ length: x.shape[d] ?? 0 }, (_, i) => views.select(x, d, i));
}

type CopyName =
  | 'contiguous'
  | 'flip'
  | 'repeat'
  | 'pad'
  | 'tril'
  | 'triu'
  | 'cat'
  | 'stack'
  | 'split'
  | 'chunk'
  | 'unbind';

/** Operators that lay elements out anew, and those that take a tensor apart. */
export const copies: Pick<MovementOps, CopyName> = {
  contiguous,
  flip,
  repeat,
  pad,
  tril: (x, diagonal) => triangle(x, diagonal, 'tril', (row, column) => column <= row),
  triu: (x, diagonal) => triangle(x, diagonal, 'triu', (row, column) => column >= row),
  cat,
  stack,
  split,
  chunk,
  unbind,
};
