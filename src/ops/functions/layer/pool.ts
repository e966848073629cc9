import { ArgumentError } from '../../../core/errors.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { dispatch } from '../../dispatch.ts';
import type { AvgPoolGeometry, PoolGeometry } from '../../signatures/layer.ts';
import { batched, perDimension, type Sizes } from './spatial.ts';

/** Options of max pooling; a number holds for every spatial dimension. */
export interface MaxPoolOptions {
  /** Step between windows; the window's size. */
  readonly stride?: Sizes;
  /** Places outside of the input at both ends, at most half of the window; they never win. 0. */
  readonly padding?: Sizes;
  /** Step between the places of a window; 1. */
  readonly dilation?: Sizes;
  /** Keep a last window that reaches beyond the input; false. */
  readonly ceilMode?: boolean;
}

/** Options of average pooling. */
export interface AvgPoolOptions {
  readonly stride?: Sizes;
  readonly padding?: Sizes;
  readonly ceilMode?: boolean;
  /** Count the zeros of the padding in the average; true. */
  readonly countIncludePad?: boolean;
}

/** Output sizes of adaptive pooling; null keeps the input's size. */
export type AdaptiveSize = number | readonly (number | null)[];

/**
 * The largest value of every window: [N, C, L] or [C, L] → […, C, Lout]. Source: `torch.nn.functional.max_pool1d`.
 *
 * @throws ShapeError where no window fits; ArgumentError for a padding above half of the window.
 * @example
 * maxPool1d(randn([1, 4, 10]), 2).shape; // [1, 4, 5]
 */
export function maxPool1d(x: Tensor, kernelSize: Sizes, options: MaxPoolOptions = {}): Tensor {
  const geometry = maxGeometry('maxPool1d', 1, kernelSize, options);
  return batched(x, 1, (batch) => dispatch('maxPool1d', batch, geometry));
}

/**
 * The largest value of every window: [N, C, H, W] or [C, H, W], float, integer or quantized.
 * Source: `torch.nn.functional.max_pool2d`.
 *
 * @throws ShapeError where no window fits; ArgumentError for a padding above half of the window.
 * @example
 * maxPool2d(randn([1, 64, 112, 112]), 3, { stride: 2, padding: 1 }).shape; // [1, 64, 56, 56]
 */
export function maxPool2d(x: Tensor, kernelSize: Sizes, options: MaxPoolOptions = {}): Tensor {
  const geometry = maxGeometry('maxPool2d', 2, kernelSize, options);
  return batched(x, 2, (batch) => dispatch('maxPool2d', batch, geometry));
}

/**
 * The largest value of every window: [N, C, D, H, W] or [C, D, H, W]. Source: `torch.nn.functional.max_pool3d`.
 *
 * @throws ShapeError where no window fits; ArgumentError for a padding above half of the window.
 * @example
 * maxPool3d(randn([1, 4, 8, 8, 8]), 2).shape; // [1, 4, 4, 4, 4]
 */
export function maxPool3d(x: Tensor, kernelSize: Sizes, options: MaxPoolOptions = {}): Tensor {
  const geometry = maxGeometry('maxPool3d', 3, kernelSize, options);
  return batched(x, 3, (batch) => dispatch('maxPool3d', batch, geometry));
}

/**
 * The mean of every window: [N, C, L] or [C, L]. Source: `torch.nn.functional.avg_pool1d`.
 *
 * @throws ShapeError where no window fits; ArgumentError for a padding above half of the window.
 * @example
 * avgPool1d(tensor([[[1, 2, 3, 4]]]), 2); // [[[1.5, 3.5]]]
 */
export function avgPool1d(x: Tensor, kernelSize: Sizes, options: AvgPoolOptions = {}): Tensor {
  const geometry = avgGeometry('avgPool1d', 1, kernelSize, options);
  return batched(x, 1, (batch) => dispatch('avgPool1d', batch, geometry));
}

/**
 * The mean of every window: [N, C, H, W] or [C, H, W]. Source: `torch.nn.functional.avg_pool2d`.
 *
 * @throws ShapeError where no window fits; ArgumentError for a padding above half of the window.
 * @example
 * avgPool2d(randn([1, 64, 8, 8]), 8).shape; // [1, 64, 1, 1]
 */
export function avgPool2d(x: Tensor, kernelSize: Sizes, options: AvgPoolOptions = {}): Tensor {
  const geometry = avgGeometry('avgPool2d', 2, kernelSize, options);
  return batched(x, 2, (batch) => dispatch('avgPool2d', batch, geometry));
}

