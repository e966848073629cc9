import { DTypeError } from '../core/errors.ts';

/** Types of plain numbers. */
export type PlainDType =
  | 'float32'
  | 'float64'
  | 'float16'
  | 'bfloat16'
  | 'int8'
  | 'uint8'
  | 'int16'
  | 'int32'
  | 'int64'
  | 'bool';

/** Types of quantized numbers: integers that stand for `(q − zeroPoint) · scale`. */
export type QuantizedDType = 'qint8' | 'quint8' | 'qint32' | 'quint4x2';

/** Every element type. Names are PyTorch's. */
export type DType = PlainDType | QuantizedDType;

/** The typed arrays that hold elements. */
export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array;

/** What a dtype declares about itself; shared code asks here and never branches on the name. */
export interface DTypeInfo {
  readonly name: DType;
  readonly kind: 'float' | 'integer' | 'bool' | 'quantized';
  /** Bytes per element in files and in PyTorch (`elementSize`). */
  readonly bytes: number;
  /** Allocates storage for `n` elements. */
  readonly allocate: (n: number) => TypedArray;
  /** True where the typed array holds an encoding rather than the numbers themselves (16-bit floats, packed 4-bit). */
  readonly encoded: boolean;
  /** Smallest and largest integer, for integer and quantized types. */
  readonly min: number;
  readonly max: number;
}

function info(
  name: DType,
  kind: DTypeInfo['kind'],
  bytes: number,
  allocate: (n: number) => TypedArray,
  min = Number.NEGATIVE_INFINITY,
  max = Number.POSITIVE_INFINITY,
  encoded = false,
): DTypeInfo {
  return Object.freeze({ name, kind, bytes, allocate, min, max, encoded });
}

/**
 * Facts about every dtype. `int64` holds its integers in doubles: exact up to ±2^53, and readers refuse larger
 * values, so that index arithmetic never mixes numbers with bigints. `quint4x2` packs two elements a byte.
 */
export const DTYPES: Readonly<Record<DType, DTypeInfo>> = Object.freeze({
  float32: info('float32', 'float', 4, (n) => new Float32Array(n)),
  float64: info('float64', 'float', 8, (n) => new Float64Array(n)),
  float16: info('float16', 'float', 2, (n) => new Uint16Array(n), undefined, undefined, true),
  bfloat16: info('bfloat16', 'float', 2, (n) => new Uint16Array(n), undefined, undefined, true),
  int8: info('int8', 'integer', 1, (n) => new Int8Array(n), -128, 127),
  uint8: info('uint8', 'integer', 1, (n) => new Uint8Array(n), 0, 255),
  int16: info('int16', 'integer', 2, (n) => new Int16Array(n), -32768, 32767),
  int32: info('int32', 'integer', 4, (n) => new Int32Array(n), -2147483648, 2147483647),
  int64: info('int64', 'integer', 8, (n) => new Float64Array(n), -(2 ** 53), 2 ** 53),
  bool: info('bool', 'bool', 1, (n) => new Uint8Array(n), 0, 1),
  qint8: info('qint8', 'quantized', 1, (n) => new Int8Array(n), -128, 127),
  quint8: info('quint8', 'quantized', 1, (n) => new Uint8Array(n), 0, 255),
  qint32: info('qint32', 'quantized', 4, (n) => new Int32Array(n), -2147483648, 2147483647),
  quint4x2: info('quint4x2', 'quantized', 0.5, (n) => new Uint8Array(Math.ceil(n / 2)), 0, 15, true),
});

/** True for the dtypes that need a scale and a zero point. */
export function isQuantizedDType(dtype: DType): dtype is QuantizedDType {
  return DTYPES[dtype].kind === 'quantized';
}

/** True for float32, float64, float16 and bfloat16. */
export function isFloatDType(dtype: DType): boolean {
  return DTYPES[dtype].kind === 'float';
}

/** The dtype of the integers inside a quantized tensor: what `intRepr()` returns. */
export function integerDTypeOf(dtype: QuantizedDType): PlainDType {
  return dtype === 'qint8' ? 'int8' : dtype === 'qint32' ? 'int32' : 'uint8';
}

/**
 * The dtype a binary operation computes in (PyTorch's promotion, tensors only): float beats integer beats bool,
 * and within a kind the wider wins.
 */
export function promoteDTypes(a: DType, b: DType, fn: string): DType {
  if (a === b) return a;
  if (isQuantizedDType(a) || isQuantizedDType(b)) {
    throw new DTypeError({
      fn,
      argument: 'dtypes',
      expected: 'two float or two quantized tensors',
      got: `${a} and ${b}`,
      fix: 'Quantize the float one (QuantStub or quantizePerTensor) or dequantize() the quantized one.',
    });
  }
  const rank: Record<DTypeInfo['kind'], number> = { bool: 0, integer: 1, float: 2, quantized: 3 };
  const x = DTYPES[a];
  const y = DTYPES[b];
  if (x.kind !== y.kind) return rank[x.kind] > rank[y.kind] ? a : b;
  if (x.bytes !== y.bytes) return x.bytes > y.bytes ? a : b;
  return x.kind === 'float' ? 'float32' : 'int16';
}
