import { ArgumentError, AutogradError, DTypeError, ShapeError } from '../core/errors.ts';
import { bfloat16Bits, float16Bits, fromBfloat16Bits, fromFloat16Bits } from '../core/float16.ts';
import { product } from '../core/math.ts';
import {
  DTYPES,
  type DType,
  isFloatDType,
  isQuantizedDType,
  type QuantizedDType,
  type TypedArray,
} from './dtype.ts';
import { formatTensor } from './format.ts';
import type { QParams } from './qparams.ts';
import {
  channelsLastStrides,
  contiguousStrides,
  formatShape,
  hasStrides,
  normalizeDim,
  type Shape,
} from './shape.ts';

/** A step of the recorded computation that made a tensor; the autograd room fills it in. */
export interface GradFn {
  readonly name: string;
}

/** Nested arrays of numbers, as `toArray()` returns them. */
export type NestedArray = number | NestedArray[];

/** What a tensor is made of; everything but `storage`, `shape` and `dtype` has a default. */
export interface TensorParts {
  readonly storage: TypedArray;
  readonly shape: Shape;
  readonly dtype: DType;
  readonly strides?: Shape;
  readonly offset?: number;
  readonly qparams?: QParams | null;
}

/**
 * An n-dimensional array: a typed array seen through a shape, strides and an offset. Views share storage. Quantized
 * tensors are the same class with a quantized dtype and {@link QParams}. Garbage collected; nothing to dispose.
 *
 * Made by `tensor()`, `zeros()`, `randn()` … rather than by the constructor. Methods that compute (`add`, `view`,
 * `relu`, …) are the operators of the `ops` room. Source: `torch.Tensor`.
 *
 * @example
 * const x = tensor([[1, 2], [3, 4]]);
 * x.shape;      // [2, 2]
 * x.toArray();  // [[1, 2], [3, 4]]
 */
export class Tensor {
  /** The elements in memory order, shared by all views. Reading order is `shape`/`strides`/`offset`; see {@link data}. */
  readonly storage: TypedArray;
  readonly shape: Shape;
  readonly strides: Shape;
  readonly offset: number;
  readonly dtype: DType;
  /** Scales and zero points; null for plain tensors. */
  readonly qparams: QParams | null;
  /** Gradient accumulated by `backward()`; null before. */
  grad: Tensor | null = null;
  /** The recorded step that made this tensor; null for leaves. */
  gradFn: GradFn | null = null;
  /** Which output of {@link gradFn} this is. */
  outputNr = 0;
  /** True where `backward()` shall keep `grad` although this is not a leaf; see `retainGrad()`. */
  retainsGrad = false;
  #requiresGrad = false;

  constructor(parts: TensorParts) {
    this.storage = parts.storage;
    this.shape = parts.shape;
    this.dtype = parts.dtype;
    this.strides = parts.strides ?? contiguousStrides(parts.shape);
    this.offset = parts.offset ?? 0;
    this.qparams = parts.qparams ?? null;
  }

  /** Number of dimensions. */
  get ndim(): number {
    return this.shape.length;
  }

  /** Number of elements. */
  get numel(): number {
    return product(this.shape);
  }

  /** True where operations on this tensor are recorded for `backward()`. */
  get requiresGrad(): boolean {
    return this.#requiresGrad;
  }

  set requiresGrad(value: boolean) {
    if (value && !isFloatDType(this.dtype)) {
      throw new AutogradError({
        fn: 'Tensor.requiresGrad',
        argument: 'dtype',
        expected: 'a float tensor',
        got: this.dtype,
        fix: 'Only float tensors have gradients; convert with to("float32") or dequantize() first.',
      });
    }
    this.#requiresGrad = value;
  }

  /** True for tensors that no recorded operation made: parameters and data. */
  get isLeaf(): boolean {
    return this.gradFn === null;
  }

  /** True for tensors with a quantized dtype. */
  get isQuantized(): boolean {
    return isQuantizedDType(this.dtype);
  }

  /** `shape` as a method, or one size of it. Source: `torch.Tensor.size`. */
  size(): Shape;
  size(dim: number): number;
  size(dim?: number): Shape | number {
    return dim === undefined ? this.shape : this.shape[normalizeDim(dim, this.ndim, 'Tensor.size')];
  }

  /** Bytes of one element: 4 for float32, 1 for qint8, … */
  elementSize(): number {
    return DTYPES[this.dtype].bytes;
  }

  /** True where memory order is row-major reading order. */
  isContiguous(memoryFormat: 'contiguous' | 'channelsLast' = 'contiguous'): boolean {
    if (memoryFormat === 'channelsLast') {
      return this.ndim >= 3 && hasStrides(this.shape, this.strides, channelsLastStrides(this.shape));
    }
    return hasStrides(this.shape, this.strides, contiguousStrides(this.shape));
  }

  /**
   * The elements in row-major order as one typed array: the storage itself (or a window on it) where the tensor is
   * contiguous, a copy otherwise. For quantized tensors these are the integers; for 16-bit floats their bits.
   */
  get data(): TypedArray {
    const n = this.numel;
    if (this.dtype === 'quint4x2') return this.storage;
    if (this.isContiguous()) {
      return this.offset === 0 && this.storage.length === n
        ? this.storage
        : this.storage.subarray(this.offset, this.offset + n);
    }
    return this.layOut(contiguousStrides(this.shape));
  }

