import { ArgumentError, DTypeError, ShapeError } from '../../core/errors.ts';
import { product, ROUND } from '../../core/math.ts';
import * as kernels from '../../kernels/int8/quantize.ts';
import {
  DTYPES,
  integerDTypeOf,
  isFloatDType,
  type QuantizedDType,
  type TypedArray,
} from '../../tensor/dtype.ts';
import {
  type PerChannelQParams,
  perChannelQParams,
  perTensorQParams,
  type QParams,
} from '../../tensor/qparams.ts';
import { contiguousStrides, normalizeDim, type Shape } from '../../tensor/shape.ts';
import {
  dequantizeNumbers,
  fromStorage,
  quantizedDTypeOf,
  quantizedIntegers,
  Tensor,
} from '../../tensor/tensor.ts';
import { dense } from '../float/layout.ts';
import type { Ops, QuantizeOps } from '../signatures/index.ts';

/**
 * `clamp(nearbyint(x · (1/scale)) + zeroPoint)` over a flat array, all in float32 as PyTorch computes it.
 * Values beyond the integer range saturate; NaN becomes the smallest integer, as in PyTorch on x86.
 */
function quantizeFlat(
  x: ArrayLike<number>,
  out: TypedArray,
  from: number,
  to: number,
  scale: number,
  zeroPoint: number,
  min: number,
  max: number,
): void {
  const inverse = Math.fround(1 / Math.fround(scale));
  for (let i = from; i < to; i++) {
    const q = Math.fround(x[i] * inverse) + ROUND - ROUND + zeroPoint;
    // NaN fails both comparisons.
    out[i] = q >= max ? max : q > min ? q : min;
  }
}

function requireFloat(x: Tensor, fn: string): void {
  if (!isFloatDType(x.dtype)) {
    throw new DTypeError({
      fn,
      argument: 'x',
      expected: 'a float tensor',
      got: x.dtype,
      fix: 'Convert it with to("float32") first.',
    });
  }
}

function quantizePerTensor(x: Tensor, scale: number, zeroPoint: number, dtype: QuantizedDType): Tensor {
  requireFloat(x, 'quantizePerTensor');
  const qparams = perTensorQParams(scale, zeroPoint, dtype, 'quantizePerTensor');
  if (dtype === 'quint4x2') return packNibbles(x, qparams, (i, v) => nibble(v, scale, zeroPoint, i));
  const { data, strides } = denseNumbers(x);
  const floats = data instanceof Float32Array ? data : Float32Array.from(data);
  const storage =
    dtype === 'quint8'
      ? kernels.quantize(floats, 'u8', qparams)
      : dtype === 'qint8'
        ? kernels.quantize(floats, 'i8', qparams)
        : kernels.quantize(floats, 'i32', qparams);
  return new Tensor({ storage, shape: x.shape, strides, dtype, qparams });
}

function quantizePerChannel(
  x: Tensor,
  scales: Tensor,
  zeroPoints: Tensor,
  axis: number,
  dtype: QuantizedDType,
): Tensor {
  const fn = 'quantizePerChannel';
  requireFloat(x, fn);
  const dim = normalizeDim(axis, x.ndim, fn, 'axis');
  const channels = x.shape[dim];
  const floatZeroPoints = isFloatDType(zeroPoints.dtype);
  const qparams: PerChannelQParams = floatZeroPoints
    ? floatQParams(scales, zeroPoints, dim, channels)
    : perChannelQParams(scales.numbers(), zeroPoints.numbers(), dim, channels, dtype, fn);
  const { min, max } = DTYPES[dtype];
  const inner = product(x.shape.slice(dim + 1));
  const values = x.numbers();
  const zp = qparams.zeroPoints;
  if (floatZeroPoints) {
    const inverse = Float32Array.from(qparams.scales, (s) => 1 / Math.fround(s));
    const encode = (i: number, v: number): number => {
      const c = Math.floor(i / inner) % channels;
      const q = Math.fround(Math.fround(v * inverse[c]) + zp[c]) + ROUND - ROUND;
      return Math.min(Math.max(q, min), max);
    };
    if (dtype === 'quint4x2') return packNibbles(x, qparams, encode);
    const out = DTYPES[dtype].allocate(values.length);
    for (let i = 0; i < values.length; i++) out[i] = encode(i, values[i]);
    return fromStorage(out, x.shape, dtype, qparams);
  }
  if (dtype === 'quint4x2') {
    return packNibbles(x, qparams, (i, v) => {
      const c = Math.floor(i / inner) % channels;
      return nibble(v, qparams.scales[c], zp[c], i);
    });
  }
  const out = DTYPES[dtype].allocate(values.length);
  for (let start = 0, slice = 0; start < values.length; start += inner, slice++) {
    const c = slice % channels;
    quantizeFlat(values, out, start, start + inner, qparams.scales[c], zp[c], min, max);
  }
  return fromStorage(out, x.shape, dtype, qparams);
}

function floatQParams(scales: Tensor, zeroPoints: Tensor, axis: number, channels: number): PerChannelQParams {
  if (scales.numel !== channels || zeroPoints.numel !== channels) {
    throw new ShapeError({
      fn: 'quantizePerChannel',
      argument: 'scales',
      expected: `${channels} scales and zero points`,
      got: `${scales.numel} and ${zeroPoints.numel}`,
    });
  }
  return {
    scheme: 'per_channel_affine_float_qparams',
    scales: Float32Array.from(scales.numbers()),
    zeroPoints: Float32Array.from(zeroPoints.numbers()),
    axis,
  };
}

