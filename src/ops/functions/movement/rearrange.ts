import { ArgumentError } from '../../../core/errors.ts';
import { normalizeDim, type Shape } from '../../../tensor/shape.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { dispatch } from '../../dispatch.ts';
import type { MemoryFormat, PadMode } from '../../signatures/movement.ts';

/** The end of a slice that runs to the last element, whatever the size. */
export const TO_END: number = Number.MAX_SAFE_INTEGER;

/** Options of {@link pad}. */
export interface PadOptions {
  /** `constant` where not given. */
  readonly mode?: PadMode;
  /** What `constant` writes; 0 where not given. */
  readonly value?: number;
}

/**
 * The same elements in another shape (one size may be −1). Shares storage where the strides allow it; unlike PyTorch,
 * which throws where they do not, it copies then, because layouts are chosen by the operators here.
 *
 * @throws {@link ShapeError} where the element counts differ.
 * Source: `torch.Tensor.view`.
 *
 * @example
 * view(x, [2, -1]);
 */
export function view(x: Tensor, shape: Shape): Tensor {
  return dispatch('view', x, shape);
}

/**
 * The same elements in another shape (one size may be −1). Shares storage where the strides allow it, copies otherwise.
 *
 * @throws {@link ShapeError} where the element counts differ.
 * Source: `torch.reshape`.
 *
 * @example
 * reshape(x, [2, -1]);
 */
export function reshape(x: Tensor, shape: Shape): Tensor {
  return dispatch('reshape', x, shape);
}

/**
 * Dimensions `startDim` to `endDim` merged into one.
 * Source: `torch.flatten`.
 *
 * @example
 * flatten(x, 1); // [batch, features]
 */
export function flatten(x: Tensor, startDim = 0, endDim = -1): Tensor {
  return dispatch('flatten', x, startDim, endDim);
}

/**
 * Dimension `dim` taken apart into several (one size may be −1).
 * Source: `torch.unflatten`.
 *
 * @example
 * unflatten(x, 1, [heads, -1]);
 */
export function unflatten(x: Tensor, dim: number, sizes: Shape): Tensor {
  return dispatch('unflatten', x, dim, sizes);
}

/**
 * Dimensions in another order. Shares storage.
 *
 * @throws {@link ArgumentError} where `dims` is not a permutation.
 * Source: `torch.permute`.
 *
 * @example
 * permute(x, [0, 2, 3, 1]); // NCHW → NHWC
 */
export function permute(x: Tensor, dims: readonly number[]): Tensor {
  return dispatch('permute', x, dims);
}

/**
 * Two dimensions swapped. Shares storage.
 * Source: `torch.transpose`.
 *
 * @example
 * transpose(x, -2, -1);
 */
export function transpose(x: Tensor, dim0: number, dim1: number): Tensor {
  return dispatch('transpose', x, dim0, dim1);
}

/**
 * Dimensions of size 1 repeated (and new ones in front) without copying; −1 keeps a size.
 *
 * @throws {@link ShapeError} where the shape does not broadcast.
 * Source: `torch.Tensor.expand`.
 *
 * @example
 * expand(tensor([[1], [2]]), [2, 3]);
 */
export function expand(x: Tensor, shape: Shape): Tensor {
  return dispatch('expand', x, shape);
}

/**
 * Without its dimensions of size 1 (or without `dim`, if that has size 1). Shares storage.
 * Source: `torch.squeeze`.
 *
 * @example
 * squeeze(x, 0);
 */
export function squeeze(x: Tensor, dim?: number): Tensor {
  return dispatch('squeeze', x, dim);
}

/**
 * With a new dimension of size 1 at `dim`. Shares storage.
 * Source: `torch.unsqueeze`.
 *
 * @example
 * unsqueeze(x, 0); // a batch of one
 */
export function unsqueeze(x: Tensor, dim: number): Tensor {
  return dispatch('unsqueeze', x, dim);
}

/**
 * The slice at `index` (negative counts from the end) along `dim`, without that dimension. Shares storage.
 *
 * @throws {@link ArgumentError} where the index is out of range.
 * Source: `torch.select`.
 *
 * @example
 * select(x, 0, -1);
 */
export function select(x: Tensor, dim: number, index: number): Tensor {
  return dispatch('select', x, dim, index);
}

/**
 * `length` slices along `dim`, from `start` on. Shares storage.
 * Source: `torch.narrow`.
 *
 * @example
 * narrow(x, 1, 0, 10);
 */
export function narrow(x: Tensor, dim: number, start: number, length: number): Tensor {
  return dispatch('slice', x, dim, start, start + length, 1);
}

/**
 * A matrix transposed; vectors and scalars as they are.
 * Source: `torch.t`.
 *
 * @example
 * t(weight);
 */
export function t(x: Tensor): Tensor {
  return x.ndim < 2 ? dispatch('view', x, x.shape) : dispatch('transpose', x, 0, 1);
}

/**
 * The same tensor stored row-major (or channels-last); itself where it already is.
 * Source: `torch.Tensor.contiguous`.
 *
 * @example
 * contiguous(x, 'channelsLast');
 */
export function contiguous(x: Tensor, memoryFormat: MemoryFormat = 'contiguous'): Tensor {
  return dispatch('contiguous', x, memoryFormat);
}

/**
 * Elements in reverse order along the given dimensions; a copy.
 * Source: `torch.flip`.
 *
 * @example
 * flip(image, -1); // mirrored
 */
export function flip(x: Tensor, dims: number | readonly number[]): Tensor {
  return dispatch('flip', x, typeof dims === 'number' ? [dims] : dims);
}

