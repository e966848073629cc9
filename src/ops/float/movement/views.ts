import { ArgumentError, ShapeError } from '../../../core/errors.ts';
import { product } from '../../../core/math.ts';
import { isPerChannel, type QParams } from '../../../tensor/qparams.ts';
import {
  broadcastStrides,
  formatShape,
  normalizeDim,
  resolveShape,
  type Shape,
  viewStrides,
} from '../../../tensor/shape.ts';
import { Tensor, viewOf } from '../../../tensor/tensor.ts';
import type { MovementOps } from '../../signatures/index.ts';

/** A view where strides allow one, a row-major copy where they do not. */
function reshaped(x: Tensor, shape: Shape, fn: string): Tensor {
  const to = resolveShape(shape, x.numel, fn);
  const strides = viewStrides(x.shape, x.strides, to);
  if (strides) return viewOf(x, to, strides);
  return new Tensor({ storage: x.data, shape: to, dtype: x.dtype, qparams: x.qparams });
}

function flatten(x: Tensor, startDim: number, endDim: number): Tensor {
  const start = normalizeDim(startDim, x.ndim, 'flatten', 'startDim');
  const end = normalizeDim(endDim, x.ndim, 'flatten', 'endDim');
  if (start > end) {
    throw new ArgumentError({
      fn: 'flatten',
      argument: 'endDim',
      expected: `a dimension from startDim (${start}) on`,
      got: String(endDim),
    });
  }
  if (x.ndim === 0) return viewOf(x, [1], [1]);
  const middle = product(x.shape.slice(start, end + 1));
  return reshaped(x, [...x.shape.slice(0, start), middle, ...x.shape.slice(end + 1)], 'flatten');
}

function unflatten(x: Tensor, dim: number, sizes: Shape): Tensor {
  const d = normalizeDim(dim, x.ndim, 'unflatten');
  const inner = resolveShape(sizes, x.shape[d], 'unflatten');
  return reshaped(x, [...x.shape.slice(0, d), ...inner, ...x.shape.slice(d + 1)], 'unflatten');
}

/** Per-channel parameters follow their dimension to its new place. */
function movedAxis(qparams: QParams | null, order: readonly number[]): QParams | null {
  if (!qparams || !isPerChannel(qparams)) return qparams;
  return { ...qparams, axis: order.indexOf(qparams.axis) };
}

function permute(x: Tensor, dims: readonly number[]): Tensor {
  const order = dims.map((d) => normalizeDim(d, x.ndim, 'permute', 'dims'));
  if (order.length !== x.ndim || new Set(order).size !== x.ndim) {
    throw new ArgumentError({
      fn: 'permute',
      argument: 'dims',
      expected: `each of the ${x.ndim} dimensions once`,
      got: `[${dims.join(', ')}]`,
    });
  }
  return viewOf(
    x,
    order.map((d) => x.shape[d]),
    order.map((d) => x.strides[d]),
    x.offset,
    movedAxis(x.qparams, order),
  );
}

function transpose(x: Tensor, dim0: number, dim1: number): Tensor {
  const p = normalizeDim(dim0, x.ndim, 'transpose', 'dim0');
  const q = normalizeDim(dim1, x.ndim, 'transpose', 'dim1');
  return permute(
    x,
    x.shape.map((_, d) => (d === p ? q : d === q ? p : d)),
  );
}

function expand(x: Tensor, shape: Shape): Tensor {
  const lead = shape.length - x.ndim;
  const to = shape.map((size, d) => (size === -1 && d >= lead ? x.shape[d - lead] : size));
  const fits = lead >= 0 && x.shape.every((size, d) => size === 1 || size === to[d + lead]);
  if (!fits || to.some((size) => !Number.isInteger(size) || size < 0)) {
    throw new ShapeError({
      fn: 'expand',
      argument: 'shape',
      expected: `a shape that ${formatShape(x.shape)} broadcasts to (-1 keeps a size)`,
      got: formatShape(shape),
    });
  }
  return viewOf(x, to, broadcastStrides(x.shape, x.strides, to));
}

function squeeze(x: Tensor, dim: number | undefined): Tensor {
  const only = dim === undefined ? undefined : normalizeDim(dim, x.ndim, 'squeeze');
  const keep = (_: number, d: number) => x.shape[d] !== 1 || (only !== undefined && d !== only);
  return viewOf(x, x.shape.filter(keep), x.strides.filter(keep));
}

