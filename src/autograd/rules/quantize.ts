import { product, roundHalfEven } from '../../core/math.ts';
import { dispatch } from '../../ops/dispatch.ts';
import type { QuantizedOps, QuantizeOps } from '../../ops/signatures/index.ts';
import { DTYPES, isFloatDType } from '../../tensor/dtype.ts';
import { fromStorage } from '../../tensor/tensor.ts';
import type { RulesOf } from './rule.ts';

/**
 * Gradients of fake-quantization: straight through where the rounded integer stays inside [qmin, qmax], zero where it
 * was clamped. Crossing into real integers has no gradient, and operators on quantized tensors refuse to be trained.
 * Source: `at::native::fake_quantize_tensor_cachemask_kernel`, `fake_quant_per_channel_cachemask_cpu`.
 */
export const quantizeRules: RulesOf<QuantizeOps & QuantizedOps> = {
  quantizePerTensor: 'none',
  quantizePerChannel: 'none',
  dequantize: 'none',
  intRepr: 'none',
  fakeQuantizePerTensor: (_out, x, scale, zeroPoint, qmin, qmax) => {
    const inside = fromStorage(DTYPES[x.dtype].allocate(x.numel), x.shape, x.dtype);
    markInside(
      x.data as Float32Array,
      inside.storage as Float32Array,
      0,
      x.numel,
      scale,
      zeroPoint,
      qmin,
      qmax,
    );
    return (grad) => [dispatch('mul', grad, inside)];
  },
  fakeQuantizePerChannel: (_out, x, scales, zeroPoints, axis, qmin, qmax) => {
    const inside = fromStorage(DTYPES[x.dtype].allocate(x.numel), x.shape, x.dtype);
    const data = x.data as Float32Array;
    const mask = inside.storage as Float32Array;
    const scale = scales.data;
    const zeroPoint = zeroPoints.data;
    const float = isFloatDType(zeroPoints.dtype);
    const channels = x.shape[axis];
    const inner = product(x.shape.slice(axis + 1));
    for (let block = 0, at = 0; at < data.length; block++, at += inner) {
      const c = block % channels;
      markInside(data, mask, at, at + inner, scale[c], zeroPoint[c], qmin, qmax, float ? zeroPoint[c] : 0);
    }
    return (grad) => [dispatch('mul', grad, inside)];
  },
  'quantized::conv1d': 'missing',
  'quantized::conv1d_relu': 'missing',
  'quantized::conv2d': 'missing',
  'quantized::conv2d_relu': 'missing',
  'quantized::conv3d': 'missing',
  'quantized::conv3d_relu': 'missing',
  'quantized::linear': 'missing',
  'quantized::linear_relu': 'missing',
  'quantized::linear_dynamic': 'missing',
  'quantized::linear_relu_dynamic': 'missing',
  'quantized::linear_dynamic_fp16': 'missing',
  'quantized::linear_relu_dynamic_fp16': 'missing',
  'quantized::conv1d_dynamic': 'missing',
  'quantized::conv2d_dynamic': 'missing',
  'quantized::conv3d_dynamic': 'missing',
  'quantized::add': 'missing',
  'quantized::add_relu': 'missing',
  'quantized::add_scalar': 'missing',
  'quantized::mul': 'missing',
  'quantized::mul_relu': 'missing',
  'quantized::mul_scalar': 'missing',
  'quantized::matmul': 'missing',
  'quantized::cat': 'missing',
  'quantized::conv_transpose1d': 'missing',
  'quantized::conv_transpose2d': 'missing',
  'quantized::conv_transpose3d': 'missing',
  'quantized::conv_transpose1d_dynamic': 'missing',
  'quantized::conv_transpose2d_dynamic': 'missing',
  'quantized::conv_transpose3d_dynamic': 'missing',
  'quantized::sigmoid': 'missing',
  'quantized::tanh': 'missing',
  'quantized::hardswish': 'missing',
  'quantized::elu': 'missing',
  'quantized::celu': 'missing',
  'quantized::leaky_relu': 'missing',
  'quantized::prelu': 'missing',
  'quantized::softmax': 'missing',
  'quantized::threshold': 'missing',
  'quantized::batch_norm2d': 'missing',
  'quantized::batch_norm2d_relu': 'missing',
  'quantized::batch_norm3d': 'missing',
  'quantized::batch_norm3d_relu': 'missing',
  'quantized::layer_norm': 'missing',
  'quantized::group_norm': 'missing',
  'quantized::instance_norm': 'missing',
};

/** Writes 1 where `x` quantizes to an integer in [qmin, qmax], 0 elsewhere, with PyTorch's float32 arithmetic. */
function markInside(
  x: Float32Array,
  mask: Float32Array,
  from: number,
  to: number,
  scale: number,
  zeroPoint: number,
  qmin: number,
  qmax: number,
  beforeRounding = 0,
): void {
  const inverse = Math.fround(1 / Math.fround(scale));
  for (let i = from; i < to; i++) {
    const q = roundHalfEven(Math.fround(x[i] * inverse + beforeRounding)) + (zeroPoint - beforeRounding);
    mask[i] = q >= qmin && q <= qmax ? 1 : 0;
  }
}
