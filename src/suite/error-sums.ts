import { ShapeError } from '../core/errors.ts';
import { DTYPES } from '../tensor/dtype.ts';
import { formatShape } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';

/** How far apart two tensors are, over all elements that were compared. */
export interface ErrorMetrics {
  /** Elements that were compared. */
  readonly elements: number;
  /** 10·log10(Σ float² / Σ (float − other)²) in dB; infinite where both are equal. */
  readonly sqnr: number;
  /** Cosine of the angle between the two as vectors; 1 where both are zero. */
  readonly cosine: number;
  /** ‖float − other‖₂ / ‖float‖₂. */
  readonly normalizedL2: number;
  /** Largest absolute difference of two elements. */
  readonly maxError: number;
  /** Mean of other − float: what a bias would take back. */
  readonly meanError: number;
  /** Share of elements whose float value lies outside of what the quantized type can hold; null where it is not quantized. */
  readonly saturation: number | null;
}

/**
 * Sums over pairs of tensors, a float one and another that should be equal to it: as many pairs as there are, in the
 * memory of a few numbers.
 *
 * @example
 * const sums = new ErrorSums('compare');
 * for (const [float, int8] of outputs) sums.add(float, int8);
 * sums.metrics().sqnr; // 26.3
 */
export class ErrorSums {
  readonly #fn: string;
  #elements = 0;
  #signal = 0;
  #power = 0;
  #dot = 0;
  #noise = 0;
  #error = 0;
  #worst = 0;
  #quantized = 0;
  #saturated = 0;

  /** @param fn What messages name. */
  constructor(fn: string) {
    this.#fn = fn;
  }

  /**
   * Adds all elements of a pair.
   *
   * @throws {@link ShapeError} where shapes differ.
   */
  add(float: Tensor, other: Tensor): this {
    if (float.shape.join() !== other.shape.join()) {
      throw new ShapeError({
        fn: this.#fn,
        argument: 'other',
        expected: `shape ${formatShape(float.shape)}, as the float one`,
        got: formatShape(other.shape),
      });
    }
    const [a, b] = inOneOrder(float, other);
    let [signal, power, dot, noise, error, worst] = [0, 0, 0, 0, 0, 0];
    for (let i = 0; i < a.length; i++) {
      const [x, y] = [a[i], b[i]];
      const difference = y - x;
      signal += x * x;
      power += y * y;
      dot += x * y;
      noise += difference * difference;
      error += difference;
      worst = Math.max(worst, Math.abs(difference));
    }
    this.#elements += a.length;
    this.#signal += signal;
    this.#power += power;
    this.#dot += dot;
    this.#noise += noise;
    this.#error += error;
    this.#worst = Math.max(this.#worst, worst);
    if (other.qparams) {
      this.#quantized += a.length;
      this.#saturated += countSaturated(float, other);
    }
    return this;
  }

  /** What the sums amount to. */
  metrics(): ErrorMetrics {
    const [signal, noise, power] = [this.#signal, this.#noise, this.#power];
    const sqnr = noise === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(signal / noise);
    return {
      elements: this.#elements,
      sqnr,
      cosine: signal === 0 && power === 0 ? 1 : this.#dot / Math.sqrt(signal * power),
      normalizedL2: 10 ** (-sqnr / 20),
      maxError: this.#worst,
      meanError: this.#elements === 0 ? 0 : this.#error / this.#elements,
      saturation: this.#quantized === 0 ? null : this.#saturated / this.#quantized,
    };
  }
}

/** The elements of two tensors of one shape as numbers, both in memory order where they lie alike, which copies nothing. */
function inOneOrder(a: Tensor, b: Tensor): [ArrayLike<number>, ArrayLike<number>] {
  return lieAlike(a, b) ? [flatAlias(a).numbers(), flatAlias(b).numbers()] : [a.numbers(), b.numbers()];
}

function lieAlike(a: Tensor, b: Tensor): boolean {
  return (
    a.strides.join() === b.strides.join() &&
    [a, b].every(
      (t) =>
        t.offset === 0 &&
        t.storage.length === t.numel &&
        (t.qparams === null || t.qparams.scheme === 'per_tensor_affine'),
    )
  );
}

/** The storage of a dense tensor as one row. */
function flatAlias({ storage, dtype, qparams }: Tensor): Tensor {
  return new Tensor({ storage, shape: [storage.length], dtype, qparams });
}

/**
 * Half a step, and a thousandth: symmetric weights put their largest value on the edge itself, where it loses no more than
 * any other.
 */
const EDGE = 0.501;

/** How many float values lie more than half a step outside of the range of the quantized tensor's grid. */
export function countSaturated(float: Tensor, quantized: Tensor): number {
  const { qparams } = quantized;
  if (!qparams) return 0;
  const { min, max } = DTYPES[quantized.dtype];
  let count = 0;
  if (qparams.scheme === 'per_tensor_affine') {
    const { scale, zeroPoint } = qparams;
    const [low, high] = [(min - zeroPoint - EDGE) * scale, (max - zeroPoint + EDGE) * scale];
    const dense = float.offset === 0 && float.storage.length === float.numel;
    const values = dense ? flatAlias(float).numbers() : float.numbers();
    for (let i = 0; i < values.length; i++) if (values[i] < low || values[i] > high) count++;
    return count;
  }
  const { axis, scales, zeroPoints } = qparams;
  const values = float.numbers();
  const inner = float.shape.slice(axis + 1).reduce((n, s) => n * s, 1);
  const channels = float.shape[axis];
  for (let i = 0; i < values.length; i++) {
    const c = Math.floor(i / inner) % channels;
    const steps = values[i] / scales[c] + zeroPoints[c];
    if (steps < min - EDGE || steps > max + EDGE) count++;
  }
  return count;
}
