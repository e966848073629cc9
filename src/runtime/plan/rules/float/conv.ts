import { product } from '../../../../core/math.ts';
import type { Node } from '../../../../fx/node.ts';
import { PACKED_ROW_BYTES, PANEL_COLUMNS, panelCount, takesPairs } from '../../../../kernels/f32/panels.ts';
import type { ConvGeometryF32 } from '../../../../kernels/f32/window.ts';
import { planeDistance, WINOGRAD_PLANES } from '../../../../kernels/f32/winograd.ts';
import { convProblem } from '../../../../ops/float/layer/conv.ts';
import type { ConvGeometry } from '../../../../ops/signatures/layer.ts';
import { channelsLastStrides } from '../../../../tensor/shape.ts';
import type { Tensor } from '../../../../tensor/tensor.ts';
import { addressOf, type PlanBuilder } from '../../builder.ts';
import { inLayout } from '../../copy.ts';
import { SLACK } from '../../memory.ts';
import type { Address, KernelCall } from '../../step.ts';
import type { Value } from '../../value.ts';
import type { LoweringRule, LoweringRules } from '../rule.ts';
import { bindEpilogue, type Epilogue, epilogueOf, normScale } from './epilogue.ts';
import { attributeName, biasFloats, floatValue, isFloat, productCall, steps } from './product.ts';

/** A number per axis. */
export type Triple = readonly [number, number, number];

/** A list of up to three numbers, one per axis, with others in front for the axes that are missing. */
function triple(list: readonly number[], fill: number): Triple {
  return [...new Array<number>(3 - list.length).fill(fill), ...list] as unknown as Triple;
}

/** A convolution over three axes, of which those that are missing have size 1. */
export interface Problem {
  readonly batch: number;
  readonly inChannels: number;
  readonly outChannels: number;
  readonly groups: number;
  readonly inSize: Triple;
  readonly outSize: Triple;
  readonly kernel: Triple;
  readonly stride: Triple;
  readonly padding: Triple;
  readonly dilation: Triple;
  /** The sizes, for keys of constants. */
  readonly key: string;
}

/** The sizes of a convolution over three axes. */
export function problemOf(g: ConvGeometryF32): Problem {
  const { batch, inChannels, outChannels, groups } = g;
  const sizes = {
    inSize: triple(g.inSize, 1),
    outSize: triple(g.outSize, 1),
    kernel: triple(g.kernel, 1),
    stride: triple(g.stride, 1),
    padding: triple(g.padding, 0),
    dilation: triple(g.dilation, 1),
  };
  const key = [batch, inChannels, outChannels, groups, ...Object.values(sizes).flat()].join();
  return { batch, inChannels, outChannels, groups, ...sizes, key };
}

/** Pixels as a convolution reads them: channels next to each other; distances in floats. */
export interface Source {
  readonly at: Address;
  readonly image: number;
  readonly axes: Triple;
}

/** The distances of a value's image, axes and channel, over three axes. */
export function distances({ strides }: Value): { image: number; axes: Triple; channel: number } {
  return { image: strides[0], channel: strides[1], axes: triple(strides.slice(2), 0) };
}

/** The pixels of a value as they lie, or in a frame of zeros where windows leave them or channels lie apart. */
function sourceOf(node: Node, builder: PlanBuilder, x: Value, g: Problem): Source {
  const { image, axes, channel } = distances(x);
  const apart = g.inChannels > 1 && channel !== 1;
  if (!apart && g.padding.every((p) => p === 0)) return { at: addressOf(x), image, axes };
  return frameOf(node, builder, x, g, g.inSize.map((s, d) => s + 2 * g.padding[d]) as unknown as Triple);
}

/** Frames of `size` pixels that hold the images of a value behind `g.padding` zeros. */
export function frameOf(
  node: Node,
  builder: PlanBuilder,
  x: Value,
  g: Pick<Problem, 'batch' | 'inChannels' | 'inSize' | 'padding'>,
  size: Triple,
): Source {
  const { image, axes, channel } = distances(x);
  const { inChannels, padding } = g;
  const row = size[2] * inChannels;
  const block = builder.allocate(4 * g.batch * size[0] * size[1] * row);
  const plan = builder.table([
    ...[size[1], size[0], padding[1], padding[0], g.inSize[1], g.inSize[0]],
    ...[4 * row, 4 * padding[2] * inChannels, 4 * g.inSize[2] * inChannels],
    ...[g.inSize[2], inChannels, 4 * image, ...axes.map((s) => 4 * s), 4 * channel],
  ]);
  const at = { block, offset: 0 };
  const call: KernelCall = {
    kernel: 'f32_frame',
    args: ['begin', 'end', plan, addressOf(x), at],
    units: g.batch * size[0] * size[1],
    grain: 4,
  };
  builder.kernels(node, [call], { op: 'frame' });
  return { at, image: size[0] * size[1] * row, axes: [size[1] * row, row, inChannels] };
}

