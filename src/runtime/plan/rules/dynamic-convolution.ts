import { product } from '../../../core/math.ts';
import type { Node } from '../../../fx/node.ts';
import { type ConvGeometry, isPointwise } from '../../../kernels/geometry.ts';
import type { PackedConvWeights } from '../../../kernels/int8/pack.ts';
import { floatsKernel } from '../../../kernels/int8/panel-format.ts';
import { PackedWeights } from '../../../ops/quantized/packed.ts';
import { PackedTransposedWeights, phaseCounts } from '../../../ops/quantized/transposed.ts';
import { channelsLastStrides } from '../../../tensor/shape.ts';
import { addressOf, type PlanBuilder } from '../builder.ts';
import { copyCalls, inLayout } from '../copy.ts';
import { type Block, placedAt, SLACK } from '../memory.ts';
import type { Address, CallArg, KernelCall } from '../step.ts';
import { isValue, type Value } from '../value.ts';
import { type DynamicInput, measureInput } from './dynamic.ts';
import { FEW_ROWS, geometryOf, ROW_GRAIN, tableFor } from './int8/convolution.ts';
import { type PixelLayout, pixelLayout } from './int8/layout.ts';
import { marginsFor } from './int8/margins.ts';
import { phaseGeometry, phaseOutputs } from './int8/transposed.ts';
import type { LoweringRule, LoweringRules } from './rule.ts';

/** A float input of a convolution as integers, channels last, and what belongs to them. */
interface QuantizedImage extends DynamicInput {
  readonly image: Value;
  /** A row of the zero point for taps in the padding. */
  readonly padding: Block;
  readonly steps: KernelCall[];
}

/** Adds the step that measures the input; gives the calls that quantize it and fill a row of padding. */
function quantizedImage(
  node: Node,
  builder: PlanBuilder,
  input: Value,
  reduceRange: boolean,
  paddingBytes: number,
): QuantizedImage {
  const image = inLayout(builder, node, input, channelsLastStrides(input.shape));
  const { bytes, range } = measureInput(node, builder, image, reduceRange);
  const n = product(image.shape);
  const padding = builder.allocate(paddingBytes);
  const steps: KernelCall[] = [
    {
      kernel: 'qu8_dynamic_quantize',
      args: [...range, addressOf(image), n, bytes, 'begin', 'end'],
      units: Math.ceil(n / 16),
      grain: 64,
    },
    fillCall(range, { block: padding, offset: 0 }, paddingBytes),
  ];
  return { image, bytes, range, padding, steps };
}

/** Fills bytes with the zero point of the input. */
function fillCall(range: DynamicInput['range'], at: Address, bytes: number): KernelCall {
  return {
    kernel: 'qu8_dynamic_stage_lines',
    args: [...range, 'begin', 'end', at, 0, at, bytes, 0],
    units: 1,
    grain: 1,
  };
}

/** The call that writes what depends on the input's parameters into panels. */
function headersCall(range: DynamicInput['range'], panel: PackedConvWeights): KernelCall {
  const { panels, panelBytes, columns, count, sums, scales } = panel.dynamicAddresses('jit.Program');
  const weights = { block: placedAt(panels, count * panelBytes), offset: 0 };
  return {
    kernel: 'qu8_dynamic_panels',
    args: [...range, weights, panelBytes, columns, sums, scales, 'begin', 'end'],
    units: count,
    grain: 16,
  };
}

/** What one convolution reads and writes. */
interface FloatProduct {
  readonly panel: PackedConvWeights;
  readonly input: Address;
  readonly rowStride: number;
  readonly table: Block | null;
  readonly rows: number;
  readonly output: Value;
  /** Distance of output pixels in floats. */
  readonly outStride: number;
}

/** One call per group of channels, over rows, or over panels where rows are few. */
function floatProductCalls({
  panel,
  input,
  rowStride,
  table,
  rows,
  output,
  outStride,
}: FloatProduct): KernelCall[] {
  const { format, outChannels } = panel;
  const { slots, tapChannels, panelGroups, panelsPerGroup, panelBytes, columns } = format;
  const { panels, count, floatBias } = panel.dynamicAddresses('jit.Program');
  const weightBlock = placedAt(panels, count * panelBytes);
  const biasBlock = placedAt(floatBias, 4 * count * columns);
  const kernel = floatsKernel(format);
  const perGroup = outChannels / panelGroups;
  const byPanels = rows < FEW_ROWS && panelsPerGroup > 1;
  const share = (at: Address, stride: number): CallArg => (byPanels ? { at, stride } : at);
  return Array.from({ length: panelGroups }, (_, g): KernelCall => {
    const first = g * panelsPerGroup;
    const from = { ...input, offset: input.offset + g * panel.inChannelsPerGroup };
    const indices = table ? { block: table, offset: 0 } : 0;
    return {
      kernel,
      args: [
        ...[from, rowStride, indices, slots, tapChannels],
        ...(byPanels ? [0, rows] : (['begin', 'end'] as const)),
        share({ block: weightBlock, offset: first * panelBytes }, panelBytes),
        byPanels ? { count: columns, total: perGroup } : perGroup,
        share(addressOf(output, 4 * g * perGroup), 4 * columns),
        outStride,
        share({ block: biasBlock, offset: 4 * first * columns }, 4 * columns),
        Number.NEGATIVE_INFINITY,
      ],
      units: byPanels ? panelsPerGroup : rows,
      grain: byPanels ? 1 : ROW_GRAIN,
    };
  });
}

