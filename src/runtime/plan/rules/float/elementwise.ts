import { product } from '../../../../core/math.ts';
import type { Node } from '../../../../fx/node.ts';
import { MAP_FUNCTIONS, type MapFunction } from '../../../../kernels/f32/map.ts';
import { memoryOrder, nest, stridesInOrder } from '../../../../ops/float/layout.ts';
import type { DType } from '../../../../tensor/dtype.ts';
import { broadcastStrides, contiguousStrides, type Shape } from '../../../../tensor/shape.ts';
import { addressOf, type PlanBuilder } from '../../builder.ts';
import { rowMajor } from '../../copy.ts';
import type { Address, KernelCall } from '../../step.ts';
import { isDense, storedBytes, type Value } from '../../value.ts';
import type { LoweringRule, LoweringRules } from '../rule.ts';
import { boundsOf, onlyUser } from './epilogue.ts';
import { floatValue } from './product.ts';

/** Floats of one unit of a flat loop. */
const CHUNK = 4096;

/** Applies a function of `f32_map` to every element of a value; the result keeps its layout. */
export function mapped(node: Node, builder: PlanBuilder, x: Value, fn: MapFunction, p = 0, q = 0): Value {
  const from = isDense(x.shape, x.strides) ? x : rowMajor(builder, node, x);
  const strides = stridesInOrder(x.shape, memoryOrder(x.shape, from.strides));
  const out = builder.allocateValue({ shape: x.shape, dtype: 'float32', qparams: null, strides });
  const total = product(x.shape);
  const at = (value: Value): { at: Address; stride: number } => ({ at: addressOf(value), stride: 4 * CHUNK });
  const call: KernelCall = {
    kernel: 'f32_map',
    args: [MAP_FUNCTIONS.indexOf(fn), at(from), { count: CHUNK, total }, at(out), p, q],
    units: Math.ceil(total / CHUNK),
    grain: 1,
  };
  if (total > 0) builder.kernels(node, [call], { op: node.targetName });
  return out;
}

/** The rule of a function of one float, with up to two numbers as arguments. */
function mapping(fn: MapFunction): LoweringRule {
  return (node, builder) => {
    const x = floatValue(node.args[0], builder);
    if (!x) return false;
    const [p = 0, q = 0] = node.args.slice(1) as number[];
    builder.bind(node, mapped(node, builder, x, fn, p, q));
    return true;
  };
}

const bounded: LoweringRule = (node, builder) => {
  const x = floatValue(node.args[0], builder);
  const bounds = x && boundsOf(node, builder);
  if (!x || !bounds) return false;
  builder.bind(node, mapped(node, builder, x, 'clamp', ...bounds));
  return true;
};

const gelu: LoweringRule = (node, builder) => {
  const x = floatValue(node.args[0], builder);
  if (!x) return false;
  builder.bind(node, mapped(node, builder, x, node.args[1] === 'tanh' ? 'geluTanh' : 'gelu'));
  return true;
};

/** The functions of `f32_zip`, in its order. */
const PAIRS = [
  'add',
  'addScaled',
  'sub',
  'mul',
  'div',
  'maximum',
  'minimum',
  'prelu',
  'maskedFill',
  'eq',
  'ne',
  'lt',
  'le',
  'gt',
  'ge',
  'keepWhere',
  'dropWhere',
  'or',
] as const;

/** Applies a function of `f32_zip` to broadcast operands, and bounds to the result. */
export function zipped(
  node: Node,
  builder: PlanBuilder,
  a: Value,
  b: Value,
  shape: Shape,
  fn: (typeof PAIRS)[number],
  alpha: number,
  [lo, hi]: readonly [number, number],
): Value {
  const strides = [a, b]
    .filter((x) => x.shape.length === shape.length && x.shape.every((size, d) => size === shape[d]))
    .find((x) => isDense(x.shape, x.strides))?.strides;
  const order = memoryOrder(shape, strides ?? contiguousStrides(shape));
  const out = builder.allocateValue({
    shape,
    dtype: 'float32',
    qparams: null,
    strides: stridesInOrder(shape, order),
  });
  if (product(shape) === 0) return out;
  const loops = nest(shape, out.strides, [
    broadcastStrides(a.shape, a.strides, shape),
    broadcastStrides(b.shape, b.strides, shape),
    out.strides,
  ]);
  const [as, bs, os] = loops.strides.map((list) => list.map((s) => 4 * s));
  const columns = loops.shape.pop() ?? 1;
  const [aStep, bStep] = [as.pop() ?? 0, bs.pop() ?? 0];
  os.pop();
  const op = PAIRS.indexOf(fn);
  const [p, q, to] = [addressOf(a), addressOf(b), addressOf(out)];
  let call: KernelCall;
  if (loops.shape.length === 0) {
    const along = (at: Address, step: number): { at: Address; stride: number } => ({
      at,
      stride: step * CHUNK,
    });
    const count = { count: CHUNK, total: columns };
    call = {
      kernel: 'f32_zip_line',
      args: [op, along(p, aStep), aStep, along(q, bStep), bStep, count, along(to, 4), alpha, lo, hi],
      units: Math.ceil(columns / CHUNK),
      grain: 1,
    };
  } else {
    const levels = loops.shape.map((size, i) => [size, as[i], bs[i], os[i]]).reverse();
    const plan = builder.table([levels.length, columns, aStep, bStep, ...levels.flat()]);
    call = {
      kernel: 'f32_zip',
      args: ['begin', 'end', op, p, q, to, plan, alpha, lo, hi],
      units: product(loops.shape),
      grain: Math.max(1, Math.floor(CHUNK / columns)),
    };
  }
  builder.kernels(node, [call], { op: node.targetName });
  return out;
}

