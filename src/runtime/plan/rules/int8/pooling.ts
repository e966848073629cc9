import { product } from '../../../../core/math.ts';
import type { Node } from '../../../../fx/node.ts';
import {
  adaptiveWindows,
  type PoolWindow,
  slidingWindows,
  windowTable,
} from '../../../../kernels/int8/pooling.ts';
import { inverseScale } from '../../../../kernels/int8/quantize.ts';
import { stridesInOrder } from '../../../../ops/float/layout.ts';
import { foldsInnermost } from '../../../../ops/quantized/mean.ts';
import { imageGeometry, poolGeometry } from '../../../../ops/quantized/pooling.ts';
import type { AvgPoolGeometry, PoolGeometry } from '../../../../ops/signatures/layer.ts';
import type { Dims } from '../../../../ops/signatures/reduction.ts';
import { contiguousStrides, normalizeDims, type Shape } from '../../../../tensor/shape.ts';
import { addressOf, type PlanBuilder } from '../../builder.ts';
import type { CallArg, KernelCall } from '../../step.ts';
import type { Value } from '../../value.ts';
import type { LoweringRule, LoweringRules } from '../rule.ts';
import {
  allocateResult,
  channelsLastValue,
  integerOffset,
  isActivation,
  type PixelLayout,
  pixelLayout,
  stridedValue,
  unsignedQParams,
} from './layout.ts';

/** Channels of one vector. */
const VECTOR = 16;

/** Fewer output pixels than this are divided by channels. */
const FEW_PIXELS = 8;

/** What a pool reads, and how far apart the elements of its windows lie. */
interface Pool {
  readonly windows: readonly PoolWindow[];
  readonly dilation: readonly number[];
}

/** [N, C, H, W] for lines [N, C, L], as images of height 1. */
function imageShape(shape: Shape): Shape {
  return shape.length === 3 ? [shape[0], shape[1], 1, shape[2]] : shape;
}

/** One call over output pixels, or one over channels for each of a few pixels. */
function poolCalls(
  kernel: KernelCall['kernel'],
  pixels: number,
  args: (
    begin: CallArg,
    end: CallArg,
    at: (value: Value) => CallArg,
    channels: CallArg,
  ) => readonly CallArg[],
  channels: number,
): KernelCall[] {
  if (pixels >= FEW_PIXELS) {
    return [{ kernel, args: args('begin', 'end', (v) => addressOf(v), channels), units: pixels, grain: 1 }];
  }
  const at = (value: Value): CallArg => ({ at: addressOf(value), stride: VECTOR });
  const count = { count: VECTOR, total: channels };
  const units = Math.ceil(channels / VECTOR);
  return Array.from({ length: pixels }, (_, i) => ({
    kernel,
    args: args(i, i + 1, at, count),
    units,
    grain: 1,
  }));
}

function pool(kind: 'max' | 'mean', poolOf: (arg: unknown, shape: Shape, fn: string) => Pool): LoweringRule {
  return (node, builder) => {
    const x = channelsLastValue(node, node.args[0] as Node, builder);
    if (!x) return false;
    const layout = pixelLayout(x) as PixelLayout;
    const { windows, dilation } = poolOf(builder.resolve(node.args[1]), imageShape(x.shape), node.targetName);
    const [batch, channels] = x.shape;
    const pixels = batch * windows.length;
    const { pixel, line, image } = layout;
    const key = `windows ${node.name} of ${x.shape} ${pixel} ${line} ${image}`;
    const block = builder.constants.get(key, Math.max(1, pixels) * 16, (ptr) => {
      builder.engine.heap.u32.set(windowTable(windows, layout, batch), ptr >> 2);
    });
    const table = { block, offset: 0 };
    const output = allocateResult(node, builder, true);
    const { zeroPoint } = unsignedQParams(x);
    const between = [line * dilation[0], pixel * dilation[1]] as const;
    const calls =
      kind === 'max'
        ? poolCalls(
            'u8_windows_max',
            pixels,
            (begin, end, at, n) => [begin, end, at(x), table, ...between, n, at(output), channels],
            channels,
          )
        : poolCalls(
            'qu8_windows_mean',
            pixels,
            (begin, end, at, n) => [begin, end, at(x), table, ...between, n, zeroPoint, at(output), channels],
            channels,
          );
    builder.kernels(node, calls, { op: node.targetName });
    builder.bind(node, output);
    return true;
  };
}

