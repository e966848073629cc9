import { product } from '../../../../core/math.ts';
import type { Node } from '../../../../fx/node.ts';
import { inverseScale } from '../../../../kernels/int8/quantize.ts';
import { PackedWeights } from '../../../../ops/quantized/packed.ts';
import { channelsLastStrides, contiguousStrides, hasStrides } from '../../../../tensor/shape.ts';
import { addressOf, type PlanBuilder } from '../../builder.ts';
import { inLayout, rowMajor } from '../../copy.ts';
import { isDense, type Value } from '../../value.ts';
import type { LoweringRule, LoweringRules } from '../rule.ts';
import { geometryOf } from './convolution.ts';
import { denseValue, elementwise, isActivation, unsignedQParams } from './layout.ts';
import { allocateWithMargins, type Margins, marginsFor } from './margins.ts';
import { formatOf } from './panels.ts';

/** Operators that are as well served by row-major elements. */
const KEEPS_ORDER = new Set<unknown>([
  'flatten',
  'view',
  'reshape',
  'dequantize',
  'quantized::linear',
  'quantized::linear_relu',
]);

/** Whether what reads a result is better served by channels last. */
function wantsChannelsLast(node: Node): boolean {
  return node.users.size > 0 && [...node.users].some((user) => !KEEPS_ORDER.has(user.target));
}

/** The margins that the first convolution among the users of a node reads; null where none needs any. */
function wantedMargins(node: Node, builder: PlanBuilder): Margins | null {
  for (const user of node.users) {
    const packed = builder.attribute(user.args[1]);
    if (!(packed instanceof PackedWeights) || packed.geometry === null || user.args[0] !== node) continue;
    const { mergedTaps } = formatOf(packed, builder);
    if (mergedTaps > 1) return marginsFor(geometryOf(user, packed, builder), mergedTaps);
  }
  return null;
}

/** Quantizes row-major floats to channels-last bytes, with the margins that the first convolution wants. */
function quantizePlanes(node: Node, x: Value, builder: PlanBuilder): void {
  const meta = builder.meta(node);
  const { shape } = meta;
  const like = { ...x, ...meta, strides: channelsLastStrides(shape), flipped: meta.dtype === 'qint8' };
  const margins = wantedMargins(node, builder);
  const output = margins
    ? allocateWithMargins(like, margins, builder)
    : builder.allocateValue(like, like.flipped);
  const { scale, zeroPoint } = unsignedQParams(output);
  const channels = shape[1];
  const width = shape[shape.length - 1];
  const lines = product(shape.slice(2, -1));
  const plane = 4 * lines * width;
  const source = [addressOf(x), channels * plane, plane, lines, channels, width] as const;
  const epilogue = [inverseScale('jit.Program', scale), zeroPoint, 0, 255] as const;
  const line = channels * (margins ? margins.width : width);
  const target = [{ block: output.block, offset: 0 }, line, channels * (margins ? margins.left : 0)] as const;
  builder.kernels(
    node,
    [
      {
        kernel: 'qu8_quantize_planes',
        args: ['begin', 'end', ...source, ...epilogue, ...target],
        units: shape[0] * lines,
        grain: 1,
      },
    ],
    { op: 'quantizePerTensor' },
  );
  builder.bind(node, output);
}

const quantizePerTensor: LoweringRule = (node, builder) => {
  const meta = builder.meta(node);
  let x = builder.value(node.args[0]);
  if (!isActivation(meta) || x.dtype !== 'float32') return false;
  const { shape } = x;
  const isRowMajor = hasStrides(shape, x.strides, contiguousStrides(shape));
  if (isRowMajor && shape.length >= 3 && shape.length <= 5 && product(shape) > 0 && wantsChannelsLast(node)) {
    quantizePlanes(node, x, builder);
    return true;
  }
  const last = shape.length === 4 && wantsChannelsLast(node);
  if (last) x = inLayout(builder, node, x, channelsLastStrides(shape));
  else if (!isDense(shape, x.strides)) x = rowMajor(builder, node, x);
  const output = builder.allocateValue({ ...meta, strides: x.strides }, meta.dtype === 'qint8');
  const { scale, zeroPoint } = unsignedQParams(output);
  const inverse = inverseScale('jit.Program', scale);
  const call = elementwise('qu8_quantize', product(shape), (at, n) => [
    at(x),
    n,
    inverse,
    zeroPoint,
    0,
    255,
    at(output),
  ]);
  builder.kernels(node, [call], { op: 'quantizePerTensor' });
  builder.bind(node, output);
  return true;
};

const dequantize: LoweringRule = (node, builder) => {
  const x = denseValue(node, node.args[0] as Node, builder);
  if (!x) return false;
  const output = builder.allocateValue({ ...builder.meta(node), strides: x.strides });
  const { scale, zeroPoint } = unsignedQParams(x);
  const call = elementwise('qu8_dequantize', product(x.shape), (at, n) => [
    at(x),
    n,
    Math.fround(scale),
    zeroPoint,
    at(output),
  ]);
  builder.kernels(node, [call], { op: 'dequantize' });
  builder.bind(node, output);
  return true;
};

/** From float to int8 and back. */
export const INT8_CROSSING: LoweringRules = { quantizePerTensor, dequantize };
