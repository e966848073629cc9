import { ShapeError } from '../../core/errors.ts';
import { clampNumber, roundHalfEven } from '../../core/math.ts';
import { buildLookupTable, qAdd, qClamp, qLookup } from '../../kernels/int8/elementwise.ts';
import { DTYPES, type DType, type TypedArray } from '../../tensor/dtype.ts';
import { type PerTensorQParams, perTensorQParams } from '../../tensor/qparams.ts';
import { broadcastShapes, contiguousStrides, type Shape } from '../../tensor/shape.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { dense, inLayout, stridesLike } from '../float/layout.ts';
import { movement } from '../float/movement.ts';
import type { Ops, QuantizedOps } from '../signatures/index.ts';
import { activationQParams } from './convolution.ts';
import { rearranging } from './rearrange.ts';

type Bytes = Uint8Array | Int8Array;

function withData(x: Tensor, data: TypedArray, strides: Shape, qparams: PerTensorQParams): Tensor {
  return new Tensor({ storage: data, shape: x.shape, strides, dtype: x.dtype, qparams });
}

/** Both operands' integers under one shape and order. */
function aligned(a: Tensor, b: Tensor, fn: string): { a: Bytes; b: Bytes; shape: Shape; strides: Shape } {
  const shape = a.shape.join() === b.shape.join() ? a.shape : broadcastShapes(a.shape, b.shape, fn);
  const leader = a.numel >= b.numel ? a : b;
  const strides = leader.shape.join() === shape.join() ? stridesLike(leader) : contiguousStrides(shape);
  const lay = (x: Tensor): Bytes =>
    inLayout(x.shape.join() === shape.join() ? x : movement.expand(integersOf(x), shape), strides) as Bytes;
  return { a: lay(a), b: lay(b), shape, strides };
}

function requireSameDType(a: Tensor, b: Tensor, fn: string): void {
  activationQParams(a, fn);
  activationQParams(b, fn);
  if (a.dtype !== b.dtype) {
    throw new ShapeError({
      fn,
      argument: 'dtypes',
      expected: 'two tensors of one quantized dtype',
      got: `${a.dtype} and ${b.dtype}`,
    });
  }
}

function addition(relu: boolean) {
  const fn = relu ? 'quantized::add_relu' : 'quantized::add';
  return (a: Tensor, b: Tensor, scale: number, zeroPoint: number): Tensor => {
    requireSameDType(a, b, fn);
    const dtype = a.dtype as 'quint8' | 'qint8';
    const qparams = perTensorQParams(scale, zeroPoint, dtype, fn);
    const { min, max } = DTYPES[dtype];
    const pair = aligned(a, b, fn);
    const qa = activationQParams(a, fn);
    const qb = activationQParams(b, fn);
    const low = relu ? Math.max(min, zeroPoint) : min;
    const storage = qAdd(pair.a, pair.b, { a: qa, b: qb, output: qparams, min: low, max });
    return new Tensor({ storage, shape: pair.shape, strides: pair.strides, dtype, qparams });
  };
}

/** What turns a product of integers into the output's integers, in float32. */
export function productMultiplier(a: number, b: number, output: number): number {
  const inverse = Math.fround(1 / Math.fround(output));
  return Math.fround(Math.fround(Math.fround(a) * Math.fround(b)) * inverse);
}

/** Product of dequantized values; source: `qmul_kernel`, which requantizes the integer product by one multiplier. */
function multiplication(relu: boolean) {
  const fn = relu ? 'quantized::mul_relu' : 'quantized::mul';
  return (a: Tensor, b: Tensor, scale: number, zeroPoint: number): Tensor => {
    requireSameDType(a, b, fn);
    const dtype = a.dtype as 'quint8' | 'qint8';
    const qparams = perTensorQParams(scale, zeroPoint, dtype, fn);
    const pair = aligned(a, b, fn);
    const qa = activationQParams(a, fn);
    const qb = activationQParams(b, fn);
    const multiplier = productMultiplier(qa.scale, qb.scale, scale);
    const { min, max } = DTYPES[dtype];
    const low = relu ? Math.max(min, zeroPoint) : min;
    const storage = DTYPES[dtype].allocate(pair.a.length);
    for (let i = 0; i < storage.length; i++) {
      const product = (pair.a[i] - qa.zeroPoint) * (pair.b[i] - qb.zeroPoint);
      storage[i] = clampNumber(roundHalfEven(Math.fround(product * multiplier)) + zeroPoint, low, max);
    }
    return new Tensor({ storage, shape: pair.shape, strides: pair.strides, dtype, qparams });
  };
}

