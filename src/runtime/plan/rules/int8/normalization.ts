import { product } from '../../../../core/math.ts';
import type { Arg, Node } from '../../../../fx/node.ts';
import { inverseScale } from '../../../../kernels/int8/quantize.ts';
import { stridesInOrder } from '../../../../ops/float/layout.ts';
import { contiguousStrides, normalizeDim } from '../../../../tensor/shape.ts';
import { Tensor } from '../../../../tensor/tensor.ts';
import { addressOf, type PlanBuilder } from '../../builder.ts';
import type { Address } from '../../step.ts';
import type { Value } from '../../value.ts';
import type { LoweringRule, LoweringRules } from '../rule.ts';
import {
  allocateResult,
  channelsLastValue,
  elementwise,
  integerOffset,
  isActivation,
  pixelLayout,
  stridedValue,
  unsignedQParams,
} from './layout.ts';

/** Gains or shifts, `otherwise` where there are none; null where they are not known before the plan runs. */
function perElement(arg: Arg, count: number, otherwise: number, builder: PlanBuilder): Address | null {
  if (arg === null)
    return builder.floats(`${count} times ${otherwise}`, count, () =>
      new Float32Array(count).fill(otherwise),
    );
  const tensor = builder.attribute(arg);
  if (!(tensor instanceof Tensor) || tensor.dtype !== 'float32') return null;
  return builder.floats(`floats ${(arg as Node).targetName}`, count, () => tensor.data as Float32Array);
}

/** Rows normalized by themselves. */
const layerNorm: LoweringRule = (node, builder) => {
  const [arg, size, weight, bias, eps] = node.args as [Node, readonly number[], Arg, Arg, number];
  const columns = product(size);
  const gains = perElement(weight, columns, 1, builder);
  const shifts = perElement(bias, columns, 0, builder);
  if (!gains || !shifts || product(builder.meta(node).shape) === 0) return false;
  const x = stridedValue(node, arg, builder, contiguousStrides(builder.meta(arg).shape));
  if (!x) return false;
  const output = allocateResult(node, builder, false);
  const input = unsignedQParams(x);
  const { scale, zeroPoint } = unsignedQParams(output);
  const source = [
    addressOf(x),
    columns,
    integerOffset(x),
    input.zeroPoint,
    Math.fround(input.scale),
  ] as const;
  const epilogue = [inverseScale('jit.Program', scale), zeroPoint, addressOf(output)] as const;
  const args = ['begin', 'end', ...source, eps, gains, shifts, ...epilogue] as const;
  const units = product(x.shape) / columns;
  builder.kernels(node, [{ kernel: 'qu8_layer_norm', args, units, grain: 1 }], { op: node.targetName });
  builder.bind(node, output);
  return true;
};

/**
 * Groups of channels normalized image by image, in three steps over channels-last pixels: sums of every channel, mean and
 * factor of every group, and the elements.
 */
