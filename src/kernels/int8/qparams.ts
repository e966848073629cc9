import { ArgumentError } from '../../core/errors.ts';
import { roundHalfEven } from '../../core/math.ts';

/** Affine quantization of a tensor: `x ≈ (q − zeroPoint) · scale`. */
export interface ChosenQParams {
  readonly scale: number;
  readonly zeroPoint: number;
}

/** Options of {@link chooseQuantizationParams}. */
export interface ChooseOptions {
  /** 0 unless given. */
  readonly qmin?: number;
  /** 255 unless given. */
  readonly qmax?: number;
  /** Halves qmin and qmax, which keeps 8-bit products within 16 bits on hardware that adds them there. */
  readonly reduceRange?: boolean;
}

/** Scales below it are raised to it. */
const SMALL_SCALE = Math.fround(6.1e-5);

/**
 * Scale and zero point for data in [min, max], as PyTorch's dynamic layers choose them
 * (`quant_utils::ChooseQuantizationParams`): the range is widened to hold 0, computed in double precision; the zero point
 * comes from the end of the range that represents it with the smaller error.
 *
 * @throws ArgumentError when min > max or either is not finite.
 * @example
 * chooseQuantizationParams(-1, 3) // { scale: 4 / 255, zeroPoint: 64 }
 */
export function chooseQuantizationParams(
  min: number,
  max: number,
  options: ChooseOptions = {},
): ChosenQParams {
  if (!Number.isFinite(min) || !Number.isFinite(max) || min > max) {
    throw new ArgumentError({
      fn: 'chooseQuantizationParams',
      argument: 'min, max',
      expected: 'finite numbers with min <= max',
      got: `${min}, ${max}`,
      fix: 'The data to quantize holds NaN or infinity; find where they come from.',
    });
  }
  let { qmin = 0, qmax = 255 } = options;
  if (options.reduceRange) {
    qmin = Math.trunc(qmin / 2);
    qmax = Math.trunc(qmax / 2);
  }
  let low = Math.min(Math.fround(min), 0);
  let high = Math.max(Math.fround(max), 0);
  let scale = (high - low) / (qmax - qmin);
  const single = Math.fround(scale);
  if (single === 0 || Math.fround(1 / single) === Number.POSITIVE_INFINITY) scale = 0.1;
  if (scale < SMALL_SCALE) {
    const original = Math.fround(scale);
    scale = SMALL_SCALE;
    if (low === 0) high = Math.fround(SMALL_SCALE * (qmax - qmin));
    else if (high === 0) low = -Math.fround(SMALL_SCALE * (qmax - qmin));
    else {
      const amplifier = Math.fround(SMALL_SCALE / original);
      low = Math.fround(low * amplifier);
      high = Math.fround(high * amplifier);
    }
  }
  const fromMin = qmin - low / scale;
  const fromMax = qmax - high / scale;
  const minError = Math.abs(qmin) - Math.abs(low / scale);
  const maxError = Math.abs(qmax) - Math.abs(high / scale);
  const initial = minError < maxError ? fromMin : fromMax;
  const zeroPoint = initial < qmin ? qmin : initial > qmax ? qmax : roundHalfEven(initial);
  return { scale, zeroPoint };
}