/** Adds a number by moving the zero point; only where that leaves the range does the scale grow. Source: `_add_scalar_out`. */
function addScalar(x: Tensor, value: number): Tensor {
  const q = activationQParams(x, 'quantized::add_scalar');
  const { min, max } = DTYPES[x.dtype];
  const { data, strides } = dense(x);
  const moved = q.zeroPoint - roundHalfEven(value / q.scale);
  if (moved >= min && moved <= max) {
    return withData(x, data.slice(), strides, { ...q, zeroPoint: moved });
  }
  const zeroPoint = moved < min ? min : max;
  const scale = ((moved < min ? max - moved : moved - min) / (max - min)) * q.scale;
  const multiplier = Math.fround(Math.fround(q.scale) * Math.fround(1 / Math.fround(scale)));
  const out = data.slice();
  for (let i = 0; i < out.length; i++) {
    out[i] = clampNumber(roundHalfEven(Math.fround((data[i] - moved) * multiplier)) + zeroPoint, min, max);
  }
  return withData(x, out, strides, { ...q, scale, zeroPoint });
}

/** Multiplies by a number by scaling the scale; the integers stay, or are mirrored for a negative factor. Source: `mul_scalar_out`. */
function mulScalar(x: Tensor, value: number): Tensor {
  const q = activationQParams(x, 'quantized::mul_scalar');
  const { min, max } = DTYPES[x.dtype];
  const { data, strides } = dense(x);
  if (value > 0) return withData(x, data.slice(), strides, { ...q, scale: q.scale * value });
  if (value === 0) return withData(x, data.slice().fill(0), strides, { ...q, scale: 1, zeroPoint: 0 });
  const out = data.slice();
  for (let i = 0; i < out.length; i++) out[i] = max + min - data[i];
  return withData(x, out, strides, { ...q, scale: q.scale * -value, zeroPoint: max - (q.zeroPoint - min) });
}

/** Concatenation: parts that already have the output's parameters are copied, others requantized. Source: `qcat_nhwc_kernel`. */
function cat(tensors: readonly Tensor[], scale: number, zeroPoint: number, dim: number): Tensor {
  const fn = 'quantized::cat';
  if (tensors.length === 0) {
    throw new ShapeError({ fn, argument: 'tensors', expected: 'at least one tensor', got: 'none' });
  }
  const dtype = tensors[0].dtype as 'quint8' | 'qint8';
  const qparams = perTensorQParams(scale, zeroPoint, dtype, fn);
  const parts = tensors.map((t) => {
    requireSameDType(tensors[0], t, fn);
    return integersOf(requantize(t, qparams));
  });
  const joined = movement.cat(parts, dim);
  const { storage, shape, strides, offset } = joined;
  return new Tensor({ storage, shape, strides, offset, dtype, qparams });
}

function integersOf(x: Tensor): Tensor {
  const { storage, shape, strides, offset } = x;
  return new Tensor({ storage, shape, strides, offset, dtype: x.dtype === 'qint8' ? 'int8' : 'uint8' });
}

/** The same values under other parameters: dequantize and quantize, through a table of the 256 possible results. */
function requantize(x: Tensor, to: PerTensorQParams): Tensor {
  const q = activationQParams(x, 'quantized::cat');
  if (q.scale === to.scale && q.zeroPoint === to.zeroPoint) return x;
  const table = buildLookupTable((v) => v, q, to, x.dtype === 'qint8');
  const { data, strides } = dense(x);
  return withData(x, qLookup<Bytes>(data as Bytes, table), strides, to);
}

