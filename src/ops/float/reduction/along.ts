import { ArgumentError } from '../../../core/errors.ts';
import { logSoftmaxF32, softmaxF32 } from '../../../kernels/f32/softmax.ts';
import { DTYPES, type DType, isFloatDType, type TypedArray } from '../../../tensor/dtype.ts';
import { formatShape, normalizeDim, type Shape } from '../../../tensor/shape.ts';
import { Tensor, viewOf } from '../../../tensor/tensor.ts';
import type { ReductionOps } from '../../signatures/index.ts';
import { computeDType, convert, convertNumbers } from '../elementwise/map.ts';
import { inLayout, slicesAlong, stridesInOrder } from '../layout.ts';

/** Fills `to` (of `count` per line) from the lines of `from`; a line starts at a base and steps by `step`. */
type LineLoop = (
  from: TypedArray,
  fromBase: number,
  size: number,
  values: TypedArray,
  indices: Float64Array,
  toBase: number,
  count: number,
  step: number,
) => void;

/** Runs a loop over every line of `x` along `dim`, giving `count` values (and, where asked, indices) for each. */
function alongDim(
  x: Tensor,
  dim: number,
  count: number,
  dtype: DType,
  loop: LineLoop,
  withIndices: boolean,
): [Tensor, Tensor] {
  const plain = convert(x, computeDType(x.dtype));
  const { data, outer, size, inner, order } = slicesAlong(plain, dim);
  const shape: Shape = x.ndim === 0 ? [] : x.shape.map((s, d) => (d === dim ? count : s));
  const strides = stridesInOrder(shape, order);
  const compute = computeDType(dtype);
  const values = DTYPES[compute].allocate(outer * count * inner);
  const indices = new Float64Array(withIndices ? values.length : 0);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      loop(data, o * size * inner + i, size, values, indices, o * count * inner + i, count, inner);
    }
  }
  const storage = convertNumbers(values, compute, dtype);
  return [
    new Tensor({ storage, shape, strides, dtype }),
    new Tensor({ storage: indices, shape, strides, dtype: 'int64' }),
  ];
}

/** NaN counts as the largest and as the smallest, and the first of equals wins, as in PyTorch on the CPU. */
const largestOf: LineLoop = (from, base, size, values, indices, to, _count, step) => {
  let best = from[base];
  let at = 0;
  for (let j = 1, p = base + step; j < size && !Number.isNaN(best); j++, p += step) {
    if (!(from[p] <= best)) {
      best = from[p];
      at = j;
    }
  }
  values[to] = best;
  indices[to] = at;
};
const smallestOf: LineLoop = (from, base, size, values, indices, to, _count, step) => {
  let best = from[base];
  let at = 0;
  for (let j = 1, p = base + step; j < size && !Number.isNaN(best); j++, p += step) {
    if (!(from[p] >= best)) {
      best = from[p];
      at = j;
    }
  }
  values[to] = best;
  indices[to] = at;
};
const runningSum: LineLoop = (from, base, size, values, _indices, _to, _count, step) => {
  let s = 0;
  for (let j = 0, p = base; j < size; j++, p += step) {
    s += from[p];
    values[p] = s;
  }
};
const topOf = (from: TypedArray, base: number, size: number, step: number): number => {
  let top = Number.NEGATIVE_INFINITY;
  for (let j = 0, p = base; j < size; j++, p += step) top = Math.max(top, from[p]);
  return top;
};
const softmaxLine: LineLoop = (from, base, size, values, _indices, _to, _count, step) => {
  const top = topOf(from, base, size, step);
  let sum = 0;
  for (let j = 0, p = base; j < size; j++, p += step) {
    const e = Math.exp(from[p] - top);
    values[p] = e;
    sum += e;
  }
  const scale = 1 / sum;
  for (let j = 0, p = base; j < size; j++, p += step) values[p] *= scale;
};
const logSoftmaxLine: LineLoop = (from, base, size, values, _indices, _to, _count, step) => {
  const top = topOf(from, base, size, step);
  let sum = 0;
  for (let j = 0, p = base; j < size; j++, p += step) sum += Math.exp(from[p] - top);
  const shift = Math.log(sum);
  for (let j = 0, p = base; j < size; j++, p += step) values[p] = from[p] - top - shift;
};

/** Orders indices by value; NaN counts as larger than everything, equal values keep their order. */
function byValue(line: Float64Array, descending: boolean): (a: number, b: number) => number {
  const sign = descending ? -1 : 1;
  return (a, b) => {
    const x = line[a];
    const y = line[b];
    if (x < y) return -sign;
    if (x > y) return sign;
    if (Number.isNaN(x)) return Number.isNaN(y) ? a - b : sign;
    return Number.isNaN(y) ? -sign : a - b;
  };
}

/** A loop that sorts each line and keeps the first `count`. */
function sorted(size: number, descending: boolean): LineLoop {
  const line = new Float64Array(size);
  const order = new Uint32Array(size);
  const compare = byValue(line, descending);
  return (from, base, n, values, indices, to, count, step) => {
    for (let j = 0, p = base; j < n; j++, p += step) {
      line[j] = from[p];
      order[j] = j;
    }
    order.sort(compare);
    for (let j = 0, q = to; j < count; j++, q += step) {
      values[q] = line[order[j]];
      indices[q] = order[j];
    }
  };
}