/** Offsets of the windows of all results, in bytes from the source's first pixel. */
function windowOffsets(g: Problem, { image, axes }: Source): Int32Array {
  const { batch, outSize, stride } = g;
  const offsets = new Int32Array(batch * product(outSize));
  let at = 0;
  for (let n = 0; n < batch; n++)
    for (let z = 0; z < outSize[0]; z++)
      for (let y = 0; y < outSize[1]; y++) {
        const line = n * image + z * stride[0] * axes[0] + y * stride[1] * axes[1];
        for (let x = 0; x < outSize[2]; x++) offsets[at++] = 4 * (line + x * stride[2] * axes[2]);
      }
  return offsets;
}

/** The stretches of neighbouring floats that a window reads: offsets in bytes, and floats of each. */
function windowRuns(g: Problem, { axes }: Source): { readonly offsets: number[]; readonly length: number } {
  const perGroup = g.inChannels / g.groups;
  const merged = g.groups === 1 && g.dilation[2] === 1 && axes[2] === g.inChannels;
  const offsets: number[] = [];
  for (let z = 0; z < g.kernel[0]; z++)
    for (let y = 0; y < g.kernel[1]; y++)
      for (let x = 0; x < (merged ? 1 : g.kernel[2]); x++) {
        const at = z * g.dilation[0] * axes[0] + y * g.dilation[1] * axes[1] + x * g.dilation[2] * axes[2];
        offsets.push(4 * at);
      }
  return { offsets, length: (merged ? g.kernel[2] : 1) * perGroup };
}

/** A weight times one factor per output channel, staged in scratch while `use` runs. */
function staged(builder: PlanBuilder, weight: Tensor, epilogue: Epilogue, use: (ptr: number) => void): void {
  const { engine } = builder;
  const outChannels = weight.shape[0];
  engine.scratch((take) => {
    const raw = take(weight.numel * 4 + SLACK);
    const { f32 } = engine.heap;
    f32.set(weight.data, raw / 4);
    if (epilogue.norm) {
      const { factor } = normScale(epilogue, outChannels);
      const filter = weight.numel / outChannels;
      for (let c = 0, at = raw / 4; c < outChannels; c++)
        for (let i = 0; i < filter; i++) f32[at++] *= factor[c];
    }
    use(raw);
  });
}

/** The panels of every group, taps outermost. */
function groupPanels(
  builder: PlanBuilder,
  key: string,
  weight: Tensor,
  g: Problem,
  epilogue: Epilogue,
): Address {
  const k = g.inChannels / g.groups;
  const n = g.outChannels / g.groups;
  const taps = product(g.kernel);
  const groupBytes = panelCount(n) * taps * k * PACKED_ROW_BYTES;
  const { kernels, heap } = builder.engine;
  const block = builder.constants.get(`panels ${key}`, g.groups * groupBytes + SLACK, (ptr) => {
    staged(builder, weight, epilogue, (raw) => {
      builder.engine.scratch((take) => {
        const table = take(taps * 4);
        for (let t = 0; t < taps; t++) heap.u32[table / 4 + t] = t * 4;
        for (let group = 0; group < g.groups; group++) {
          const src = raw + 4 * group * n * k * taps;
          const dst = ptr + group * groupBytes;
          if (taps === 1) kernels.f32_pack_columns(src, k * 4, k, n, dst, k * PACKED_ROW_BYTES);
          else kernels.f32_pack_taps(src, k * taps * 4, taps * 4, table, taps, k, n, dst);
        }
      });
    });
  });
  return { block, offset: 0 };
}

/** Tiles of an image from which on their transforms pay, and tiles of a strip, which share L2 with their products. */
const LEAST_TILES = 40;
const STRIP_TILES = 64;

/** Units that threads share: each has scratch of its own. */
const MOST_UNITS = 16;

/** How a 3×3 convolution is cut into tiles of 2×2 results; null where it has other windows, few channels or few pixels. */
function tilesOf(
  g: Problem,
): { readonly rows: number; readonly columns: number; readonly stripRows: number } | null {
  const windows = g.kernel.join() === '1,3,3' && [...g.stride, ...g.dilation].every((s) => s === 1);
  const channels = [g.inChannels, g.outChannels].every((c) => c >= 16 && c % PANEL_COLUMNS === 0);
  const [rows, columns] = [Math.ceil(g.outSize[1] / 2), Math.ceil(g.outSize[2] / 2)];
  const flat = g.inSize[0] === 1 && g.outSize[0] === 1 && g.padding[0] === 0;
  if (!windows || !channels || !flat || g.groups !== 1 || rows * columns < LEAST_TILES) return null;
  return { rows, columns, stripRows: Math.max(1, Math.min(rows, Math.round(STRIP_TILES / columns))) };
}