/**
 * The tensor tiled `times[d]` times along each dimension (extra counts add dimensions in front); a copy.
 * Source: `torch.Tensor.repeat`.
 *
 * @example
 * repeat(tensor([1, 2]), [2, 2]); // [[1, 2, 1, 2], [1, 2, 1, 2]]
 */
export function repeat(x: Tensor, times: Shape): Tensor {
  return dispatch('repeat', x, times);
}

/**
 * Every slice along `dim` `times` times in a row; a copy. Source: `torch.repeat_interleave`.
 *
 * @throws {@link ArgumentError} where `times` is no whole number above zero.
 * @example
 * repeatInterleave(tensor([1, 2]), 2, 0); // [1, 1, 2, 2]
 */
export function repeatInterleave(x: Tensor, times: number, dim: number): Tensor {
  if (!Number.isInteger(times) || times < 1) {
    throw new ArgumentError({
      fn: 'repeatInterleave',
      argument: 'times',
      expected: 'a whole number above zero',
      got: String(times),
    });
  }
  const d = normalizeDim(dim, x.ndim, 'repeatInterleave');
  const copies = x.shape.toSpliced(d + 1, 0, times);
  return dispatch('flatten', dispatch('expand', dispatch('unsqueeze', x, d + 1), copies), d, d + 1);
}

/**
 * Padded by [left, right, top, bottom, …], counted from the last dimension; negative counts crop (constant mode).
 *
 * @throws {@link ArgumentError} where reflect or circular padding is wider than the input.
 * Source: `torch.nn.functional.pad`.
 *
 * @example
 * pad(x, [1, 1, 1, 1], { mode: 'reflect' });
 */
export function pad(x: Tensor, pads: readonly number[], options: PadOptions = {}): Tensor {
  return dispatch('pad', x, pads, options.mode ?? 'constant', options.value ?? 0);
}

/**
 * The lower triangle of each matrix (up to the given diagonal), zeros above.
 * Source: `torch.tril`.
 *
 * @example
 * tril(ones([3, 3]));
 */
export function tril(x: Tensor, diagonal = 0): Tensor {
  return dispatch('tril', x, diagonal);
}

/**
 * The upper triangle of each matrix (from the given diagonal), zeros below.
 * Source: `torch.triu`.
 *
 * @example
 * triu(ones([3, 3]), 1);
 */
export function triu(x: Tensor, diagonal = 0): Tensor {
  return dispatch('triu', x, diagonal);
}

/**
 * Tensors joined along an existing dimension; the result has the memory order of the first.
 *
 * @throws {@link ShapeError} where they differ in another dimension.
 * Source: `torch.cat`.
 *
 * @example
 * cat([a, b], 1);
 */
export function cat(tensors: readonly Tensor[], dim = 0): Tensor {
  return dispatch('cat', tensors, dim);
}

/**
 * Tensors of one shape joined along a new dimension.
 *
 * @throws {@link ShapeError} where the shapes differ.
 * Source: `torch.stack`.
 *
 * @example
 * stack([a, b]); // [2, …]
 */
export function stack(tensors: readonly Tensor[], dim = 0): Tensor {
  return dispatch('stack', tensors, dim);
}

/**
 * Parts of `sizes` slices each (or of the listed sizes) along `dim`; views.
 *
 * @throws {@link ArgumentError} where listed sizes do not add up.
 * Source: `torch.split`.
 *
 * @example
 * const [q, k, v] = split(qkv, dim, -1);
 */
export function split(x: Tensor, sizes: number | readonly number[], dim = 0): Tensor[] {
  return dispatch('split', x, sizes, dim);
}

/**
 * `chunks` parts of nearly equal size along `dim` (perhaps fewer); views.
 * Source: `torch.chunk`.
 *
 * @example
 * const [a, b] = chunk(x, 2, 1);
 */
export function chunk(x: Tensor, chunks: number, dim = 0): Tensor[] {
  return dispatch('chunk', x, chunks, dim);
}

/**
 * The slices along `dim`, without that dimension; views.
 * Source: `torch.unbind`.
 *
 * @example
 * for (const row of unbind(x)) …
 */
export function unbind(x: Tensor, dim = 0): Tensor[] {
  return dispatch('unbind', x, dim);
}

/**
 * The slices along `dim` that an integer vector names.
 *
 * @throws {@link ArgumentError} where an index is out of range.
 * Source: `torch.index_select`.
 *
 * @example
 * indexSelect(x, 0, tensor([2, 0], { dtype: 'int64' }));
 */
export function indexSelect(x: Tensor, dim: number, index: Tensor): Tensor {
  return dispatch('indexSelect', x, dim, index);
}

/**
 * For each element of `index`, the element of x at its place, but at that index along `dim`.
 *
 * @throws {@link ArgumentError} where an index is out of range.
 * Source: `torch.gather`.
 *
 * @example
 * gather(logProbabilities, 1, target.unsqueeze(1));
 */
export function gather(x: Tensor, dim: number, index: Tensor): Tensor {
  return dispatch('gather', x, dim, index);
}

/**
 * x with each element of `source` added at its place, but at that of `index` along `dim`; a copy.
 * Source: `torch.scatter_add`.
 *
 * @example
 * scatterAdd(zeros([3]), 0, index, values);
 */
export function scatterAdd(x: Tensor, dim: number, index: Tensor, source: Tensor): Tensor {
  return dispatch('scatterAdd', x, dim, index, source);
}

/**
 * The elements where a bool mask is true, as a vector; both broadcast.
 * Source: `torch.masked_select`.
 *
 * @example
 * maskedSelect(x, x.gt(0));
 */
export function maskedSelect(x: Tensor, mask: Tensor): Tensor {
  return dispatch('maskedSelect', x, mask);
}
