import { ShapeError } from '../../../core/errors.ts';
import type { DType } from '../../../tensor/dtype.ts';
import { equalQParams } from '../../../tensor/qparams.ts';
import { broadcastShapes, formatShape } from '../../../tensor/shape.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { dispatch } from '../../dispatch.ts';

/**
 * True where a equals b, broadcast; a bool tensor.
 * Source: `torch.eq`.
 *
 * @example
 * eq(tensor([1, 2]), 2); // [false, true]
 */
export function eq(a: Tensor, b: Tensor | number): Tensor {
  return dispatch('eq', a, b);
}

/**
 * True where a differs from b, broadcast; a bool tensor.
 * Source: `torch.ne`.
 *
 * @example
 * ne(tensor([1, 2]), 2); // [true, false]
 */
export function ne(a: Tensor, b: Tensor | number): Tensor {
  return dispatch('ne', a, b);
}

/**
 * True where a is less than b, broadcast; a bool tensor.
 * Source: `torch.lt`.
 *
 * @example
 * lt(tensor([1, 2]), 2); // [true, false]
 */
export function lt(a: Tensor, b: Tensor | number): Tensor {
  return dispatch('lt', a, b);
}

/**
 * True where a is at most b, broadcast; a bool tensor.
 * Source: `torch.le`.
 *
 * @example
 * le(tensor([1, 2]), 2); // [true, true]
 */
export function le(a: Tensor, b: Tensor | number): Tensor {
  return dispatch('le', a, b);
}

/**
 * True where a is greater than b, broadcast; a bool tensor.
 * Source: `torch.gt`.
 *
 * @example
 * gt(tensor([1, 2]), 2); // [false, false]
 */
export function gt(a: Tensor, b: Tensor | number): Tensor {
  return dispatch('gt', a, b);
}

/**
 * True where a is at least b, broadcast; a bool tensor.
 * Source: `torch.ge`.
 *
 * @example
 * ge(tensor([1, 2]), 2); // [false, true]
 */
export function ge(a: Tensor, b: Tensor | number): Tensor {
  return dispatch('ge', a, b);
}

/**
 * True where x is zero; a bool tensor.
 * Source: `torch.logical_not`.
 *
 * @example
 * logicalNot(tensor([0, 2])); // [true, false]
 */
export function logicalNot(x: Tensor): Tensor {
  return dispatch('logicalNot', x);
}

/**
 * True where both are nonzero, broadcast; a bool tensor.
 * Source: `torch.logical_and`.
 *
 * @example
 * logicalAnd(x.gt(0), x.lt(1));
 */
export function logicalAnd(a: Tensor, b: Tensor): Tensor {
  return dispatch('logicalAnd', a, b);
}

/**
 * True where either is nonzero, broadcast; a bool tensor.
 * Source: `torch.logical_or`.
 *
 * @example
 * logicalOr(x.lt(0), x.gt(1));
 */
export function logicalOr(a: Tensor, b: Tensor): Tensor {
  return dispatch('logicalOr', a, b);
}

/**
 * Elements of a where the condition is true, of b elsewhere; all three broadcast.
 *
 * @throws {@link ShapeError} where the shapes do not broadcast.
 * Source: `torch.where`.
 *
 * @example
 * where(x.gt(0), x, zerosLike(x));
 */
export function where(condition: Tensor, a: Tensor, b: Tensor): Tensor {
  return dispatch('where', condition, a, b);
}

/**
 * x with `value` written where the mask is true; the mask broadcasts.
 * Source: `torch.Tensor.masked_fill`.
 *
 * @example
 * maskedFill(scores, mask, -Infinity);
 */
export function maskedFill(x: Tensor, mask: Tensor, value: number): Tensor {
  return dispatch('maskedFill', x, mask, value);
}

/**
 * x in another dtype: floats round to 16 bits and truncate to integers; nonzero becomes true.
 * Source: `torch.Tensor.to`.
 *
 * @example
 * to(tensor([1.7]), 'int64'); // [1]
 */
export function to(x: Tensor, dtype: DType): Tensor {
  return dispatch('to', x, dtype);
}

/** Options of {@link allclose}. */
export interface AllcloseOptions {
  /** Allowed difference relative to `b`; 1e-5 where not given. */
  readonly rtol?: number;
  /** Allowed difference in itself; 1e-8 where not given. */
  readonly atol?: number;
  /** Count NaN as equal to NaN. */
  readonly equalNan?: boolean;
}

/**
 * True where two tensors have the same dtype, shape and values; quantized ones also the same scales and zero points. Source: `torch.equal`.
 *
 * @example
 * equal(tensor([1, 2]), tensor([1, 2])); // true
 */
export function equal(a: Tensor, b: Tensor): boolean {
  if (a.dtype !== b.dtype) return false;
  if (a.qparams && b.qparams && !equalQParams(a.qparams, b.qparams)) return false;
  if (a.ndim !== b.ndim || a.shape.some((size, d) => size !== b.shape[d])) return false;
  const x = a.numbers();
  const y = b.numbers();
  for (let i = 0; i < x.length; i++) if (x[i] !== y[i]) return false;
  return true;
}

/**
 * True where |a − b| ≤ atol + rtol · |b| everywhere. Source: `torch.allclose`.
 *
 * @throws {@link ShapeError} where the shapes differ.
 * @example
 * allclose(y, expected, { rtol: 1e-4 });
 */
export function allclose(a: Tensor, b: Tensor, options: AllcloseOptions = {}): boolean {
  const { rtol = 1e-5, atol = 1e-8, equalNan = false } = options;
  if (broadcastShapes(a.shape, b.shape, 'allclose').join() !== a.shape.join() || a.numel !== b.numel) {
    throw new ShapeError({
      fn: 'allclose',
      argument: 'b',
      expected: `the shape of a, ${formatShape(a.shape)}`,
      got: formatShape(b.shape),
    });
  }
  const x = a.numbers();
  const y = b.numbers();
  for (let i = 0; i < x.length; i++) {
    if (x[i] === y[i] || (equalNan && Number.isNaN(x[i]) && Number.isNaN(y[i]))) continue;
    if (!(Math.abs(x[i] - y[i]) <= atol + rtol * Math.abs(y[i])) || !Number.isFinite(x[i])) return false;
  }
  return true;
}
