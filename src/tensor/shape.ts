import { ArgumentError, ShapeError } from '../core/errors.ts';
import { product } from '../core/math.ts';

/** Sizes of the dimensions of a tensor, outermost first. */
export type Shape = readonly number[];

/** Row-major strides, in elements. */
export function contiguousStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    strides[d] = step;
    step *= Math.max(shape[d], 1);
  }
  return strides;
}

/** Channels-last strides: the order N, spatial…, C in memory under the logical order N, C, spatial…. */
export function channelsLastStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  strides[1] = 1;
  let step = Math.max(shape[1], 1);
  for (let d = shape.length - 1; d >= 2; d--) {
    strides[d] = step;
    step *= Math.max(shape[d], 1);
  }
  strides[0] = step;
  return strides;
}

/** True when elements laid out with `strides` fill memory exactly in the order that `expected` strides give. */
export function hasStrides(shape: Shape, strides: Shape, expected: Shape): boolean {
  for (let d = 0; d < shape.length; d++) {
    // A dimension of one element may claim any stride.
    if (shape[d] !== 1 && strides[d] !== expected[d]) return false;
  }
  return true;
}

/** `3x4x5`, or `scalar`: shapes as messages print them. */
export function formatShape(shape: Shape): string {
  return shape.length === 0 ? 'a scalar' : `[${shape.join(', ')}]`;
}

/** Turns a dimension counted from the end (−1 is the last) into one counted from the front. */
export function normalizeDim(dim: number, rank: number, fn: string, argument = 'dim'): number {
  const lowest = rank === 0 ? -1 : -rank;
  const highest = rank === 0 ? 0 : rank - 1;
  if (!Number.isInteger(dim) || dim < lowest || dim > highest) {
    throw new ArgumentError({
      fn,
      argument,
      expected: `a whole number from ${lowest} to ${highest} for a tensor of ${rank} dimensions`,
      got: String(dim),
    });
  }
  return dim < 0 ? dim + Math.max(rank, 1) : dim;
}

/** Normalizes one dimension, a list, or nothing (all of them), without duplicates, ascending. */
export function normalizeDims(
  dim: number | readonly number[] | undefined,
  rank: number,
  fn: string,
): number[] {
  if (dim === undefined) return Array.from({ length: rank }, (_, d) => d);
  const dims = (typeof dim === 'number' ? [dim] : dim).map((d) => normalizeDim(d, rank, fn));
  const unique = [...new Set(dims)].sort((a, b) => a - b);
  if (unique.length !== dims.length) {
    throw new ArgumentError({
      fn,
      argument: 'dim',
      expected: 'each dimension once',
      got: `[${dims.join(', ')}]`,
    });
  }
  return rank === 0 ? [] : unique;
}

/** The common shape of two broadcast operands. Throws a {@link ShapeError} where they do not fit. */
export function broadcastShapes(a: Shape, b: Shape, fn: string): number[] {
  const rank = Math.max(a.length, b.length);
  const out = new Array<number>(rank);
  for (let d = 1; d <= rank; d++) {
    const x = d <= a.length ? a[a.length - d] : 1;
    const y = d <= b.length ? b[b.length - d] : 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw new ShapeError({
        fn,
        argument: 'shapes',
        expected: 'sizes that are equal or 1 in every dimension, counted from the last',
        got: `${formatShape(a)} and ${formatShape(b)}`,
        fix: `They differ in dimension ${-d}.`,
      });
    }
    out[rank - d] = x === 1 ? y : x;
  }
  return out;
}

/** Strides that read a tensor of `shape` as if it had the larger broadcast shape (0 along repeated dimensions). */
export function broadcastStrides(shape: Shape, strides: Shape, to: Shape): number[] {
  const lead = to.length - shape.length;
  return to.map((size, d) => (d < lead || (shape[d - lead] === 1 && size !== 1) ? 0 : strides[d - lead]));
}

/** Fills in a −1 and checks that the element counts agree. */
export function resolveShape(shape: Shape, elements: number, fn: string): number[] {
  const holes = shape.filter((s) => s === -1).length;
  const rest = product(shape.filter((s) => s !== -1));
  const fits = holes === 0 ? rest === elements : holes === 1 && rest > 0 && elements % rest === 0;
  if (!fits || shape.some((s) => !Number.isInteger(s) || s < -1)) {
    throw new ShapeError({
      fn,
      argument: 'shape',
      expected: `sizes whose product is ${elements} (at most one of them -1)`,
      got: formatShape(shape),
    });
  }
  return shape.map((s) => (s === -1 ? elements / rest : s));
}

/**
 * Strides under which memory laid out as (shape, strides) reads as `to` without copying, or null where only a copy
 * can do it.
 */
export function viewStrides(shape: Shape, strides: Shape, to: Shape): number[] | null {
  if (product(shape) === 0) return contiguousStrides(to);
  const out = new Array<number>(to.length);
  let t = to.length - 1;
  let runStride = shape.length ? strides[shape.length - 1] : 1;
  let runLength = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    runLength *= shape[d];
    const runEnds = d === 0 || (shape[d - 1] !== 1 && strides[d - 1] !== runLength * runStride);
    if (!runEnds) continue;
    let taken = 1;
    while (t >= 0 && (taken < runLength || to[t] === 1)) {
      out[t] = taken * runStride;
      taken *= to[t--];
    }
    if (taken !== runLength) return null;
    if (d > 0) {
      runStride = strides[d - 1];
      runLength = 1;
    }
  }
  for (; t >= 0; t--) out[t] = 1;
  return out;
}
