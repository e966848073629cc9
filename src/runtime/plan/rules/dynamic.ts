import { product } from '../../../core/math.ts';
import type { Arg, Node } from '../../../fx/node.ts';
import type { KernelExports } from '../../../kernels/engine.ts';
import type { PanelFormat } from '../../../kernels/int8/panel-format.ts';
import { chooseQuantizationParams } from '../../../kernels/int8/qparams.ts';
import { PackedWeights } from '../../../ops/quantized/packed.ts';
import { contiguousStrides } from '../../../tensor/shape.ts';
import { addressOf, type PlanBuilder } from '../builder.ts';
import { inLayout } from '../copy.ts';
import { placedAt } from '../memory.ts';
import type { Address, KernelCall } from '../step.ts';
import type { Meta, Value } from '../value.ts';
import type { LoweringRule, LoweringRules } from './rule.ts';

/** Floats whose range one part holds. */
const PART = 4096;

/** An input that is quantized while the plan runs. */
export interface DynamicInput {
  /** Unsigned bytes, in the order of the floats. */
  readonly bytes: Address;
  /** The arguments that every kernel of `qu8_dynamic.ts` begins with. */
  readonly range: readonly [Address, number, number, Address];
}

/** Adds the step that finds the range of a row-major input, in parts. */
export function measureInput(node: Node, builder: PlanBuilder, x: Value, reduceRange: boolean): DynamicInput {
  const n = product(x.shape);
  const count = Math.max(1, Math.ceil(n / PART));
  const parts: Address = { block: builder.allocate(64 * count), offset: 0 };
  const call: KernelCall = {
    kernel: 'f32_minmax_parts',
    args: [addressOf(x), n, PART, parts, 'begin', 'end'],
    units: count,
    grain: 1,
  };
  builder.kernels(node, [call], { op: 'range of the input' });
  // What the eager layer throws for an input that is not finite.
  const status = builder.guard(() => errorOf(() => chooseQuantizationParams(Number.NaN, Number.NaN)));
  const range = [parts, count, reduceRange ? 127 : 255, status] as const;
  return { bytes: { block: builder.allocate(n), offset: 0 }, range };
}

function errorOf(body: () => unknown): Error {
  try {
    body();
  } catch (error) {
    return error as Error;
  }
  throw new Error('chooseQuantizationParams took a range that is not finite');
}

/** A node that is a dynamic linear layer, and its weights. */
interface LinearLayer {
  readonly node: Node;
  readonly packed: PackedWeights;
}

const LINEAR_TARGETS = ['quantized::linear_dynamic', 'quantized::linear_relu_dynamic'];

function linearLayer(node: Node, builder: PlanBuilder): LinearLayer | null {
  const packed = builder.attribute(node.args[1]);
  return packed instanceof PackedWeights ? { node, packed } : null;
}

/** An input that more layers read than this is kept for later: their results would all have to lie somewhere. */
const MOST_TOGETHER = 4;

/** The layers that read the same input in the same way, as queries, keys and values of attention do. */
function layersOf(first: LinearLayer, builder: PlanBuilder): readonly LinearLayer[] {
  const [input, , reduceRange] = first.node.args;
  const users = [...(input as Node).users].filter(
    ({ target, args }) =>
      LINEAR_TARGETS.includes(target as string) && args[0] === input && args[2] === reduceRange,
  );
  if (users.length > MOST_TOGETHER) return [first];
  const others = users.filter((user) => user !== first.node && !builder.isBound(user));
  return [first, ...others.flatMap((user) => linearLayer(user, builder) ?? [])];
}

function dynamicKernel({ weightType, columns }: PanelFormat): keyof KernelExports {
  if (weightType === 's16') return 'qu8s16_dynamic_f32';
  return columns === 16 ? 'qu8s8x16_dynamic_f32' : 'qu8s8_dynamic_f32';
}

/** The product of quantized rows with the weights of a layer, its result bound. */
function productOf(
  { node, packed }: LinearLayer,
  builder: PlanBuilder,
  { bytes, range }: DynamicInput,
  rows: number,
): KernelCall {
  const panel = packed.dynamicPanel();
  const { panels, panelBytes, count, sums, scales, floatBias } = panel.dynamicAddresses(node.targetName);
  const last = fusedRelu(node, builder);
  const relu = last !== node || node.target === 'quantized::linear_relu_dynamic';
  const out = builder.allocateValue(rowMajorMeta(builder.meta(node)));
  builder.bind(node, out);
  if (last !== node) builder.bind(last, out);
  const { inChannelsPerGroup: features, outChannels } = panel;
  return {
    kernel: dynamicKernel(panel.format),
    args: [
      ...range,
      ...[{ block: placedAt(panels, count * panelBytes), offset: 0 }, panelBytes, sums, scales],
      ...[bytes, features, rows, outChannels, addressOf(out)],
      { block: placedAt(floatBias, 4 * outChannels), offset: 0 },
      relu ? 0 : Number.NEGATIVE_INFINITY,
      ...(['begin', 'end'] as const),
    ],
    units: count,
    grain: 1,
  };
}

/**
 * Linear layers on an input that is quantized call by call, in three steps: the range of the input; its integers; the products
 * with a float epilogue, whose panels take up the parameters of the input just before they are used.
 */
