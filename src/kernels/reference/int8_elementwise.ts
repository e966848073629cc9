import { roundHalfEven } from '../../core/math.ts';

/** Twin of `quantize` for 8-bit types: every step in float32, NaN to the lower bound. */
export function referenceQuantize(
  x: Float32Array,
  scale: number,
  zeroPoint: number,
  min: number,
  max: number,
): number[] {
  const inverse = Math.fround(1 / Math.fround(scale));
  return Array.from(x, (value) => {
    const q = roundHalfEven(Math.fround(value * inverse)) + zeroPoint;
    return Number.isNaN(q) ? min : Math.min(Math.max(q, min), max);
  });
}

/** Twin of `dequantize`. */
export function referenceDequantize(q: ArrayLike<number>, scale: number, zeroPoint: number): Float32Array {
  return Float32Array.from(q, (value) => Math.fround(value - zeroPoint) * Math.fround(scale));
}

/** Twin of `minMax`. */
export function referenceMinMax(x: Float32Array): { min: number; max: number } {
  return { min: x.reduce((a, b) => Math.min(a, b)), max: x.reduce((a, b) => Math.max(a, b)) };
}

/** Twin of `qAdd`. */
export function referenceAdd(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  options: {
    readonly a: { readonly scale: number; readonly zeroPoint: number };
    readonly b: { readonly scale: number; readonly zeroPoint: number };
    readonly output: { readonly scale: number; readonly zeroPoint: number };
    readonly min: number;
    readonly max: number;
  },
): number[] {
  const inverse = Math.fround(1 / Math.fround(options.output.scale));
  const left = referenceDequantize(a, options.a.scale, options.a.zeroPoint);
  const right = referenceDequantize(b, options.b.scale, options.b.zeroPoint);
  return Array.from(left, (value, i) => {
    const sum = Math.fround(value + right[i]);
    const q = roundHalfEven(Math.fround(sum * inverse)) + options.output.zeroPoint;
    return Math.min(Math.max(q, options.min), options.max);
  });
}
