import { fromBfloat16Bits, fromFloat16Bits } from '../../../core/float16.ts';
import { type MapFunction, mapF32 } from '../../../kernels/f32/map.ts';
import { DTYPES, type DType, isFloatDType, type TypedArray } from '../../../tensor/dtype.ts';
import { encodeNumbers, Tensor } from '../../../tensor/tensor.ts';
import { dense } from '../layout.ts';

/**
 * One operator over a flat run of elements. Every operator has its own loop, so that the engine compiles each of them
 * for float32 alone instead of calling back per element.
 */
export type MapLoop = (x: TypedArray, y: TypedArray, p: number, q: number) => void;

/** From this many float32 elements on, a SIMD kernel is worth the copies into and out of its memory. */
export const KERNEL_LENGTH: number = 1024;

/**
 * Runs a function of float32 in the kernel that plans use as well, so that both give the same bits; false for other types.
 */
export function inKernel(x: TypedArray, y: TypedArray, fn: MapFunction): boolean {
  if (!(x instanceof Float32Array && y instanceof Float32Array)) return false;
  mapF32(x, fn, { out: y });
  return true;
}

/** The dtype a float function gives for this input: integers and bools become float32. */
export function floatResult(dtype: DType): DType {
  return isFloatDType(dtype) ? dtype : 'float32';
}

/** The dtype arithmetic runs in: 16-bit floats are computed in float32 and rounded at the end. */
export function computeDType(dtype: DType): DType {
  return DTYPES[dtype].kind === 'float' && DTYPES[dtype].encoded ? 'float32' : dtype;
}

/** Numbers stored as one dtype in the typed array of another (float16 bits decoded, floats truncated to integers, …). */
export function convertNumbers(data: TypedArray, from: DType, to: DType): TypedArray {
  if (from === to) return data;
  if (from === 'float16') return encodeNumbers(Float32Array.from(data, fromFloat16Bits), to);
  if (from === 'bfloat16') return encodeNumbers(Float32Array.from(data, fromBfloat16Bits), to);
  return encodeNumbers(data, to);
}

/** Applies a loop to every element; the result keeps the memory order of `x`. `p` and `q` are the operator's parameters. */
export function map(x: Tensor, dtype: DType, loop: MapLoop, p = 0, q = 0): Tensor {
  const { data, strides } = dense(x);
  const compute = computeDType(dtype);
  const out = DTYPES[compute].allocate(data.length);
  loop(convertNumbers(data, x.dtype, compute), out, p, q);
  return new Tensor({ storage: convertNumbers(out, compute, dtype), shape: x.shape, strides, dtype });
}

/** {@link map} for functions whose result is a float whatever the input. */
export function mapFloat(x: Tensor, loop: MapLoop, p = 0, q = 0): Tensor {
  return map(x, floatResult(x.dtype), loop, p, q);
}

/** The same elements in another dtype, in the same memory order; `x` itself where it already has it. */
export function convert(x: Tensor, dtype: DType): Tensor {
  if (x.dtype === dtype) return x;
  const { data, strides } = dense(x);
  return new Tensor({ storage: convertNumbers(data, x.dtype, dtype), shape: x.shape, strides, dtype });
}