/** Clamps the integers into the quantized images of two real bounds. */
function clampTo(x: Tensor, low: number | null, high: number | null, fn: string): Tensor {
  const q = activationQParams(x, fn);
  const { min, max } = DTYPES[x.dtype];
  const toInteger = (v: number): number =>
    clampNumber(
      roundHalfEven(Math.fround(v * Math.fround(1 / Math.fround(q.scale)))) + q.zeroPoint,
      min,
      max,
    );
  const lo = low === null ? min : toInteger(low);
  const hi = high === null ? max : toInteger(high);
  const { data, strides } = dense(x);
  return withData(x, qClamp(data as Bytes, lo, hi), strides, q);
}

/** `add(a, b)` on quantized tensors gives the default output parameters: scale 1, zero point 0. */
function addDefault(a: Tensor, b: Tensor | number, alpha: number): Tensor {
  if (typeof b === 'number') return addScalar(a, b * alpha);
  if (alpha !== 1) return addition(false)(a, mulScalar(b, alpha), 1, 0);
  return addition(false)(a, b, 1, 0);
}

/** `mul(a, b)` on quantized tensors, with the default output parameters. */
function mulDefault(a: Tensor, b: Tensor | number): Tensor {
  return typeof b === 'number' ? mulScalar(a, b) : multiplication(false)(a, b, 1, 0);
}

/** `cat` on quantized tensors takes the parameters of the first. */
function catDefault(tensors: readonly Tensor[], dim: number): Tensor {
  const { scale, zeroPoint } = activationQParams(tensors[0], 'cat');
  return cat(tensors, scale, zeroPoint, dim);
}

/** The integer that `pad` with a constant fills with: the quantized image of that constant. */
export function paddingInteger(value: number, q: PerTensorQParams, dtype: DType): number {
  const { min, max } = DTYPES[dtype];
  return clampNumber(roundHalfEven(value / q.scale) + q.zeroPoint, min, max);
}

function pad(...[x, pads, mode, value]: Parameters<Ops['pad']>): Tensor {
  const q = activationQParams(x, 'pad');
  const fill = paddingInteger(value, q, x.dtype);
  const { storage, shape, strides, offset } = movement.pad(integersOf(x), pads, mode, fill);
  return new Tensor({ storage, shape, strides, offset, dtype: x.dtype, qparams: q });
}

type Pointwise = Partial<Ops> &
  Pick<QuantizedOps, `quantized::${'add' | 'mul'}${'' | '_relu' | '_scalar'}` | 'quantized::cat'>;

/** Element-wise operators on per-tensor quantized tensors. */
export const pointwise: Pointwise = {
  add: addDefault,
  mul: mulDefault,
  cat: catDefault,
  pad,
  relu: (x) => clampTo(x, 0, null, 'relu'),
  relu6: (x) => clampTo(x, 0, 6, 'relu6'),
  hardtanh: (x, min, max) => clampTo(x, min, max, 'hardtanh'),
  clamp: (x, min, max) => clampTo(x, min, max, 'clamp'),
  stack: (tensors, dim) =>
    catDefault(
      tensors.map((t) => rearranging.unsqueeze(t, dim)),
      dim,
    ),
  clone: (x) => {
    if (x.dtype === 'quint4x2')
      return new Tensor({ storage: x.storage.slice(), shape: x.shape, dtype: x.dtype, qparams: x.qparams });
    const { data, strides } = dense(x);
    return new Tensor({ storage: data.slice(), shape: x.shape, strides, dtype: x.dtype, qparams: x.qparams });
  },
  'quantized::add': addition(false),
  'quantized::add_relu': addition(true),
  'quantized::add_scalar': addScalar,
  'quantized::mul': multiplication(false),
  'quantized::mul_relu': multiplication(true),
  'quantized::mul_scalar': mulScalar,
  'quantized::cat': cat,
};
