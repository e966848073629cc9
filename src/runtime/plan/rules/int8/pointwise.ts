import { product, roundHalfEven } from '../../../../core/math.ts';
import { Node } from '../../../../fx/node.ts';
import { buildLookupTable } from '../../../../kernels/int8/elementwise.ts';
import { inverseScale } from '../../../../kernels/int8/quantize.ts';
import { dispatch } from '../../../../ops/dispatch.ts';
import { memoryOrder, stridesInOrder } from '../../../../ops/float/layout.ts';
import { productMultiplier } from '../../../../ops/quantized/pointwise.ts';
import type { OpName } from '../../../../ops/signatures/index.ts';
import { DTYPES } from '../../../../tensor/dtype.ts';
import {
  broadcastStrides,
  channelsLastStrides,
  contiguousStrides,
  normalizeDim,
} from '../../../../tensor/shape.ts';
import { Tensor } from '../../../../tensor/tensor.ts';
import { addressOf, type PlanBuilder } from '../../builder.ts';
import { inLayout } from '../../copy.ts';
import type { Block } from '../../memory.ts';
import type { CallArg, KernelCall } from '../../step.ts';
import type { Value } from '../../value.ts';
import type { LoweringRule, LoweringRules } from '../rule.ts';
import {
  allocateResult,
  channelsLastValue,
  denseValue,
  elementwise,
  isActivation,
  pixelLayout,
  type Unsigned,
  unsignedQParams,
  unsignedValue,
} from './layout.ts';

/** A result laid out like an operand of its shape. */
function allocateLike(node: Node, like: Value, builder: PlanBuilder): Value {
  const meta = builder.meta(node);
  return builder.allocateValue({ ...meta, strides: like.strides }, meta.dtype === 'qint8');
}

function addition(relu: boolean): LoweringRule {
  return (node, builder) => {
    const pair = operands(node, builder);
    if (!pair) return false;
    const [a, b] = pair;
    const output = allocateLike(node, a, builder);
    const qa = unsignedQParams(a);
    const qb = unsignedQParams(b);
    const { scale, zeroPoint } = unsignedQParams(output);
    const inputs = [qa.scale, qa.zeroPoint, qb.scale, qb.zeroPoint] as const;
    const epilogue = [inverseScale('jit.Program', scale), zeroPoint, relu ? zeroPoint : 0, 255] as const;
    const call = elementwise('qu8_add', product(a.shape), (at, n) => [
      at(a),
      at(b),
      n,
      ...inputs,
      ...epilogue,
      at(output),
    ]);
    builder.kernels(node, [call], { op: node.targetName });
    builder.bind(node, output);
    return true;
  };
}

function multiplication(relu: boolean): LoweringRule {
  return (node, builder) => {
    const pair = operands(node, builder);
    if (!pair) return false;
    const [a, b] = pair;
    const output = allocateLike(node, a, builder);
    const qa = unsignedQParams(a);
    const qb = unsignedQParams(b);
    const { scale, zeroPoint } = unsignedQParams(output);
    const multiplier = productMultiplier(qa.scale, qb.scale, scale);
    const call = elementwise('qu8_mul', product(a.shape), (at, n) => [
      at(a),
      at(b),
      n,
      qa.zeroPoint,
      qb.zeroPoint,
      multiplier,
      zeroPoint,
      relu ? zeroPoint : 0,
      255,
      at(output),
    ]);
    builder.kernels(node, [call], { op: node.targetName });
    builder.bind(node, output);
    return true;
  };
}

/** Both operands of a node as unsigned bytes without gaps, broadcast to its shape, in the layout of the larger. */
function operands(node: Node, builder: PlanBuilder): [Value, Value] | null {
  if (!(node.args[1] instanceof Node)) return null;
  const a = unsignedValue(node, node.args[0] as Node, builder);
  const b = unsignedValue(node, node.args[1], builder);
  if (!a || !b) return null;
  const { shape } = builder.meta(node);
  const count = product(shape);
  const leader = [a, b].find((x) => product(x.shape) === count && x.shape.length === shape.length);
  const strides = leader
    ? stridesInOrder(shape, memoryOrder(shape, leader.strides))
    : contiguousStrides(shape);
  const lay = (x: Value): Value =>
    inLayout(builder, node, { ...x, shape, strides: broadcastStrides(x.shape, x.strides, shape) }, strides);
  return [lay(a), lay(b)];
}

/** The arguments after the first where none of them depends on the inputs; null where one does. */
function constantArgs(node: Node, builder: PlanBuilder): unknown[] | null {
  const rest = node.args.slice(1).map((arg) => builder.attribute(arg) ?? builder.resolve(arg));
  const fixed = node.args.slice(1).every((arg) => !(arg instanceof Node) || builder.attribute(arg));
  return fixed ? rest : null;
}