/** The filters of a 3×3 convolution, transformed, as 16 planes of panels. */
function tileFilters(
  builder: PlanBuilder,
  key: string,
  weight: Tensor,
  g: Problem,
  epilogue: Epilogue,
): Address {
  const { inChannels, outChannels } = g;
  const bytes = WINOGRAD_PLANES * inChannels * outChannels * 4;
  const block = builder.constants.get(`tiles ${key}`, bytes + SLACK, (ptr) => {
    staged(builder, weight, epilogue, (raw) =>
      builder.engine.kernels.f32_winograd_filters(
        raw,
        36,
        36 * inChannels,
        false,
        inChannels,
        outChannels,
        ptr,
      ),
    );
  });
  return { block, offset: 0 };
}

/** The call of a convolution on tiles, behind a step that frames its input. */
function tiledCall(
  node: Node,
  builder: PlanBuilder,
  x: Value,
  out: Value,
  g: Problem,
  tiles: NonNullable<ReturnType<typeof tilesOf>>,
  filters: Address,
  bias: Address,
  epilogue: Epilogue,
): KernelCall {
  const { rows, columns, stripRows } = tiles;
  const { inChannels, outChannels } = g;
  const frame = frameOf(node, builder, x, g, [1, 2 * rows + 2, 2 * columns + 2]);
  const strips = Math.ceil(rows / stripRows);
  const stripTiles = stripRows * columns;
  const pixelPlane = planeDistance(stripTiles * inChannels * 4);
  const productPlane = planeDistance(stripTiles * outChannels * 4);
  const slot = WINOGRAD_PLANES * (pixelPlane + productPlane);
  const all = strips * g.batch;
  const perUnit = Math.ceil(all / MOST_UNITS);
  const units = Math.ceil(all / perUnit);
  const plan = builder.table([
    ...[rows, columns, stripRows, strips, inChannels, outChannels, g.outSize[1], g.outSize[2]],
    ...[4 * frame.axes[1], 4 * frame.image, pixelPlane, productPlane, slot, perUnit, all],
    Number(takesPairs(builder.engine)),
  ]);
  const { residual, lo, hi } = epilogue;
  return {
    kernel: 'f32_winograd',
    args: [
      ...(['begin', 'end', plan, frame.at] as const),
      steps(builder, stripTiles, 4 * inChannels),
      steps(builder, stripTiles, 4 * outChannels),
      steps(builder, 1, 0),
      { block: builder.allocate(units * slot), offset: 0 },
      filters,
      builder.floats(`zeros ${outChannels}`, outChannels, () => []),
      bias,
      residual ? addressOf(residual) : 0,
      addressOf(out),
      lo,
      hi,
    ],
    units,
    grain: 1,
  };
}

/** Filters of one channel each, as [tap][channel] with rows of whole panels. */
function depthwiseFilters(
  builder: PlanBuilder,
  key: string,
  weight: Tensor,
  channels: number,
  taps: number,
  epilogue: Epilogue,
): Address {
  const padded = panelCount(channels) * PANEL_COLUMNS;
  return builder.floats(`filters ${key}`, taps * padded, () => {
    const { factor } = normScale(epilogue, channels);
    const filters = new Float32Array(taps * padded);
    for (let c = 0, at = 0; c < channels; c++)
      for (let t = 0; t < taps; t++) filters[t * padded + c] = weight.data[at++] * factor[c];
    return filters;
  });
}

function depthwiseCall(
  builder: PlanBuilder,
  key: string,
  x: Value,
  out: Value,
  weight: Tensor,
  bias: Address,
  g: Problem,
  epilogue: Epilogue,
): KernelCall {
  const { image, axes } = distances(x);
  const channels = g.outChannels;
  const weightRow = 4 * panelCount(channels) * PANEL_COLUMNS;
  const plan = builder.table([
    ...[g.outSize[1], g.outSize[2], g.inSize[1], g.inSize[2]],
    ...[g.kernel, g.stride, g.padding, g.dilation].flatMap((list) => list.slice(1)),
    ...[4 * image, 4 * axes[1], 4 * axes[2], 4 * channels, weightRow],
  ]);
  const filters = depthwiseFilters(builder, key, weight, channels, product(g.kernel), epilogue);
  const { lo, hi } = epilogue;
  return {
    kernel: 'f32_depthwise_rows',
    args: ['begin', 'end', plan, addressOf(x), filters, bias, channels, addressOf(out), lo, hi],
    units: g.batch * g.outSize[1],
    grain: 1,
  };
}

