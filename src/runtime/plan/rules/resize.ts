import { product } from '../../../core/math.ts';
import type { Node } from '../../../fx/node.ts';
import { interpolate as interpolateFloat } from '../../../ops/float/layer/interpolate.ts';
import { type Mix, mixAlong } from '../../../ops/quantized/resize.ts';
import type { InterpolateOptions } from '../../../ops/signatures/layer.ts';
import { channelsLastStrides } from '../../../tensor/shape.ts';
import { Tensor } from '../../../tensor/tensor.ts';
import { addressOf, type PlanBuilder } from '../builder.ts';
import { inLayout } from '../copy.ts';
import type { Address } from '../step.ts';
import { storedBytes, type Value } from '../value.ts';
import {
  allocateResult,
  channelsLastValue,
  integerOffset,
  pixelLayout,
  unsignedQParams,
} from './int8/layout.ts';
import type { LoweringRule, LoweringRules } from './rule.ts';

/** Which pixel of one image every pixel of the result is: the operator is asked, on numbers of pixels. */
function sourcePixels(shape: readonly number[], options: InterpolateOptions): ArrayLike<number> {
  const spatial = shape.slice(2);
  const storage = Int32Array.from({ length: product(spatial) }, (_, i) => i);
  const numbers = new Tensor({ storage, shape: [1, 1, ...spatial], dtype: 'int32' });
  return interpolateFloat(numbers, options).data;
}

/** Pixels of any type, copied from where they are. */
function nearest(node: Node, builder: PlanBuilder, options: InterpolateOptions): boolean {
  const value = builder.tensor(node.args[0]);
  if (!value || value.dtype === 'quint4x2' || product(builder.meta(node).shape) === 0) return false;
  const x = inLayout(builder, node, value, channelsLastStrides(value.shape));
  const meta = builder.meta(node);
  const output: Value = builder.allocateValue(
    { ...meta, strides: channelsLastStrides(meta.shape) },
    x.flipped,
  );
  const bytes = x.shape[1] * storedBytes(x.dtype);
  const [batch] = x.shape;
  const image = product(x.shape.slice(2)) * bytes;
  const units = batch * product(options.size);
  const key = `pixels of ${x.shape} ${JSON.stringify(options)} ${bytes}`;
  const table = builder.offsets(key, units, () => {
    const pixels = sourcePixels(x.shape, options);
    return Int32Array.from({ length: units }, (_, i) => {
      const n = Math.floor(i / pixels.length);
      return n * image + pixels[i - n * pixels.length] * bytes;
    });
  });
  const args = ['begin', 'end', addressOf(x), table, bytes, addressOf(output)] as const;
  builder.kernels(node, [{ kernel: 'u8_pick_pixels', args, units, grain: 16 }], { op: node.targetName });
  builder.bind(node, output);
  return true;
}

/** Entries of two offsets and a share for every place along a dimension, of `times` images `image` bytes apart. */
function mixTable(
  key: string,
  mix: Mix,
  step: number,
  times: number,
  image: number,
  builder: PlanBuilder,
): Address {
  const count = mix.low.length;
  const entries = times * count;
  const block = builder.constants.get(key, 12 * entries, (ptr) => {
    const { u32, f32 } = builder.engine.heap;
    for (let i = 0, at = ptr >> 2; i < entries; i++, at += 3) {
      const n = Math.floor(i / count);
      const place = i - n * count;
      u32[at] = n * image + mix.low[place] * step;
      u32[at + 1] = n * image + mix.high[place] * step;
      f32[at + 2] = mix.share[place];
    }
  });
  return { block, offset: 0 };
}

/** Quantized images, or lines as images of height 1, mixed from four neighbours. */
function bilinear(node: Node, builder: PlanBuilder, options: InterpolateOptions): boolean {
  const x = channelsLastValue(node, node.args[0] as Node, builder);
  const layout = x && pixelLayout(x);
  if (!x || !layout || product(builder.meta(node).shape) === 0) return false;
  const isLine = x.shape.length === 3;
  const [height, width] = isLine ? [1, x.shape[2]] : x.shape.slice(2);
  const [outHeight, outWidth] = isLine ? [1, options.size[0]] : options.size;
  const scales = options.scales && (isLine ? [1, ...options.scales] : options.scales);
  const output = allocateResult(node, builder, true);
  const [batch, channels] = x.shape;
  const rows = mixAlong(height, outHeight, options.alignCorners, scales?.[0]);
  const columns = mixAlong(width, outWidth, options.alignCorners, scales?.[1]);
  const { pixel, line, image } = layout;
  const key = JSON.stringify([x.shape, layout, options]);
  const tables = [
    mixTable(`lines ${key}`, rows, line, batch, image, builder),
    mixTable(`columns ${key}`, columns, pixel, 1, 0, builder),
  ] as const;
  const offset = integerOffset(x);
  const zeroPoint = unsignedQParams(x).zeroPoint - offset;
  const sizes = [outWidth, channels, offset, zeroPoint] as const;
  const args = ['begin', 'end', addressOf(x), ...tables, ...sizes, addressOf(output)] as const;
  builder.kernels(node, [{ kernel: 'qu8_bilinear', args, units: batch * outHeight, grain: 1 }], {
    op: node.targetName,
  });
  builder.bind(node, output);
  return true;
}

const interpolate: LoweringRule = (node, builder) => {
  const options = builder.resolve(node.args[1]) as InterpolateOptions;
  return options.mode === 'nearest' ? nearest(node, builder, options) : bilinear(node, builder, options);
};

/** Resizing of images: of any type to the nearest pixel, of quantized ones by mixing. */
export const RESIZE_RULES: LoweringRules = { interpolate };
