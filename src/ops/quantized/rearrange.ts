import { DTypeError } from '../../core/errors.ts';
import { product } from '../../core/math.ts';
import { integerDTypeOf } from '../../tensor/dtype.ts';
import { isPerChannel, type PerChannelQParams, type QParams } from '../../tensor/qparams.ts';
import { normalizeDim, type Shape } from '../../tensor/shape.ts';
import { quantizedDTypeOf, Tensor } from '../../tensor/tensor.ts';
import { movement } from '../float/movement.ts';
import { reduction } from '../float/reduction.ts';
import type { MovementOps, Ops } from '../signatures/index.ts';

type Implementation = (x: Tensor, ...rest: never[]) => unknown;

/** The integers of a quantized tensor as a plain tensor over the same storage. */
function integersOf(x: Tensor, fn: string): Tensor {
  const dtype = integerDTypeOf(quantizedDTypeOf(x, fn));
  if (x.dtype === 'quint4x2') {
    throw new DTypeError({
      fn,
      argument: 'dtype',
      expected: 'quint8, qint8 or qint32',
      got: 'quint4x2 (two elements a byte, which cannot be moved one by one)',
      fix: 'dequantize() first.',
    });
  }
  const { storage, shape, strides, offset } = x;
  return new Tensor({ storage, shape, strides, offset, dtype });
}

function refuse(fn: string, q: PerChannelQParams): DTypeError {
  return new DTypeError({
    fn,
    argument: 'qscheme',
    expected: 'per_tensor_affine, or an operation that keeps the slices of the channel axis whole',
    got: `${q.scheme} along axis ${q.axis}`,
    fix: 'dequantize() first: values would move away from their scales.',
  });
}

/**
 * Operators that only move or order elements act on the integers as they are: `(q − zeroPoint) · scale` is increasing
 * in q, so the order of the integers is the order of the numbers.
 */
function onIntegers<F extends Implementation>(fn: string, integerOp: F): F {
  return ((x: Tensor, ...rest: never[]) => {
    const integers = integersOf(x, fn);
    if (x.qparams && isPerChannel(x.qparams)) throw refuse(fn, x.qparams);
    return relabel(x, integerOp(integers, ...rest), integers.dtype);
  }) as F;
}

function relabel(x: Tensor, result: unknown, integers: string): unknown {
  if (Array.isArray(result)) return result.map((part) => relabel(x, part, integers));
  if (!(result instanceof Tensor) || result.dtype !== integers) return result;
  return quantizedAs(x, result, x.qparams as QParams);
}

function quantizedAs(x: Tensor, integers: Tensor, qparams: QParams): Tensor {
  const { storage, shape, strides, offset } = integers;
  return new Tensor({ storage, shape, strides, offset, dtype: x.dtype, qparams });
}

/** What becomes of per-channel parameters; null where slices of the axis would be torn apart. */
type AxisRule<K extends keyof MovementOps> = (
  q: PerChannelQParams,
  x: Tensor,
  result: Shape,
  ...rest: MovementOps[K] extends (x: Tensor, ...rest: infer R) => unknown ? R : never
) => QParams | null;

/** A movement whose per-channel form follows the channel axis by `rule`. */
function following<K extends keyof MovementOps>(op: K, rule: AxisRule<K>): MovementOps[K] {
  const run = movement[op] as (x: Tensor, ...rest: unknown[]) => Tensor;
  const perTensor = onIntegers(op, run);
  return ((x: Tensor, ...rest: never[]) => {
    if (!x.qparams || !isPerChannel(x.qparams)) return perTensor(x, ...rest);
    const result = run(integersOf(x, op), ...rest);
    const qparams = (rule as (...args: unknown[]) => QParams | null)(x.qparams, x, result.shape, ...rest);
    if (!qparams) throw refuse(op, x.qparams);
    return quantizedAs(x, result, qparams);
  }) as unknown as MovementOps[K];
}

/** New shapes keep the axis where some dimension has its size and as many slices before it. */
function reshaped(q: PerChannelQParams, x: Tensor, result: Shape): QParams | null {
  const before = product(x.shape.slice(0, q.axis));
  const axis = result.findIndex(
    (size, d) => size === x.shape[q.axis] && product(result.slice(0, d)) === before,
  );
  return axis < 0 ? null : { ...q, axis };
}