/** A number as a value of no dimensions. */
function scalar(builder: PlanBuilder, number: number): Value {
  const { block } = builder.floats(`scalar ${number}`, 1, () => [number]);
  return { shape: [], strides: [], dtype: 'float32', qparams: null, offset: 0, flipped: false, block };
}

/** The rule of an operator on two broadcast operands; a third argument is a factor of the second. */
function zipping(fn: (typeof PAIRS)[number]): LoweringRule {
  return (node, builder) => {
    const [aArg, bArg, factor = 1] = node.args;
    const a = floatValue(aArg, builder);
    const b = typeof bArg === 'number' ? scalar(builder, bArg) : floatValue(bArg, builder);
    const meta = builder.meta(node);
    if (!a || !b || meta.dtype !== 'float32' || typeof factor !== 'number') return false;
    const user = onlyUser(node, builder);
    const bounds = user && boundsOf(user, builder);
    const scaled = factor === 1 ? fn : 'addScaled';
    const alpha = fn === 'sub' ? -factor : factor;
    const out = zipped(node, builder, a, b, meta.shape, scaled, alpha, bounds ?? [-Infinity, Infinity]);
    builder.bind(node, out);
    if (user && bounds) builder.bind(user, out);
    return true;
  };
}

/** The kernel that makes floats of the elements of a dtype; null where there is none. */
function toFloatKernel(dtype: DType): 'f32_from_f64' | 'f32_from_u8' | null {
  if (dtype === 'int64' || dtype === 'float64') return 'f32_from_f64';
  return dtype === 'bool' || dtype === 'uint8' ? 'f32_from_u8' : null;
}

/** Whole numbers, booleans or doubles as floats. */
function asFloats(
  node: Node,
  builder: PlanBuilder,
  x: Value,
  kernel: NonNullable<ReturnType<typeof toFloatKernel>>,
): Value {
  const from = isDense(x.shape, x.strides) ? x : rowMajor(builder, node, x);
  const out = builder.allocateValue({
    shape: x.shape,
    dtype: 'float32',
    qparams: null,
    strides: from.strides,
  });
  const total = product(x.shape);
  const call: KernelCall = {
    kernel,
    args: [
      { at: addressOf(from), stride: storedBytes(x.dtype) * CHUNK },
      { count: CHUNK, total },
      { at: addressOf(out), stride: 4 * CHUNK },
    ],
    units: Math.ceil(total / CHUNK),
    grain: 1,
  };
  if (total > 0) builder.kernels(node, [call], { op: 'to float' });
  return out;
}

const toFloat: LoweringRule = (node, builder) => {
  const x = builder.tensor(node.args[0]);
  const kernel = x && toFloatKernel(x.dtype);
  if (!kernel || node.args[1] !== 'float32') return false;
  builder.bind(node, asFloats(node, builder, x, kernel));
  return true;
};

const UNBOUNDED = [-Infinity, Infinity] as const;

const maskedFill: LoweringRule = (node, builder) => {
  const x = floatValue(node.args[0], builder);
  const mask = builder.tensor(node.args[1]);
  if (!x || mask?.dtype !== 'bool' || builder.meta(node).dtype !== 'float32') return false;
  const { shape } = builder.meta(node);
  const where = asFloats(node, builder, mask, 'f32_from_u8');
  const fill = node.args[2] as number;
  builder.bind(node, zipped(node, builder, x, where, shape, 'maskedFill', fill, UNBOUNDED));
  return true;
};

