import { product } from '../../../../core/math.ts';
import type { Node } from '../../../../fx/node.ts';
import {
  type ConvGeometry,
  convGeometry,
  indirectionTable,
  isPointwise,
} from '../../../../kernels/geometry.ts';
import type { Depthwise3x3Format } from '../../../../kernels/int8/depthwise3x3.ts';
import { bytesKernel } from '../../../../kernels/int8/panel-format.ts';
import { PackedWeights } from '../../../../ops/quantized/packed.ts';
import { contiguousStrides, viewStrides } from '../../../../tensor/shape.ts';
import { addressOf, type PlanBuilder } from '../../builder.ts';
import { type Block, SLACK } from '../../memory.ts';
import { type Address, type KernelCall, pointerOf } from '../../step.ts';
import type { Value } from '../../value.ts';
import type { LoweringRule, LoweringRules } from '../rule.ts';
import {
  allocateResult,
  channelsLastValue,
  type PixelLayout,
  pixelLayout,
  unsignedQParams,
  unsignedValue,
} from './layout.ts';
import { marginsFor, withMargins } from './margins.ts';
import { formatOf, type Panels, panelsFor } from './panels.ts';

/** Ranges of rows are whole tiles of every kernel. */
export const ROW_GRAIN = 12;

/**
 * Products of fewer rows are divided by panels: every thread then streams its own share of the weights past the rows,
 * which stay in its cache.
 */
export const FEW_ROWS = 192;

/** The geometry of a convolution node for this plan's shapes. */
export function geometryOf(node: Node, packed: PackedWeights, builder: PlanBuilder): ConvGeometry {
  const { shape } = builder.meta(node.args[0] as Node);
  const { stride, padding, dilation } = packed.geometry as NonNullable<PackedWeights['geometry']>;
  const inputSize = shape.slice(2);
  return convGeometry({ batch: shape[0], inputSize, kernel: packed.kernelSize, stride, padding, dilation });
}

/** What the calls of one product share. */
export interface ProductPlan {
  readonly panels: Panels;
  readonly packed: PackedWeights;
  readonly input: Address;
  readonly rowStride: number;
  /** Null where rows follow one another `rowStride` bytes apart. */
  readonly table: Block | null;
  readonly rows: number;
  readonly output: Value;
  readonly outStride: number;
  readonly relu: boolean;
}

/** One call per group of channels, over rows or over panels. */
export function productCalls(plan: ProductPlan): KernelCall[] {
  const { panels, packed, input, rowStride, rows, output, outStride, relu } = plan;
  const { format, block } = panels;
  const { slots, tapChannels, panelGroups, panelsPerGroup, panelBytes, columns } = format;
  const { zeroPoint } = unsignedQParams(output);
  const epilogue = [zeroPoint, relu ? zeroPoint : 0, 255] as const;
  const table = plan.table ? { block: plan.table, offset: 0 } : 0;
  const outChannels = packed.weight.shape[0];
  if (format.depthwise) {
    const weights = { block, offset: 0 };
    const args = [input, table, slots, outChannels, 'begin', 'end', weights, addressOf(output)] as const;
    const kernel = format.weightType === 's16' ? 'qu8s16_depthwise_u8' : 'qu8s8_depthwise_u8';
    return [{ kernel, args: [...args, outStride, ...epilogue], units: rows, grain: 1 }];
  }
  const kernel = bytesKernel(format, panels.bounded);
  const perGroup = outChannels / panelGroups;
  const byPanels = rows < FEW_ROWS && panelsPerGroup > 1;
  return Array.from({ length: panelGroups }, (_, g): KernelCall => {
    const from = { ...input, offset: input.offset + g * packed.weight.shape[1] };
    const weights = { block, offset: g * panelsPerGroup * panelBytes };
    const to = addressOf(output, g * perGroup);
    const source = [from, rowStride, table, slots, tapChannels] as const;
    if (byPanels) {
      const share = { at: weights, stride: panelBytes };
      const channels = { count: columns, total: perGroup };
      const args = [...source, 0, rows, share, channels, { at: to, stride: columns }, outStride, ...epilogue];
      return { kernel, args, units: panelsPerGroup, grain: 1 };
    }
    const args = [...source, 'begin', 'end', weights, perGroup, to, outStride, ...epilogue] as const;
    return { kernel, args, units: rows, grain: ROW_GRAIN };
  });
}

/** A row of the zero point for taps in the padding, shared by everything of that zero point. */
export function paddingRow(bytes: number, zeroPoint: number, builder: PlanBuilder): Block {
  return builder.constants.get(`padding of ${zeroPoint}, ${bytes} bytes`, bytes, (ptr) => {
    builder.engine.heap.u8.fill(zeroPoint, ptr, ptr + bytes);
  });
}

/** The table of input offsets for every row and tap. Padding lies elsewhere in memory, so it is written after placement. */
export function tableFor(
  geometry: ConvGeometry,
  layout: PixelLayout,
  input: Address,
  padding: Block,
  slots: number,
  builder: PlanBuilder,
): Block {
  const entries = geometry.batch * product(geometry.outputSize) * slots;
  return builder.placed(4 * entries, (ptr) => {
    const table = indirectionTable(geometry, {
      pixelBytes: layout.pixel,
      lineBytes: layout.line,
      imageBytes: layout.image,
      paddingOffset: padding.ptr - pointerOf(input),
      slots,
    });
    builder.engine.heap.u32.set(table, ptr >> 2);
  });
}