function nibble(v: number, scale: number, zeroPoint: number, _index: number): number {
  const inverse = Math.fround(1 / Math.fround(scale));
  return Math.min(Math.max(Math.fround(v * inverse) + ROUND - ROUND + zeroPoint, 0), 15);
}

function packNibbles(x: Tensor, qparams: QParams, encode: (index: number, value: number) => number): Tensor {
  const values = x.numbers();
  const out = DTYPES.quint4x2.allocate(values.length);
  for (let i = 0; i < values.length; i++) out[i >> 1] |= encode(i, values[i]) << (4 * (i & 1));
  return fromStorage(out, x.shape, 'quint4x2', qparams);
}

/** The numbers of a tensor in its own gap-free memory order (so channels-last stays so), with its strides. */
function denseNumbers(x: Tensor): { data: ArrayLike<number>; strides: Shape } {
  if (x.dtype === 'float32' || x.dtype === 'float64') return dense(x);
  return { data: x.numbers(), strides: contiguousStrides(x.shape) };
}

function dequantize(x: Tensor): Tensor {
  if (!x.qparams) return x;
  if (x.qparams.scheme !== 'per_tensor_affine' || x.dtype === 'quint4x2') {
    return fromStorage(dequantizeNumbers(x), x.shape, 'float32');
  }
  const { data, strides } = dense(x);
  const storage = kernels.dequantize(data as Uint8Array | Int8Array | Int32Array, x.qparams);
  return new Tensor({ storage, shape: x.shape, strides, dtype: 'float32' });
}

function intRepr(x: Tensor): Tensor {
  const dtype = integerDTypeOf(quantizedDTypeOf(x, 'intRepr'));
  const q = quantizedIntegers(x);
  return fromStorage(q === x.storage ? q.slice() : q, x.shape, dtype);
}

function fakeQuantizePerTensor(
  x: Tensor,
  scale: number,
  zeroPoint: number,
  qmin: number,
  qmax: number,
): Tensor {
  requireFloat(x, 'fakeQuantizePerTensor');
  checkRange('fakeQuantizePerTensor', zeroPoint, qmin, qmax);
  const { data, strides } = denseNumbers(x);
  const out = DTYPES[x.dtype].allocate(data.length);
  fakeQuantizeFlat(data, out, 0, data.length, scale, zeroPoint, qmin, qmax);
  return new Tensor({ storage: out, shape: x.shape, strides, dtype: x.dtype });
}

function fakeQuantizePerChannel(
  x: Tensor,
  scales: Tensor,
  zeroPoints: Tensor,
  axis: number,
  qmin: number,
  qmax: number,
): Tensor {
  const fn = 'fakeQuantizePerChannel';
  requireFloat(x, fn);
  const dim = normalizeDim(axis, x.ndim, fn, 'axis');
  const channels = x.shape[dim];
  if (scales.numel !== channels || zeroPoints.numel !== channels) {
    throw new ShapeError({
      fn,
      argument: 'scales',
      expected: `${channels} scales and zero points`,
      got: `${scales.numel} and ${zeroPoints.numel}`,
    });
  }
  const s = scales.numbers();
  const z = zeroPoints.numbers();
  const inner = product(x.shape.slice(dim + 1));
  const values = x.numbers();
  const out = DTYPES[x.dtype].allocate(values.length);
  const floatZeroPoints = isFloatDType(zeroPoints.dtype);
  if (!floatZeroPoints) for (let c = 0; c < channels; c++) checkRange(fn, z[c], qmin, qmax);
  for (let start = 0, slice = 0; start < values.length; start += inner, slice++) {
    const c = slice % channels;
    fakeQuantizeFlat(values, out, start, start + inner, s[c], z[c], qmin, qmax, floatZeroPoints ? z[c] : 0);
  }
  return fromStorage(out, x.shape, x.dtype);
}

/** `beforeRounding` is the part of the zero point that is added before rounding: all of it where it is a float. */
function fakeQuantizeFlat(
  x: ArrayLike<number>,
  out: TypedArray,
  from: number,
  to: number,
  scale: number,
  zeroPoint: number,
  qmin: number,
  qmax: number,
  beforeRounding = 0,
): void {
  const step = Math.fround(scale);
  const inverse = Math.fround(1 / step);
  for (let i = from; i < to; i++) {
    const q = Math.fround(x[i] * inverse + beforeRounding) + ROUND - ROUND + (zeroPoint - beforeRounding);
    out[i] = ((q < qmin ? qmin : q > qmax ? qmax : q) - zeroPoint) * step;
  }
}

function checkRange(fn: string, zeroPoint: number, qmin: number, qmax: number): void {
  if (qmin > qmax || zeroPoint < qmin || zeroPoint > qmax) {
    throw new ArgumentError({
      fn,
      argument: 'zeroPoint',
      expected: `a value from qmin ${qmin} to qmax ${qmax}`,
      got: String(zeroPoint),
    });
  }
}

/** From float to quantized and back, and the simulation of both in float. */
export const quantizeCrossing: { readonly [K in keyof QuantizeOps]: Ops[K] } = {
  quantizePerTensor,
  quantizePerChannel,
  dequantize,
  intRepr,
  fakeQuantizePerTensor,
  fakeQuantizePerChannel,
};
