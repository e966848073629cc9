import { dispatch } from '../../../ops/dispatch.ts';
import { isDense, stridesLike } from '../../../ops/float/layout.ts';
import type { OpName } from '../../../ops/signatures/index.ts';
import {
  broadcastShapes,
  channelsLastStrides,
  contiguousStrides,
  normalizeDim,
  type Shape,
} from '../../../tensor/shape.ts';
import { Tensor, viewOf } from '../../../tensor/tensor.ts';
import type { Meta } from '../value.ts';

/** Says what an operator gives without running it on all of its elements; null where it has to be run. */
export type SampledRule = (...args: readonly any[]) => Meta | null;

/**
 * The operator on one slice of each tensor: dimensions for which `keep` is false are cut to one element. Arguments are
 * checked, and dtype and qparams found, as for the whole.
 */
function onSlice(
  op: OpName,
  args: readonly unknown[],
  keep: (x: Tensor, d: number, argument: number) => boolean,
): Tensor | null {
  const tensors = args.filter((arg) => arg instanceof Tensor);
  // Channels cannot be cut off their scales, and nothing can be cut from what is empty.
  if (tensors.some((x) => x.numel === 0 || x.qparams?.scheme.startsWith('per_channel'))) return null;
  const cut = args.map((arg, i) => {
    if (!(arg instanceof Tensor)) return arg;
    const shape = arg.shape.map((size, d) => (keep(arg, d, i) ? size : 1));
    return viewOf(arg, shape, arg.strides);
  });
  return (dispatch as (op: OpName, ...args: readonly unknown[]) => Tensor)(op, ...cut);
}

function metaLike({ dtype, qparams }: Tensor, shape: Shape, strides: Shape): Meta {
  return { shape, dtype, qparams, strides };
}

/** Each element from the element at its place. */
const map =
  (op: OpName): SampledRule =>
  (x: Tensor, ...rest) => {
    const slice = onSlice(op, [x, ...rest], () => false);
    return slice && metaLike(slice, x.shape, stridesLike(x));
  };

/** Each element from the elements at its place of two operands that are broadcast: laid out as the first that has the full shape, without gaps. */
const zip =
  (op: OpName): SampledRule =>
  (a: Tensor, b: Tensor | number, ...rest) => {
    const slice = onSlice(op, [a, b, ...rest], () => false);
    if (slice === null) return null;
    const tensors = typeof b === 'number' ? [a] : [a, b];
    const shape = tensors.map((x) => x.shape).reduce((p, q) => broadcastShapes(p, q, op));
    const full = tensors.find((x) => x.shape.join() === shape.join() && isDense(x));
    return metaLike(slice, shape, full ? stridesLike(full) : contiguousStrides(shape));
  };

/** {@link zip} of quantized operands: laid out as the larger one where it has the full shape. */
const quantizedZip =
  (op: OpName): SampledRule =>
  (a: Tensor, b: Tensor, ...rest) => {
    const slice = onSlice(op, [a, b, ...rest], () => false);
    if (slice === null) return null;
    const shape = broadcastShapes(a.shape, b.shape, op);
    const leader = a.numel >= b.numel ? a : b;
    const whole = leader.shape.join() === shape.join();
    return metaLike(slice, shape, whole ? stridesLike(leader) : contiguousStrides(shape));
  };

/** Lines along one dimension, which lies innermost in the result. */
const lines =
  (op: OpName): SampledRule =>
  (x: Tensor, dim: number) => {
    if (x.dtype !== 'float32' || x.ndim === 0) return null;
    const along = normalizeDim(dim, x.ndim, op);
    const slice = onSlice(op, [x, dim], (_, d) => d === along);
    const outer = contiguousStrides(x.shape.map((size, d) => (d === along ? 1 : size)));
    const strides = outer.map((step, d) => (d === along ? 1 : step * x.shape[along]));
    return slice && metaLike(slice, x.shape, strides);
  };

const layerNorm: SampledRule = (x: Tensor, normalized: readonly number[], ...rest) => {
  const from = x.ndim - normalized.length;
  const slice = onSlice('layerNorm', [x, normalized, ...rest], (_, d, i) => i > 0 || d >= from);
  return slice && metaLike(slice, x.shape, contiguousStrides(x.shape));
};

const batchNorm: SampledRule = (x: Tensor, ...statistics) => {
  const slice = onSlice('batchNormEval', [x, ...statistics], (_, d, i) => i > 0 || d === 1);
  return slice && metaLike(slice, x.shape, channelsLastStrides(x.shape));
};

/** Windows over the pixels of one image and channel. */
const pool =
  (op: OpName): SampledRule =>
  (x: Tensor, ...rest) => {
    const slice = onSlice(op, [x, ...rest], (_, d) => d > 1);
    const shape = slice && [...x.shape.slice(0, 2), ...slice.shape.slice(2)];
    return slice && shape && metaLike(slice, shape, channelsLastStrides(shape));
  };

const MAPS: readonly OpName[] = [
  ...(['neg', 'abs', 'exp', 'log', 'sqrt', 'rsqrt', 'square', 'reciprocal', 'tanh', 'sigmoid'] as const),
  ...(['floor', 'ceil', 'round', 'relu', 'relu6', 'hardtanh', 'leakyRelu', 'elu', 'gelu', 'silu'] as const),
  ...(['hardswish', 'hardsigmoid', 'softplus', 'clamp', 'to'] as const),
  ...(['quantizePerTensor', 'dequantize'] as const),
];
const ZIPS: readonly OpName[] = ['add', 'sub', 'mul', 'div', 'maximum', 'minimum'];
const QUANTIZED_ZIPS: readonly OpName[] = [
  'quantized::add',
  'quantized::add_relu',
  'quantized::mul',
  'quantized::mul_relu',
];
const LINES: readonly OpName[] = ['softmax', 'logSoftmax'];
const POOLS: readonly OpName[] = ['maxPool2d', 'avgPool2d', 'adaptiveAvgPool2d'];

function rulesOf(ops: readonly OpName[], rule: (op: OpName) => SampledRule): [OpName, SampledRule][] {
  return ops.map((op) => [op, guarded(rule(op))]);
}

/** What fails on a slice is left to the operator itself, whose error shows the whole shapes. */
function guarded(rule: SampledRule): SampledRule {
  return (...args) => {
    try {
      return rule(...args);
    } catch {
      return null;
    }
  };
}

/** Operators whose slices do not depend on one another: one slice shows what the whole looks like. */
export const SAMPLED_SHAPES: ReadonlyMap<unknown, SampledRule> = new Map<OpName, SampledRule>([
  ...rulesOf(MAPS, map),
  ...rulesOf(ZIPS, zip),
  ...rulesOf(QUANTIZED_ZIPS, quantizedZip),
  ...rulesOf(LINES, lines),
  ...rulesOf(POOLS, pool),
  ['layerNorm', guarded(layerNorm)],
  ['batchNormEval', guarded(batchNorm)],
]);