/** A convolution whose float input is quantized while the plan runs; so its padding is, too. */
const convolution: LoweringRule = (node, builder) => {
  const input = builder.resolve(node.args[0]);
  const packed = builder.attribute(node.args[1]);
  if (!isValue(input) || input.dtype !== 'float32' || !(packed instanceof PackedWeights)) return false;
  if (product(input.shape) === 0) return false;
  const geometry = geometryOf(node, packed, builder);
  const panel = packed.dynamicPanel();
  const { mergedTaps, tapChannels, slots } = panel.format;
  const channels = input.shape[1];
  const paddingBytes = (mergedTaps > 1 ? tapChannels : channels) + SLACK;
  const quantized = quantizedImage(node, builder, input, node.args[2] as boolean, paddingBytes);
  const { image, range, padding, steps } = quantized;
  builder.kernels(node, [...steps, headersCall(range, panel)], { op: 'quantize the input' });

  let reads = geometry;
  let from = quantized.bytes;
  let layout = pixelLayout(image) as PixelLayout;
  if (mergedTaps > 1) {
    // A kernel line is one contiguous read, so the margins have to lie in memory.
    const margins = marginsFor(geometry, mergedTaps);
    const used = (image.shape.at(-1) as number) * channels;
    const line = margins.width * channels;
    const lines = product(image.shape) / used;
    const to = { block: builder.allocate(lines * line), offset: 0 };
    const args = [...range, 'begin', 'end', from, used, to, line, margins.left * channels] as const;
    builder.kernels(node, [{ kernel: 'qu8_dynamic_stage_lines', args, units: lines, grain: 8 }], {
      op: 'margins',
    });
    from = to;
    const innermost = (list: readonly number[], v: number): number[] => [...list.slice(0, -1), v];
    reads = {
      ...geometry,
      inputSize: innermost(geometry.inputSize, margins.width),
      kernel: innermost(geometry.kernel, 1),
      padding: innermost(geometry.padding, 0),
    };
    layout = { pixel: channels, line, image: (line * lines) / image.shape[0], uniform: false };
  }
  const output = builder.allocateValue(builder.meta(node));
  const outChannels = output.shape[1];
  const touches = [padding];
  let table: Block | null = null;
  if (!isPointwise(geometry)) {
    table = tableFor(reads, layout, from, padding, slots, builder);
    touches.push(table);
  }
  const calls = floatProductCalls({
    panel,
    input: from,
    rowStride: channels,
    table,
    rows: geometry.batch * product(geometry.outputSize),
    output,
    outStride: outChannels,
  });
  const macs = product(output.shape) * product(packed.weight.shape.slice(1));
  builder.kernels(node, calls, { op: node.targetName, macs, touches });
  builder.bind(node, output);
  return true;
};

/** The same for transposed convolutions, as one convolution per combination of phases. */
const transposed: LoweringRule = (node, builder) => {
  const input = builder.resolve(node.args[0]);
  const packed = builder.attribute(node.args[1]);
  if (!isValue(input) || input.dtype !== 'float32' || !(packed instanceof PackedTransposedWeights))
    return false;
  if (product(input.shape) === 0) return false;
  const paddingBytes = input.shape[1] + SLACK;
  const quantized = quantizedImage(node, builder, input, node.args[2] as boolean, paddingBytes);
  const { image, bytes, range, padding, steps } = quantized;
  const output = builder.allocateValue(builder.meta(node));
  const [batch, channels, ...outputSize] = output.shape;
  const { stride } = packed.geometry;
  const layout = pixelLayout(image) as PixelLayout;
  const touches = [padding];
  const headers: KernelCall[] = [];
  const calls: KernelCall[] = [];
  const spread: KernelCall[] = [];
  for (const { phases, packed: part } of packed.convolutions()) {
    const counts = phaseCounts(phases, outputSize, stride);
    if (!counts) continue;
    const panel = part.dynamicPanel();
    const geometry: ConvGeometry = phaseGeometry(phases, part.kernelSize, image.shape, counts);
    headers.push(headersCall(range, panel));
    const target = phaseOutputs(output, phases, counts, stride);
    const targetLayout = pixelLayout(target);
    const inPlace = targetLayout?.uniform === true;
    let to = target;
    if (!inPlace) {
      to = builder.allocateValue({ ...target, strides: channelsLastStrides(target.shape) });
      spread.push(...copyCalls(builder, to, target));
    }
    let table: Block | null = null;
    if (!isPointwise(geometry)) {
      table = tableFor(geometry, layout, bytes, padding, panel.format.slots, builder);
      touches.push(table);
    }
    calls.push(
      ...floatProductCalls({
        panel,
        input: bytes,
        rowStride: image.shape[1],
        table,
        rows: batch * product(counts),
        output: to,
        outStride: inPlace ? targetLayout.pixel : channels,
      }),
    );
  }
  builder.kernels(node, [...steps, ...headers], { op: 'quantize the input' });
  const macs = product(input.shape) * product(packed.weight.shape.slice(1));
  builder.kernels(node, calls, { op: node.targetName, macs, touches });
  if (spread.length > 0) builder.kernels(node, spread, { op: 'interleave' });
  builder.bind(node, output);
  return true;
};

/** Convolutions that quantize their float input call by call. */
export const DYNAMIC_CONVOLUTION_RULES: LoweringRules = {
  'quantized::conv1d_dynamic': convolution,
  'quantized::conv2d_dynamic': convolution,
  'quantized::conv3d_dynamic': convolution,
  'quantized::conv_transpose1d_dynamic': transposed,
  'quantized::conv_transpose2d_dynamic': transposed,
  'quantized::conv_transpose3d_dynamic': transposed,
};
