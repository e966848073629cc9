import { ShapeError } from '../../core/errors.ts';
import { clampNumber, ROUND } from '../../core/math.ts';
import { DTYPES, integerDTypeOf } from '../../tensor/dtype.ts';
import { formatShape } from '../../tensor/shape.ts';
import { quantizedDTypeOf, Tensor } from '../../tensor/tensor.ts';
import { interpolate as interpolateFloat } from '../float/layer/interpolate.ts';
import type { Ops } from '../signatures/index.ts';
import type { InterpolateOptions } from '../signatures/layer.ts';
import { activationQParams, channelsLastData, channelsLastTensor } from './convolution.ts';
import { rearranging } from './rearrange.ts';

const { fround } = Math;

/** For every output place along one dimension: the two input places it mixes, and the share of the second in float32. */
export interface Mix {
  readonly low: Int32Array;
  readonly high: Int32Array;
  readonly share: Float32Array;
}

/** How the places of a dimension are mixed when it is resized. */
export function mixAlong(
  size: number,
  outSize: number,
  alignCorners: boolean,
  scale: number | undefined,
): Mix {
  const low = new Int32Array(outSize);
  const high = new Int32Array(outSize);
  const share = new Float32Array(outSize);
  const step = alignCorners
    ? outSize > 1
      ? fround((size - 1) / (outSize - 1))
      : 0
    : fround(scale ?? size / outSize);
  for (let o = 0; o < outSize; o++) {
    const at = alignCorners ? fround(step * o) : Math.max(0, fround(fround(step * (o + 0.5)) - 0.5));
    low[o] = Math.min(Math.trunc(at), size - 1);
    high[o] = Math.min(low[o] + 1, size - 1);
    share[o] = clampNumber(at - low[o], 0, 1);
  }
  return { low, high, share };
}

/** Mixes the integers of four neighbours in float32, and rounds. Source: `upsample_bilinear2d_out_frame`. */
function bilinear(x: Tensor, options: InterpolateOptions): Tensor {
  const qparams = activationQParams(x, 'interpolate');
  const { zeroPoint } = qparams;
  const [batch, channels, height, width] = x.shape;
  const [outHeight, outWidth] = options.size;
  const rows = mixAlong(height, outHeight, options.alignCorners, options.scales?.[0]);
  const columns = mixAlong(width, outWidth, options.alignCorners, options.scales?.[1]);
  const q = channelsLastData(x);
  const out = DTYPES[x.dtype].allocate(batch * outHeight * outWidth * channels) as Uint8Array | Int8Array;
  let to = 0;
  for (let n = 0; n < batch; n++) {
    const image = n * height * width * channels;
    for (let i = 0; i < outHeight; i++) {
      const below = rows.share[i];
      const above = fround(1 - below);
      const top = image + rows.low[i] * width * channels;
      const bottom = image + rows.high[i] * width * channels;
      for (let j = 0; j < outWidth; j++) {
        const right = columns.share[j];
        const left = fround(1 - right);
        const a = columns.low[j] * channels;
        const b = columns.high[j] * channels;
        for (let c = 0; c < channels; c++) {
          const upper = fround(fround(left * q[top + a + c]) + fround(right * q[top + b + c]));
          const lower = fround(fround(left * q[bottom + a + c]) + fround(right * q[bottom + b + c]));
          const mixed = fround(fround(above * upper) + fround(below * lower));
          // A mixture of integers lies between them, so that nothing has to be clamped.
          out[to++] = fround(mixed - zeroPoint) + ROUND - ROUND + zeroPoint;
        }
      }
    }
  }
  return channelsLastTensor(out, [batch, channels, outHeight, outWidth], x, qparams);
}

/** Moves integers. Source: `upsample_nearest2d_quantized_cpu`. */
function nearest(x: Tensor, options: InterpolateOptions): Tensor {
  const qparams = activationQParams(x, 'interpolate');
  const { storage, shape, strides, offset } = x;
  const dtype = integerDTypeOf(quantizedDTypeOf(x, 'interpolate'));
  const resized = interpolateFloat(new Tensor({ storage, shape, strides, offset, dtype }), options);
  return new Tensor({
    storage: resized.storage,
    shape: resized.shape,
    strides: resized.strides,
    dtype: x.dtype,
    qparams,
  });
}

/** Resizes quantized images (or lines, as images of height 1); the quantization stays. */
const interpolate: Ops['interpolate'] = (x, options) => {
  if (options.mode === 'nearest') return nearest(x, options);
  const rank = options.mode === 'linear' ? 1 : 2;
  if (x.ndim !== rank + 2) {
    throw new ShapeError({
      fn: 'interpolate',
      argument: 'x',
      expected: `${rank + 2} dimensions for mode '${options.mode}'`,
      got: formatShape(x.shape),
    });
  }
  if (rank === 2) return bilinear(x, options);
  const { size, scales } = options;
  const asImage = { ...options, size: [1, ...size], scales: scales && [1, ...scales] };
  return rearranging.squeeze(bilinear(rearranging.unsqueeze(x, 2), asImage), 2);
};

/** Resizing of quantized images. */
export const resizing: Pick<Ops, 'interpolate'> = { interpolate };
