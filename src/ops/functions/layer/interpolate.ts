import { ArgumentError } from '../../../core/errors.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { dispatch } from '../../dispatch.ts';
import type { InterpolateOptions as ResolvedOptions } from '../../signatures/layer.ts';
import { perDimension, type Sizes } from './spatial.ts';

/** Options of {@link interpolate}: exactly one of `size` and `scaleFactor`. */
export interface InterpolateOptions {
  /** Output sizes of the spatial dimensions. */
  readonly size?: Sizes;
  /** Output over input; sizes are rounded down. */
  readonly scaleFactor?: Sizes;
  /** `'nearest'` (1 to 3 spatial dimensions), `'linear'` (1) or `'bilinear'` (2). Nearest where not given. */
  readonly mode?: 'nearest' | 'linear' | 'bilinear';
  /** Match the centres of the corner elements instead of the corners; false. Not for nearest. */
  readonly alignCorners?: boolean;
  /** Derive the step from the rounded sizes instead of from `scaleFactor`; false. */
  readonly recomputeScaleFactor?: boolean;
}

/**
 * Resizes the spatial dimensions of [N, C, …]. Source: `torch.nn.functional.interpolate`.
 *
 * @throws ArgumentError unless exactly one of size and scaleFactor is given; ShapeError where mode and rank do not fit.
 * @example
 * interpolate(randn([1, 3, 8, 8]), { scaleFactor: 2 }).shape;                                        // [1, 3, 16, 16]
 * interpolate(randn([1, 3, 8, 8]), { size: [5, 7], mode: 'bilinear', alignCorners: true }).shape;    // [1, 3, 5, 7]
 */
export function interpolate(x: Tensor, options: InterpolateOptions): Tensor {
  const { mode = 'nearest', alignCorners = false, recomputeScaleFactor = false } = options;
  const rank = x.ndim - 2;
  if ((options.size === undefined) === (options.scaleFactor === undefined)) {
    throw new ArgumentError({
      fn: 'interpolate',
      argument: 'size',
      expected: 'either size or scaleFactor',
      got: options.size === undefined ? 'neither' : 'both',
    });
  }
  if (alignCorners && mode === 'nearest') {
    throw new ArgumentError({
      fn: 'interpolate',
      argument: 'alignCorners',
      expected: "a mode of 'linear' or 'bilinear'",
      got: "'nearest'",
    });
  }
  const factors =
    options.scaleFactor === undefined
      ? null
      : perDimension('interpolate', 'scaleFactor', options.scaleFactor, rank);
  const size = factors
    ? factors.map((f, d) => Math.floor(x.shape[d + 2] * f))
    : perDimension('interpolate', 'size', options.size ?? [], rank);
  const resolved: ResolvedOptions = {
    size,
    mode,
    alignCorners,
    scales: factors && !recomputeScaleFactor ? factors.map((f) => 1 / f) : null,
  };
  return dispatch('interpolate', x, resolved);
}
