import { ArgumentError, DTypeError } from '../../core/errors.ts';
import { product } from '../../core/math.ts';
import { chooseQuantizationParams } from '../../kernels/int8/qparams.ts';
import { minMax } from '../../kernels/int8/quantize.ts';
import { DTYPES, isFloatDType, isQuantizedDType, type QuantizedDType } from '../../tensor/dtype.ts';
import { perChannelQParams, perTensorQParams } from '../../tensor/qparams.ts';
import { normalizeDim, type Shape } from '../../tensor/shape.ts';
import { fromStorage, Tensor } from '../../tensor/tensor.ts';
import { dispatch } from '../dispatch.ts';

/** Numbers per channel: a list or a tensor of one dimension. */
export type PerChannelNumbers = Tensor | readonly number[] | Float64Array | Float32Array | Int32Array;

function numberOf(value: number | Tensor): number {
  return typeof value === 'number' ? value : value.item();
}

function tensorOf(values: PerChannelNumbers, dtype: 'float64' | 'int64'): Tensor {
  if (values instanceof Tensor) return values;
  return fromStorage(Float64Array.from(values), [values.length], dtype);
}

function requireQuantizedDType(dtype: QuantizedDType, fn: string): void {
  if (Object.hasOwn(DTYPES, dtype) && isQuantizedDType(dtype)) return;
  throw new DTypeError({
    fn,
    argument: 'dtype',
    expected: "'quint8', 'qint8', 'qint32' or 'quint4x2'",
    got: String(dtype),
  });
}

/**
 * Quantizes a float tensor with one scale and one zero point: q = clamp(nearbyint(x · (1/scale)) + zeroPoint), in
 * float32. Shape and memory order stay. Source: `torch.quantize_per_tensor`.
 *
 * @param scale Positive; a number or a tensor of one element.
 * @param zeroPoint A whole number that the dtype holds: the integer that stands for 0.
 * @throws {@link ArgumentError} for parameters out of range, {@link DTypeError} for an integer or quantized `x`.
 * @example
 * const q = quantizePerTensor(tensor([-1, 0, 1, 2]), 0.1, 10, 'quint8');
 * q.intRepr(); // [0, 10, 20, 30]
 */
export function quantizePerTensor(
  x: Tensor,
  scale: number | Tensor,
  zeroPoint: number | Tensor,
  dtype: QuantizedDType,
): Tensor {
  requireQuantizedDType(dtype, 'quantizePerTensor');
  return dispatch('quantizePerTensor', x, numberOf(scale), numberOf(zeroPoint), dtype);
}

/** {@link quantizePerTensor} under its older name. Source: `torch.quantize_linear` (PyTorch 1.2). */
export const quantizeLinear: typeof quantizePerTensor = quantizePerTensor;

/**
 * Quantizes a float tensor with a scale and a zero point for every slice along `axis`. Float zero points give the scheme
 * of embeddings, `per_channel_affine_float_qparams`. Source: `torch.quantize_per_channel`.
 *
 * @throws {@link ArgumentError} where there is not one scale and one zero point per slice, or they are out of range.
 * @example
 * const x = tensor([[-1, 0], [1, 2]]);
 * quantizePerChannel(x, [0.1, 0.01], [10, 0], 0, 'quint8').intRepr(); // [[0, 10], [100, 200]]
 */
export function quantizePerChannel(
  x: Tensor,
  scales: PerChannelNumbers,
  zeroPoints: PerChannelNumbers,
  axis: number,
  dtype: QuantizedDType,
): Tensor {
  const fn = 'quantizePerChannel';
  requireQuantizedDType(dtype, fn);
  const dim = normalizeDim(axis, x.ndim, fn, 'axis');
  const offsets =
    zeroPoints instanceof Float32Array
      ? fromStorage(zeroPoints, [zeroPoints.length], 'float32')
      : tensorOf(zeroPoints, 'int64');
  return dispatch(fn, x, tensorOf(scales, 'float64'), offsets, dim, dtype);
}

/**
 * Quantizes a float tensor with the scale and zero point that its own smallest and largest element ask for.
 * Source: `torch.quantize_per_tensor_dynamic`.
 *
 * @param reduceRange Leave one bit unused, as some x86 kernels of PyTorch need.
 * @throws {@link ArgumentError} where the tensor holds NaN or infinity.
 * @example
 * quantizePerTensorDynamic(tensor([-1, 0, 1, 2]), 'quint8').qScale(); // 3 / 255
 */
export function quantizePerTensorDynamic(
  x: Tensor,
  dtype: 'quint8' | 'qint8',
  options: { readonly reduceRange?: boolean } = {},
): Tensor {
  const fn = 'quantizePerTensorDynamic';
  if (dtype !== 'quint8' && dtype !== 'qint8') {
    throw new DTypeError({ fn, argument: 'dtype', expected: "'quint8' or 'qint8'", got: String(dtype) });
  }
  if (!isFloatDType(x.dtype)) {
    throw new DTypeError({ fn, argument: 'x', expected: 'a float tensor', got: x.dtype });
  }
  const { min, max } = x.numel === 0 ? { min: 0, max: 0 } : minMax(Float32Array.from(x.numbers()));
  const { scale, zeroPoint } = chooseQuantizationParams(min, max, {
    qmin: DTYPES[dtype].min,
    qmax: DTYPES[dtype].max,
    reduceRange: options.reduceRange,
  });
  return dispatch('quantizePerTensor', x, scale, zeroPoint, dtype);
}

