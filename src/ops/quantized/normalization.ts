import { ShapeError } from '../../core/errors.ts';
import { product, ROUND } from '../../core/math.ts';
import { DTYPES } from '../../tensor/dtype.ts';
import { type PerTensorQParams, perTensorQParams } from '../../tensor/qparams.ts';
import { channelsLastStrides, contiguousStrides, formatShape } from '../../tensor/shape.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { inLayout } from '../float/layout.ts';
import type { QuantizedOps } from '../signatures/index.ts';
import { activationQParams, channelsLastData, channelsLastTensor } from './convolution.ts';

const { fround, sqrt } = Math;

/** Input and output parameters of a normalization, checked. */
function qparamsOf(
  x: Tensor,
  scale: number,
  zeroPoint: number,
  fn: string,
): { input: PerTensorQParams; output: PerTensorQParams; min: number; max: number } {
  const input = activationQParams(x, fn);
  const output = perTensorQParams(scale, zeroPoint, x.dtype as 'quint8' | 'qint8', fn);
  return { input, output, min: DTYPES[x.dtype].min, max: DTYPES[x.dtype].max };
}

function requireLength(fn: string, argument: string, t: Tensor | null, length: number): void {
  if (!t || t.numel === length) return;
  throw new ShapeError({ fn, argument, expected: `${length} elements`, got: formatShape(t.shape) });
}

/**
 * Batch normalization with given statistics as one multiply-add on the integers, per channel:
 * `alpha = weight / √(var + eps) · sIn / sOut`, `beta = (bias − mean · weight / √(var + eps)) / sOut`.
 * Source: `q_batch_norm_kernel`.
 */
function batchNorm(rank: 2 | 3, relu: boolean) {
  const fn = `quantized::batch_norm${rank}d${relu ? '_relu' : ''}` as const;
  return (...args: Parameters<QuantizedOps['quantized::batch_norm2d']>): Tensor => {
    const [x, weight, bias, mean, variance, eps, scale, zeroPoint] = args;
    const { input, output, min, max } = qparamsOf(x, scale, zeroPoint, fn);
    const channels = x.shape[1];
    if (x.ndim !== rank + 2 || mean.numel !== channels) {
      throw new ShapeError({
        fn,
        argument: 'input',
        expected: `${rank + 2} dimensions with ${mean.numel} channels in dimension 1`,
        got: formatShape(x.shape),
      });
    }
    requireLength(fn, 'variance', variance, channels);
    requireLength(fn, 'weight', weight, channels);
    requireLength(fn, 'bias', bias, channels);
    const [m, v, w, b] = [mean.data, variance.data, weight?.data, bias?.data];
    const alpha = new Float32Array(channels);
    const beta = new Float32Array(channels);
    const ratio = input.scale / scale;
    for (let c = 0; c < channels; c++) {
      const inverse = fround(1 / fround(sqrt(fround(v[c] + fround(eps)))));
      const gain = w ? w[c] : 1;
      alpha[c] = fround(inverse * gain) * ratio;
      beta[c] = fround((b ? b[c] : 0) - fround(fround(m[c] * inverse) * gain)) / scale;
    }
    const q = channelsLastData(x);
    const out = DTYPES[x.dtype].allocate(q.length) as Uint8Array | Int8Array;
    const low = relu ? Math.max(min, zeroPoint) : min;
    const zero = input.zeroPoint;
    for (let i = 0; i < q.length; ) {
      for (let c = 0; c < channels; c++, i++) {
        // One rounding for the multiply-add, as the vector units of PyTorch's builds do it.
        const y = fround(alpha[c] * (q[i] - zero) + beta[c]) + ROUND - ROUND + zeroPoint;
        out[i] = y < low ? low : y > max ? max : y;
      }
    }
    return channelsLastTensor(out, x.shape, x, output);
  };
}

/** What the groups of a layer, group or instance norm are, and which gain each element gets. */
interface Grouping {
  readonly groups: number;
  /** Elements per group. */
  readonly size: number;
  /** Neighbouring elements that share a gain. */
  readonly run: number;
  /** Gains per period; gain i belongs to run i (mod period). */
  readonly gains: number;
}

/**
 * Normalizes contiguous groups by their own mean and variance, which come exactly from sums of integers.
 * Source: `quantized_normalize_kernel`.
 */