function overChannels(
  node: Node,
  builder: PlanBuilder,
  groups: number,
  [weight, bias, eps]: readonly [Arg, Arg, number],
): boolean {
  const { shape } = builder.meta(node);
  const [batch, channels] = shape;
  const pixels = product(shape.slice(2));
  const gains = perElement(weight, channels, 1, builder);
  const shifts = perElement(bias, channels, 0, builder);
  if (!gains || !shifts || shape.length < 3 || product(shape) === 0) return false;
  const x = channelsLastValue(node, node.args[0] as Node, builder);
  const layout = x && pixelLayout(x);
  if (!x || !layout || layout.line !== (shape.at(-1) as number) * layout.pixel) return false;
  const blocks = Math.ceil(channels / 16);
  const padded = 16 * blocks;
  const moments = { block: builder.allocate(16 * batch * padded), offset: 0 };
  const means = { block: builder.allocate(4 * batch * padded), offset: 0 };
  const factors = { block: builder.allocate(4 * batch * padded), offset: 0 };
  const offset = integerOffset(x);
  const input = unsignedQParams(x);
  const images = [addressOf(x), layout.image, pixels, layout.pixel] as const;
  builder.kernels(
    node,
    [
      {
        kernel: 'qu8_channel_moments',
        args: ['begin', 'end', ...images, blocks, offset, moments],
        units: batch * blocks,
        grain: 1,
      },
    ],
    { op: 'sums of channels' },
  );
  const perGroup = channels / groups;
  const counts = [padded, groups, perGroup, perGroup * pixels] as const;
  const numbers = [input.zeroPoint - offset, Math.fround(input.scale), eps] as const;
  builder.kernels(
    node,
    [
      {
        kernel: 'qu8_group_factors',
        args: ['begin', 'end', moments, ...counts, ...numbers, means, factors],
        units: batch * groups,
        grain: 1,
      },
    ],
    { op: 'factors of groups' },
  );
  const output = allocateResult(node, builder, true);
  const { scale, zeroPoint } = unsignedQParams(output);
  const tables = [channels, padded, means, factors, gains, shifts] as const;
  const epilogue = [input.zeroPoint, inverseScale('jit.Program', scale), zeroPoint] as const;
  builder.kernels(
    node,
    [
      {
        kernel: 'qu8_normalize_pixels',
        args: ['begin', 'end', ...images, ...tables, ...epilogue, addressOf(output)],
        units: batch * pixels,
        grain: 4,
      },
    ],
    { op: node.targetName },
  );
  builder.bind(node, output);
  return true;
}

const groupNorm: LoweringRule = (node, builder) =>
  overChannels(node, builder, node.args[1] as number, node.args.slice(2, 5) as [Arg, Arg, number]);

const instanceNorm: LoweringRule = (node, builder) =>
  overChannels(node, builder, builder.meta(node).shape[1], node.args.slice(1, 4) as [Arg, Arg, number]);

/** Softmax of the floats, quantized again: over lines that are made to lie next to each other. */
const softmax: LoweringRule = (node, builder) => {
  const arg = node.args[0] as Node;
  const { shape } = builder.meta(node);
  if (!isActivation(builder.meta(arg)) || shape.length === 0 || product(shape) === 0) return false;
  const dim = normalizeDim(node.args[1] as number, shape.length, node.targetName);
  const strides = stridesInOrder(shape, [...[...shape.keys()].filter((d) => d !== dim), dim]);
  const x = stridedValue(node, arg, builder, strides);
  if (!x) return false;
  const floats: Value = builder.allocateValue({ shape, dtype: 'float32', qparams: null, strides });
  const ratios: Value = builder.allocateValue({ shape, dtype: 'float32', qparams: null, strides });
  const output = builder.allocateValue({ ...builder.meta(node), strides }, x.flipped);
  const total = product(shape);
  const input = unsignedQParams(x);
  const dequantize = elementwise('qu8_dequantize', total, (at, n) => [
    at(x),
    n,
    Math.fround(input.scale),
    input.zeroPoint,
    at(floats),
  ]);
  builder.kernels(node, [dequantize], { op: 'dequantize' });
  const columns = shape[dim];
  const rows = (value: Value): { at: Address; stride: number } => ({
    at: addressOf(value),
    stride: 4 * columns,
  });
  const count = { count: 1, total: total / columns };
  const args = [rows(floats), count, columns, rows(ratios)] as const;
  builder.kernels(node, [{ kernel: 'f32_softmax', args, units: count.total, grain: 1 }], {
    op: node.targetName,
  });
  const { scale, zeroPoint } = unsignedQParams(output);
  const quantize = elementwise('qu8_quantize', total, (at, n) => [
    at(ratios),
    n,
    inverseScale('jit.Program', scale),
    zeroPoint,
    0,
    255,
    at(output),
  ]);
  builder.kernels(node, [quantize], { op: 'quantizePerTensor' });
  builder.bind(node, output);
  return true;
};

/** Normalizations of quantized tensors by what they hold. */
export const INT8_NORMALIZATIONS: LoweringRules = {
  'quantized::layer_norm': layerNorm,
  'quantized::group_norm': groupNorm,
  'quantized::instance_norm': instanceNorm,
  softmax,
  'quantized::softmax': softmax,
};