/**
 * The numbers of a quantized tensor as float32: (q − zeroPoint) · scale. A float tensor passes through.
 * Source: `torch.dequantize`.
 */
export function dequantize(x: Tensor): Tensor {
  return dispatch('dequantize', x);
}

/** The integers of a quantized tensor, as uint8, int8 or int32. Source: `torch.int_repr`. */
export function intRepr(x: Tensor): Tensor {
  return dispatch('intRepr', x);
}

/** Options of {@link emptyAffineQuantized}. */
export interface EmptyAffineOptions {
  /** 1 where not given. */
  readonly scale?: number;
  /** 0 where not given. */
  readonly zeroPoint?: number;
  /** `quint8` where not given. */
  readonly dtype?: QuantizedDType;
}

/**
 * A per-tensor quantized tensor to be filled, for instance as `out` of {@link add}. Its integers are 0.
 * Source: `torch._empty_affine_quantized`.
 *
 * @example
 * add(a, b, { out: emptyAffineQuantized(a.shape, { scale: 0.1, zeroPoint: 128 }) });
 */
export function emptyAffineQuantized(shape: Shape, options: EmptyAffineOptions = {}): Tensor {
  const fn = 'emptyAffineQuantized';
  const { scale = 1, zeroPoint = 0, dtype = 'quint8' } = options;
  requireQuantizedDType(dtype, fn);
  const qparams = perTensorQParams(scale, zeroPoint, dtype, fn);
  return fromStorage(DTYPES[dtype].allocate(product(shape)), shape, dtype, qparams);
}

/** Options of {@link emptyPerChannelAffineQuantized}. */
export interface EmptyPerChannelOptions {
  readonly scales: PerChannelNumbers;
  readonly zeroPoints: PerChannelNumbers;
  /** The dimension whose slices have their own scale; 0 where not given. */
  readonly axis?: number;
  /** `quint8` where not given. */
  readonly dtype?: QuantizedDType;
}

/**
 * A per-channel quantized tensor to be filled; its integers are 0. Float zero points (a float tensor or Float32Array)
 * give the scheme of embeddings. Source: `torch._empty_per_channel_affine_quantized`.
 *
 * @throws {@link ArgumentError} where there is not one scale and one zero point per slice.
 */
export function emptyPerChannelAffineQuantized(shape: Shape, options: EmptyPerChannelOptions): Tensor {
  const fn = 'emptyPerChannelAffineQuantized';
  const { axis = 0, dtype = 'quint8', zeroPoints } = options;
  requireQuantizedDType(dtype, fn);
  const dim = normalizeDim(axis, shape.length, fn, 'axis');
  const storage = DTYPES[dtype].allocate(product(shape));
  const scales = tensorOf(options.scales, 'float64').numbers();
  const offsets = tensorOf(zeroPoints, 'int64').numbers();
  const float =
    zeroPoints instanceof Float32Array || (zeroPoints instanceof Tensor && isFloatDType(zeroPoints.dtype));
  if (!float) {
    const qparams = perChannelQParams(scales, offsets, dim, shape[dim], dtype, fn);
    return fromStorage(storage, shape, dtype, qparams);
  }
  if (scales.length !== shape[dim] || offsets.length !== shape[dim]) {
    throw new ArgumentError({
      fn,
      argument: 'scales',
      expected: `${shape[dim]} scales and zero points, one per slice along axis ${dim}`,
      got: `${scales.length} and ${offsets.length}`,
    });
  }
  return fromStorage(storage, shape, dtype, {
    scheme: 'per_channel_affine_float_qparams',
    scales: Float32Array.from(scales),
    zeroPoints: Float32Array.from(offsets),
    axis: dim,
  });
}

/**
 * Rounds a float tensor to what quantization would make of it, and stays float. Gradients pass straight through inside
 * [qmin, qmax] and are zero outside. Source: `torch.fake_quantize_per_tensor_affine`.
 *
 * @throws {@link ArgumentError} where the zero point is not in [qmin, qmax].
 * @example
 * fakeQuantizePerTensorAffine(tensor([0.26]), 0.1, 0, 0, 255); // [0.3]
 */
export function fakeQuantizePerTensorAffine(
  x: Tensor,
  scale: number | Tensor,
  zeroPoint: number | Tensor,
  qmin: number,
  qmax: number,
): Tensor {
  return dispatch('fakeQuantizePerTensor', x, numberOf(scale), numberOf(zeroPoint), qmin, qmax);
}

/**
 * {@link fakeQuantizePerTensorAffine} with a scale and a zero point for every slice along `axis`.
 * Source: `torch.fake_quantize_per_channel_affine`.
 */
export function fakeQuantizePerChannelAffine(
  x: Tensor,
  scales: PerChannelNumbers,
  zeroPoints: PerChannelNumbers,
  axis: number,
  qmin: number,
  qmax: number,
): Tensor {
  const dim = normalizeDim(axis, x.ndim, 'fakeQuantizePerChannelAffine', 'axis');
  const s = tensorOf(scales, 'float64');
  return dispatch('fakeQuantizePerChannel', x, s, tensorOf(zeroPoints, 'int64'), dim, qmin, qmax);
}
