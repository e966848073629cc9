import { ShapeError } from '../../../core/errors.ts';
import {
  batchNormBackwardF32,
  batchNormForwardF32,
  centerScaleF32,
} from '../../../kernels/f32/normalization.ts';
import { formatShape } from '../../../tensor/shape.ts';
import { Tensor } from '../../../tensor/tensor.ts';
import { allocateLike, channelsLastData, channelsLastTensor, requireFloat } from './channels-last.ts';

/** Normalizes every channel by its own mean and variance over the batch: [output, mean, biased variance]. */
export function batchNormTrain(
  x: Tensor,
  weight: Tensor | null,
  bias: Tensor | null,
  eps: number,
): [Tensor, Tensor, Tensor] {
  requireFloat('batchNorm', { input: x, weight, bias });
  const channels = checkChannels(x, { weight, bias });
  const input = channelsLastData(x);
  if (input instanceof Float32Array) {
    const forward = batchNormForwardF32({
      x: input,
      rows: input.length / channels,
      channels,
      gamma: float32Data(weight),
      beta: float32Data(bias),
      eps,
    });
    return [
      channelsLastTensor(forward.out, x.shape, x.dtype),
      vector(forward.mean, x),
      vector(forward.variance, x),
    ];
  }
  const count = input.length / channels;
  const mean = new Float64Array(channels);
  const variance = new Float64Array(channels);
  for (let at = 0; at < input.length; at += channels) {
    for (let c = 0; c < channels; c++) mean[c] += input[at + c];
  }
  for (let c = 0; c < channels; c++) mean[c] /= count;
  for (let at = 0; at < input.length; at += channels) {
    for (let c = 0; c < channels; c++) {
      const d = input[at + c] - mean[c];
      variance[c] += d * d;
    }
  }
  for (let c = 0; c < channels; c++) variance[c] /= count;
  return [normalize(x, mean, variance, weight, bias, eps), vector(mean, x), vector(variance, x)];
}

/** Normalizes every channel by the given mean and variance. */
export function batchNormEval(
  x: Tensor,
  mean: Tensor,
  variance: Tensor,
  weight: Tensor | null,
  bias: Tensor | null,
  eps: number,
): Tensor {
  requireFloat('batchNorm', { input: x, mean, variance, weight, bias });
  checkChannels(x, { mean, variance, weight, bias });
  return normalize(x, mean.data, variance.data, weight, bias, eps);
}

/** Gradients of {@link batchNormTrain}'s output: [input, weight, bias]. */
export function batchNormTrainGrad(
  gradOut: Tensor,
  x: Tensor,
  mean: Tensor,
  variance: Tensor,
  weight: Tensor | null,
  eps: number,
): [Tensor, Tensor, Tensor] {
  const channels = x.shape[1];
  const input = channelsLastData(x);
  const grad = channelsLastData(gradOut);
  if (input instanceof Float32Array) {
    const grads = batchNormBackwardF32({
      gradOut: grad as Float32Array,
      x: input,
      rows: input.length / channels,
      channels,
      mean: mean.data as Float32Array,
      invStd: (variance.data as Float32Array).map((v) => 1 / Math.sqrt(v + eps)),
      gamma: float32Data(weight),
    });
    return [
      channelsLastTensor(grads.gradInput, x.shape, x.dtype),
      vector(grads.gradGamma, x),
      vector(grads.gradBeta, x),
    ];
  }
  const { scale, gradWeight, gradBias } = channelGrads(gradOut, x, mean, variance, weight, eps);
  const mu = mean.data;
  const count = input.length / channels;
  const out = allocateLike(input, input.length);
  const shift = new Float64Array(channels);
  const slope = new Float64Array(channels);
  for (let c = 0; c < channels; c++) {
    const invStd = 1 / Math.sqrt(variance.data[c] + eps);
    slope[c] = (gradWeight[c] / count) * invStd;
    shift[c] = gradBias[c] / count;
  }
  for (let at = 0; at < input.length; at += channels) {
    for (let c = 0; c < channels; c++) {
      out[at + c] = (grad[at + c] - shift[c] - (input[at + c] - mu[c]) * slope[c]) * scale[c];
    }
  }
  return [channelsLastTensor(out, x.shape, x.dtype), vector(gradWeight, x), vector(gradBias, x)];
}

