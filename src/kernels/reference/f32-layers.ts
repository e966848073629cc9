/** Obviously right twin of `batchNormForwardF32`: double precision, two passes. */
export function referenceBatchNormForward(
  x: ArrayLike<number>,
  rows: number,
  channels: number,
  gamma: ArrayLike<number> | null,
  beta: ArrayLike<number> | null,
  eps: number,
): { out: Float64Array; mean: Float64Array; variance: Float64Array } {
  const out = new Float64Array(rows * channels);
  const mean = new Float64Array(channels);
  const variance = new Float64Array(channels);
  for (let c = 0; c < channels; c++) {
    for (let r = 0; r < rows; r++) mean[c] += x[r * channels + c] / rows;
    for (let r = 0; r < rows; r++) variance[c] += (x[r * channels + c] - mean[c]) ** 2 / rows;
    for (let r = 0; r < rows; r++) {
      const normal = (x[r * channels + c] - mean[c]) / Math.sqrt(variance[c] + eps);
      out[r * channels + c] = normal * (gamma?.[c] ?? 1) + (beta?.[c] ?? 0);
    }
  }
  return { out, mean, variance };
}

/** Obviously right twin of `batchNormBackwardF32`: the chain rule through mean and variance, written out. */
export function referenceBatchNormBackward(
  gradOut: ArrayLike<number>,
  x: ArrayLike<number>,
  rows: number,
  channels: number,
  gamma: ArrayLike<number> | null,
  eps: number,
): { gradInput: Float64Array; gradGamma: Float64Array; gradBeta: Float64Array } {
  const { mean, variance } = referenceBatchNormForward(x, rows, channels, null, null, eps);
  const gradInput = new Float64Array(rows * channels);
  const gradGamma = new Float64Array(channels);
  const gradBeta = new Float64Array(channels);
  for (let c = 0; c < channels; c++) {
    const std = Math.sqrt(variance[c] + eps);
    let gradVariance = 0;
    let gradMean = 0;
    for (let r = 0; r < rows; r++) {
      const g = gradOut[r * channels + c];
      const centered = x[r * channels + c] - mean[c];
      gradGamma[c] += (g * centered) / std;
      gradBeta[c] += g;
      const gradNormal = g * (gamma?.[c] ?? 1);
      gradVariance += (gradNormal * centered * -0.5) / std ** 3;
      gradMean -= gradNormal / std;
    }
    for (let r = 0; r < rows; r++) {
      const gradNormal = gradOut[r * channels + c] * (gamma?.[c] ?? 1);
      const centered = x[r * channels + c] - mean[c];
      gradInput[r * channels + c] = gradNormal / std + (gradVariance * 2 * centered + gradMean) / rows;
    }
  }
  return { gradInput, gradGamma, gradBeta };
}

/** Obviously right twin of `logSoftmaxF32`; its exponential is that of `softmaxF32`. */
export function referenceLogSoftmax(x: ArrayLike<number>, rows: number, columns: number): Float64Array {
  const out = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    let top = -Infinity;
    for (let c = 0; c < columns; c++) top = Math.max(top, x[r * columns + c]);
    let sum = 0;
    for (let c = 0; c < columns; c++) sum += Math.exp(x[r * columns + c] - top);
    for (let c = 0; c < columns; c++) out[r * columns + c] = x[r * columns + c] - top - Math.log(sum);
  }
  return out;
}
