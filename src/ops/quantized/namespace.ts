/**
 * `ops.quantized`: the quantized operators by themselves. Most take the scale and zero point of their result; weights are
 * packed once by a prepack function and handed to the operator. Source: `torch.ops.quantized`.
 *
 * @example
 * const packed = ops.quantized.conv2dPrepack(qweight, bias, [1, 1], [1, 1], [1, 1], 1);
 * const y = ops.quantized.conv2dRelu(qx, packed, 0.05, 128);
 */

import type { Tensor } from '../../tensor/tensor.ts';
import { dispatch } from '../dispatch.ts';
import { embeddingBag as bagOfFloats, type EmbeddingBagOptions } from '../functions/layer/embedding.ts';
import type { QuantizedBatchNormArgs } from '../signatures/quantized.ts';
import { packEmbedding } from './embedding.ts';
import { PackedWeights } from './packed.ts';
import { PackedTransposedWeights } from './transposed.ts';

export { PackedTransposedWeights, PackedWeights };

/** Packs the weight [outChannels, C / groups, kernel] and the float bias of {@link conv1d}. */
export function conv1dPrepack(
  weight: Tensor,
  bias: Tensor | null,
  stride: readonly number[],
  padding: readonly number[],
  dilation: readonly number[],
  groups: number,
): PackedWeights {
  return new PackedWeights(weight, bias, { stride, padding, dilation, groups });
}

/** Packs the weight [outChannels, C / groups, kH, kW] and the float bias of {@link conv2d}. */
export const conv2dPrepack: typeof conv1dPrepack = conv1dPrepack;

/** Packs the weight [outChannels, C / groups, kD, kH, kW] and the float bias of {@link conv3d}. */
export const conv3dPrepack: typeof conv1dPrepack = conv1dPrepack;

/** Packs the weight [C, outChannels / groups, kernel] and the float bias of {@link convTranspose1d}. */
export function convTranspose1dPrepack(
  weight: Tensor,
  bias: Tensor | null,
  stride: readonly number[],
  padding: readonly number[],
  outputPadding: readonly number[],
  dilation: readonly number[],
  groups: number,
): PackedTransposedWeights {
  return new PackedTransposedWeights(weight, bias, { stride, padding, outputPadding, dilation, groups });
}

/** Packs the weight [C, outChannels / groups, kH, kW] and the float bias of {@link convTranspose2d}. */
export const convTranspose2dPrepack: typeof convTranspose1dPrepack = convTranspose1dPrepack;

/** Packs the weight [C, outChannels / groups, kD, kH, kW] and the float bias of {@link convTranspose3d}. */
export const convTranspose3dPrepack: typeof convTranspose1dPrepack = convTranspose1dPrepack;

/** Packs the weight [outFeatures, inFeatures] and the float bias of {@link linear}. */
export function linearPrepack(weight: Tensor, bias: Tensor | null = null): PackedWeights {
  return new PackedWeights(weight, bias, null);
}

/** Weight and bias of packed weights. Source: `torch.ops.quantized.linear_unpack`, `conv2d_unpack`. */
export function unpack(packed: PackedWeights | PackedTransposedWeights): [Tensor, Tensor | null] {
  return [packed.weight, packed.bias];
}

/** Prepares a table quantized by rows (quint8 or quint4x2) for {@link embedding} and {@link embeddingBag}. */
export function embeddingBagPrepack(weight: Tensor): Tensor {
  return packEmbedding(weight);
}

/** Convolution of quantized [N, C, L]. */
export function conv1d(x: Tensor, packed: PackedWeights, scale: number, zeroPoint: number): Tensor {
  return dispatch('quantized::conv1d', x, packed, scale, zeroPoint);
}

/** {@link conv1d} and a relu. */
export function conv1dRelu(x: Tensor, packed: PackedWeights, scale: number, zeroPoint: number): Tensor {
  return dispatch('quantized::conv1d_relu', x, packed, scale, zeroPoint);
}

/** Convolution of quantized [N, C, H, W]. */
export function conv2d(x: Tensor, packed: PackedWeights, scale: number, zeroPoint: number): Tensor {
  return dispatch('quantized::conv2d', x, packed, scale, zeroPoint);
}

/** {@link conv2d} and a relu. */
export function conv2dRelu(x: Tensor, packed: PackedWeights, scale: number, zeroPoint: number): Tensor {
  return dispatch('quantized::conv2d_relu', x, packed, scale, zeroPoint);
}

/** Convolution of quantized [N, C, D, H, W]. */
export function conv3d(x: Tensor, packed: PackedWeights, scale: number, zeroPoint: number): Tensor {
  return dispatch('quantized::conv3d', x, packed, scale, zeroPoint);
}

