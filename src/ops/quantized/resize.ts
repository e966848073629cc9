import { clampNumber, roundHalfEven } from '../../core/math.ts';
import { DTYPES } from '../../tensor/dtype.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { interpolate as interpolateFloat } from '../float/layer/interpolate.ts';
import { dense } from '../float/layout.ts';
import type { Ops } from '../signatures/index.ts';
import { activationQParams } from './convolution.ts';

/**
 * Resizes quantized images: nearest moves integers, linear and bilinear mix them and round. Quantization parameters stay.
 * Source: `upsample_nearest2d_quantized_cpu`, `upsample_bilinear2d_quantized_cpu`.
 */
const interpolate: Ops['interpolate'] = (x, options) => {
  const qparams = activationQParams(x, 'interpolate');
  const { min, max } = DTYPES[x.dtype];
  const { zeroPoint } = qparams;
  const { data, strides } = dense(x);
  const nearest = options.mode === 'nearest';
  const centred = Float32Array.from(data, (q) => q - zeroPoint);
  const resized = interpolateFloat(
    new Tensor({ storage: centred, shape: x.shape, strides, dtype: 'float32' }),
    options,
  );
  const mixed = dense(resized);
  const storage = DTYPES[x.dtype].allocate(mixed.data.length);
  for (let i = 0; i < storage.length; i++) {
    const v = mixed.data[i];
    storage[i] = clampNumber((nearest ? v : roundHalfEven(v)) + zeroPoint, min, max);
  }
  return new Tensor({ storage, shape: resized.shape, strides: mixed.strides, dtype: x.dtype, qparams });
};

/** Resizing of quantized images. */
export const resizing: Pick<Ops, 'interpolate'> = { interpolate };