/** What an operator makes of each of the 256 integers, as unsigned bytes: it is asked. Null where that is not all it looks at. */
function tableOf(node: Node, x: Value, builder: PlanBuilder): Uint8Array<ArrayBuffer> | null {
  const rest = constantArgs(node, builder);
  if (!rest || rest.some((arg) => arg instanceof Tensor && arg.numel > 1)) return null;
  const storage = DTYPES[x.dtype].allocate(256);
  const { min } = DTYPES[x.dtype];
  for (let i = 0; i < 256; i++) storage[i] = min + i;
  const all = new Tensor({ storage, shape: [256], dtype: x.dtype, qparams: x.qparams });
  const run = dispatch as (op: OpName, ...args: readonly unknown[]) => Tensor;
  return Uint8Array.from(run(node.target as OpName, all, ...rest).data, (q) => q - min);
}

/** A table in the engine's memory. */
function tableBlock(table: Uint8Array, builder: PlanBuilder): Block {
  return builder.constants.get(`table ${table.join()}`, 256, (ptr) => builder.engine.heap.u8.set(table, ptr));
}

/** Functions of one element: nothing but new parameters, a clamp, or a table of 256 entries. */
const unary: LoweringRule = (node, builder) => {
  const x = denseValue(node, node.args[0] as Node, builder);
  if (!x) return false;
  const table = tableOf(node, x, builder);
  if (!table) return false;
  const low = table[0];
  const high = table[255];
  const isClamp = table.every((q, i) => q === Math.min(Math.max(i, low), high));
  if (isClamp && low === 0 && high === 255) {
    builder.bind(node, { ...x, qparams: builder.meta(node).qparams });
    return true;
  }
  const output = allocateLike(node, x, builder);
  const total = product(x.shape);
  const call = isClamp
    ? elementwise('u8_clamp', total, (at, n) => [at(x), n, low, high, at(output)])
    : elementwise('u8_lookup', total, (at, n) => [
        at(x),
        n,
        { block: tableBlock(table, builder), offset: 0 },
        at(output),
      ]);
  builder.kernels(node, [call], { op: node.targetName });
  builder.bind(node, output);
  return true;
};

/** More tables would not stay in any cache. */
const MOST_TABLES = 4096;

/** What an operator makes of each of the 256 integers in each channel: it is asked about 256 samples of one pixel. */
const perChannel: LoweringRule = (node, builder) => {
  const rest = constantArgs(node, builder);
  if (!rest) return false;
  const x = channelsLastValue(node, node.args[0] as Node, builder);
  const layout = x && pixelLayout(x);
  if (!x || !layout?.uniform || x.shape[1] > MOST_TABLES) return false;
  const { dtype, qparams } = x;
  const channels = x.shape[1];
  const { min } = DTYPES[dtype];
  const storage = DTYPES[dtype].allocate(256 * channels);
  for (let i = 0; i < storage.length; i++) storage[i] = min + Math.floor(i / channels);
  const shape = [256, channels, ...x.shape.slice(2).map(() => 1)];
  const all = new Tensor({ storage, shape, dtype, qparams });
  const run = dispatch as (op: OpName, ...args: readonly unknown[]) => Tensor;
  const { data } = run(node.target as OpName, all, ...rest);
  const tables = Uint8Array.from(
    { length: data.length },
    (_, i) => data[(i & 255) * channels + (i >> 8)] - min,
  );
  const key = `tables of ${node.name} ${JSON.stringify(qparams)}`;
  const block = builder.constants.get(key, tables.length, (ptr) => builder.engine.heap.u8.set(tables, ptr));
  const output = allocateResult(node, builder, true);
  const rows = product(x.shape) / channels;
  const source = [addressOf(x), layout.pixel, channels, { block, offset: 0 }] as const;
  const args = ['begin', 'end', ...source, addressOf(output), channels] as const;
  builder.kernels(node, [{ kernel: 'u8_lookup_channels', args, units: rows, grain: 16 }], {
    op: node.targetName,
  });
  builder.bind(node, output);
  return true;
};

/** One slope or one per channel. */
const prelu: LoweringRule = (node, builder) => unary(node, builder) || perChannel(node, builder);

/** Beyond it, the kernel's integers would leave 16 bits. */
const LARGEST_MULTIPLIER = 120;

/**
 * The multiplier that turns integers of one quantization into those of another, rounding once; null where no such product
 * gives what dequantizing and quantizing gives, for every one of the 256.
 */
function directMultiplier(table: Uint8Array, from: Unsigned, to: Unsigned): number | null {
  const multiplier = Math.fround(Math.fround(from.scale) * inverseScale('jit.Program', to.scale));
  const same = table.every((q, i) => {
    const rounded = roundHalfEven(Math.fround((i - from.zeroPoint) * multiplier)) + to.zeroPoint;
    return q === Math.min(Math.max(rounded, 0), 255);
  });
  return same && multiplier < LARGEST_MULTIPLIER ? multiplier : null;
}

