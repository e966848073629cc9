/**
 * `nn.quantized.functional`: functions on quantized tensors. Those that have `scale` and `zeroPoint` quantize their result
 * with them; the others keep the input's. Source: `torch.ao.nn.quantized.functional`.
 */
import { DTypeError } from '../core/errors.ts';
import { dispatch } from '../ops/dispatch.ts';
import * as ops from '../ops/functions/elementwise.ts';
import { perDimension, type Sizes } from '../ops/functions/layer/spatial.ts';
import * as layers from '../ops/functions/layer.ts';
import { PackedWeights } from '../ops/quantized/packed.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Options of the quantized convolutions. */
export interface QuantizedConvolutionOptions {
  readonly stride?: Sizes;
  readonly padding?: Sizes;
  readonly dilation?: Sizes;
  readonly groups?: number;
  /** Scale of the result; 1 where not given. */
  readonly scale?: number;
  /** Zero point of the result; 0 where not given. */
  readonly zeroPoint?: number;
}

/** Options of {@link linear}: the parameters of the result. */
export interface QuantizedLinearOptions {
  /** The input's where not given. */
  readonly scale?: number;
  readonly zeroPoint?: number;
}

function requireQuantizedInput(x: Tensor, fn: string): Tensor {
  if (x.isQuantized) return x;
  throw new DTypeError({
    fn: `nn.quantized.functional.${fn}`,
    argument: 'x',
    expected: 'a quantized tensor',
    got: x.dtype,
    fix: 'Quantize it with quantizePerTensor, or call the function of nn.functional.',
  });
}

function convolve(
  rank: 1 | 2 | 3,
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  options: QuantizedConvolutionOptions,
): Tensor {
  const fn = `conv${rank}d` as const;
  requireQuantizedInput(x, fn);
  const packed = new PackedWeights(weight, bias, {
    stride: perDimension(fn, 'stride', options.stride ?? 1, rank),
    padding: perDimension(fn, 'padding', options.padding ?? 0, rank),
    dilation: perDimension(fn, 'dilation', options.dilation ?? 1, rank),
    groups: options.groups ?? 1,
  });
  return dispatch(`quantized::${fn}`, x, packed, options.scale ?? 1, options.zeroPoint ?? 0);
}

/**
 * Convolution of quantized [N, C, L] with a qint8 weight [outChannels, C / groups, kernel] and a float bias. The weight is
 * packed on every call; a layer packs it once. Source: `torch.ao.nn.quantized.functional.conv1d`.
 *
 * @throws {@link ShapeError} where channels do not fit; {@link DTypeError} for float tensors.
 */
export function conv1d(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  options: QuantizedConvolutionOptions = {},
): Tensor {
  return convolve(1, x, weight, bias, options);
}

/**
 * {@link conv1d} over [N, C, H, W]. Source: `torch.ao.nn.quantized.functional.conv2d`.
 *
 * @example
 * conv2d(qx, qweight, bias, { padding: 1, scale: 0.05, zeroPoint: 128 });
 */
export function conv2d(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  options: QuantizedConvolutionOptions = {},
): Tensor {
  return convolve(2, x, weight, bias, options);
}

/** {@link conv1d} over [N, C, D, H, W]. Source: `torch.ao.nn.quantized.functional.conv3d`. */
export function conv3d(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  options: QuantizedConvolutionOptions = {},
): Tensor {
  return convolve(3, x, weight, bias, options);
}

/**
 * x·wᵀ + b on quantized [..., inFeatures] with a qint8 weight [outFeatures, inFeatures] and a float bias.
 * Source: `torch.ao.nn.quantized.functional.linear`.
 */
export function linear(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  options: QuantizedLinearOptions = {},
): Tensor {
  requireQuantizedInput(x, 'linear');
  const { scale = x.qScale(), zeroPoint = x.qZeroPoint() } = options;
  return dispatch('quantized::linear', x, new PackedWeights(weight, bias, null), scale, zeroPoint);
}

/** Largest values of windows of [N, C, L]. Source: `torch.ao.nn.quantized.functional.max_pool1d`. */
export function maxPool1d(x: Tensor, kernelSize: Sizes, options: layers.MaxPoolOptions = {}): Tensor {
  return layers.maxPool1d(requireQuantizedInput(x, 'maxPool1d'), kernelSize, options);
}

/** Largest values of windows of [N, C, H, W]. Source: `torch.ao.nn.quantized.functional.max_pool2d`. */
export function maxPool2d(x: Tensor, kernelSize: Sizes, options: layers.MaxPoolOptions = {}): Tensor {
  return layers.maxPool2d(requireQuantizedInput(x, 'maxPool2d'), kernelSize, options);
}

