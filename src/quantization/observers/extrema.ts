import { QuantizationError } from '../../core/errors.ts';
import { pythonFloat } from '../../tensor/format.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/**
 * The elements of a tensor as float32 in an order of memory where that has no gaps (row-major or channels-last), else
 * row-major; with the distance in that order from one slice along `axis` to the next.
 */
export function floatValues(x: Tensor, axis = -1): { readonly values: Float32Array; readonly inner: number } {
  const dim = axis < 0 ? axis + x.ndim : axis;
  const rowMajor = (): number => x.shape.slice(dim + 1).reduce((a, b) => a * b, 1);
  if (x.dtype === 'float32') {
    if (x.ndim >= 3 && x.isContiguous('channelsLast')) {
      const values = x.storage.subarray(x.offset, x.offset + x.numel) as Float32Array;
      return { values, inner: x.strides[dim] };
    }
    return { values: x.data as Float32Array, inner: rowMajor() };
  }
  return { values: Float32Array.from(x.numbers()), inner: rowMajor() };
}

/**
 * Smallest and largest of `values[from … to)`; both NaN where any of them is. At least one element.
 * Source: `torch.aminmax`.
 */
export function extrema(values: Float32Array, from = 0, to: number = values.length): [number, number] {
  let low = values[from];
  let high = low;
  // 0 · v is NaN for NaN and infinities; two sums, so that neither addition waits for the other.
  let even = 0;
  let odd = 0;
  let i = from;
  for (; i + 1 < to; i += 2) {
    const a = values[i];
    const b = values[i + 1];
    if (a < low) low = a;
    if (a > high) high = a;
    if (b < low) low = b;
    if (b > high) high = b;
    even += a * 0;
    odd += b * 0;
  }
  if (i < to) {
    const a = values[i];
    if (a < low) low = a;
    if (a > high) high = a;
    even += a * 0;
  }
  if (even + odd !== 0) for (let j = from; j < to; j++) if (Number.isNaN(values[j])) return [NaN, NaN];
  return [low, high];
}

/**
 * {@link extrema} for an observer that counts values in bins between them.
 *
 * @throws {@link QuantizationError} for NaN and infinities, in the name of the observer.
 */
export function finiteExtrema(values: Float32Array, observer: string): [number, number] {
  const [low, high] = extrema(values);
  if (Number.isFinite(low) && Number.isFinite(high)) return [low, high];
  throw new QuantizationError({
    fn: observer,
    argument: 'x',
    expected: 'finite values',
    got: `values from ${pythonFloat(low)} to ${pythonFloat(high)}`,
    fix: 'Look at the calibration data and at the layer before this observer.',
  });
}

/** Smallest and largest of each slice along `axis`, NaN where a slice holds one. */
export function channelExtrema(
  x: Tensor,
  axis: number,
): { readonly lows: Float32Array; readonly highs: Float32Array } {
  const channels = x.shape[axis < 0 ? axis + x.ndim : axis];
  const { values, inner } = floatValues(x, axis);
  const lows = new Float32Array(channels).fill(Infinity);
  const highs = new Float32Array(channels).fill(-Infinity);
  if (inner === 1) {
    for (let i = 0; i < values.length; ) {
      for (let c = 0; c < channels; c++, i++) {
        const v = values[i];
        if (!(v >= lows[c])) lows[c] = Number.isNaN(lows[c]) ? NaN : v;
        if (!(v <= highs[c])) highs[c] = Number.isNaN(highs[c]) ? NaN : v;
      }
    }
    return { lows, highs };
  }
  for (let start = 0, c = 0; start < values.length; start += inner, c = c + 1 === channels ? 0 : c + 1) {
    const [low, high] = extrema(values, start, start + inner);
    lows[c] = Math.min(lows[c], low);
    highs[c] = Math.max(highs[c], high);
  }
  return { lows, highs };
}