const maxPool = pool('max', (arg, shape, fn) => {
  const window = poolGeometry(fn, shape, geometryFor(arg as PoolGeometry));
  return { windows: slidingWindows(fn, window, false), dilation: window.dilation };
});

const avgPool = pool('mean', (arg, shape, fn) => {
  const geometry = geometryFor(arg as AvgPoolGeometry);
  const window = poolGeometry(fn, shape, geometry);
  return { windows: slidingWindows(fn, window, geometry.countIncludePad), dilation: [1, 1] };
});

const adaptiveAvgPool = pool('mean', (arg, shape) => {
  const outputSize = arg as readonly number[];
  const size = outputSize.length === 1 ? [1, ...outputSize] : outputSize;
  return { windows: adaptiveWindows(shape.slice(2), size), dilation: [1, 1] };
});

function geometryFor<G extends PoolGeometry>(geometry: G): G {
  return geometry.kernelSize.length === 1 ? imageGeometry(geometry) : geometry;
}

/** The mean of integers over the innermost dimensions of row-major memory. */
function meanOfRows(node: Node, builder: PlanBuilder): boolean {
  const arg = node.args[0] as Node;
  const { shape } = builder.meta(arg);
  const x = stridedValue(node, arg, builder, contiguousStrides(shape));
  if (!x) return false;
  const output = allocateResult(node, builder, false);
  const units = product(output.shape);
  const args = [
    'begin',
    'end',
    addressOf(x),
    product(shape) / units,
    integerOffset(x),
    addressOf(output),
  ] as const;
  builder.kernels(node, [{ kernel: 'qu8_mean_rows', args, units, grain: 4 }], { op: 'mean' });
  builder.bind(node, output);
  return true;
}

/** The mean of floats over any dimensions, which are made the outer ones where they are not all pixels of an image. */
const mean: LoweringRule = (node, builder) => {
  const arg = node.args[0] as Node;
  const meta = builder.meta(arg);
  const { shape } = meta;
  const dims = builder.resolve(node.args[1]) as Dims;
  if (!isActivation(meta) || product(shape) === 0) return false;
  if (foldsInnermost(meta, dims)) return meanOfRows(node, builder);
  const folded = normalizeDims(dims, shape.length, 'mean');
  const kept = [...shape.keys()].filter((d) => !folded.includes(d));
  let layout: { readonly pixel: number; readonly image: number };
  let x: Value | null;
  let images = 1;
  if (shape.length >= 3 && kept.join() === '0,1') {
    x = channelsLastValue(node, arg, builder);
    const pixels = x && pixelLayout(x);
    if (!x || !pixels?.uniform) return false;
    images = shape[0];
    layout = pixels;
  } else {
    const strides = stridesInOrder(shape, [...folded, ...kept]);
    x = stridedValue(node, arg, builder, strides);
    if (!x) return false;
    layout = { pixel: product(kept.map((d) => shape[d])), image: 0 };
  }
  const output = allocateResult(node, builder, false);
  const pixels = product(folded.map((d) => shape[d]));
  const channels = product(kept.map((d) => shape[d])) / images;
  const from = x;
  const { scale, zeroPoint } = unsignedQParams(from);
  const scales = [Math.fround(scale), inverseScale('jit.Program', scale), zeroPoint] as const;
  const calls = Array.from({ length: images }, (_, n): KernelCall => {
    const source = [addressOf(from, n * layout.image), pixels, layout.pixel, channels] as const;
    const args = ['begin', 'end', ...source, ...scales, addressOf(output, n * channels)] as const;
    return { kernel: 'qu8_mean_pixels', args, units: Math.ceil(channels / 4), grain: 4 };
  });
  builder.kernels(node, calls, { op: 'mean' });
  builder.bind(node, output);
  return true;
};

/** Pools over lines and images. */
export const INT8_POOLS: LoweringRules = {
  mean,
  maxPool1d: maxPool,
  maxPool2d: maxPool,
  avgPool1d: avgPool,
  avgPool2d: avgPool,
  adaptiveAvgPool1d: adaptiveAvgPool,
  adaptiveAvgPool2d: adaptiveAvgPool,
};
