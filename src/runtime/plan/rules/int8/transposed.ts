import { product } from '../../../../core/math.ts';
import type { Node } from '../../../../fx/node.ts';
import { type ConvGeometry, isPointwise } from '../../../../kernels/geometry.ts';
import { PackedTransposedWeights, type Phase, phaseCounts } from '../../../../ops/quantized/transposed.ts';
import { channelsLastStrides, type Shape } from '../../../../tensor/shape.ts';
import { addressOf } from '../../builder.ts';
import { copyCalls } from '../../copy.ts';
import { type Block, SLACK } from '../../memory.ts';
import type { KernelCall } from '../../step.ts';
import type { Value } from '../../value.ts';
import type { LoweringRule, LoweringRules } from '../rule.ts';
import { paddingRow, productCalls, tableFor } from './convolution.ts';
import {
  allocateResult,
  channelsLastValue,
  type PixelLayout,
  pixelLayout,
  unsignedQParams,
} from './layout.ts';
import { panelsFor } from './panels.ts';

/** The convolution of step 1 that gives the outputs of one combination of phases: its reads may begin inside of the input. */
export function phaseGeometry(
  phases: readonly Phase[],
  kernel: readonly number[],
  inputShape: Shape,
  counts: Shape,
): ConvGeometry {
  return {
    batch: inputShape[0],
    inputSize: inputShape.slice(2),
    kernel,
    stride: phases.map(() => 1),
    padding: phases.map((p) => -p.first),
    dilation: phases.map((p) => p.dilation),
    outputSize: counts,
  };
}

/** The outputs of one combination of phases within the whole result. */
export function phaseOutputs(
  whole: Value,
  phases: readonly Phase[],
  counts: Shape,
  stride: readonly number[],
): Value {
  const strides = whole.strides.map((step, d) => (d < 2 ? step : step * stride[d - 2]));
  const offset = phases.reduce((at, { phase }, d) => at + phase * whole.strides[d + 2], whole.offset);
  return { ...whole, shape: [...whole.shape.slice(0, 2), ...counts], strides, offset };
}

/**
 * A transposed convolution as one ordinary convolution per combination of phases. Where the outputs of a combination are
 * equally far apart they are written in place; otherwise a second step spreads them.
 */
const transposed: LoweringRule = (node, builder) => {
  const [arg, weights] = node.args as [Node, Node];
  const packed = builder.attribute(weights);
  if (!(packed instanceof PackedTransposedWeights)) return false;
  const x = channelsLastValue(node, arg, builder);
  if (!x) return false;
  const layout = pixelLayout(x) as PixelLayout;
  const output = allocateResult(node, builder, true);
  const [batch, channels, ...outputSize] = output.shape;
  const { stride } = packed.geometry;
  const calls: KernelCall[] = [];
  const spread: KernelCall[] = [];
  const touches: Block[] = [];
  for (const [i, { phases, packed: part }] of packed.convolutions().entries()) {
    const counts = phaseCounts(phases, outputSize, stride);
    if (!counts) continue;
    const geometry = phaseGeometry(phases, part.kernelSize, x.shape, counts);
    const name = `${weights.targetName} phase ${i}`;
    const panels = panelsFor(name, part, unsignedQParams(x), unsignedQParams(output), builder);
    const target = phaseOutputs(output, phases, counts, stride);
    const targetLayout = pixelLayout(target);
    const inPlace = targetLayout?.uniform === true;
    let to = target;
    if (!inPlace) {
      to = builder.allocateValue({ ...target, strides: channelsLastStrides(target.shape) }, target.flipped);
      spread.push(...copyCalls(builder, to, target));
    }
    let table: Block | null = null;
    if (!(isPointwise(geometry) && layout.uniform && !panels.format.depthwise)) {
      const padding = paddingRow(x.shape[1] + SLACK, unsignedQParams(x).zeroPoint, builder);
      table = tableFor(geometry, layout, addressOf(x), padding, panels.format.slots, builder);
      touches.push(table);
    }
    calls.push(
      ...productCalls({
        panels,
        packed: part,
        input: addressOf(x),
        rowStride: layout.pixel,
        table,
        rows: batch * product(counts),
        output: to,
        outStride: inPlace ? targetLayout.pixel : channels,
        relu: false,
      }),
    );
  }
  const macs = product(x.shape) * product(packed.weight.shape.slice(1));
  builder.kernels(node, calls, { op: node.targetName, macs, touches });
  if (spread.length > 0) builder.kernels(node, spread, { op: 'interleave' });
  builder.bind(node, output);
  return true;
};

/** Transposed convolutions on packed weights. */
export const INT8_TRANSPOSED: LoweringRules = {
  'quantized::conv_transpose1d': transposed,
  'quantized::conv_transpose2d': transposed,
  'quantized::conv_transpose3d': transposed,
};