/** An argument of a comparison as floats that compare alike; undefined where floats would lose digits. */
function comparable(node: Node, builder: PlanBuilder, arg: unknown, other: unknown): Value | undefined {
  if (typeof arg === 'number') return scalar(builder, arg);
  const value = builder.tensor(arg as Node);
  if (!value || value.dtype === 'float32') return value;
  // Whole numbers keep their order to one that floats hold exactly.
  const exact = typeof other === 'number' && Number.isInteger(other) && Math.abs(other) < 2 ** 24;
  const kernel = exact && value.dtype !== 'float64' ? toFloatKernel(value.dtype) : null;
  return kernel ? asFloats(node, builder, value, kernel) : undefined;
}

/** Floats that are 0 or 1 as booleans. */
function asBooleans(node: Node, builder: PlanBuilder, x: Value): Value {
  const { shape, strides } = x;
  const out = builder.allocateValue({ shape, dtype: 'bool', qparams: null, strides });
  const total = product(shape);
  const call: KernelCall = {
    kernel: 'bool_from_f32',
    args: [
      { at: addressOf(x), stride: 4 * CHUNK },
      { count: CHUNK, total },
      { at: addressOf(out), stride: CHUNK },
    ],
    units: Math.ceil(total / CHUNK),
    grain: 1,
  };
  if (total > 0) builder.kernels(node, [call], { op: 'to bool' });
  return out;
}

/** The rule of a comparison of floats, or of whole numbers with one number. */
function comparing(fn: 'eq' | 'ne' | 'lt' | 'le' | 'gt' | 'ge'): LoweringRule {
  return (node, builder) => {
    const [aArg, bArg] = node.args;
    const a = comparable(node, builder, aArg, bArg);
    const b = a && comparable(node, builder, bArg, aArg);
    if (!a || !b) return false;
    const found = zipped(node, builder, a, b, builder.meta(node).shape, fn, 1, UNBOUNDED);
    builder.bind(node, asBooleans(node, builder, found));
    return true;
  };
}

/** The bits of one float where a condition holds and of another where not: each masked alone, then joined. */
const where: LoweringRule = (node, builder) => {
  const condition = builder.tensor(node.args[0]);
  const [a, b] = node.args.slice(1).map((arg) => floatValue(arg, builder));
  if (condition?.dtype !== 'bool' || !a || !b) return false;
  const { shape } = builder.meta(node);
  const mask = asFloats(node, builder, condition, 'f32_from_u8');
  const kept = zipped(node, builder, a, mask, shape, 'keepWhere', 1, UNBOUNDED);
  const others = zipped(node, builder, b, mask, shape, 'dropWhere', 1, UNBOUNDED);
  builder.bind(node, zipped(node, builder, kept, others, shape, 'or', 1, UNBOUNDED));
  return true;
};

/** One slope, or one per channel (dimension 1). */
const prelu: LoweringRule = (node, builder) => {
  const x = floatValue(node.args[0], builder);
  const weight = floatValue(node.args[1], builder);
  if (!x || !weight) return false;
  const one = product(weight.shape) === 1;
  const after = new Array<number>(Math.max(0, x.shape.length - 2)).fill(1);
  const slopes: Value = one
    ? { ...weight, shape: [], strides: [] }
    : { ...weight, shape: [...weight.shape, ...after], strides: [...weight.strides, ...after] };
  builder.bind(node, zipped(node, builder, x, slopes, x.shape, 'prelu', 0, UNBOUNDED));
  return true;
};

/** Functions of one or two floats at the same place. */
export const ELEMENTWISE_RULES: LoweringRules = {
  relu: bounded,
  relu6: bounded,
  hardtanh: bounded,
  clamp: bounded,
  gelu,
  sigmoid: mapping('sigmoid'),
  tanh: mapping('tanh'),
  silu: mapping('silu'),
  hardsigmoid: mapping('hardsigmoid'),
  hardswish: mapping('hardswish'),
  elu: mapping('elu'),
  leakyRelu: mapping('leakyRelu'),
  exp: mapping('exp'),
  expm1: mapping('expm1'),
  log: mapping('log'),
  log1p: mapping('log1p'),
  softplus: mapping('softplus'),
  neg: mapping('neg'),
  abs: mapping('abs'),
  sqrt: mapping('sqrt'),
  rsqrt: mapping('rsqrt'),
  reciprocal: mapping('reciprocal'),
  square: mapping('square'),
  floor: mapping('floor'),
  ceil: mapping('ceil'),
  round: mapping('round'),
  add: zipping('add'),
  sub: zipping('sub'),
  mul: zipping('mul'),
  div: zipping('div'),
  maximum: zipping('maximum'),
  minimum: zipping('minimum'),
  maskedFill,
  eq: comparing('eq'),
  ne: comparing('ne'),
  lt: comparing('lt'),
  le: comparing('le'),
  gt: comparing('gt'),
  ge: comparing('ge'),
  where,
  prelu,
  to: toFloat,
};