  /** Copies the elements into a fresh typed array laid out with `strides` (a dense permutation of the dimensions). */
  layOut(strides: Shape): TypedArray {
    const out = DTYPES[this.dtype].allocate(this.numel);
    copyStrided(this.storage, this.offset, this.strides, out, 0, strides, this.shape);
    return out;
  }

  /** The elements as numbers in row-major order: dequantized where quantized, decoded where 16-bit. */
  numbers(): Float32Array | Float64Array | TypedArray {
    const { dtype, data } = this;
    if (dtype === 'float16') return Float32Array.from(data, fromFloat16Bits);
    if (dtype === 'bfloat16') return Float32Array.from(data, fromBfloat16Bits);
    return this.qparams ? dequantizeNumbers(this) : data;
  }

  /** The single element as a number (a quantized one dequantized). Throws where there is not exactly one. */
  item(): number {
    if (this.numel !== 1) {
      throw new ShapeError({
        fn: 'Tensor.item',
        argument: 'tensor',
        expected: 'exactly one element',
        got: formatShape(this.shape),
        fix: 'Reduce it first, or use toArray().',
      });
    }
    return Number(this.numbers()[0]);
  }

  /** Nested arrays of numbers; quantized tensors give their dequantized values. */
  toArray(): NestedArray {
    const flat = this.numbers();
    const { shape } = this;
    let at = 0;
    const build = (d: number): NestedArray => {
      if (d === shape.length) return Number(flat[at++]);
      return Array.from({ length: shape[d] }, () => build(d + 1));
    };
    return build(0);
  }

  /** The scale of a per-tensor quantized tensor. Source: `Tensor.q_scale`. */
  qScale(): number {
    return requirePerTensor(this, 'qScale').scale;
  }

  /** The zero point of a per-tensor quantized tensor. Source: `Tensor.q_zero_point`. */
  qZeroPoint(): number {
    return requirePerTensor(this, 'qZeroPoint').zeroPoint;
  }

  /** The scheme of a quantized tensor. Source: `Tensor.qscheme`. */
  qscheme(): QParams['scheme'] {
    return requireQuantized(this, 'qscheme').scheme;
  }

  /** Per-channel scales as a float64 tensor of [channels]. Source: `Tensor.q_per_channel_scales`. */
  qPerChannelScales(): Tensor {
    const q = requirePerChannel(this, 'qPerChannelScales');
    return new Tensor({ storage: Float64Array.from(q.scales), shape: [q.scales.length], dtype: 'float64' });
  }

  /** Per-channel zero points as an int64 tensor of [channels]. Source: `Tensor.q_per_channel_zero_points`. */
  qPerChannelZeroPoints(): Tensor {
    const q = requirePerChannel(this, 'qPerChannelZeroPoints');
    return new Tensor({
      storage: Float64Array.from(q.zeroPoints),
      shape: [q.zeroPoints.length],
      dtype: 'int64',
    });
  }

  /** The dimension whose slices have their own scale. Source: `Tensor.q_per_channel_axis`. */
  qPerChannelAxis(): number {
    return requirePerChannel(this, 'qPerChannelAxis').axis;
  }

  /** PyTorch's printed form. */
  toString(): string {
    return formatTensor(this);
  }
}

/**
 * A tensor over an existing typed array, without copying.
 *
 * @throws {@link ShapeError} where the array's length is not the product of `shape`.
 */
export function fromStorage(
  storage: TypedArray,
  shape: Shape,
  dtype: DType,
  qparams: QParams | null = null,
): Tensor {
  const needed = dtype === 'quint4x2' ? Math.ceil(product(shape) / 2) : product(shape);
  if (storage.length !== needed) {
    throw new ShapeError({
      fn: 'fromStorage',
      argument: 'storage',
      expected: `${needed} elements for shape ${formatShape(shape)}`,
      got: `${storage.length}`,
    });
  }
  return new Tensor({ storage: plainArray(storage), shape, dtype, qparams });
}

/** The memory of Node's Buffer as a plain array: `slice` of a Buffer is no copy, and everybody relies on one. */
function plainArray(storage: TypedArray): TypedArray {
  if (!(storage instanceof Uint8Array) || storage.constructor === Uint8Array) return storage;
  return new Uint8Array(storage.buffer, storage.byteOffset, storage.length);
}

/** The same storage under another shape, strides and offset; qparams travel along unless replaced. */
export function viewOf(
  x: Tensor,
  shape: Shape,
  strides: Shape,
  offset: number = x.offset,
  qparams: QParams | null = x.qparams,
): Tensor {
  return new Tensor({ storage: x.storage, shape, strides, offset, dtype: x.dtype, qparams });
}

