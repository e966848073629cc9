import { product } from '../../../../core/math.ts';
import type { Node } from '../../../../fx/node.ts';
import { mixOf } from '../../../../ops/float/layer/interpolate.ts';
import { adaptiveWindows, slidingWindows, type Windows } from '../../../../ops/float/layer/pool.ts';
import type { AvgPoolGeometry, InterpolateOptions, PoolGeometry } from '../../../../ops/signatures/layer.ts';
import { channelsLastStrides } from '../../../../tensor/shape.ts';
import { addressOf, type PlanBuilder } from '../../builder.ts';
import { inLayout } from '../../copy.ts';
import type { KernelCall } from '../../step.ts';
import type { LoweringRule, LoweringRules } from '../rule.ts';
import { floatValue } from './product.ts';

/** Output pixels of one unit. */
const GRAIN = 8;

/** A pool of channels-last pixels under windows given as lists: one call for every image. */
function pooling(
  kernel: 'f32_window_largest' | 'f32_window_mean',
  windowsOf: (node: Node, builder: PlanBuilder, shape: readonly number[]) => Windows,
): LoweringRule {
  return (node, builder) => {
    const x = floatValue(node.args[0], builder);
    if (!x || product(x.shape) === 0) return false;
    const { starts, pixels, divisors } = windowsOf(node, builder, x.shape);
    const meta = builder.meta(node);
    const from = inLayout(builder, node, x, channelsLastStrides(x.shape));
    const out = builder.allocateValue({ ...meta, strides: channelsLastStrides(meta.shape) });
    const [batch, channels, ...size] = x.shape;
    const key = `${node.targetName} ${size.join()} ${JSON.stringify(builder.resolve(node.args[1]))}`;
    const startTable = builder.offsets(`starts ${key}`, starts.length, () => starts);
    const pixelTable = builder.offsets(`pixels ${key}`, pixels.length, () => pixels);
    const rowBytes = 4 * channels;
    const inPixels = product(size);
    const outPixels = starts.length - 1;
    const first = { at: startTable, stride: 4 };
    const count = { count: 1, total: outPixels };
    const calls = Array.from({ length: batch }, (_, image): KernelCall => {
      const input = addressOf(from, image * inPixels * rowBytes);
      const output = { at: addressOf(out, image * outPixels * rowBytes), stride: rowBytes };
      const divisorTable = builder.floats(`divisors ${key}`, outPixels, () => divisors);
      return {
        kernel,
        args:
          kernel === 'f32_window_mean'
            ? [
                input,
                1,
                inPixels,
                channels,
                first,
                pixelTable,
                { at: divisorTable, stride: 4 },
                count,
                output,
              ]
            : [input, rowBytes, channels, first, pixelTable, count, output],
        units: outPixels,
        grain: GRAIN,
      };
    });
    builder.kernels(node, calls, { op: node.targetName });
    builder.bind(node, out);
    return true;
  };
}

const maxPool = pooling('f32_window_largest', (node, builder, shape) =>
  slidingWindows(node.targetName, shape, builder.resolve(node.args[1]) as PoolGeometry, true),
);

const avgPool = pooling('f32_window_mean', (node, builder, shape) => {
  const geometry = builder.resolve(node.args[1]) as AvgPoolGeometry;
  return slidingWindows(node.targetName, shape, geometry, geometry.countIncludePad);
});

const adaptiveAvgPool = pooling('f32_window_mean', (node, builder, shape) =>
  adaptiveWindows(node.targetName, shape, builder.resolve(node.args[1]) as readonly number[]),
);

/** Mixes of the pixels of every image, at the size that is asked for. */
const interpolate: LoweringRule = (node, builder) => {
  const x = floatValue(node.args[0], builder);
  if (!x || product(x.shape) === 0) return false;
  const options = builder.resolve(node.args[1]) as InterpolateOptions;
  const { width, pixels, shares } = mixOf(x.shape, options);
  const meta = builder.meta(node);
  const from = inLayout(builder, node, x, channelsLastStrides(x.shape));
  const out = builder.allocateValue({ ...meta, strides: channelsLastStrides(meta.shape) });
  const [batch, channels, ...size] = x.shape;
  const key = `interpolate ${size.join()} ${JSON.stringify(options)}`;
  const pixelTable = builder.offsets(`pixels ${key}`, pixels.length, () => pixels);
  const shareTable = builder.floats(`shares ${key}`, shares.length, () =>
    width === 1 ? new Float64Array(shares.length).fill(1) : shares,
  );
  const rowBytes = 4 * channels;
  const outPixels = pixels.length / width;
  const calls = Array.from({ length: batch }, (_, image): KernelCall => {
    const input = addressOf(from, image * product(size) * rowBytes);
    return {
      kernel: 'f32_mix_pixels',
      args: [
        input,
        channels,
        { at: pixelTable, stride: 4 * width },
        { at: shareTable, stride: 4 * width },
        width,
        { count: 1, total: outPixels },
        { at: addressOf(out, image * outPixels * rowBytes), stride: rowBytes },
      ],
      units: outPixels,
      grain: GRAIN,
    };
  });
  builder.kernels(node, calls, { op: 'interpolate' });
  builder.bind(node, out);
  return true;
};

/** Pools over one to three axes, and other sizes. */
export const POOL_RULES: LoweringRules = {
  interpolate,
  maxPool1d: maxPool,
  maxPool2d: maxPool,
  maxPool3d: maxPool,
  avgPool1d: avgPool,
  avgPool2d: avgPool,
  avgPool3d: avgPool,
  adaptiveAvgPool1d: adaptiveAvgPool,
  adaptiveAvgPool2d: adaptiveAvgPool,
};
