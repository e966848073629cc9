import { type FileFormatError, ZeropointError } from '../../core/errors.ts';
import { product } from '../../core/math.ts';
import { type DType, isFloatDType, isQuantizedDType, type TypedArray } from '../../tensor/dtype.ts';
import { perChannelQParams, perTensorQParams, type QParams } from '../../tensor/qparams.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { show } from './unpickler.ts';

/** A storage named by a pickle. Tensors over the same storage share its typed array. */
export class PickledStorage {
  readonly dtype: DType;
  readonly elements: TypedArray;

  constructor(dtype: DType, elements: TypedArray) {
    this.dtype = dtype;
    this.elements = elements;
  }
}

/** Makes the error for a fault in the arguments of a rebuild function. */
export type Fault = (what: string, expected: string, got: string) => FileFormatError;

const MAX_RANK = 32;
// Stride 0 lets a few bytes claim any size; an expanded tensor up to this many elements is still reasonable.
const MAX_EXPANDED = 2 ** 24;

/** `torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, …)`. */
export function rebuildTensor(args: readonly unknown[], fault: Fault): Tensor {
  const { storage, offset, shape, strides } = readView(args, fault);
  if (isQuantizedDType(storage.dtype)) throw fault('tensor', 'a plain storage', storage.dtype);
  const tensor = new Tensor({ storage: storage.elements, shape, strides, offset, dtype: storage.dtype });
  if (args[4] === true && isFloatDType(storage.dtype)) tensor.requiresGrad = true;
  return tensor;
}

/** `torch._utils._rebuild_qtensor(storage, offset, size, stride, quantizer_params, …)`. */
export function rebuildQuantizedTensor(args: readonly unknown[], fault: Fault): Tensor {
  const { storage, offset, shape, strides } = readView(args, fault);
  const { dtype, elements } = storage;
  if (!isQuantizedDType(dtype)) throw fault('quantized tensor', 'a quantized storage', dtype);
  const qparams = readQParams(args[4], shape, dtype, fault);
  return new Tensor({ storage: elements, shape, strides, offset, dtype, qparams });
}

interface View {
  readonly storage: PickledStorage;
  readonly offset: number;
  readonly shape: number[];
  readonly strides: number[];
}

function readView(args: readonly unknown[], fault: Fault): View {
  const [storage, offset] = args;
  if (!(storage instanceof PickledStorage)) throw fault('tensor', 'a storage', typeof storage);
  const shape = readSizes(args[2], 'size', fault);
  const strides = readSizes(args[3], 'stride', fault);
  if (shape.length !== strides.length)
    throw fault('stride', `${shape.length} numbers`, String(strides.length));
  if (typeof offset !== 'number' || !Number.isSafeInteger(offset) || offset < 0) {
    throw fault('storage offset', 'a whole number', show(offset));
  }
  // Counted without empty dimensions: infinity times zero is no number.
  if (!Number.isSafeInteger(product(shape.map((n) => Math.max(n, 1))))) {
    throw fault('size', 'fewer than 2^53 elements', shape.join(' × '));
  }
  const available = storage.elements.length;
  const elements = product(shape);
  let last = offset;
  for (let d = 0; d < shape.length; d++) last += (shape[d] - 1) * strides[d];
  const fits = elements === 0 ? offset <= available : last < available;
  if (!fits) throw fault('tensor', `elements inside a storage of ${available}`, `an element at ${last}`);
  if (elements > available && elements > MAX_EXPANDED) {
    throw fault('tensor', `at most ${MAX_EXPANDED} elements over a storage of ${available}`, `${elements}`);
  }
  return { storage, offset, shape, strides };
}

function readSizes(value: unknown, what: string, fault: Fault): number[] {
  if (!Array.isArray(value) || value.length > MAX_RANK)
    throw fault(what, `up to ${MAX_RANK} numbers`, 'something else');
  return value.map((n: unknown) => {
    if (typeof n !== 'number' || !Number.isSafeInteger(n) || n < 0)
      throw fault(what, 'whole numbers', show(n));
    return n;
  });
}

function readQParams(value: unknown, shape: readonly number[], dtype: DType, fault: Fault): QParams {
  if (!Array.isArray(value)) throw fault('quantizer', 'a tuple', typeof value);
  const [scheme, ...rest] = value as unknown[];
  if (!isQuantizedDType(dtype)) throw fault('quantizer', 'a quantized dtype', dtype);
  try {
    if (scheme === 'per_tensor_affine') {
      const [scale, zeroPoint] = rest;
      if (typeof scale !== 'number' || typeof zeroPoint !== 'number') {
        throw fault('quantizer', 'a scale and a zero point', `${show(scale)} and ${show(zeroPoint)}`);
      }
      return perTensorQParams(scale, zeroPoint, dtype, 'loadPyTorch');
    }
    const [scales, zeroPoints, axis] = rest;
    if (!(scales instanceof Tensor) || !(zeroPoints instanceof Tensor)) {
      throw fault('quantizer', 'tensors of scales and zero points', 'something else');
    }
    if (
      typeof axis !== 'number' ||
      !Number.isInteger(axis) ||
      !(axis >= 0 && axis < Math.max(shape.length, 1))
    ) {
      throw fault('quantizer axis', `a dimension of ${shape.length}`, show(axis));
    }
    const channels = shape[axis] ?? 1;
    if (scales.numel !== channels || zeroPoints.numel !== channels) {
      throw fault(
        'quantizer',
        `${channels} scales and zero points`,
        `${scales.numel} and ${zeroPoints.numel}`,
      );
    }
    if (scheme !== 'per_channel_affine' && scheme !== 'per_channel_affine_float_qparams') {
      throw fault('quantizer', 'an affine scheme', show(scheme));
    }
    // PyTorch 1.13 writes `per_channel_affine` for both schemes and goes by the dtype of the zero points.
    if (!isFloatDType(zeroPoints.dtype)) {
      return perChannelQParams(scales.numbers(), zeroPoints.numbers(), axis, channels, dtype, 'loadPyTorch');
    }
    return {
      scheme: 'per_channel_affine_float_qparams',
      scales: Float32Array.from(scales.numbers()),
      zeroPoints: Float32Array.from(zeroPoints.numbers()),
      axis,
    };
  } catch (cause) {
    if (!(cause instanceof ZeropointError) || 'offset' in cause) throw cause;
    const error = fault('quantizer', cause.expected, cause.got);
    error.cause = cause;
    throw error;
  }
}