function unsqueeze(x: Tensor, dim: number): Tensor {
  const d = normalizeDim(dim, x.ndim + 1, 'unsqueeze');
  const stride = d < x.ndim ? x.strides[d] * x.shape[d] : 1;
  return viewOf(
    x,
    [...x.shape.slice(0, d), 1, ...x.shape.slice(d)],
    [...x.strides.slice(0, d), stride, ...x.strides.slice(d)],
  );
}

/** Parameters of the channels that a slice along their own axis keeps. */
function slicedChannels(qparams: QParams | null, dim: number, picks: readonly number[]): QParams | null {
  if (!qparams || !isPerChannel(qparams) || qparams.axis !== dim) return qparams;
  return {
    ...qparams,
    scales: Float64Array.from(picks, (c) => qparams.scales[c]),
    zeroPoints: Int32Array.from(picks, (c) => qparams.zeroPoints[c]),
  };
}

/** A slice's first index and length after Python's clamping. */
export function sliceRange(size: number, start: number, end: number, step: number): [number, number] {
  const clampIndex = (i: number) => Math.min(Math.max(i < 0 ? i + size : i, 0), size);
  const from = clampIndex(start);
  return [from, Math.max(Math.ceil((clampIndex(end) - from) / step), 0)];
}

function slice(x: Tensor, dim: number, start: number, end: number, step: number): Tensor {
  if (!Number.isInteger(step) || step < 1) {
    throw new ArgumentError({
      fn: 'slice',
      argument: 'step',
      expected: 'a positive whole number',
      got: String(step),
      fix: 'Use flip() to reverse.',
    });
  }
  const d = requireDim(x, dim, 'slice');
  const [from, length] = sliceRange(x.shape[d], start, end, step);
  const picks = Array.from({ length: x.qparams ? length : 0 }, (_, i) => from + i * step);
  return viewOf(
    x,
    x.shape.map((size, k) => (k === d ? length : size)),
    x.strides.map((s, k) => (k === d ? s * step : s)),
    x.offset + from * x.strides[d],
    slicedChannels(x.qparams, d, picks),
  );
}

function select(x: Tensor, dim: number, index: number): Tensor {
  const d = requireDim(x, dim, 'select');
  const size = x.shape[d];
  if (!Number.isInteger(index) || index < -size || index >= size) {
    throw new ArgumentError({
      fn: 'select',
      argument: 'index',
      expected: `a whole number from ${-size} to ${size - 1} (dimension ${d} has ${size} elements)`,
      got: String(index),
    });
  }
  const at = index < 0 ? index + size : index;
  const keep = (_: number, k: number) => k !== d;
  return viewOf(
    x,
    x.shape.filter(keep),
    x.strides.filter(keep),
    x.offset + at * x.strides[d],
    selectedChannel(x.qparams, d, at),
  );
}

function selectedChannel(qparams: QParams | null, dim: number, at: number): QParams | null {
  if (!qparams || !isPerChannel(qparams)) return qparams;
  if (qparams.axis !== dim) {
    return { ...qparams, axis: qparams.axis > dim ? qparams.axis - 1 : qparams.axis };
  }
  return { scheme: 'per_tensor_affine', scale: qparams.scales[at], zeroPoint: qparams.zeroPoints[at] };
}

function requireDim(x: Tensor, dim: number, fn: string): number {
  if (x.ndim === 0) {
    throw new ShapeError({ fn, argument: 'x', expected: 'at least one dimension', got: 'a scalar' });
  }
  return normalizeDim(dim, x.ndim, fn);
}

type ViewName =
  | 'view'
  | 'reshape'
  | 'flatten'
  | 'unflatten'
  | 'permute'
  | 'transpose'
  | 'expand'
  | 'squeeze'
  | 'unsqueeze'
  | 'slice'
  | 'select';

/** Operators that show the same elements under another shape, sharing storage. */
export const views: Pick<MovementOps, ViewName> = {
  view: (x, shape) => reshaped(x, shape, 'view'),
  reshape: (x, shape) => reshaped(x, shape, 'reshape'),
  flatten,
  unflatten,
  permute,
  transpose,
  expand,
  squeeze,
  unsqueeze,
  slice,
  select,
};
