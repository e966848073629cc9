import { product } from '../../../../core/math.ts';
import type { Node } from '../../../../fx/node.ts';
import type { ConvGeometry } from '../../../../kernels/geometry.ts';
import { channelsLastStrides } from '../../../../tensor/shape.ts';
import { addressOf, type PlanBuilder } from '../../builder.ts';
import { inLayout } from '../../copy.ts';
import type { Value } from '../../value.ts';
import { unsignedQParams } from './layout.ts';

/** Pixels of padding that lie in memory at both ends of every line, so that a kernel line is one contiguous read. */
export interface Margins {
  readonly left: number;
  /** Pixels of a whole line, margins included. */
  readonly width: number;
}

/** The margins of values that have some, filled with their zero point. */
const MARGINS = new WeakMap<Value, Margins>();

/** The margins that a convolution reads whose innermost taps are merged: a line is as long as its reads reach. */
export function marginsFor(geometry: ConvGeometry, mergedTaps: number): Margins {
  const left = geometry.padding.at(-1) as number;
  const stride = geometry.stride.at(-1) as number;
  const reach = ((geometry.outputSize.at(-1) as number) - 1) * stride + mergedTaps;
  return { left, width: Math.max(reach, left + (geometry.inputSize.at(-1) as number)) };
}

/** A value like `like` (channels-last, of few channels) with room for margins. */
export function allocateWithMargins(like: Value, margins: Margins, builder: PlanBuilder): Value {
  const { shape } = like;
  const channels = shape[1];
  const lines = product(shape.slice(0, 1)) * product(shape.slice(2, -1));
  const block = builder.allocate(lines * margins.width * channels);
  const strides = new Array<number>(shape.length);
  strides[1] = 1;
  strides[shape.length - 1] = channels;
  let step = margins.width * channels;
  for (let d = shape.length - 2; d >= 2; d--) {
    strides[d] = step;
    step *= shape[d];
  }
  strides[0] = step;
  const value = { ...like, strides, block, offset: margins.left * channels };
  MARGINS.set(value, margins);
  return value;
}

/** A channels-last value with these margins: itself where it has them, a copy otherwise. */
export function withMargins(node: Node, from: Value, margins: Margins, builder: PlanBuilder): Value {
  const has = MARGINS.get(from);
  if (has && has.left === margins.left && has.width >= margins.width) return from;
  const value = inLayout(builder, node, from, channelsLastStrides(from.shape));
  const staged = allocateWithMargins(value, margins, builder);
  const channels = value.shape[1];
  const used = (value.shape.at(-1) as number) * channels;
  const lines = used === 0 ? 0 : product(value.shape) / used;
  const to = { block: staged.block, offset: 0 };
  const line = margins.width * channels;
  const { zeroPoint } = unsignedQParams(value);
  const args = [
    'begin',
    'end',
    addressOf(value),
    used,
    to,
    line,
    margins.left * channels,
    zeroPoint,
  ] as const;
  builder.kernels(node, [{ kernel: 'u8_stage_lines', args, units: lines, grain: 8 }], { op: 'margins' });
  return staged;
}
