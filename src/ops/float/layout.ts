import { product } from '../../core/math.ts';
import { DTYPES, type TypedArray } from '../../tensor/dtype.ts';
import {
  broadcastStrides,
  channelsLastStrides,
  contiguousStrides,
  hasStrides,
  type Shape,
} from '../../tensor/shape.ts';
import { copyStrided, type Tensor } from '../../tensor/tensor.ts';

/**
 * The dimensions of (shape, strides) from the slowest to the fastest in memory. Repeated dimensions (stride 0) and
 * ties keep their logical order.
 */
export function memoryOrder(shape: Shape, strides: Shape): number[] {
  const order = shape.map((_, d) => d);
  if (hasStrides(shape, strides, contiguousStrides(shape))) return order;
  if (shape.length >= 3 && hasStrides(shape, strides, channelsLastStrides(shape))) {
    return [0, ...order.slice(2), 1];
  }
  return order.sort((p, q) => strides[q] - strides[p] || p - q);
}

/** Strides that fill memory without gaps, with the dimensions nested in `order`. */
export function stridesInOrder(shape: Shape, order: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = order.length - 1; i >= 0; i--) {
    strides[order[i]] = step;
    step *= Math.max(shape[order[i]], 1);
  }
  return strides;
}

/** Gap-free strides for `shape` (of the same rank as `x`) in the memory order of `x`. */
export function stridesLike(x: Tensor, shape: Shape = x.shape): number[] {
  return stridesInOrder(shape, memoryOrder(x.shape, x.strides));
}

/** True where the elements fill a stretch of memory without gaps or repeats, in whatever order of dimensions. */
export function isDense(x: Tensor): boolean {
  return hasStrides(x.shape, x.strides, stridesLike(x));
}

/** Elements in memory order and the gap-free strides that read them. */
export interface Dense {
  readonly data: TypedArray;
  readonly strides: Shape;
}

/** The elements of `x` as one gap-free stretch of memory that keeps the order of its dimensions; copies only where it has gaps. */
export function dense(x: Tensor): Dense {
  const strides = stridesLike(x);
  return { data: inLayout(x, strides), strides };
}

/** The elements of `x` laid out with the gap-free `strides`; a window on the storage where they already are. */
export function inLayout(x: Tensor, strides: Shape): TypedArray {
  const n = x.numel;
  if (hasStrides(x.shape, x.strides, strides) && x.storage.length >= x.offset + n) {
    return x.offset === 0 && x.storage.length === n ? x.storage : x.storage.subarray(x.offset, x.offset + n);
  }
  const out = DTYPES[x.dtype].allocate(n);
  copyElements(x, out, 0, strides);
  return out;
}

/** The elements of `x`, broadcast to `shape`, laid out with the gap-free `strides`. */
export function broadcastInLayout(x: Tensor, shape: Shape, strides: Shape): TypedArray {
  if (x.ndim === shape.length && x.shape.every((size, d) => size === shape[d])) return inLayout(x, strides);
  const out = DTYPES[x.dtype].allocate(product(shape));
  const from = broadcastStrides(x.shape, x.strides, shape);
  copyInMemoryOrder(x.storage, x.offset, from, out, 0, strides, shape);
  return out;
}

/** Copies the elements of `x` to `out`, starting at `offset`, with any `strides`. */
export function copyElements(x: Tensor, out: TypedArray, offset: number, strides: Shape): void {
  copyInMemoryOrder(x.storage, x.offset, x.strides, out, offset, strides, x.shape);
}

function copyInMemoryOrder(
  from: TypedArray,
  fromOffset: number,
  fromStrides: Shape,
  to: TypedArray,
  toOffset: number,
  toStrides: Shape,
  shape: Shape,
): void {
  const plan = nest(shape, toStrides, [fromStrides, toStrides]);
  copyStrided(from, fromOffset, plan.strides[0], to, toOffset, plan.strides[1], plan.shape);
}

/** Nested loops over dimensions: sizes, and the strides of each operand, outermost first. */
export interface LoopNest {
  readonly shape: number[];
  readonly strides: readonly number[][];
}

/**
 * Plans loops over `shape` in the memory order given by `orderBy`, with neighbouring dimensions merged wherever every
 * operand runs through them in one stride. Dimensions of one element vanish.
 */
export function nest(shape: Shape, orderBy: Shape, operands: readonly Shape[]): LoopNest {
  const sizes: number[] = [];
  const strides: number[][] = operands.map(() => []);
  for (const d of memoryOrder(shape, orderBy)) {
    if (shape[d] === 1) continue;
    const last = sizes.length - 1;
    const merges = last >= 0 && operands.every((s, k) => strides[k][last] === s[d] * shape[d]);
    if (merges) {
      sizes[last] *= shape[d];
      operands.forEach((s, k) => {
        strides[k][last] = s[d];
      });
    } else {
      sizes.push(shape[d]);
      operands.forEach((s, k) => {
        strides[k].push(s[d]);
      });
    }
  }
  return { shape: sizes, strides };
}

/** A dense tensor seen as `outer` blocks of `size` slices of `inner` neighbouring elements, the slices being those of one dimension. */
export interface Slices {
  readonly data: TypedArray;
  readonly outer: number;
  readonly size: number;
  readonly inner: number;
  /** Order of the dimensions in memory, for {@link stridesInOrder} of a result. */
  readonly order: readonly number[];
}

/** Views (or copies, where `x` has gaps) a tensor as slices along `dim`, in its own memory order. */
export function slicesAlong(x: Tensor, dim: number): Slices {
  const order = memoryOrder(x.shape, x.strides);
  const data = inLayout(x, stridesInOrder(x.shape, order));
  if (x.ndim === 0) return { data, outer: 1, size: 1, inner: 1, order };
  const at = order.indexOf(dim);
  return {
    data,
    outer: product(order.slice(0, at).map((d) => x.shape[d])),
    size: x.shape[dim],
    inner: product(order.slice(at + 1).map((d) => x.shape[d])),
    order,
  };
}
