import { product } from '../../../../core/math.ts';
import type { Node } from '../../../../fx/node.ts';
import { stridesInOrder } from '../../../../ops/float/layout.ts';
import { channelsLastStrides, contiguousStrides, normalizeDim } from '../../../../tensor/shape.ts';
import { addressOf, type PlanBuilder } from '../../builder.ts';
import { inLayout, rowMajor } from '../../copy.ts';
import type { Address, KernelCall } from '../../step.ts';
import type { Value } from '../../value.ts';
import type { LoweringRule, LoweringRules } from '../rule.ts';
import { boundsOf, normScale, onlyUser } from './epilogue.ts';
import { attributeName, floatValue, isFloat } from './product.ts';

/** A pointer that moves on by whole rows. */
function rowsOf(value: Value, columns: number): { at: Address; stride: number } {
  return { at: addressOf(value), stride: 4 * columns };
}

/** Softmax and its logarithm: over lines that are made to lie next to each other. */
function softmax(kernel: 'f32_softmax' | 'f32_log_softmax'): LoweringRule {
  return (node, builder) => {
    const x = floatValue(node.args[0], builder);
    if (!x || x.shape.length === 0 || product(x.shape) === 0) return false;
    const { shape } = x;
    const dim = normalizeDim(node.args[1] as number, shape.length, node.targetName);
    const order = [...shape.keys()].filter((d) => d !== dim);
    const strides = stridesInOrder(shape, [...order, dim]);
    const from = inLayout(builder, node, x, strides);
    const out = builder.allocateValue({ shape, dtype: 'float32', qparams: null, strides });
    const columns = shape[dim];
    const total = product(shape) / columns;
    const call: KernelCall = {
      kernel,
      args: [rowsOf(from, columns), { count: 1, total }, columns, rowsOf(out, columns)],
      units: total,
      grain: 1,
    };
    builder.kernels(node, [call], { op: node.targetName });
    builder.bind(node, out);
    return true;
  };
}

/** Layer normalization of a value, or of the sum of two. */
function normalizeRows(node: Node, builder: PlanBuilder, x: Value, other: Value | null): boolean {
  const [, size, weightArg, biasArg, eps] = node.args as [
    Node,
    readonly number[],
    Node | null,
    Node | null,
    number,
  ];
  const weight = weightArg === null ? null : builder.attribute(weightArg);
  const bias = biasArg === null ? null : builder.attribute(biasArg);
  if (weight !== null && !isFloat(weight)) return false;
  if (bias !== null && !isFloat(bias)) return false;
  const columns = product(size);
  const total = product(x.shape) / columns;
  if (!(total > 0)) return false;
  const [a, b] = [x, other].map((value) => value && rowMajor(builder, node, value)) as [Value, Value | null];
  const out = builder.allocateValue({ ...builder.meta(node), strides: contiguousStrides(x.shape) });
  const ones = (): Float32Array => new Float32Array(columns).fill(1);
  const gain = weight
    ? builder.floats(`floats ${attributeName(weightArg)}`, columns, () => weight.data)
    : builder.floats(`ones ${columns}`, columns, ones);
  const shift = bias
    ? builder.floats(`floats ${attributeName(biasArg)}`, columns, () => bias.data)
    : builder.floats(`zeros ${columns}`, columns, () => []);
  const call: KernelCall = {
    kernel: 'f32_layer_norm',
    args: [
      rowsOf(a, columns),
      b ? rowsOf(b, columns) : 0,
      { count: 1, total },
      columns,
      gain,
      shift,
      eps,
      rowsOf(out, columns),
    ],
    units: total,
    grain: 1,
  };
  builder.kernels(node, [call], { op: 'layerNorm' });
  builder.bind(node, out);
  return true;
}

const layerNorm: LoweringRule = (node, builder) => {
  const x = floatValue(node.args[0], builder);
  return x !== undefined && normalizeRows(node, builder, x, null);
};