/** Encodes numbers into storage of `dtype`: rounds 16-bit floats, truncates integers toward zero, maps bool to 0/1. */
export function encodeNumbers(values: ArrayLike<number>, dtype: DType): TypedArray {
  const out = DTYPES[dtype].allocate(values.length);
  const n = values.length;
  if (dtype === 'float16') for (let i = 0; i < n; i++) out[i] = float16Bits(values[i]);
  else if (dtype === 'bfloat16') for (let i = 0; i < n; i++) out[i] = bfloat16Bits(values[i]);
  else if (dtype === 'bool') for (let i = 0; i < n; i++) out[i] = values[i] !== 0 ? 1 : 0;
  else if (dtype === 'int64') for (let i = 0; i < n; i++) out[i] = Math.trunc(values[i]);
  else if (dtype === 'quint4x2') {
    throw new DTypeError({
      fn: 'tensor',
      argument: 'dtype',
      expected: 'a plain dtype',
      got: dtype,
      fix: 'Quantize a float tensor instead.',
    });
  } else out.set(values as ArrayLike<number>);
  return out;
}

/** Copies a strided block of `shape` from one typed array to another. */
export function copyStrided(
  from: TypedArray,
  fromOffset: number,
  fromStrides: Shape,
  to: TypedArray,
  toOffset: number,
  toStrides: Shape,
  shape: Shape,
): void {
  const rank = shape.length;
  if (product(shape) === 0) return;
  if (rank === 0) {
    to[toOffset] = from[fromOffset];
    return;
  }
  const inner = shape[rank - 1];
  const fs = fromStrides[rank - 1];
  const ts = toStrides[rank - 1];
  const index = new Array<number>(rank - 1).fill(0);
  let f = fromOffset;
  let t = toOffset;
  for (;;) {
    if (fs === 1 && ts === 1 && inner > 16) to.set(from.subarray(f, f + inner), t);
    else for (let i = 0, a = f, b = t; i < inner; i++, a += fs, b += ts) to[b] = from[a];
    let d = rank - 2;
    for (; d >= 0; d--) {
      f += fromStrides[d];
      t += toStrides[d];
      if (++index[d] < shape[d]) break;
      f -= fromStrides[d] * shape[d];
      t -= toStrides[d] * shape[d];
      index[d] = 0;
    }
    if (d < 0) return;
  }
}

/** The integers of a quantized tensor, unpacked, in row-major order. */
export function quantizedIntegers(x: Tensor): TypedArray {
  if (x.dtype !== 'quint4x2') return x.data;
  const out = new Uint8Array(x.numel);
  for (let i = 0; i < out.length; i++) out[i] = (x.storage[i >> 1] >> (4 * (i & 1))) & 15;
  return out;
}

/** `(q − zeroPoint) · scale` in float32, in row-major order. Source: `at::native::dequantize_tensor_*`. */
export function dequantizeNumbers(x: Tensor): Float32Array {
  const q = quantizedIntegers(x);
  const qparams = requireQuantized(x, 'dequantize');
  const out = new Float32Array(q.length);
  if (qparams.scheme === 'per_tensor_affine') {
    const scale = Math.fround(qparams.scale);
    for (let i = 0; i < q.length; i++) out[i] = (q[i] - qparams.zeroPoint) * scale;
    return out;
  }
  const { axis, scales, zeroPoints } = qparams;
  const inner = product(x.shape.slice(axis + 1));
  const channels = x.shape[axis];
  for (let i = 0; i < q.length; i++) {
    const c = Math.floor(i / inner) % channels;
    // Scales of single channels are doubles, and stay so in the product.
    out[i] = Math.fround(q[i] - zeroPoints[c]) * scales[c];
  }
  return out;
}

/** The qparams of a quantized tensor; a {@link DTypeError} for a float one. */
export function requireQuantized(x: Tensor, fn: string): QParams {
  if (!x.qparams) {
    throw new DTypeError({
      fn,
      argument: 'tensor',
      expected: `a quantized tensor`,
      got: x.dtype,
      fix: 'Quantize it with quantizePerTensor or a QuantStub.',
    });
  }
  return x.qparams;
}

function requirePerTensor(x: Tensor, fn: string): { readonly scale: number; readonly zeroPoint: number } {
  const q = requireQuantized(x, fn);
  if (q.scheme !== 'per_tensor_affine') {
    throw new ArgumentError({
      fn,
      argument: 'qscheme',
      expected: 'per_tensor_affine',
      got: q.scheme,
      fix: 'Use qPerChannelScales() and qPerChannelZeroPoints().',
    });
  }
  return q;
}

function requirePerChannel(
  x: Tensor,
  fn: string,
): { readonly scales: ArrayLike<number>; readonly zeroPoints: ArrayLike<number>; readonly axis: number } {
  const q = requireQuantized(x, fn);
  if (q.scheme === 'per_tensor_affine') {
    throw new ArgumentError({
      fn,
      argument: 'qscheme',
      expected: 'a per-channel scheme',
      got: q.scheme,
      fix: 'Use qScale() and qZeroPoint().',
    });
  }
  return q;
}

/** True for the dtype of a quantized tensor, narrowing it. */
export function quantizedDTypeOf(x: Tensor, fn: string): QuantizedDType {
  requireQuantized(x, fn);
  return x.dtype as QuantizedDType;
}