const linearDynamic: LoweringRule = (node, builder) => {
  const input = builder.tensor(node.args[0]);
  const layer = linearLayer(node, builder);
  if (input?.dtype !== 'float32' || layer === null) return false;
  const n = product(input.shape);
  if (n === 0) return false;
  const x = inLayout(builder, node, input, contiguousStrides(input.shape));
  const quantized = measureInput(node, builder, x, node.args[2] as boolean);
  const quantize: KernelCall = {
    kernel: 'qu8_dynamic_quantize',
    args: [...quantized.range, addressOf(x), n, quantized.bytes, 'begin', 'end'],
    units: Math.ceil(n / 16),
    grain: 64,
  };
  builder.kernels(node, [quantize], { op: 'quantize the input' });
  const layers = layersOf(layer, builder);
  const rows = n / input.shape[input.shape.length - 1];
  const calls = layers.map((each) => productOf(each, builder, quantized, rows));
  const macs = layers.reduce((sum, { packed }) => sum + n * packed.dynamicPanel().outChannels, 0);
  builder.kernels(node, calls, { op: node.targetName, macs });
  return true;
};

/** The ReLU that is the only user of a node; the node itself where there is none. */
function fusedRelu(node: Node, builder: PlanBuilder): Node {
  const [user] = node.users;
  return node.users.size === 1 && user.target === 'relu' && !builder.isBound(user) ? user : node;
}

function rowMajorMeta(meta: Meta): Meta {
  return { ...meta, strides: contiguousStrides(meta.shape) };
}

/** A float32 matrix whose rows are contiguous, with any distance between them: address and distance in bytes. */
function matrixRows(arg: Arg, builder: PlanBuilder): readonly [Address, number] | null {
  const value = builder.tensor(arg);
  if (value?.dtype !== 'float32' || value.shape.length !== 2) return null;
  if (value.shape[1] > 1 && value.strides[1] !== 1) return null;
  return [addressOf(value), value.shape[0] > 1 ? 4 * value.strides[0] : 0];
}

/** A row to add to gates that are no sum: −0 leaves every number as it is. */
function noGates(builder: PlanBuilder, floats: number): readonly [Address, number] {
  return [builder.floats(`minus zeros ${floats}`, floats, () => new Float32Array(floats).fill(-0)), 0];
}

/** The element-wise half of an LSTM step, on gates that are the sum of two matrices. */
function lstmStep(
  node: Node,
  builder: PlanBuilder,
  a: readonly [Address, number],
  b: readonly [Address, number],
  state: readonly [Address, number],
): void {
  const metas = builder.metas.get(node) as readonly Meta[];
  const [h, c] = metas.map((meta) => builder.allocateValue(rowMajorMeta(meta)));
  const [rows, hidden] = h.shape;
  const call: KernelCall = {
    kernel: 'f32_lstm_pointwise',
    args: [...a, ...b, ...state, hidden, addressOf(h), 4 * hidden, addressOf(c), 4 * hidden, 'begin', 'end'],
    units: rows,
    grain: 1,
  };
  builder.kernels(node, [call], { op: node.targetName });
  builder.bind(node, [h, c]);
}

const lstmPointwise: LoweringRule = (node, builder) => {
  const gates = matrixRows(node.args[0], builder);
  const state = matrixRows(node.args[1], builder);
  if (!gates || !state) return false;
  lstmStep(node, builder, gates, noGates(builder, builder.value(node.args[0]).shape[1]), state);
  return true;
};

/** The sum of input and hidden gates goes into the LSTM step that alone reads it. */
const addedGates: LoweringRule = (node, builder) => {
  const [user] = node.users;
  const [left, right, alpha] = node.args;
  if (node.users.size !== 1 || user.target !== 'lstmPointwise' || user.args[0] !== node || alpha !== 1)
    return false;
  const { shape } = builder.meta(node);
  const sameShape = [left, right].every((arg) => builder.tensor(arg)?.shape.join() === shape.join());
  const a = matrixRows(left, builder);
  const b = matrixRows(right, builder);
  const state = matrixRows(user.args[1], builder);
  if (!sameShape || !a || !b || !state) return false;
  lstmStep(user, builder, a, b, state);
  builder.absorb(node);
  return true;
};

const gruPointwise: LoweringRule = (node, builder) => {
  const [x, y, state] = node.args.map((arg) => matrixRows(arg, builder));
  if (!x || !y || !state) return false;
  const next = builder.allocateValue(rowMajorMeta(builder.meta(node)));
  const [rows, hidden] = next.shape;
  const call: KernelCall = {
    kernel: 'f32_gru_pointwise',
    args: [...x, ...y, ...state, hidden, addressOf(next), 4 * hidden, 'begin', 'end'],
    units: rows,
    grain: 1,
  };
  builder.kernels(node, [call], { op: node.targetName });
  builder.bind(node, next);
  return true;
};

/** Layers that quantize their float input call by call, and recurrent cells. */
export const DYNAMIC_RULES: LoweringRules = {
  'quantized::linear_dynamic': linearDynamic,
  'quantized::linear_relu_dynamic': linearDynamic,
  add: addedGates,
  lstmPointwise,
  gruPointwise,
};
