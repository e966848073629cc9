import { ArgumentError } from '../../../core/errors.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { dispatch } from '../../dispatch.ts';
import type { ConvGeometry, ConvTransposeGeometry } from '../../signatures/layer.ts';
import { batched, perDimension, type Sizes } from './spatial.ts';

/** Options of the convolutions; a number holds for every spatial dimension. */
export interface ConvOptions {
  /** Step between windows; 1. */
  readonly stride?: Sizes;
  /** Zeros around the input (0), or `'same'` (stride 1: output as large as the input) or `'valid'` (none). */
  readonly padding?: Sizes | 'same' | 'valid';
  /** Step between the taps of a window; 1. */
  readonly dilation?: Sizes;
  /** Independent groups of channels; 1. */
  readonly groups?: number;
}

/** Options of the transposed convolutions. */
export interface ConvTransposeOptions {
  readonly stride?: Sizes;
  readonly padding?: Sizes;
  /** Elements added at the far end of every dimension of the output; 0. */
  readonly outputPadding?: Sizes;
  readonly groups?: number;
  readonly dilation?: Sizes;
}

/**
 * 1-D convolution (cross-correlation): x [N, C, L] or [C, L], weight [outChannels, C / groups, kernel], bias [outChannels]
 * → [N, outChannels, Lout] in channels-last memory. float32 or float64. Source: `torch.nn.functional.conv1d`.
 *
 * @throws ShapeError where channels or sizes do not fit; ArgumentError for geometry out of range.
 * @example
 * conv1d(randn([1, 16, 50]), randn([33, 16, 3]), null, { stride: 2 }).shape; // [1, 33, 24]
 */
export function conv1d(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  options: ConvOptions = {},
): Tensor {
  return convolve('conv1d', 1, x, weight, bias, options);
}

/**
 * 2-D convolution (cross-correlation): x [N, C, H, W] or [C, H, W], weight [outChannels, C / groups, kH, kW], bias
 * [outChannels] → [N, outChannels, Hout, Wout] in channels-last memory. Source: `torch.nn.functional.conv2d`.
 *
 * @throws ShapeError where channels or sizes do not fit; ArgumentError for geometry out of range.
 * @example
 * conv2d(randn([1, 3, 32, 32]), randn([16, 3, 3, 3]), null, { padding: 1 }).shape; // [1, 16, 32, 32]
 */
export function conv2d(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  options: ConvOptions = {},
): Tensor {
  return convolve('conv2d', 2, x, weight, bias, options);
}

/**
 * 3-D convolution (cross-correlation): x [N, C, D, H, W] or [C, D, H, W], weight [outChannels, C / groups, kD, kH, kW]
 * → [N, outChannels, Dout, Hout, Wout] in channels-last memory. Source: `torch.nn.functional.conv3d`.
 *
 * @throws ShapeError where channels or sizes do not fit; ArgumentError for geometry out of range.
 * @example
 * conv3d(randn([1, 4, 8, 16, 16]), randn([8, 4, 3, 3, 3]), null, { padding: 'same' }).shape; // [1, 8, 8, 16, 16]
 */
export function conv3d(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  options: ConvOptions = {},
): Tensor {
  return convolve('conv3d', 3, x, weight, bias, options);
}

/**
 * 1-D transposed convolution: x [N, C, L] or [C, L], weight [C, outChannels / groups, kernel] →
 * [N, outChannels, (L − 1)·stride − 2·padding + dilation·(kernel − 1) + outputPadding + 1].
 * Source: `torch.nn.functional.conv_transpose1d`.
 *
 * @throws ShapeError where channels or sizes do not fit; ArgumentError for geometry out of range.
 * @example
 * convTranspose1d(randn([1, 4, 10]), randn([4, 2, 3]), null, { stride: 2 }).shape; // [1, 2, 21]
 */
export function convTranspose1d(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  options: ConvTransposeOptions = {},
): Tensor {
  const geometry = transposeGeometry('convTranspose1d', 1, options);
  return batched(x, 1, (batch) => dispatch('convTranspose1d', batch, weight, bias, geometry));
}

