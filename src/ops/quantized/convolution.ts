import { DTypeError, ShapeError } from '../../core/errors.ts';
import {
  checkGeometry,
  convGeometry,
  type ConvGeometry as Geometry,
  linearGeometry,
} from '../../kernels/geometry.ts';
import { type QuantizedEpilogue, qConv } from '../../kernels/int8/conv.ts';
import { qLinearDynamic } from '../../kernels/int8/linear-dynamic.ts';
import { DTYPES } from '../../tensor/dtype.ts';
import { type PerTensorQParams, perTensorQParams } from '../../tensor/qparams.ts';
import { channelsLastStrides, contiguousStrides, formatShape, type Shape } from '../../tensor/shape.ts';
import { fromStorage, Tensor } from '../../tensor/tensor.ts';
import { inLayout } from '../float/layout.ts';
import type { QuantizedOps } from '../signatures/index.ts';
import type { PackedWeights } from './packed.ts';
import { checkFeatures, requireFloat32 } from './product-input.ts';

type Bytes = Uint8Array | Int8Array;

/** The per-tensor parameters of an activation; a typed error for float tensors and other schemes. */
export function activationQParams(x: Tensor, fn: string): PerTensorQParams {
  if (x.qparams?.scheme === 'per_tensor_affine' && (x.dtype === 'quint8' || x.dtype === 'qint8'))
    return x.qparams;
  throw new DTypeError({
    fn,
    argument: 'input',
    expected: 'a quint8 or qint8 tensor, quantized per tensor',
    got: x.qparams ? `${x.dtype} ${x.qparams.scheme}` : `a ${x.dtype} tensor`,
    fix: x.qparams
      ? ''
      : 'Put a QuantStub before this layer (and a DeQuantStub after the quantized part), or wrap the model in QuantWrapper.',
  });
}

/** The integers of an activation with channels innermost: its own storage where it already is so. */
export function channelsLastData(x: Tensor): Uint8Array | Int8Array {
  return inLayout(x, channelsLastStrides(x.shape)) as Uint8Array | Int8Array;
}

/** A channels-last activation of x's dtype. */
export function channelsLastTensor(
  storage: Uint8Array | Int8Array,
  shape: Shape,
  like: Tensor,
  qparams: PerTensorQParams,
): Tensor {
  return new Tensor({ storage, shape, strides: channelsLastStrides(shape), dtype: like.dtype, qparams });
}

/** What a quantized convolution or linear layer is about to compute. */
export interface QuantizedProduct {
  readonly input: PerTensorQParams;
  readonly output: PerTensorQParams;
  readonly dtype: 'quint8' | 'qint8';
  readonly geometry: Geometry;
  readonly shape: Shape;
}

/** Checks the arguments of `quantized::conv{rank}d` and says what comes out. */
export function convolutionProduct(
  fn: string,
  rank: 1 | 2 | 3,
  x: Tensor,
  packed: PackedWeights,
  scale: number,
  zeroPoint: number,
): QuantizedProduct {
  const input = activationQParams(x, fn);
  const { geometry, weight, kernelSize } = packed;
  const groups = geometry?.groups ?? 1;
  if (!geometry || x.ndim !== rank + 2 || x.shape[1] !== weight.shape[1] * groups) {
    throw new ShapeError({
      fn,
      argument: 'input',
      expected: `${rank + 2} dimensions with ${weight.shape[1] * groups} channels in dimension 1`,
      got: formatShape(x.shape),
    });
  }
  const { stride, padding, dilation } = geometry;
  const window = convGeometry({
    batch: x.shape[0],
    inputSize: x.shape.slice(2),
    kernel: kernelSize,
    stride,
    padding,
    dilation,
  });
  checkGeometry(fn, window);
  const dtype = x.dtype as 'quint8' | 'qint8';
  return {
    input,
    output: perTensorQParams(scale, zeroPoint, dtype, fn),
    dtype,
    geometry: window,
    shape: [x.shape[0], weight.shape[0], ...window.outputSize],
  };
}