function normalize(
  fn: string,
  x: Tensor,
  { groups, size, run, gains }: Grouping,
  weight: Tensor | null,
  bias: Tensor | null,
  eps: number,
  scale: number,
  zeroPoint: number,
): Tensor {
  const { input, output, min, max } = qparamsOf(x, scale, zeroPoint, fn);
  requireLength(fn, 'weight', weight, gains);
  requireLength(fn, 'bias', bias, gains);
  const q = inLayout(x, contiguousStrides(x.shape));
  const out = DTYPES[x.dtype].allocate(q.length);
  const w = weight ? weight.data : new Float32Array(gains).fill(1);
  const b = bias ? bias.data : new Float32Array(gains);
  const step = fround(input.scale);
  const inverse = fround(1 / fround(scale));
  const zero = input.zeroPoint;
  for (let g = 0, start = 0; g < groups; g++, start += size) {
    let sum = 0;
    let squares = 0;
    for (let i = start; i < start + size; i++) {
      sum += q[i];
      squares += q[i] * q[i];
    }
    const shiftedMean = fround(fround(sum) / size);
    const mean = fround(shiftedMean - zero);
    const spread = fround(fround(fround(squares) / size) - fround(shiftedMean * shiftedMean));
    const variance = spread > 0 ? spread : 0;
    const factor = fround(step / sqrt(fround(fround(variance * step) * step) + eps));
    for (let i = start, c = (start / run) % gains; i < start + size; c = c + 1 === gains ? 0 : c + 1) {
      const gain = w[c];
      const shift = b[c];
      for (const end = i + run; i < end; i++) {
        const centred = fround(q[i] - zero - mean);
        const y = fround(fround(fround(centred * factor) * gain) + shift);
        const r = fround(y * inverse) + ROUND - ROUND + zeroPoint;
        // NaN fails both comparisons.
        out[i] = r >= max ? max : r > min ? r : min;
      }
    }
  }
  return new Tensor({ storage: out, shape: x.shape, dtype: x.dtype, qparams: output });
}

/** Normalizes groups of channels of every sample; instance norm is one channel a group. */
function overChannels(
  fn: string,
  x: Tensor,
  groups: number,
  weight: Tensor | null,
  bias: Tensor | null,
  eps: number,
  scale: number,
  zeroPoint: number,
): Tensor {
  const [batch, channels] = x.shape;
  if (x.ndim < 2 || !Number.isInteger(groups) || groups < 1 || channels % groups !== 0) {
    throw new ShapeError({
      fn,
      argument: 'input',
      expected: `[batch, channels, …] with a number of channels divisible by ${groups}`,
      got: formatShape(x.shape),
    });
  }
  const run = product(x.shape.slice(2));
  const size = (channels / groups) * run;
  const grouping = { groups: batch * groups, size, run, gains: channels };
  const y = normalize(fn, x, grouping, weight, bias, eps, scale, zeroPoint);
  if (x.ndim < 4 || !x.isContiguous('channelsLast')) return y;
  const { storage, shape, dtype, qparams } = y;
  const strides = channelsLastStrides(shape);
  const ordered = inLayout(new Tensor({ storage, shape, dtype, qparams }), strides);
  return new Tensor({ storage: ordered, shape, strides, dtype, qparams });
}

type Normalizations = Pick<
  QuantizedOps,
  `quantized::batch_norm${2 | 3}d${'' | '_relu'}` | `quantized::${'layer' | 'group' | 'instance'}_norm`
>;

/** Normalizations on per-tensor quantized tensors, with float statistics, gains and shifts. */
export const normalizations: Normalizations = {
  'quantized::batch_norm2d': batchNorm(2, false),
  'quantized::batch_norm2d_relu': batchNorm(2, true),
  'quantized::batch_norm3d': batchNorm(3, false),
  'quantized::batch_norm3d_relu': batchNorm(3, true),
  'quantized::layer_norm': (x, normalizedShape, weight, bias, eps, scale, zeroPoint) => {
    const fn = 'quantized::layer_norm';
    const size = product(normalizedShape);
    const trailing = x.shape.slice(x.ndim - normalizedShape.length);
    if (normalizedShape.length > x.ndim || trailing.join() !== normalizedShape.join()) {
      throw new ShapeError({
        fn,
        argument: 'input',
        expected: `a shape that ends in ${formatShape(normalizedShape)}`,
        got: formatShape(x.shape),
      });
    }
    const grouping = { groups: size === 0 ? 0 : x.numel / size, size, run: 1, gains: size };
    return normalize(fn, x, grouping, weight, bias, eps, scale, zeroPoint);
  },
  'quantized::group_norm': (x, groups, weight, bias, eps, scale, zeroPoint) =>
    overChannels('quantized::group_norm', x, groups, weight, bias, eps, scale, zeroPoint),
  'quantized::instance_norm': (x, weight, bias, eps, scale, zeroPoint) =>
    overChannels('quantized::instance_norm', x, x.shape[1], weight, bias, eps, scale, zeroPoint),
};
