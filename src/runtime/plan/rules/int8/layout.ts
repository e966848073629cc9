import type { Node } from '../../../../fx/node.ts';
import { memoryOrder, stridesInOrder } from '../../../../ops/float/layout.ts';
import { DTYPES } from '../../../../tensor/dtype.ts';
import type { PerTensorQParams } from '../../../../tensor/qparams.ts';
import { channelsLastStrides, hasStrides, type Shape } from '../../../../tensor/shape.ts';
import { addressOf, type PlanBuilder } from '../../builder.ts';
import { copyCalls } from '../../copy.ts';
import type { CallArg, KernelCall } from '../../step.ts';
import { isDense, type Meta, type Value } from '../../value.ts';

/** Elements that a thread takes at least of an element-wise step. */
const GRAIN = 4096;

/** What kernels of `qu8_normalize.ts` subtract from bytes to see the integers of the dtype. */
export function integerOffset({ flipped }: Value): number {
  return flipped ? 128 : 0;
}

/** The per-tensor parameters of an 8-bit value as kernels see it, in 0..255. */
export interface Unsigned {
  readonly scale: number;
  readonly zeroPoint: number;
}

/** True for quint8 and qint8 values quantized per tensor: all that the int8 kernels know. */
export function isActivation({ dtype, qparams }: Pick<Meta, 'dtype' | 'qparams'>): boolean {
  return (dtype === 'quint8' || dtype === 'qint8') && qparams?.scheme === 'per_tensor_affine';
}

/** Scale and zero point of an activation, the latter moved to 0..255. */
export function unsignedQParams({ dtype, qparams }: Pick<Meta, 'dtype' | 'qparams'>): Unsigned {
  const { scale, zeroPoint } = qparams as PerTensorQParams;
  return { scale, zeroPoint: zeroPoint - DTYPES[dtype].min };
}

/** A call over every element of dense blocks, in ranges of whole vectors. */
export function elementwise(
  kernel: KernelCall['kernel'],
  total: number,
  args: (at: (value: Value) => CallArg, count: CallArg) => readonly CallArg[],
): KernelCall {
  const at = (value: Value): CallArg => ({ at: addressOf(value), stride: value.dtype === 'float32' ? 4 : 1 });
  return { kernel, args: args(at, { count: 1, total }), units: total, grain: GRAIN };
}

/**
 * The value of an argument as unsigned bytes: qint8 gets its top bits flipped, once. Null for anything but activations.
 * `layout` says how the elements shall lie where they do not as they should: a copy is made, once, and takes the place
 * of the value.
 */
export function unsignedValue(
  node: Node,
  arg: Node,
  builder: PlanBuilder,
  layout: (value: Value) => Shape | null = () => null,
): Value | null {
  const value = builder.value(arg);
  if (!isActivation(value)) return null;
  const { shape, dtype } = value;
  const strides = layout(value);
  if (!strides && (dtype === 'quint8' || value.flipped)) return value;
  const gapFree = strides ?? stridesInOrder(shape, memoryOrder(shape, value.strides));
  const copy = builder.allocateValue({ ...value, strides: gapFree }, dtype === 'qint8');
  builder.kernels(node, copyCalls(builder, value, copy), { op: 'copy' });
  builder.bind(arg, copy);
  return copy;
}

/** {@link unsignedValue} with these strides. */
export function stridedValue(node: Node, arg: Node, builder: PlanBuilder, strides: Shape): Value | null {
  return unsignedValue(node, arg, builder, (value) =>
    hasStrides(value.shape, value.strides, strides) ? null : strides,
  );
}

/** {@link unsignedValue} without gaps, in whatever order of dimensions. */
export function denseValue(node: Node, arg: Node, builder: PlanBuilder): Value | null {
  return unsignedValue(node, arg, builder, ({ shape, strides }) =>
    isDense(shape, strides) ? null : stridesInOrder(shape, memoryOrder(shape, strides)),
  );
}

/** {@link unsignedValue} in the order [N, ...spatial, C], as {@link pixelLayout} wants it. */
export function channelsLastValue(node: Node, arg: Node, builder: PlanBuilder): Value | null {
  return unsignedValue(node, arg, builder, (value) =>
    pixelLayout(value) ? null : channelsLastStrides(value.shape),
  );
}

/** A new value for a node's result as unsigned bytes, channels-last where it has channels. */
export function allocateResult(node: Node, builder: PlanBuilder, channelsLast: boolean): Value {
  const meta = builder.meta(node);
  const strides = channelsLast ? channelsLastStrides(meta.shape) : meta.strides;
  return builder.allocateValue({ ...meta, strides }, meta.dtype === 'qint8');
}

/** Distances in bytes of pixels, lines and images of a channels-last activation. */
export interface PixelLayout {
  readonly pixel: number;
  readonly line: number;
  readonly image: number;
  /** All pixels of all images follow one another `pixel` bytes apart. */
  readonly uniform: boolean;
}

/** How the pixels of [N, C, ...spatial] lie; null where channels are not neighbours or planes are apart. */
export function pixelLayout({ shape, strides }: Pick<Value, 'shape' | 'strides'>): PixelLayout | null {
  const rank = shape.length;
  if (shape[1] > 1 && strides[1] !== 1) return null;
  // A dimension of one element may claim any stride: it gets the one that fits.
  const width = shape[rank - 1];
  const pixel = width > 1 ? strides[rank - 1] : shape[1];
  let step = width * pixel;
  const line = rank > 3 && shape[rank - 2] > 1 ? strides[rank - 2] : step;
  let uniform = line === step;
  step = rank > 3 ? line * shape[rank - 2] : step;
  for (let d = rank - 3; d >= 2; d--) {
    if (shape[d] > 1 && strides[d] !== step) return null;
    step *= shape[d];
  }
  const image = shape[0] > 1 ? strides[0] : step;
  uniform &&= image === step;
  return { pixel, line, image, uniform };
}