/** Gradients of {@link batchNormEval}: [input, mean, variance, weight, bias]. */
export function batchNormEvalGrad(
  gradOut: Tensor,
  x: Tensor,
  mean: Tensor,
  variance: Tensor,
  weight: Tensor | null,
  eps: number,
): [Tensor, Tensor, Tensor, Tensor, Tensor] {
  const { scale, gradWeight, gradBias } = channelGrads(gradOut, x, mean, variance, weight, eps);
  const channels = x.shape[1];
  const grad = channelsLastData(gradOut);
  const out = allocateLike(grad, grad.length);
  for (let at = 0; at < grad.length; at += channels) {
    for (let c = 0; c < channels; c++) out[at + c] = grad[at + c] * scale[c];
  }
  const w = weight?.data;
  const v = variance.data;
  const gradMean = gradBias.map((g, c) => -g * scale[c]);
  const gradVariance = gradWeight.map((g, c) => (-0.5 * g * (w ? w[c] : 1)) / (v[c] + eps));
  return [
    channelsLastTensor(out, x.shape, x.dtype),
    vector(gradMean, x),
    vector(gradVariance, x),
    vector(gradWeight, x),
    vector(gradBias, x),
  ];
}

/** weight / √(variance + eps), and the gradients of weight and bias, per channel. */
function channelGrads(
  gradOut: Tensor,
  x: Tensor,
  mean: Tensor,
  variance: Tensor,
  weight: Tensor | null,
  eps: number,
): { readonly scale: Float64Array; readonly gradWeight: Float64Array; readonly gradBias: Float64Array } {
  const channels = x.shape[1];
  const input = channelsLastData(x);
  const grad = channelsLastData(gradOut);
  const mu = mean.data;
  const gradWeight = new Float64Array(channels);
  const gradBias = new Float64Array(channels);
  for (let at = 0; at < input.length; at += channels) {
    for (let c = 0; c < channels; c++) {
      const g = grad[at + c];
      gradBias[c] += g;
      gradWeight[c] += g * (input[at + c] - mu[c]);
    }
  }
  const scale = new Float64Array(channels);
  const w = weight?.data;
  for (let c = 0; c < channels; c++) {
    const invStd = 1 / Math.sqrt(variance.data[c] + eps);
    gradWeight[c] *= invStd;
    scale[c] = (w ? w[c] : 1) * invStd;
  }
  return { scale, gradWeight, gradBias };
}

function normalize(
  x: Tensor,
  mean: ArrayLike<number>,
  variance: ArrayLike<number>,
  weight: Tensor | null,
  bias: Tensor | null,
  eps: number,
): Tensor {
  const channels = x.shape[1];
  const input = channelsLastData(x);
  const w = weight?.data;
  const b = bias?.data;
  const scale = Float64Array.from(variance, (v, c) => (w ? w[c] : 1) / Math.sqrt(v + eps));
  if (input instanceof Float32Array) {
    const rows = input.length / channels;
    const out = centerScaleF32({ x: input, rows, channels, mean, scale, shift: b ?? null });
    return channelsLastTensor(out, x.shape, x.dtype);
  }
  const out = allocateLike(input, input.length);
  for (let at = 0; at < input.length; at += channels) {
    for (let c = 0; c < channels; c++) {
      out[at + c] = (input[at + c] - mean[c]) * scale[c] + (b ? b[c] : 0);
    }
  }
  return channelsLastTensor(out, x.shape, x.dtype);
}

function float32Data(x: Tensor | null): Float32Array | null {
  return x && (x.data as Float32Array);
}

function vector(values: ArrayLike<number>, like: Tensor): Tensor {
  const storage = allocateLike(like.storage, values.length);
  storage.set(values);
  return new Tensor({ storage, shape: [values.length], dtype: like.dtype });
}

function checkChannels(x: Tensor, vectors: Readonly<Record<string, Tensor | null>>): number {
  if (x.ndim < 2) {
    throw new ShapeError({
      fn: 'batchNorm',
      argument: 'input',
      expected: 'at least 2 dimensions (batch, channels, …)',
      got: formatShape(x.shape),
    });
  }
  const channels = x.shape[1];
  for (const [argument, t] of Object.entries(vectors)) {
    if (t === null || (t.ndim === 1 && t.shape[0] === channels)) continue;
    throw new ShapeError({
      fn: 'batchNorm',
      argument,
      expected: `shape [${channels}], one value per channel of ${formatShape(x.shape)}`,
      got: formatShape(t.shape),
    });
  }
  return channels;
}