/**
 * The mean of every window: [N, C, D, H, W] or [C, D, H, W]. Source: `torch.nn.functional.avg_pool3d`.
 *
 * @throws ShapeError where no window fits; ArgumentError for a padding above half of the window.
 * @example
 * avgPool3d(randn([1, 4, 8, 8, 8]), 2).shape; // [1, 4, 4, 4, 4]
 */
export function avgPool3d(x: Tensor, kernelSize: Sizes, options: AvgPoolOptions = {}): Tensor {
  const geometry = avgGeometry('avgPool3d', 3, kernelSize, options);
  return batched(x, 3, (batch) => dispatch('avgPool3d', batch, geometry));
}

/**
 * Means over `outputSize` windows that share the input evenly: [N, C, L] or [C, L] → […, C, outputSize].
 * Source: `torch.nn.functional.adaptive_avg_pool1d`.
 *
 * @example
 * adaptiveAvgPool1d(randn([1, 4, 10]), 3).shape; // [1, 4, 3]
 */
export function adaptiveAvgPool1d(x: Tensor, outputSize: AdaptiveSize): Tensor {
  return batched(x, 1, (batch) =>
    dispatch('adaptiveAvgPool1d', batch, adaptiveSizes('adaptiveAvgPool1d', 1, batch, outputSize)),
  );
}

/**
 * Means over windows that share the input evenly: [N, C, H, W] or [C, H, W] → […, C, outH, outW]; 1 is global pooling.
 * Source: `torch.nn.functional.adaptive_avg_pool2d`.
 *
 * @example
 * adaptiveAvgPool2d(randn([1, 512, 7, 7]), 1).shape;         // [1, 512, 1, 1]
 * adaptiveAvgPool2d(randn([1, 64, 8, 9]), [null, 5]).shape;  // [1, 64, 8, 5]
 */
export function adaptiveAvgPool2d(x: Tensor, outputSize: AdaptiveSize): Tensor {
  return batched(x, 2, (batch) =>
    dispatch('adaptiveAvgPool2d', batch, adaptiveSizes('adaptiveAvgPool2d', 2, batch, outputSize)),
  );
}

/**
 * Means over windows that share the input evenly: [N, C, D, H, W] or [C, D, H, W] → […, C, outD, outH, outW].
 * Source: `torch.nn.functional.adaptive_avg_pool3d`.
 *
 * @example
 * adaptiveAvgPool3d(randn([1, 64, 8, 7, 7]), 1).shape; // [1, 64, 1, 1, 1]
 */
export function adaptiveAvgPool3d(x: Tensor, outputSize: AdaptiveSize): Tensor {
  return batched(x, 3, (batch) =>
    dispatch('adaptiveAvgPool3d', batch, adaptiveSizes('adaptiveAvgPool3d', 3, batch, outputSize)),
  );
}

function maxGeometry(fn: string, rank: number, kernelSize: Sizes, options: MaxPoolOptions): PoolGeometry {
  const kernel = perDimension(fn, 'kernelSize', kernelSize, rank);
  checkPositive(fn, 'kernelSize', kernel);
  const stride = perDimension(fn, 'stride', options.stride ?? kernel, rank);
  const dilation = perDimension(fn, 'dilation', options.dilation ?? 1, rank);
  checkPositive(fn, 'stride', stride);
  checkPositive(fn, 'dilation', dilation);
  return {
    kernelSize: kernel,
    stride,
    padding: perDimension(fn, 'padding', options.padding ?? 0, rank),
    dilation,
    ceilMode: options.ceilMode ?? false,
  };
}

function avgGeometry(fn: string, rank: number, kernelSize: Sizes, options: AvgPoolOptions): AvgPoolGeometry {
  const { countIncludePad = true, ...rest } = options;
  return { ...maxGeometry(fn, rank, kernelSize, rest), countIncludePad };
}

function adaptiveSizes(fn: string, rank: number, x: Tensor, outputSize: AdaptiveSize): number[] {
  const list = typeof outputSize === 'number' ? new Array<number>(rank).fill(outputSize) : outputSize;
  if (list.length !== rank) {
    throw new ArgumentError({
      fn,
      argument: 'outputSize',
      expected: `a number, or a list of ${rank}`,
      got: `[${list.join(', ')}]`,
    });
  }
  return list.map((size, d) => size ?? x.shape[d + 2]);
}

function checkPositive(fn: string, argument: string, values: readonly number[]): void {
  for (const value of values) {
    if (Number.isInteger(value) && value >= 1) continue;
    throw new ArgumentError({ fn, argument, expected: 'positive whole numbers', got: String(value) });
  }
}