/** The call of a 3×3 depthwise kernel: over pairs of output rows for stride 1, over output rows for stride 2. */
function depthwiseCall(
  geometry: ConvGeometry,
  { columns }: Depthwise3x3Format,
  panels: Block,
  x: Value,
  output: Value,
  relu: boolean,
  builder: PlanBuilder,
): KernelCall {
  const { pixel, line, image } = pixelLayout(x) as PixelLayout;
  const [height, width] = geometry.inputSize;
  const [outHeight, outWidth] = geometry.outputSize;
  const edge = unsignedQParams(x).zeroPoint;
  const padding = paddingRow(width * pixel + SLACK, edge, builder);
  const { zeroPoint } = unsignedQParams(output);
  const pairs = Math.ceil(outHeight / 2);
  const single = geometry.stride[0] === 2;
  const source = [
    addressOf(x),
    { block: padding, offset: 0 },
    edge,
    height,
    width,
    line,
    image,
    pixel,
  ] as const;
  const rows = [...geometry.padding, ...(single ? [] : [pairs]), outHeight, outWidth];
  const channels = output.shape[1];
  const target = [channels, { block: panels, offset: 0 }, addressOf(output)] as const;
  return {
    kernel: `qu8s8_depthwise3x3${single ? 's2' : ''}${columns === 32 ? 'x32' : ''}_u8`,
    args: ['begin', 'end', ...source, ...rows, ...target, zeroPoint, relu ? zeroPoint : 0, 255],
    units: geometry.batch * (single ? outHeight : pairs),
    grain: 1,
  };
}

function convolution(relu: boolean): LoweringRule {
  return (node, builder) => {
    const [arg, weights] = node.args as [Node, Node];
    const packed = builder.attribute(weights);
    if (!(packed instanceof PackedWeights)) return false;
    const geometry = geometryOf(node, packed, builder);
    let x = channelsLastValue(node, arg, builder);
    if (!x) return false;
    const { mergedTaps } = formatOf(packed, builder);
    let reads = geometry;
    if (mergedTaps > 1) {
      const margins = marginsFor(geometry, mergedTaps);
      x = withMargins(node, x, margins, builder);
      const innermost = (list: readonly number[], v: number): number[] => [...list.slice(0, -1), v];
      reads = {
        ...geometry,
        inputSize: innermost(geometry.inputSize, margins.width),
        kernel: innermost(geometry.kernel, 1),
        padding: innermost(geometry.padding, 0),
      };
    }
    const output = allocateResult(node, builder, true);
    const panels = panelsFor(
      weights.targetName,
      packed,
      unsignedQParams(x),
      unsignedQParams(output),
      builder,
    );
    const { format } = panels;
    const macs = product(output.shape) * product(packed.weight.shape.slice(1));
    if (panels.direct) {
      const call = depthwiseCall(geometry, panels.direct, panels.block, x, output, relu, builder);
      builder.kernels(node, [call], { op: node.targetName, macs });
      builder.bind(node, output);
      return true;
    }
    const layout = pixelLayout(x) as PixelLayout;
    const left = format.mergedTaps > 1 ? (geometry.padding.at(-1) as number) : 0;
    const input = addressOf(x, -left * layout.pixel);
    let table: Block | null = null;
    const touches: Block[] = [];
    if (!(isPointwise(geometry) && layout.uniform && !format.depthwise)) {
      const bytes = (format.mergedTaps > 1 ? format.tapChannels : x.shape[1]) + SLACK;
      const padding = paddingRow(bytes, unsignedQParams(x).zeroPoint, builder);
      table = tableFor(reads, layout, input, padding, format.slots, builder);
      touches.push(table);
    }
    const outPixels = product(geometry.outputSize);
    const calls = productCalls({
      panels,
      packed,
      input,
      rowStride: layout.pixel,
      table,
      rows: geometry.batch * outPixels,
      output,
      outStride: output.shape[1],
      relu,
    });
    builder.kernels(node, calls, { op: node.targetName, macs, touches });
    builder.bind(node, output);
    return true;
  };
}

/** How far apart the rows of a linear layer's input lie; null where they are not rows of neighbours. */
function rowDistance({ shape, strides }: Value, features: number): number | null {
  const rows = product(shape.slice(0, -1));
  const asRows = viewStrides(shape, strides, [rows, features]);
  if (!asRows || (features > 1 && asRows[1] !== 1)) return null;
  return rows > 1 ? asRows[0] : features;
}

function linear(relu: boolean): LoweringRule {
  return (node, builder) => {
    const [arg, weights] = node.args as [Node, Node];
    const packed = builder.attribute(weights);
    if (!(packed instanceof PackedWeights)) return false;
    const features = packed.weight.shape[1];
    const x = unsignedValue(node, arg, builder, (value) =>
      rowDistance(value, features) === null ? contiguousStrides(value.shape) : null,
    );
    if (!x) return false;
    const rows = product(x.shape.slice(0, -1));
    const output = allocateResult(node, builder, false);
    const panels = panelsFor(
      weights.targetName,
      packed,
      unsignedQParams(x),
      unsignedQParams(output),
      builder,
    );
    const rowStride = rowDistance(x, features) as number;
    const calls = productCalls({
      panels,
      packed,
      input: addressOf(x),
      rowStride,
      table: null,
      rows,
      output,
      outStride: packed.weight.shape[0],
      relu,
    });
    builder.kernels(node, calls, { op: node.targetName, macs: rows * product(packed.weight.shape) });
    builder.bind(node, output);
    return true;
  };
}

/** Convolutions and linear layers on packed weights. */
export const INT8_PRODUCTS: LoweringRules = {
  'quantized::conv1d': convolution(false),
  'quantized::conv1d_relu': convolution(true),
  'quantized::conv2d': convolution(false),
  'quantized::conv2d_relu': convolution(true),
  'quantized::conv3d': convolution(false),
  'quantized::conv3d_relu': convolution(true),
  'quantized::linear': linear(false),
  'quantized::linear_relu': linear(true),
};
