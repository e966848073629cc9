import { DTYPES, type TypedArray } from '../tensor/dtype.ts';
import { contiguousStrides, hasStrides } from '../tensor/shape.ts';
import { copyStrided, Tensor } from '../tensor/tensor.ts';

/** A parameter's elements as one flat array that may be written. */
export interface FlatParameter {
  /** The elements in the order of {@link strides}; writing here writes the parameter, once {@link commit} ran. */
  readonly values: TypedArray;
  /** The order: the parameter's own where it fills its storage, row-major otherwise. */
  readonly strides: readonly number[];
  /** Brings changed values home where they had to be copied out of a strided view. */
  commit(): void;
}

/**
 * Opens a parameter for an in-place update. Parameters that own their storage (all that layers make) and contiguous
 * windows on a larger storage are updated where they are; other views are copied out and back.
 */
export function flatParameter(p: Tensor): FlatParameter {
  if (p.offset === 0 && p.storage.length === p.numel) {
    return { values: p.storage, strides: p.strides, commit: () => {} };
  }
  const strides = contiguousStrides(p.shape);
  const values = p.data;
  if (p.isContiguous()) return { values, strides, commit: () => {} };
  return {
    values,
    strides,
    commit: () => copyStrided(values, 0, strides, p.storage, p.offset, p.strides, p.shape),
  };
}

/** The elements of a gradient (or state tensor) in the memory order `strides`; not copied where they already are. */
export function inOrder(x: Tensor, strides: readonly number[]): TypedArray {
  const inPlace = x.offset === 0 && x.storage.length === x.numel && hasStrides(x.shape, x.strides, strides);
  return inPlace ? x.storage : x.layOut(strides);
}

/** Zeros that lie in memory as the flat parameter does, so that update loops walk all of them with one index. */
export function stateLike(p: Tensor, strides: readonly number[]): Tensor {
  return new Tensor({ storage: DTYPES[p.dtype].allocate(p.numel), shape: p.shape, strides, dtype: p.dtype });
}
