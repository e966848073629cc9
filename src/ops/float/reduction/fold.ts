import { product } from '../../../core/math.ts';
import type { DType, TypedArray } from '../../../tensor/dtype.ts';
import { contiguousStrides, normalizeDims, type Shape } from '../../../tensor/shape.ts';
import { Tensor } from '../../../tensor/tensor.ts';
import type { Dims } from '../../signatures/reduction.ts';
import { computeDType, convert, convertNumbers } from '../elementwise/map.ts';
import { nest } from '../layout.ts';

/**
 * Folds an m × n block of strided elements into accumulators, in double precision. Reduced dimensions have accumulator
 * stride 0. `aux` has one value per accumulator (a mean to subtract), or a parameter in its first place.
 */
export type FoldLoop = (
  x: TypedArray,
  xo: number,
  xm: number,
  xn: number,
  acc: Float64Array,
  ao: number,
  am: number,
  an: number,
  m: number,
  n: number,
  aux: Float64Array,
) => void;

/** What a fold leaves: one accumulator per kept element in row-major order, and the shapes without and with ones. */
export interface Folded {
  readonly acc: Float64Array;
  readonly shape: Shape;
  /** How many elements went into each accumulator. */
  readonly count: number;
}

const NO_AUX = new Float64Array(1);

/** Folds `x` over dimensions, walking memory in its own order. Accumulators start at `initial`. */
export function fold(
  x: Tensor,
  dims: readonly number[],
  keepdim: boolean,
  loop: FoldLoop,
  initial: number,
  aux: Float64Array = NO_AUX,
): Folded {
  const kept = x.shape.map((size, d) => (dims.includes(d) ? 1 : size));
  const acc = new Float64Array(product(kept)).fill(initial);
  const steps = contiguousStrides(kept).map((s, d) => (dims.includes(d) ? 0 : s));
  const shape = keepdim ? kept : x.shape.filter((_, d) => !dims.includes(d));
  const count = product(dims.map((d) => x.shape[d]));
  if (x.numel > 0) walk(convert(x, computeDType(x.dtype)), steps, acc, loop, aux);
  return { acc, shape, count };
}

/** {@link fold} over `dim` as users give it. */
export function foldDims(
  x: Tensor,
  dim: Dims,
  keepdim: boolean,
  fn: string,
  loop: FoldLoop,
  initial: number,
): Folded {
  return fold(x, reducedDims(dim, x.ndim, fn), keepdim, loop, initial);
}

/** The dimensions a reduction runs over; an empty list means all of them, as in PyTorch. */
export function reducedDims(dim: Dims, rank: number, fn: string): number[] {
  return normalizeDims(Array.isArray(dim) && dim.length === 0 ? undefined : dim, rank, fn);
}

/** The tensor of a fold's accumulators, rounded to `dtype`. */
export function foldedTensor(folded: Folded, dtype: DType): Tensor {
  return new Tensor({
    storage: convertNumbers(folded.acc, 'float64', dtype),
    shape: folded.shape,
    dtype,
  });
}

function walk(x: Tensor, steps: Shape, acc: Float64Array, loop: FoldLoop, aux: Float64Array): void {
  const plan = nest(x.shape, x.strides, [x.strides, steps]);
  const [px, pa] = plan.strides;
  const rank = plan.shape.length;
  const n = rank > 0 ? plan.shape[rank - 1] : 1;
  const m = rank > 1 ? plan.shape[rank - 2] : 1;
  const xn = rank > 0 ? px[rank - 1] : 0;
  const an = rank > 0 ? pa[rank - 1] : 0;
  const xm = rank > 1 ? px[rank - 2] : 0;
  const am = rank > 1 ? pa[rank - 2] : 0;
  const index = new Array<number>(Math.max(rank - 2, 0)).fill(0);
  let xo = x.offset;
  let ao = 0;
  for (;;) {
    loop(x.storage, xo, xm, xn, acc, ao, am, an, m, n, aux);
    let d = rank - 3;
    for (; d >= 0; d--) {
      xo += px[d];
      ao += pa[d];
      if (++index[d] < plan.shape[d]) break;
      xo -= px[d] * plan.shape[d];
      ao -= pa[d] * plan.shape[d];
      index[d] = 0;
    }
    if (d < 0) return;
  }
}