/** {@link conv3d} and a relu. */
export function conv3dRelu(x: Tensor, packed: PackedWeights, scale: number, zeroPoint: number): Tensor {
  return dispatch('quantized::conv3d_relu', x, packed, scale, zeroPoint);
}

/** Transposed convolution of quantized [N, C, L]. */
export function convTranspose1d(
  x: Tensor,
  packed: PackedTransposedWeights,
  scale: number,
  zeroPoint: number,
): Tensor {
  return dispatch('quantized::conv_transpose1d', x, packed, scale, zeroPoint);
}

/** Transposed convolution of quantized [N, C, H, W]. */
export function convTranspose2d(
  x: Tensor,
  packed: PackedTransposedWeights,
  scale: number,
  zeroPoint: number,
): Tensor {
  return dispatch('quantized::conv_transpose2d', x, packed, scale, zeroPoint);
}

/** Transposed convolution of quantized [N, C, D, H, W]. */
export function convTranspose3d(
  x: Tensor,
  packed: PackedTransposedWeights,
  scale: number,
  zeroPoint: number,
): Tensor {
  return dispatch('quantized::conv_transpose3d', x, packed, scale, zeroPoint);
}

/** x·wᵀ + b of quantized [..., inFeatures]. */
export function linear(x: Tensor, packed: PackedWeights, scale: number, zeroPoint: number): Tensor {
  return dispatch('quantized::linear', x, packed, scale, zeroPoint);
}

/** {@link linear} and a relu. */
export function linearRelu(x: Tensor, packed: PackedWeights, scale: number, zeroPoint: number): Tensor {
  return dispatch('quantized::linear_relu', x, packed, scale, zeroPoint);
}

/** x·wᵀ + b of float [..., inFeatures], quantized within; float out. */
export function linearDynamic(x: Tensor, packed: PackedWeights, reduceRange = false): Tensor {
  return dispatch('quantized::linear_dynamic', x, packed, reduceRange);
}

/** {@link linearDynamic} and a relu. */
export function linearReluDynamic(x: Tensor, packed: PackedWeights, reduceRange = false): Tensor {
  return dispatch('quantized::linear_relu_dynamic', x, packed, reduceRange);
}

/**
 * a·b of two quantized tensors as matrices, through their floats: dequantize, multiply, quantize.
 * Source: `torch.ops.quantized.matmul`.
 */
export function matmul(a: Tensor, b: Tensor, scale: number, zeroPoint: number): Tensor {
  return dispatch('quantized::matmul', a, b, scale, zeroPoint);
}

/** a + b, broadcast. */
export function add(a: Tensor, b: Tensor, scale: number, zeroPoint: number): Tensor {
  return dispatch('quantized::add', a, b, scale, zeroPoint);
}

/** relu(a + b), broadcast. */
export function addRelu(a: Tensor, b: Tensor, scale: number, zeroPoint: number): Tensor {
  return dispatch('quantized::add_relu', a, b, scale, zeroPoint);
}

/** a plus a number; the zero point moves, and the scale grows only where it must. */
export function addScalar(a: Tensor, b: number): Tensor {
  return dispatch('quantized::add_scalar', a, b);
}

/** relu(a + number). */
export function addScalarRelu(a: Tensor, b: number): Tensor {
  return dispatch('relu', dispatch('quantized::add_scalar', a, b));
}

/** a · b, broadcast. */
export function mul(a: Tensor, b: Tensor, scale: number, zeroPoint: number): Tensor {
  return dispatch('quantized::mul', a, b, scale, zeroPoint);
}

/** relu(a · b), broadcast. */
export function mulRelu(a: Tensor, b: Tensor, scale: number, zeroPoint: number): Tensor {
  return dispatch('quantized::mul_relu', a, b, scale, zeroPoint);
}

/** a times a number; only the scale changes (and the zero point, for a negative one). */
export function mulScalar(a: Tensor, b: number): Tensor {
  return dispatch('quantized::mul_scalar', a, b);
}

/** relu(a · number). */
export function mulScalarRelu(a: Tensor, b: number): Tensor {
  return dispatch('relu', dispatch('quantized::mul_scalar', a, b));
}

/** Concatenation along `dim`, requantized. */
export function cat(tensors: readonly Tensor[], dim: number, scale: number, zeroPoint: number): Tensor {
  return dispatch('quantized::cat', tensors, scale, zeroPoint, dim);
}

/** relu of {@link cat}. */
export function catRelu(tensors: readonly Tensor[], dim: number, scale: number, zeroPoint: number): Tensor {
  return dispatch('relu', dispatch('quantized::cat', tensors, scale, zeroPoint, dim));
}

/** min(max(x, 0), 6). */
export function relu6(x: Tensor): Tensor {
  return dispatch('relu6', x);
}

/** x clamped into [min, max]; null leaves a side open. */
export function clamp(x: Tensor, min: number | null, max: number | null): Tensor {
  return dispatch('clamp', x, min, max);
}