const convolution: LoweringRule = (node, builder) => {
  const [xArg, weightArg, biasArg, geometry] = node.args;
  const x = floatValue(xArg, builder);
  const weight = builder.attribute(weightArg);
  const bias = biasArg === null ? null : builder.attribute(biasArg);
  if (!x || !isFloat(weight) || (bias !== null && !isFloat(bias))) return false;
  const resolved = builder.resolve(geometry) as ConvGeometry;
  const g = problemOf(convProblem(node.targetName, x.shape, weight.shape, resolved));
  const meta = builder.meta(node);
  if (product(meta.shape) === 0 || weight.numel === 0) return false;
  const strides = channelsLastStrides(meta.shape);
  const depthwise =
    g.groups > 1 &&
    g.groups === g.inChannels &&
    g.groups === g.outChannels &&
    g.kernel[0] === 1 &&
    g.inSize[0] === 1;
  const epilogue = epilogueOf(node, builder, strides, true, !depthwise);
  const out = builder.allocateValue({ ...meta, strides });
  const key = `${node.targetName} ${attributeName(weightArg)} ${attributeName(biasArg)} ${epilogue.key}`;
  const taps = product(g.kernel);
  const k = g.inChannels / g.groups;
  const n = g.outChannels / g.groups;
  const rows = g.batch * product(g.outSize);
  const macs = rows * g.outChannels * k * taps;
  if (depthwise) {
    const pixels = distances(x).channel === 1 ? x : inLayout(builder, node, x, channelsLastStrides(x.shape));
    const floats = biasFloats(builder, key, g.outChannels, bias, epilogue);
    const call = depthwiseCall(builder, key, pixels, out, weight, floats, g, epilogue);
    builder.kernels(node, [call], { op: 'depthwise convolution', macs });
    bindEpilogue(node, builder, epilogue, out);
    return true;
  }
  const tiles = tilesOf(g);
  if (tiles) {
    const filters = tileFilters(builder, key, weight, g, epilogue);
    const floats = biasFloats(builder, key, g.outChannels, bias, epilogue);
    const call = tiledCall(node, builder, x, out, g, tiles, filters, floats, epilogue);
    builder.kernels(node, [call], { op: 'convolution on tiles', macs });
    bindEpilogue(node, builder, epilogue, out);
    return true;
  }
  const source = sourceOf(node, builder, x, g);
  const runs = windowRuns(g, source);
  const windowKey = `windows ${g.key} ${source.image} ${source.axes.join()}`;
  const rowTable = builder.offsets(windowKey, rows, () => windowOffsets(g, source));
  const panels = groupPanels(builder, key, weight, g, epilogue);
  const panelBytes = panelCount(n) * taps * k * PACKED_ROW_BYTES;
  const calls = Array.from({ length: g.groups }, (_, group) =>
    productCall(builder, {
      rows,
      columns: n,
      rowTable,
      outTable: steps(builder, rows, 4 * g.outChannels),
      input: { block: source.at.block, offset: source.at.offset + 4 * group * k },
      output: addressOf(out, 4 * group * n),
      runTable: builder.table(runs.offsets),
      runs: runs.offsets.length,
      runLength: runs.length,
      panels: { block: panels.block, offset: group * panelBytes },
      bias: groupBias(builder, key, group, n, g.groups, bias, epilogue),
      residual: epilogue.residual && addressOf(epilogue.residual, 4 * group * n),
      lo: epilogue.lo,
      hi: epilogue.hi,
    }),
  );
  builder.kernels(node, calls, { op: 'convolution', macs });
  bindEpilogue(node, builder, epilogue, out);
  return true;
};

/** The bias of one group, in whole panels. */
export function groupBias(
  builder: PlanBuilder,
  key: string,
  group: number,
  n: number,
  groups: number,
  bias: Tensor | null,
  epilogue: Epilogue,
): Address {
  if (groups === 1) return biasFloats(builder, key, n, bias, epilogue);
  return builder.floats(`bias ${key} ${group}`, n, () => {
    const { factor, shift } = normScale(epilogue, n * groups);
    const numbers = bias?.data ?? new Float32Array(n * groups);
    return Float32Array.from({ length: n }, (_, i) => {
      const c = group * n + i;
      return numbers[c] * factor[c] + shift[c];
    });
  });
}

/** Convolutions over one to three axes. */
export const CONV_RULES: LoweringRules = {
  conv1d: convolution,
  conv2d: convolution,
  conv3d: convolution,
};