/** A loop that keeps the first `count` of each line's order by insertion; quicker than sorting where `count` is small. */
function selected(size: number, descending: boolean): LineLoop {
  const line = new Float64Array(size);
  const compare = byValue(line, descending);
  return (from, base, n, values, indices, to, count, step) => {
    const best: number[] = [];
    for (let j = 0, p = base; j < n; j++, p += step) {
      line[j] = from[p];
      if (best.length === count && compare(j, best[count - 1]) >= 0) continue;
      let k = best.length < count ? best.length : count - 1;
      for (; k > 0 && compare(j, best[k - 1]) < 0; k--) best[k] = best[k - 1];
      best[k] = j;
    }
    for (let j = 0, q = to; j < count; j++, q += step) {
      values[q] = line[best[j]];
      indices[q] = best[j];
    }
  };
}

const INSERTION_LIMIT = 64;

function topk(x: Tensor, k: number, dim: number, largest: boolean): [Tensor, Tensor] {
  const d = normalizeDim(dim, x.ndim, 'topk');
  const size = x.ndim === 0 ? 1 : x.shape[d];
  if (!Number.isInteger(k) || k < 0 || k > size) {
    throw new ArgumentError({
      fn: 'topk',
      argument: 'k',
      expected: `a whole number from 0 to ${size} (the size of dimension ${d})`,
      got: String(k),
    });
  }
  const loop = k <= INSERTION_LIMIT ? selected(size, largest) : sorted(size, largest);
  return alongDim(x, d, k, x.dtype, loop, true);
}

function extremeAlong(
  x: Tensor,
  dim: number,
  keepdim: boolean,
  fn: string,
  loop: LineLoop,
): [Tensor, Tensor] {
  const d = normalizeDim(dim, x.ndim, fn);
  if (x.shape[d] === 0) {
    throw new ArgumentError({
      fn,
      argument: 'x',
      expected: `at least one element along dimension ${d}`,
      got: `shape ${formatShape(x.shape)}`,
    });
  }
  const [values, indices] = alongDim(x, d, 1, x.dtype, loop, true);
  return keepdim ? [values, indices] : [dropDim(values, d), dropDim(indices, d)];
}

function dropDim(x: Tensor, dim: number): Tensor {
  const keep = (_: number, d: number) => d !== dim;
  return viewOf(x, x.shape.filter(keep), x.strides.filter(keep));
}

/** Indices of extremes: along `dim`, or into the flattened tensor. */
function argExtreme(
  x: Tensor,
  dim: number | undefined,
  keepdim: boolean,
  fn: string,
  loop: LineLoop,
): Tensor {
  if (dim !== undefined) return extremeAlong(x, dim, keepdim, fn, loop)[1];
  const flat = new Tensor({ storage: x.data, shape: [x.numel], dtype: x.dtype });
  const index = extremeAlong(flat, 0, false, fn, loop)[1];
  return keepdim
    ? viewOf(
        index,
        x.shape.map(() => 1),
        x.shape.map(() => 1),
      )
    : index;
}

function sameShape(x: Tensor, dim: number, fn: string, dtype: DType, loop: LineLoop): Tensor {
  const d = normalizeDim(dim, x.ndim, fn);
  return alongDim(x, d, x.ndim === 0 ? 1 : x.shape[d], dtype, loop, false)[0];
}

/** A kernel over lines of float32, which are made to lie next to each other; null for other tensors. */
function rowsAlong(x: Tensor, dim: number, fn: string, kernel: typeof softmaxF32): Tensor | null {
  if (x.dtype !== 'float32' || x.ndim === 0 || x.numel === 0) return null;
  const d = normalizeDim(dim, x.ndim, fn);
  const order = [...x.shape.keys()].filter((k) => k !== d);
  const strides = stridesInOrder(x.shape, [...order, d]);
  const columns = x.shape[d];
  const storage = kernel(inLayout(x, strides) as Float32Array, x.numel / columns, columns);
  return new Tensor({ storage, shape: x.shape, strides, dtype: 'float32' });
}

const floatOr = (dtype: DType, other: DType): DType => (isFloatDType(dtype) ? dtype : other);

type AlongName =
  | 'maxDim'
  | 'minDim'
  | 'argmax'
  | 'argmin'
  | 'cumsum'
  | 'sort'
  | 'topk'
  | 'softmax'
  | 'logSoftmax';

/** Operators that look at the lines of a tensor along one dimension. */
export const along: Pick<ReductionOps, AlongName> = {
  maxDim: (x, dim, keepdim) => extremeAlong(x, dim, keepdim, 'max', largestOf),
  minDim: (x, dim, keepdim) => extremeAlong(x, dim, keepdim, 'min', smallestOf),
  argmax: (x, dim, keepdim) => argExtreme(x, dim, keepdim, 'argmax', largestOf),
  argmin: (x, dim, keepdim) => argExtreme(x, dim, keepdim, 'argmin', smallestOf),
  cumsum: (x, dim) => sameShape(x, dim, 'cumsum', floatOr(x.dtype, 'int64'), runningSum),
  sort: (x, dim, descending) => {
    const d = normalizeDim(dim, x.ndim, 'sort');
    const size = x.ndim === 0 ? 1 : x.shape[d];
    return alongDim(x, d, size, x.dtype, sorted(size, descending), true);
  },
  // The result is ordered whether or not `sorted` asks for it.
  topk: (x, k, dim, largest) => topk(x, k, dim, largest),
  softmax: (x, dim) =>
    rowsAlong(x, dim, 'softmax', softmaxF32) ??
    sameShape(x, dim, 'softmax', floatOr(x.dtype, 'float32'), softmaxLine),
  logSoftmax: (x, dim) =>
    rowsAlong(x, dim, 'logSoftmax', logSoftmaxF32) ??
    sameShape(x, dim, 'logSoftmax', floatOr(x.dtype, 'float32'), logSoftmaxLine),
};