/**
 * 2-D transposed convolution: x [N, C, H, W] or [C, H, W], weight [C, outChannels / groups, kH, kW]; every output size is
 * (in − 1)·stride − 2·padding + dilation·(kernel − 1) + outputPadding + 1. Source: `torch.nn.functional.conv_transpose2d`.
 *
 * @throws ShapeError where channels or sizes do not fit; ArgumentError for geometry out of range.
 * @example
 * convTranspose2d(randn([1, 8, 7, 7]), randn([8, 4, 2, 2]), null, { stride: 2 }).shape; // [1, 4, 14, 14]
 */
export function convTranspose2d(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  options: ConvTransposeOptions = {},
): Tensor {
  const geometry = transposeGeometry('convTranspose2d', 2, options);
  return batched(x, 2, (batch) => dispatch('convTranspose2d', batch, weight, bias, geometry));
}

/**
 * 3-D transposed convolution: x [N, C, D, H, W] or [C, D, H, W], weight [C, outChannels / groups, kD, kH, kW]; output sizes
 * as of {@link convTranspose2d}. Source: `torch.nn.functional.conv_transpose3d`.
 *
 * @throws ShapeError where channels or sizes do not fit; ArgumentError for geometry out of range.
 * @example
 * convTranspose3d(randn([1, 8, 4, 7, 7]), randn([8, 4, 2, 2, 2]), null, { stride: 2 }).shape; // [1, 4, 8, 14, 14]
 */
export function convTranspose3d(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  options: ConvTransposeOptions = {},
): Tensor {
  const geometry = transposeGeometry('convTranspose3d', 3, options);
  return batched(x, 3, (batch) => dispatch('convTranspose3d', batch, weight, bias, geometry));
}

function convolve(
  fn: 'conv1d' | 'conv2d' | 'conv3d',
  rank: number,
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  options: ConvOptions,
): Tensor {
  const stride = perDimension(fn, 'stride', options.stride ?? 1, rank);
  const dilation = perDimension(fn, 'dilation', options.dilation ?? 1, rank);
  const groups = options.groups ?? 1;
  const wanted = options.padding ?? 0;
  return batched(x, rank, (batch) => {
    if (wanted === 'same') {
      const totals = weight.shape.slice(2).map((k, d) => dilation[d] * (k - 1));
      requireUnitStride(fn, stride);
      const padding = totals.map((t) => Math.floor(t / 2));
      // An odd total puts the extra zero at the far end, which a symmetric padding cannot say.
      const extra = totals.flatMap((t) => [0, t % 2]);
      const pads = [];
      for (let i = extra.length - 2; i >= 0; i -= 2) pads.push(extra[i], extra[i + 1]);
      const input = pads.some((p) => p > 0) ? dispatch('pad', batch, pads, 'constant', 0) : batch;
      return dispatch(fn, input, weight, bias, { stride, padding, dilation, groups });
    }
    const padding = perDimension(fn, 'padding', wanted === 'valid' ? 0 : wanted, rank);
    const geometry: ConvGeometry = { stride, padding, dilation, groups };
    return dispatch(fn, batch, weight, bias, geometry);
  });
}

function requireUnitStride(fn: string, stride: readonly number[]): void {
  if (stride.every((s) => s === 1)) return;
  throw new ArgumentError({
    fn,
    argument: 'padding',
    expected: "numbers where the stride is not 1 ('same' has no meaning then)",
    got: `'same' with stride [${stride.join(', ')}]`,
  });
}

function transposeGeometry(fn: string, rank: number, options: ConvTransposeOptions): ConvTransposeGeometry {
  return {
    stride: perDimension(fn, 'stride', options.stride ?? 1, rank),
    padding: perDimension(fn, 'padding', options.padding ?? 0, rank),
    outputPadding: perDimension(fn, 'outputPadding', options.outputPadding ?? 0, rank),
    dilation: perDimension(fn, 'dilation', options.dilation ?? 1, rank),
    groups: options.groups ?? 1,
  };
}
