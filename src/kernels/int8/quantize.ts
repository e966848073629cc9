import { ArgumentError } from '../../core/errors.ts';
import { roundHalfEven } from '../../core/math.ts';
import { engine as defaultEngine, type Engine } from '../engine.ts';
import { flipSignInPlace, stageBytes, unsignedEpilogue } from './signedness.ts';

/** Integer types {@link quantize} writes. */
export type QuantizedKind = 'u8' | 'i8' | 'i32';

/** Arguments of {@link quantize} beside the data. */
export interface QuantizeOptions {
  readonly scale: number;
  readonly zeroPoint: number;
  /** Bounds of the integers, inside those of the type (which they are unless given). Not for `i32`. */
  readonly min?: number;
  readonly max?: number;
  readonly engine?: Engine;
}

/** Elements that pass through the engine's memory at a time. */
const CHUNK = 1 << 18;

/**
 * `clamp(nearbyint(x · f32(1/scale)) + zeroPoint)` in float32, PyTorch's `quantize_per_tensor`.
 *
 * Values outside of the range saturate, infinities included. NaN becomes the smallest integer of the range, which is what
 * PyTorch gives on x86 (where it gives the same for everything beyond ±2^31, infinities included; here those saturate).
 *
 * @param kind `u8` quint8, `i8` qint8, `i32` qint32.
 * @throws ArgumentError for a scale that is not positive and finite or a zero point out of range.
 * @example
 * quantize(Float32Array.of(-1, 0.26, 300), 'u8', { scale: 0.5, zeroPoint: 10 }) // Uint8Array [8, 11, 255]
 */
export function quantize(x: Float32Array, kind: 'u8', options: QuantizeOptions): Uint8Array<ArrayBuffer>;
export function quantize(x: Float32Array, kind: 'i8', options: QuantizeOptions): Int8Array<ArrayBuffer>;
export function quantize(x: Float32Array, kind: 'i32', options: QuantizeOptions): Int32Array<ArrayBuffer>;
export function quantize(
  x: Float32Array,
  kind: QuantizedKind,
  options: QuantizeOptions,
): Uint8Array<ArrayBuffer> | Int8Array<ArrayBuffer> | Int32Array<ArrayBuffer> {
  const fn = 'quantize';
  const { zeroPoint, engine = defaultEngine } = options;
  const inverse = inverseScale(fn, options.scale);
  if (kind === 'i32') return quantizeInt32(x, inverse, zeroPoint);
  const signed = kind === 'i8';
  const { min = signed ? -128 : 0, max = signed ? 127 : 255 } = options;
  const range = unsignedEpilogue(fn, { zeroPoint, min, max }, signed);
  const out = signed ? new Int8Array(x.length) : new Uint8Array(x.length);
  engine.scratch((take) => {
    const chunk = Math.min(CHUNK, x.length);
    const from = take(4 * chunk + 64);
    const to = take(chunk);
    for (let i = 0; i < x.length; i += chunk) {
      const part = x.subarray(i, i + chunk);
      engine.heap.f32.set(part, from >> 2);
      engine.kernels.qu8_quantize(from, part.length, inverse, range.zeroPoint, range.min, range.max, to);
      if (signed) flipSignInPlace(engine, to, part.length);
      const heap = signed ? engine.heap.i8 : engine.heap.u8;
      out.set(heap.subarray(to, to + part.length), i);
    }
  });
  return out;
}

/** Biases and accumulators are short and rare: a loop is enough, in the precision PyTorch has (the sum is a float32). */
function quantizeInt32(x: Float32Array, inverse: number, zeroPoint: number): Int32Array<ArrayBuffer> {
  const out = new Int32Array(x.length);
  for (let i = 0; i < x.length; i++) {
    const q = roundHalfEven(Math.fround(x[i] * inverse)) + zeroPoint;
    if (q >= 2 ** 31) out[i] = 2 ** 31 - 1;
    else if (q > -(2 ** 31)) out[i] = q;
    // Here is NaN, too.
    else out[i] = -(2 ** 31);
  }
  return out;
}

/**
 * `(q − zeroPoint) · scale` in float32, PyTorch's `dequantize`.
 *
 * @example
 * dequantize(Uint8Array.of(8, 11), { scale: 0.5, zeroPoint: 10 }) // Float32Array [-1, 0.5]
 */
export function dequantize(
  q: Uint8Array | Int8Array | Int32Array,
  options: { readonly scale: number; readonly zeroPoint: number; readonly engine?: Engine },
): Float32Array<ArrayBuffer> {
  const { zeroPoint, engine = defaultEngine } = options;
  const scale = Math.fround(options.scale);
  const out = new Float32Array(q.length);
  if (q instanceof Int32Array) {
    for (let i = 0; i < q.length; i++) out[i] = Math.fround(q[i] - zeroPoint) * scale;
    return out;
  }
  const shifted = q instanceof Int8Array ? zeroPoint + 128 : zeroPoint;
  engine.scratch((take) => {
    const chunk = Math.min(CHUNK, q.length);
    const from = take(chunk + 16);
    const to = take(4 * chunk + 64);
    for (let i = 0; i < q.length; i += chunk) {
      const part = q.subarray(i, i + chunk);
      stageBytes(engine, part, from);
      engine.kernels.qu8_dequantize(from, part.length, scale, shifted, to);
      out.set(engine.heap.f32.subarray(to >> 2, (to >> 2) + part.length), i);
    }
  });
  return out;
}

/**
 * Smallest and largest element; both NaN when any element is NaN (as `torch.aminmax`).
 *
 * @throws ArgumentError for empty data.
 * @example
 * minMax(Float32Array.of(3, -1, 2)) // { min: -1, max: 3 }
 */
export function minMax(x: Float32Array, engine: Engine = defaultEngine): { min: number; max: number } {
  if (x.length === 0) {
    throw new ArgumentError({ fn: 'minMax', argument: 'x', expected: 'at least one element', got: 'none' });
  }
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  engine.scratch((take) => {
    const chunk = Math.min(CHUNK, x.length);
    const from = take(4 * chunk);
    const to = take(64);
    for (let i = 0; i < x.length; i += chunk) {
      const part = x.subarray(i, i + chunk);
      engine.heap.f32.set(part, from >> 2);
      engine.kernels.f32_minmax(from, part.length, to);
      min = Math.min(min, engine.heap.f32[to >> 2]);
      max = Math.max(max, engine.heap.f32[(to >> 2) + 1]);
    }
  });
  return { min, max };
}

/** float32(1 / scale), checked. */
export function inverseScale(fn: string, scale: number): number {
  const inverse = Math.fround(1 / Math.fround(scale));
  if (inverse > 0 && inverse < Number.POSITIVE_INFINITY) return inverse;
  throw new ArgumentError({
    fn,
    argument: 'scale',
    expected: 'a positive float32 with a finite reciprocal',
    got: `${scale}`,
  });
}
