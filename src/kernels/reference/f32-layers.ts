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

const logistic = (x: number): number => 1 / (1 + Math.exp(-x));

/** Obviously right twin of `lstmCellF32`: outputs and cell states. */
export function referenceLstmCell(
  gates: ArrayLike<number>,
  cell: ArrayLike<number>,
  rows: number,
  hidden: number,
): [number[], number[]] {
  const [outputs, cells]: [number[], number[]] = [[], []];
  for (let r = 0; r < rows; r++)
    for (let j = 0; j < hidden; j++) {
      const [i, f, g, o] = [0, 1, 2, 3].map((gate) => gates[(4 * r + gate) * hidden + j]);
      const next = logistic(f) * cell[r * hidden + j] + logistic(i) * Math.tanh(g);
      cells.push(next);
      outputs.push(logistic(o) * Math.tanh(next));
    }
  return [outputs, cells];
}

/** Obviously right twin of `gruCellF32`. */
export function referenceGruCell(
  inputGates: ArrayLike<number>,
  hiddenGates: ArrayLike<number>,
  state: ArrayLike<number>,
  rows: number,
  hidden: number,
): number[] {
  const next: number[] = [];
  for (let r = 0; r < rows; r++)
    for (let j = 0; j < hidden; j++) {
      const at = [0, 1, 2].map((gate) => (3 * r + gate) * hidden + j);
      const [reset, update] = [0, 1].map((gate) => logistic(inputGates[at[gate]] + hiddenGates[at[gate]]));
      const candidate = Math.tanh(inputGates[at[2]] + reset * hiddenGates[at[2]]);
      next.push(candidate + update * (state[r * hidden + j] - candidate));
    }
  return next;
}