/** 1 / (1 + e⁻ˣ). */
export function sigmoid(x: Tensor, scale: number, zeroPoint: number): Tensor {
  return dispatch('quantized::sigmoid', x, scale, zeroPoint);
}

/** Hyperbolic tangent. */
export function tanh(x: Tensor, scale: number, zeroPoint: number): Tensor {
  return dispatch('quantized::tanh', x, scale, zeroPoint);
}

/** x·relu6(x + 3) / 6. */
export function hardswish(x: Tensor, scale: number, zeroPoint: number): Tensor {
  return dispatch('quantized::hardswish', x, scale, zeroPoint);
}

/** x above zero, alpha·(eˣ − 1) below. */
export function elu(x: Tensor, scale: number, zeroPoint: number, alpha = 1): Tensor {
  return dispatch('quantized::elu', x, scale, zeroPoint, alpha);
}

/** x above zero, alpha·(e^(x/alpha) − 1) below. */
export function celu(x: Tensor, scale: number, zeroPoint: number, alpha = 1): Tensor {
  return dispatch('quantized::celu', x, scale, zeroPoint, alpha);
}

/** x above zero, negativeSlope·x below. */
export function leakyRelu(x: Tensor, negativeSlope: number, scale: number, zeroPoint: number): Tensor {
  return dispatch('quantized::leaky_relu', x, negativeSlope, scale, zeroPoint);
}

/** x above zero, a quantized slope times x below. */
export function prelu(x: Tensor, weight: Tensor, scale: number, zeroPoint: number): Tensor {
  return dispatch('quantized::prelu', x, weight, scale, zeroPoint);
}

/** x where it is above `limit`, `value` elsewhere. */
export function threshold(x: Tensor, limit: number, value: number): Tensor {
  return dispatch('quantized::threshold', x, limit, value);
}

/** Positive numbers that sum to 1 along `dim`. */
export function softmax(x: Tensor, dim: number, scale: number, zeroPoint: number): Tensor {
  return dispatch('quantized::softmax', x, dim < 0 ? dim + x.ndim : dim, scale, zeroPoint);
}

/** Batch normalization of quantized [N, C, H, W] with given statistics. */
export function batchNorm2d(...args: QuantizedBatchNormArgs): Tensor {
  return dispatch('quantized::batch_norm2d', ...args);
}

/** {@link batchNorm2d} and a relu. */
export function batchNorm2dRelu(...args: QuantizedBatchNormArgs): Tensor {
  return dispatch('quantized::batch_norm2d_relu', ...args);
}

/** Batch normalization of quantized [N, C, D, H, W] with given statistics. */
export function batchNorm3d(...args: QuantizedBatchNormArgs): Tensor {
  return dispatch('quantized::batch_norm3d', ...args);
}

/** {@link batchNorm3d} and a relu. */
export function batchNorm3dRelu(...args: QuantizedBatchNormArgs): Tensor {
  return dispatch('quantized::batch_norm3d_relu', ...args);
}

/** Normalization over the trailing dimensions. */
export function layerNorm(
  x: Tensor,
  normalizedShape: readonly number[],
  weight: Tensor | null,
  bias: Tensor | null,
  eps: number,
  scale: number,
  zeroPoint: number,
): Tensor {
  return dispatch('quantized::layer_norm', x, normalizedShape, weight, bias, eps, scale, zeroPoint);
}

/** Normalization over groups of channels of [N, C, *]. */
export function groupNorm(
  x: Tensor,
  groups: number,
  weight: Tensor | null,
  bias: Tensor | null,
  eps: number,
  scale: number,
  zeroPoint: number,
): Tensor {
  return dispatch('quantized::group_norm', x, groups, weight, bias, eps, scale, zeroPoint);
}

/** Normalization of every channel of every sample of [N, C, *]. */
export function instanceNorm(
  x: Tensor,
  weight: Tensor | null,
  bias: Tensor | null,
  eps: number,
  scale: number,
  zeroPoint: number,
): Tensor {
  return dispatch('quantized::instance_norm', x, weight, bias, eps, scale, zeroPoint);
}

/** Rows of a quantized table, as floats. Source: `torch.ops.quantized.embedding_byte`, `embedding_4bit`. */
export function embedding(table: Tensor, indices: Tensor): Tensor {
  return dispatch('embedding', indices, table, null);
}

/**
 * Rows of a quantized table summed (or otherwise folded) by bags, as floats.
 * Source: `torch.ops.quantized.embedding_bag_byte`, `embedding_bag_4bit`.
 */
export function embeddingBag(
  table: Tensor,
  indices: Tensor,
  offsets: Tensor | null,
  options: EmbeddingBagOptions = {},
): Tensor {
  return bagOfFloats(indices, table, offsets, { mode: 'sum', ...options });
}