/** The parameters of some slices of the axis. */
function picked(q: PerChannelQParams, channels: readonly number[]): PerChannelQParams {
  const { scales, zeroPoints } = q;
  return {
    ...q,
    scales: Float64Array.from(channels, (c) => scales[c]),
    zeroPoints:
      q.scheme === 'per_channel_affine'
        ? Int32Array.from(channels, (c) => zeroPoints[c])
        : Float32Array.from(channels, (c) => zeroPoints[c]),
  };
}

/** The axis after dimension `gone` vanished. */
function without(q: PerChannelQParams, gone: number): PerChannelQParams {
  return { ...q, axis: q.axis - (gone < q.axis ? 1 : 0) };
}

function everyNth(start: number, count: number, step: number): number[] {
  return Array.from({ length: count }, (_, i) => start + i * step);
}

/** Operators on quantized tensors that run on the integers unchanged; views stay views. */
export const rearranging: Partial<Ops> & Pick<Ops, 'slice' | 'unsqueeze' | 'squeeze'> = {
  view: following('view', reshaped),
  reshape: following('reshape', reshaped),
  flatten: following('flatten', reshaped),
  unflatten: following('unflatten', reshaped),
  permute: following('permute', (q, x, _, dims) => ({
    ...q,
    axis: dims.findIndex((d) => normalizeDim(d, x.ndim, 'permute') === q.axis),
  })),
  transpose: following('transpose', (q, x, _, dim0, dim1) => {
    const [a, b] = [normalizeDim(dim0, x.ndim, 'transpose'), normalizeDim(dim1, x.ndim, 'transpose')];
    return { ...q, axis: q.axis === a ? b : q.axis === b ? a : q.axis };
  }),
  expand: following('expand', (q, x, result) =>
    x.shape[q.axis] === result[q.axis + result.length - x.ndim]
      ? { ...q, axis: q.axis + result.length - x.ndim }
      : null,
  ),
  squeeze: following('squeeze', (q, x, result, dim) => {
    if (result.length === x.ndim) return q;
    if (dim !== undefined) {
      const gone = normalizeDim(dim, x.ndim, 'squeeze');
      return gone === q.axis ? null : without(q, gone);
    }
    if (x.shape[q.axis] === 1) return null;
    return { ...q, axis: x.shape.slice(0, q.axis).filter((size) => size !== 1).length };
  }),
  unsqueeze: following('unsqueeze', (q, x, _, dim) => {
    const at = normalizeDim(dim, x.ndim + 1, 'unsqueeze');
    return { ...q, axis: q.axis + (at <= q.axis ? 1 : 0) };
  }),
  slice: following('slice', (q, x, result, dim, start, _end, step) => {
    const at = normalizeDim(dim, x.ndim, 'slice');
    if (at !== q.axis) return q;
    const size = x.shape[at];
    const first = Math.min(Math.max(start < 0 ? start + size : start, 0), size);
    return picked(q, everyNth(first, result[at], step));
  }),
  select: following('select', (q, x, _, dim, index) => {
    const at = normalizeDim(dim, x.ndim, 'select');
    if (at !== q.axis) return without(q, at);
    if (q.scheme !== 'per_channel_affine') return null;
    const channel = index < 0 ? index + x.shape[at] : index;
    return { scheme: 'per_tensor_affine', scale: q.scales[channel], zeroPoint: q.zeroPoints[channel] };
  }),
  contiguous: following('contiguous', (q) => q),
  indexSelect: following('indexSelect', (q, x, _, dim, index) =>
    normalizeDim(dim, x.ndim, 'indexSelect') === q.axis ? picked(q, Array.from(index.data)) : q,
  ),
  flip: following('flip', (q, x, _, dims) =>
    dims.some((d) => normalizeDim(d, x.ndim, 'flip') === q.axis)
      ? picked(q, everyNth(x.shape[q.axis] - 1, x.shape[q.axis], -1))
      : q,
  ),
  repeat: onIntegers('repeat', movement.repeat),
  split: onIntegers('split', movement.split),
  chunk: onIntegers('chunk', movement.chunk),
  unbind: onIntegers('unbind', movement.unbind),
  amax: onIntegers('amax', reduction.amax),
  amin: onIntegers('amin', reduction.amin),
  maxDim: onIntegers('max', reduction.maxDim),
  minDim: onIntegers('min', reduction.minDim),
  argmax: onIntegers('argmax', reduction.argmax),
  argmin: onIntegers('argmin', reduction.argmin),
  sort: onIntegers('sort', reduction.sort),
  topk: onIntegers('topk', reduction.topk),
};