/** An addition that only a layer normalization reads becomes part of it. */
const addedLayerNorm: LoweringRule = (node, builder) => {
  const user = onlyUser(node, builder);
  const [a, b] = node.args.slice(0, 2).map((arg) => floatValue(arg, builder));
  if (!a || !b || user?.target !== 'layerNorm' || user.args[0] !== node || node.args[2] !== 1) return false;
  const shape = builder.meta(node).shape.join();
  if (a.shape.join() !== shape || b.shape.join() !== shape) return false;
  if (!normalizeRows(user, builder, a, b)) return false;
  builder.absorb(node);
  return true;
};

const groupNorm: LoweringRule = (node, builder) => {
  const [xArg, groups, weightArg, biasArg, eps] = node.args;
  const x = floatValue(xArg, builder);
  const [weight, bias] = [weightArg, biasArg].map((arg) => (arg === null ? null : builder.attribute(arg)));
  if (!x || product(x.shape) === 0) return false;
  if ((weight !== null && !isFloat(weight)) || (bias !== null && !isFloat(bias))) return false;
  const [batch, channels, ...size] = x.shape;
  const strides = channelsLastStrides(x.shape);
  const from = inLayout(builder, node, x, strides);
  const out = builder.allocateValue({ ...builder.meta(node), strides });
  const call: KernelCall = {
    kernel: 'f32_group_norm',
    args: [
      ...(['begin', 'end'] as const),
      ...[addressOf(from), product(size), channels, groups as number],
      weight
        ? builder.floats(`floats ${attributeName(weightArg)}`, channels, () => weight.data)
        : builder.floats(`ones ${channels}`, channels, () => new Float32Array(channels).fill(1)),
      bias
        ? builder.floats(`floats ${attributeName(biasArg)}`, channels, () => bias.data)
        : builder.floats(`zeros ${channels}`, channels, () => []),
      eps as number,
      addressOf(out),
    ],
    units: batch * (groups as number),
    grain: 1,
  };
  builder.kernels(node, [call], { op: 'groupNorm' });
  builder.bind(node, out);
  return true;
};

/** A batch normalization that no product took up. */
const batchNormEval: LoweringRule = (node, builder) => {
  const x = floatValue(node.args[0], builder);
  const tensors = node.args.slice(1, 5).map((arg) => (arg === null ? null : builder.attribute(arg)));
  if (!x || x.shape.length < 2 || product(x.shape) === 0) return false;
  if (!tensors.every((t) => t === null || isFloat(t))) return false;
  const [mean, variance, weight, bias] = tensors;
  if (!mean || !variance) return false;
  const channels = x.shape[1];
  const strides = x.shape.length > 2 ? channelsLastStrides(x.shape) : contiguousStrides(x.shape);
  const from = inLayout(builder, node, x, strides);
  const user = onlyUser(node, builder);
  const bounds = user && boundsOf(user, builder);
  const out = builder.allocateValue({ ...builder.meta(node), strides });
  const eps = node.args[5] as number;
  const scale = normScale({ norm: { mean, variance, weight, bias, eps } as never }, channels);
  const key = node.args.slice(1).join();
  const total = product(x.shape) / channels;
  const call: KernelCall = {
    kernel: 'f32_center_scale',
    args: [
      rowsOf(from, channels),
      { count: 1, total },
      channels,
      builder.floats(`mean ${key}`, channels, () => mean.data as Float32Array),
      builder.floats(`scale ${key}`, channels, () => scale.factor),
      builder.floats(`shift ${key}`, channels, () => (bias?.data as Float32Array) ?? []),
      rowsOf(out, channels),
      ...(bounds ?? [-Infinity, Infinity]),
    ],
    units: total,
    grain: 16,
  };
  builder.kernels(node, [call], { op: 'batchNorm' });
  builder.bind(node, out);
  if (user && bounds) builder.bind(user, out);
  return true;
};

/** Normalizations. */
export const NORMALIZE_RULES: LoweringRules = {
  softmax: softmax('f32_softmax'),
  logSoftmax: softmax('f32_log_softmax'),
  layerNorm,
  groupNorm,
  batchNormEval,
};

/** Asked before the other rules of these operators. */
export const FUSED_NORMALIZE_RULES: LoweringRules = { add: addedLayerNorm };
