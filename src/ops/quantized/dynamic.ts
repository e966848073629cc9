import { ShapeError } from '../../core/errors.ts';
import { gemmF32 } from '../../kernels/f32/gemm.ts';
import { type ConvGeometry, checkGeometry, convGeometry } from '../../kernels/geometry.ts';
import { qConvDynamic } from '../../kernels/int8/conv-dynamic.ts';
import { channelsLastStrides, formatShape, type Shape } from '../../tensor/shape.ts';
import { fromStorage, Tensor } from '../../tensor/tensor.ts';
import { inLayout } from '../float/layout.ts';
import type { QuantizedOps } from '../signatures/index.ts';
import type { PackedWeights } from './packed.ts';
import type { PackedHalfWeights } from './packed-half.ts';
import { checkFeatures, requireFloat32 } from './product-input.ts';

/** Checks the arguments of `quantized::conv{rank}d_dynamic` and says what comes out. */
export function dynamicConvolution(
  fn: string,
  rank: 1 | 2 | 3,
  x: Tensor,
  packed: PackedWeights,
): { readonly geometry: ConvGeometry; readonly shape: Shape } {
  requireFloat32(x, fn);
  const { geometry, weight, kernelSize } = packed;
  const channels = weight.shape[1] * (geometry?.groups ?? 1);
  if (!geometry || x.ndim !== rank + 2 || x.shape[1] !== channels) {
    throw new ShapeError({
      fn,
      argument: 'input',
      expected: `${rank + 2} dimensions with ${channels} channels in dimension 1`,
      got: formatShape(x.shape),
    });
  }
  const { stride, padding, dilation } = geometry;
  const [batch, , ...inputSize] = x.shape;
  const window = convGeometry({ batch, inputSize, kernel: kernelSize, stride, padding, dilation });
  checkGeometry(fn, window);
  return { geometry: window, shape: [batch, weight.shape[0], ...window.outputSize] };
}

/**
 * The result stays float: `torch.ops.quantized.conv2d_dynamic` would round it to eight bits with the scale of the input,
 * which cuts off whatever lies outside of the input's range.
 */
function convolutionDynamic(rank: 1 | 2 | 3) {
  const fn = `quantized::conv${rank}d_dynamic` as const;
  return (x: Tensor, packed: PackedWeights, reduceRange: boolean): Tensor => {
    const { geometry, shape } = dynamicConvolution(fn, rank, x, packed);
    const data = inLayout(x, channelsLastStrides(x.shape)) as Float32Array;
    const storage = qConvDynamic(packed.dynamicPanel(), data, geometry, { reduceRange });
    return new Tensor({ storage, shape, strides: channelsLastStrides(shape), dtype: 'float32' });
  };
}

function linearHalf(relu: boolean) {
  const fn = relu ? 'quantized::linear_relu_dynamic_fp16' : 'quantized::linear_dynamic_fp16';
  return (x: Tensor, packed: PackedHalfWeights): Tensor => {
    requireFloat32(x, fn);
    checkFeatures(x, packed, fn);
    const [n, k] = packed.weight.shape;
    const out = gemmF32({
      m: x.numel / k,
      n,
      k,
      a: x.data as Float32Array,
      b: packed.panel(),
      bias: packed.bias && (packed.bias.data as Float32Array),
      clamp: relu ? { min: 0 } : {},
    });
    return fromStorage(out, [...x.shape.slice(0, -1), n], 'float32');
  };
}

type DynamicOps = Pick<
  QuantizedOps,
  | `quantized::conv${1 | 2 | 3}d_dynamic`
  | 'quantized::linear_dynamic_fp16'
  | 'quantized::linear_relu_dynamic_fp16'
>;

/** Products of float tensors with int8 weights (input quantized call by call) and with float16 weights. */
export const dynamicProducts: DynamicOps = {
  'quantized::conv1d_dynamic': convolutionDynamic(1),
  'quantized::conv2d_dynamic': convolutionDynamic(2),
  'quantized::conv3d_dynamic': convolutionDynamic(3),
  'quantized::linear_dynamic_fp16': linearHalf(false),
  'quantized::linear_relu_dynamic_fp16': linearHalf(true),
};
