import { product } from '../../../core/math.ts';
import { Node } from '../../../fx/node.ts';
import { chooseQuantizationParams } from '../../../kernels/int8/qparams.ts';
import { PackedWeights } from '../../../ops/quantized/packed.ts';
import { contiguousStrides } from '../../../tensor/shape.ts';
import { addressOf, type PlanBuilder } from '../builder.ts';
import { inLayout } from '../copy.ts';
import { placedAt } from '../memory.ts';
import type { Address, KernelCall } from '../step.ts';
import { isValue, type Meta, type Value } from '../value.ts';
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
  const parts: Address = { block: builder.allocate(8 * count), offset: 0 };
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

/**
 * A linear layer on an input that is quantized call by call, in three steps: the range of the input; the integers of the
 * input and, beside, the channel headers that depend on its parameters; the product with a float epilogue.
 */
const linearDynamic =
  (relu: boolean): LoweringRule =>
  (node, builder) => {
    const input = builder.resolve(node.args[0]);
    const packed = builder.attribute(node.args[1]);
    if (!isValue(input) || input.dtype !== 'float32' || !(packed instanceof PackedWeights)) return false;
    if (product(input.shape) === 0) return false;
    const x = inLayout(builder, node, input, contiguousStrides(input.shape));
    const panel = packed.dynamicPanel();
    const { panels, panelBytes, count, sums, scales, floatBias } = panel.dynamicAddresses(node.targetName);
    const n = product(x.shape);
    const features = panel.inChannelsPerGroup;
    const rows = n / features;
    const { bytes, range } = measureInput(node, builder, x, node.args[2] as boolean);
    const weights = placedAt(panels, count * panelBytes);
    const quantize: KernelCall = {
      kernel: 'qu8_dynamic_quantize',
      args: [...range, addressOf(x), n, bytes, 'begin', 'end'],
      units: Math.ceil(n / 16),
      grain: 64,
    };
    const headers: KernelCall = {
      kernel: 'qu8_dynamic_panels',
      args: [...range, { block: weights, offset: 0 }, panelBytes, sums, scales, 'begin', 'end'],
      units: count,
      grain: 16,
    };
    builder.kernels(node, [quantize, headers], { op: 'quantize the input' });

    const last = fusedRelu(node, builder);
    const floor = relu || last !== node ? 0 : Number.NEGATIVE_INFINITY;
    const out = builder.allocateValue(rowMajorMeta(builder.meta(node)));
    const outFeatures = panel.outChannels;
    const at = (address: Address, stride: number): { at: Address; stride: number } => ({
      at: address,
      stride,
    });
    const multiply: KernelCall = {
      kernel: panel.format.weightType === 's16' ? 'qu8s16_conv_f32' : 'qu8s8_conv_f32',
      args: [
        ...[bytes, features, 0, 1, features, 0, rows],
        at({ block: weights, offset: 0 }, panelBytes),
        { count: 8, total: outFeatures },
        ...[at(addressOf(out), 32), outFeatures],
        at({ block: placedAt(floatBias, 4 * outFeatures), offset: 0 }, 32),
        floor,
      ],
      units: count,
      grain: 1,
    };
    builder.kernels(node, [multiply], { op: node.targetName, macs: n * outFeatures });
    builder.bind(node, out);
    if (last !== node) builder.bind(last, out);
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
function matrixRows(value: unknown): readonly [Address, number] | null {
  if (!isValue(value) || value.dtype !== 'float32' || value.shape.length !== 2) return null;
  if (value.shape[1] > 1 && value.strides[1] !== 1) return null;
  return [addressOf(value), value.shape[0] > 1 ? 4 * value.strides[0] : 0];
}

/** Zeros to add to gates that are no sum. */
function zeroRow(builder: PlanBuilder, floats: number): readonly [Address, number] {
  const { heap } = builder.engine;
  const block = builder.constants.get(`zeros ${floats}`, 4 * floats + 64, (ptr) => {
    heap.f32.fill(0, ptr >> 2, (ptr >> 2) + floats + 16);
  });
  return [{ block, offset: 0 }, 0];
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
  const gates = matrixRows(builder.resolve(node.args[0]));
  const state = matrixRows(builder.resolve(node.args[1]));
  if (!gates || !state) return false;
  lstmStep(node, builder, gates, zeroRow(builder, builder.value(node.args[0]).shape[1]), state);
  return true;
};

/** The sum of input and hidden gates goes into the LSTM step that alone reads it. */
const addedGates: LoweringRule = (node, builder) => {
  const [user] = node.users;
  const [left, right, alpha] = node.args;
  if (node.users.size !== 1 || user.target !== 'lstmPointwise' || user.args[0] !== node || alpha !== 1)
    return false;
  if (!(left instanceof Node) || !(right instanceof Node)) return false;
  const { shape } = builder.meta(node);
  const sameShape = [left, right].every((arg) => {
    const value = builder.resolve(arg);
    return isValue(value) && value.shape.join() === shape.join();
  });
  const a = matrixRows(builder.resolve(left));
  const b = matrixRows(builder.resolve(right));
  const state = matrixRows(builder.resolve(user.args[1]));
  if (!sameShape || !a || !b || !state) return false;
  lstmStep(user, builder, a, b, state);
  builder.absorb(node);
  return true;
};

const gruPointwise: LoweringRule = (node, builder) => {
  const [x, y, state] = node.args.map((arg) => matrixRows(builder.resolve(arg)));
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
  'quantized::linear_dynamic': linearDynamic(false),
  'quantized::linear_relu_dynamic': linearDynamic(true),
  add: addedGates,
  lstmPointwise,
  gruPointwise,
};