/** The call that copies rows of a part to their places in a joint, requantized where their parameters differ. */
function partCall(
  part: Value,
  output: Value,
  rows: number,
  source: readonly CallArg[],
  target: readonly CallArg[],
  builder: PlanBuilder,
): KernelCall {
  const from = unsignedQParams(part);
  const to = unsignedQParams(output);
  const work = { units: rows, grain: 16 };
  if (from.scale === to.scale && from.zeroPoint === to.zeroPoint)
    return { kernel: 'u8_copy_rows', args: [...source, ...target], ...work };
  const table = buildLookupTable((v) => v, from, to, false);
  const multiplier = directMultiplier(table, from, to);
  if (multiplier === null) {
    const args = [...source, { block: tableBlock(table, builder), offset: 0 }, ...target];
    return { kernel: 'u8_lookup_rows', args, ...work };
  }
  const args = [...source, from.zeroPoint, multiplier, to.zeroPoint, ...target];
  return { kernel: 'qu8_requantize_rows', args, ...work };
}

/**
 * A value as rows of neighbouring elements, the dimensions nested in `order` and those before place `at` of it making up
 * the rows: the distance of rows, or null where it does not lie like that.
 */
function rowStride({ shape, strides }: Value, order: readonly number[], at: number): number | null {
  let step = 1;
  let distance = 0;
  for (let place = order.length - 1; place >= 0; place--) {
    const d = order[place];
    if (place >= at) {
      if (shape[d] !== 1 && strides[d] !== step) return null;
    } else if (shape[d] !== 1) {
      if (distance === 0) {
        distance = strides[d];
        step = distance;
      } else if (strides[d] !== step) return null;
    }
    step *= shape[d];
  }
  return distance || step;
}

/** Parts side by side along a dimension: rows of each are copied, or requantized, to their places. */
function join(node: Node, builder: PlanBuilder, args: readonly Node[], dim: number): boolean {
  const meta = builder.meta(node);
  const { shape } = meta;
  if (args.length === 0 || !args.every((arg) => isActivation(builder.meta(arg)))) return false;
  const first = builder.value(args[0]);
  const stacked = shape.length > first.shape.length;
  const isImage = shape.length > 2 && !stacked && pixelLayout(first) !== null;
  const likeFirst = memoryOrder(first.shape, first.strides);
  const order = isImage
    ? memoryOrder(shape, channelsLastStrides(shape))
    : stacked
      ? [dim, ...likeFirst.map((d) => (d < dim ? d : d + 1))]
      : likeFirst;
  const at = order.indexOf(dim);
  const parts = args.map((arg): Value => {
    const unstacked = stacked ? order.slice(1).map((d) => (d < dim ? d : d - 1)) : order;
    const value = unsignedValue(node, arg, builder, (x) =>
      rowStride(x, unstacked, stacked ? 0 : at) === null ? stridesInOrder(x.shape, unstacked) : null,
    ) as Value;
    if (!stacked) return value;
    const insert = (list: readonly number[], v: number): number[] => [
      ...list.slice(0, dim),
      v,
      ...list.slice(dim),
    ];
    return { ...value, shape: insert(value.shape, 1), strides: insert(value.strides, product(value.shape)) };
  });
  const output = builder.allocateValue(
    { ...meta, strides: stridesInOrder(shape, order) },
    meta.dtype === 'qint8',
  );
  const rows = product(order.slice(0, at).map((d) => shape[d]));
  const rowBytes = product(order.slice(at).map((d) => shape[d]));
  let offset = 0;
  const calls = parts.map((part): KernelCall => {
    const bytes = product(order.slice(at).map((d) => part.shape[d]));
    const source = ['begin', 'end', addressOf(part), rowStride(part, order, at) as number, bytes] as const;
    const target = [addressOf(output, offset), rowBytes] as const;
    offset += bytes;
    return partCall(part, output, rows, source, target, builder);
  });
  builder.kernels(node, calls, { op: node.targetName });
  builder.bind(node, output);
  return true;
}

/** Parts that come with parameters of their own; `place` is the argument that names the dimension. */
const joining =
  (place: number): LoweringRule =>
  (node, builder) => {
    const [parts] = node.args;
    if (!Array.isArray(parts)) return false;
    const rank = builder.meta(node).shape.length;
    const dim = normalizeDim(builder.resolve(node.args[place]) as number, rank, node.targetName);
    return join(node, builder, parts as readonly Node[], dim);
  };

/** Element-wise operators. */
export const INT8_POINTWISE: LoweringRules = {
  add: unary,
  mul: unary,
  relu: unary,
  relu6: unary,
  hardtanh: unary,
  clamp: unary,
  sigmoid: unary,
  hardsigmoid: unary,
  tanh: unary,
  leakyRelu: unary,
  'quantized::sigmoid': unary,
  'quantized::tanh': unary,
  'quantized::hardswish': unary,
  'quantized::elu': unary,
  'quantized::celu': unary,
  'quantized::leaky_relu': unary,
  'quantized::prelu': prelu,
  'quantized::batch_norm2d': perChannel,
  'quantized::batch_norm2d_relu': perChannel,
  'quantized::batch_norm3d': perChannel,
  'quantized::batch_norm3d_relu': perChannel,
  'quantized::mul': multiplication(false),
  'quantized::mul_relu': multiplication(true),
  'quantized::threshold': unary,
  'quantized::add_scalar': unary,
  'quantized::mul_scalar': unary,
  'quantized::add': addition(false),
  'quantized::add_relu': addition(true),
  'quantized::cat': joining(3),
  cat: joining(1),
  stack: joining(1),
};