/** Checks the arguments of `quantized::linear` and says what comes out. */
export function linearProduct(
  fn: string,
  x: Tensor,
  packed: PackedWeights,
  scale: number,
  zeroPoint: number,
): QuantizedProduct {
  const input = activationQParams(x, fn);
  checkFeatures(x, packed, fn);
  const dtype = x.dtype as 'quint8' | 'qint8';
  return {
    input,
    output: perTensorQParams(scale, zeroPoint, dtype, fn),
    dtype,
    geometry: linearGeometry(x.numel / packed.weight.shape[1]),
    shape: [...x.shape.slice(0, -1), packed.weight.shape[0]],
  };
}

/** Zero point and clamp of the output, in its dtype's range. */
export function productEpilogue({ dtype, output }: QuantizedProduct, relu: boolean): QuantizedEpilogue {
  const { min, max } = DTYPES[dtype];
  const { zeroPoint } = output;
  return { zeroPoint, min: relu ? Math.max(min, zeroPoint) : min, max };
}

function convolution(rank: 1 | 2 | 3, relu: boolean) {
  const fn = `quantized::conv${rank}d${relu ? '_relu' : ''}` as const;
  return (x: Tensor, packed: PackedWeights, scale: number, zeroPoint: number): Tensor => {
    const product = convolutionProduct(fn, rank, x, packed, scale, zeroPoint);
    const { input, output, geometry, shape } = product;
    const panel = packed.panel(input.scale, input.zeroPoint, output);
    const storage = qConv(panel, channelsLastData(x), geometry, productEpilogue(product, relu));
    return channelsLastTensor(storage, shape, x, output);
  };
}

function linear(relu: boolean) {
  const fn = relu ? 'quantized::linear_relu' : 'quantized::linear';
  return (x: Tensor, packed: PackedWeights, scale: number, zeroPoint: number): Tensor => {
    const product = linearProduct(fn, x, packed, scale, zeroPoint);
    const { input, output, geometry, shape, dtype } = product;
    const panel = packed.panel(input.scale, input.zeroPoint, output);
    const storage = qConv(panel, x.data as Bytes, geometry, productEpilogue(product, relu));
    return new Tensor({ storage, shape, strides: contiguousStrides(shape), dtype, qparams: output });
  };
}

function linearDynamic(relu: boolean) {
  const fn = relu ? 'quantized::linear_relu_dynamic' : 'quantized::linear_dynamic';
  return (x: Tensor, packed: PackedWeights, reduceRange: boolean): Tensor => {
    requireFloat32(x, fn);
    checkFeatures(x, packed, fn);
    const storage = qLinearDynamic(packed.dynamicPanel(), x.data as Float32Array, { reduceRange, relu });
    return fromStorage(storage, [...x.shape.slice(0, -1), packed.weight.shape[0]], 'float32');
  };
}

type Convolutions = Pick<
  QuantizedOps,
  | `quantized::conv${1 | 2 | 3}d`
  | `quantized::conv${1 | 2 | 3}d_relu`
  | 'quantized::linear'
  | 'quantized::linear_relu'
  | 'quantized::linear_dynamic'
  | 'quantized::linear_relu_dynamic'
>;

/** Convolutions and linear layers on packed weights, requantized and clamped in the kernel. */
export const convolutions: Convolutions = {
  'quantized::conv1d': convolution(1, false),
  'quantized::conv1d_relu': convolution(1, true),
  'quantized::conv2d': convolution(2, false),
  'quantized::conv2d_relu': convolution(2, true),
  'quantized::conv3d': convolution(3, false),
  'quantized::conv3d_relu': convolution(3, true),
  'quantized::linear': linear(false),
  'quantized::linear_relu': linear(true),
  'quantized::linear_dynamic': linearDynamic(false),
  'quantized::linear_relu_dynamic': linearDynamic(true),
};