/** Means of windows of [N, C, H, W]. Source: `torch.ao.nn.quantized.functional.avg_pool2d`. */
export function avgPool2d(x: Tensor, kernelSize: Sizes, options: layers.AvgPoolOptions = {}): Tensor {
  return layers.avgPool2d(requireQuantizedInput(x, 'avgPool2d'), kernelSize, options);
}

/** Means of as many windows as asked for. Source: `torch.ao.nn.quantized.functional.adaptive_avg_pool2d`. */
export function adaptiveAvgPool2d(x: Tensor, outputSize: layers.AdaptiveSize): Tensor {
  return layers.adaptiveAvgPool2d(requireQuantizedInput(x, 'adaptiveAvgPool2d'), outputSize);
}

/** Resizes images, nearest or bilinear. Source: `torch.ao.nn.quantized.functional.interpolate`. */
export function interpolate(x: Tensor, options: layers.InterpolateOptions): Tensor {
  return layers.interpolate(requireQuantizedInput(x, 'interpolate'), options);
}

/** {@link interpolate} under its older name. Source: `torch.ao.nn.quantized.functional.upsample`. */
export const upsample: typeof interpolate = interpolate;

/** {@link interpolate} by nearest neighbours. Source: `torch.ao.nn.quantized.functional.upsample_nearest`. */
export function upsampleNearest(
  x: Tensor,
  options: Pick<layers.InterpolateOptions, 'size' | 'scaleFactor'>,
): Tensor {
  return interpolate(x, { ...options, mode: 'nearest' });
}

/** {@link interpolate}, bilinear with aligned corners. Source: `torch.ao.nn.quantized.functional.upsample_bilinear`. */
export function upsampleBilinear(
  x: Tensor,
  options: Pick<layers.InterpolateOptions, 'size' | 'scaleFactor'>,
): Tensor {
  return interpolate(x, { ...options, mode: 'bilinear', alignCorners: true });
}

/** x clamped into [min, max]. Source: `torch.ao.nn.quantized.functional.clamp`. */
export function clamp(x: Tensor, min: number | null = null, max: number | null = null): Tensor {
  return ops.clamp(requireQuantizedInput(x, 'clamp'), min, max);
}

/** x clamped into [min, max], ±1 where not given. Source: `torch.ao.nn.quantized.functional.hardtanh`. */
export function hardtanh(x: Tensor, min = -1, max = 1): Tensor {
  return ops.hardtanh(requireQuantizedInput(x, 'hardtanh'), min, max);
}

/** relu6(x + 3) / 6, with scale 1/256. Source: `torch.ao.nn.quantized.functional.hardsigmoid`. */
export function hardsigmoid(x: Tensor): Tensor {
  return ops.hardsigmoid(requireQuantizedInput(x, 'hardsigmoid'));
}

/** x·relu6(x + 3) / 6. Source: `torch.ao.nn.quantized.functional.hardswish`. */
export function hardswish(x: Tensor, scale: number, zeroPoint: number): Tensor {
  return dispatch('quantized::hardswish', requireQuantizedInput(x, 'hardswish'), scale, zeroPoint);
}

/** x above zero, alpha·(eˣ − 1) below. Source: `torch.ao.nn.quantized.functional.elu`. */
export function elu(x: Tensor, scale: number, zeroPoint: number, alpha = 1): Tensor {
  return dispatch('quantized::elu', requireQuantizedInput(x, 'elu'), scale, zeroPoint, alpha);
}

/** x above zero, alpha·(e^(x/alpha) − 1) below. Source: `torch.ao.nn.quantized.functional.celu`. */
export function celu(x: Tensor, scale: number, zeroPoint: number, alpha = 1): Tensor {
  return dispatch('quantized::celu', requireQuantizedInput(x, 'celu'), scale, zeroPoint, alpha);
}

/** Options of {@link leakyRelu}: the parameters of the result, the input's where not given. */
export interface QuantizedLeakyReluOptions {
  readonly negativeSlope?: number;
  readonly scale?: number;
  readonly zeroPoint?: number;
}

/** x above zero, negativeSlope·x below. Source: `torch.ao.nn.quantized.functional.leaky_relu`. */
export function leakyRelu(x: Tensor, options: QuantizedLeakyReluOptions = {}): Tensor {
  requireQuantizedInput(x, 'leakyRelu');
  const { negativeSlope = 0.01, scale = x.qScale(), zeroPoint = x.qZeroPoint() } = options;
  return dispatch('quantized::leaky_relu', x, negativeSlope, scale, zeroPoint);
}

/** x where it is above `threshold`, `value` elsewhere. Source: `torch.ao.nn.quantized.functional.threshold`. */
export function threshold(x: Tensor, limit: number, value: number): Tensor {
  return dispatch('quantized::threshold', requireQuantizedInput(x, 'threshold'), limit, value);
}
