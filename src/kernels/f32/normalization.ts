import { engine as defaultEngine, type Engine } from '../engine.ts';
import { checkLength, checkSizes } from './panels.ts';

/** Floats handled at a time: two such blocks stay in L2 while a kernel passes over them twice. */
const BLOCK_FLOATS = 32 * 1024;

/** Rows summed in float32 before double precision takes over. */
const SUM_ROWS = 256;

type Take = (bytes: number) => number;

/** Rows per block, at least one. */
function blockRows(rows: number, channels: number): number {
  return Math.max(1, Math.min(rows, Math.floor(BLOCK_FLOATS / channels)));
}

/** Splits `rows` into the pieces that are summed in float32. */
function forSubBlocks(rows: number, use: (from: number, count: number) => void): void {
  for (let from = 0; from < rows; from += SUM_ROWS) use(from, Math.min(SUM_ROWS, rows - from));
}

/** Per-channel parameters in scratch, padded to whole vectors with zeros. */
function stageChannels(
  engine: Engine,
  take: Take,
  values: ArrayLike<number> | number,
  channels: number,
): number {
  const ptr = take((channels + 3) * 4);
  const f32 = engine.heap.f32;
  f32.fill(typeof values === 'number' ? values : 0, ptr >> 2, (ptr >> 2) + channels);
  if (typeof values !== 'number') f32.set(values, ptr >> 2);
  return ptr;
}

/** Copies rows [from, from + count) of `x` to `ptr`. */
function stageRows(
  engine: Engine,
  ptr: number,
  x: Float32Array,
  channels: number,
  from: number,
  count: number,
): void {
  engine.heap.f32.set(x.subarray(from * channels, (from + count) * channels), ptr >> 2);
}

/**
 * Sum over rows for every channel: the gradient of a bias.
 *
 * @param x `[rows][channels]`
 * @returns `[channels]`; 256 rows at a time are summed in float32, and those sums in double precision.
 * @throws ShapeError when `x` does not hold rows·channels floats.
 * @example
 * const gradBias = columnSumsF32(gradOut, 64 * 32 * 32, 16);
 */
export function columnSumsF32(
  x: Float32Array,
  rows: number,
  channels: number,
  engine: Engine = defaultEngine,
): Float32Array {
  checkSizes('columnSumsF32', { rows, channels });
  checkLength('columnSumsF32', 'x', x, rows * channels);
  const totals = new Float64Array(channels);
  if (x.length === 0) return Float32Array.from(totals);
  engine.scratch((take) => {
    const step = blockRows(rows, channels);
    const block = take((step * channels + 4) * 4);
    const sums = take((channels + 4) * 4);
    const f32 = engine.heap.f32;
    for (let r = 0; r < rows; r += step) {
      stageRows(engine, block, x, channels, r, Math.min(step, rows - r));
      forSubBlocks(Math.min(step, rows - r), (from, count) => {
        engine.kernels.f32_column_sums(block + from * channels * 4, count, channels, sums);
        for (let c = 0; c < channels; c++) totals[c] += f32[(sums >> 2) + c];
      });
    }
  });
  return Float32Array.from(totals);
}

/** Statistics of a batch, per channel. */
export interface ChannelStatistics {
  readonly mean: Float64Array;
  /** Mean squared deviation (divided by the number of rows). */
  readonly variance: Float64Array;
}

/**
 * Mean and biased variance of every channel. Each block is measured against its own mean and corrected for that mean's rounding;
 * blocks are joined in double precision (Chan, Golub, LeVeque 1979), so neither many rows nor a mean far from zero costs digits.
 *
 * @param x `[rows][channels]`
 * @throws ShapeError when `x` does not hold rows·channels floats.
 * @example
 * const { mean, variance } = channelStatisticsF32(x, 64 * 32 * 32, 16);
 */
export function channelStatisticsF32(
  x: Float32Array,
  rows: number,
  channels: number,
  engine: Engine = defaultEngine,
): ChannelStatistics {
  checkSizes('channelStatisticsF32', { rows, channels });
  checkLength('channelStatisticsF32', 'x', x, rows * channels);
  const mean = new Float64Array(channels);
  const squares = new Float64Array(channels);
  if (x.length === 0) return { mean, variance: squares };
  engine.scratch((take) => {
    const step = blockRows(rows, channels);
    const block = take((step * channels + 4) * 4);
    const center = take((channels + 4) * 4);
    const first = take((channels + 4) * 4);
    const second = take((channels + 4) * 4);
    const f32 = engine.heap.f32;
    for (let r = 0; r < rows; r += step) {
      stageRows(engine, block, x, channels, r, Math.min(step, rows - r));
      forSubBlocks(Math.min(step, rows - r), (from, count) => {
        const part = block + from * channels * 4;
        const before = r + from;
        engine.kernels.f32_column_sums(part, count, channels, center);
        for (let c = 0; c < channels; c++) f32[(center >> 2) + c] /= count;
        engine.kernels.f32_column_deviations(part, count, channels, center, first, second);
        for (let c = 0; c < channels; c++) {
          const correction = f32[(first >> 2) + c] / count;
          const blockMean = f32[(center >> 2) + c] + correction;
          const blockSquares = f32[(second >> 2) + c] - correction * correction * count;
          const distance = blockMean - mean[c];
          mean[c] += (distance * count) / (before + count);
          squares[c] += blockSquares + (distance * distance * before * count) / (before + count);
        }
      });
    }
  });
  return { mean, variance: squares.map((s) => Math.max(0, s) / rows) };
}

/** Result of {@link batchNormForwardF32}. */
export interface BatchNormForward {
  readonly out: Float32Array;
  readonly mean: Float32Array;
  /** Biased variance of the batch. */
  readonly variance: Float32Array;
  /** 1 / sqrt(variance + eps), saved for the backward pass. */
  readonly invStd: Float32Array;
}

/**
 * Batch normalization with batch statistics, the training forward of `torch.nn.functional.batch_norm`.
 *
 * @param x `[rows][channels]` (channels-last, rows over batch and space)
 * @param gamma `[channels]` or null for ones
 * @param beta `[channels]` or null for zeros
 * @throws ShapeError when lengths do not fit.
 * @example
 * const { out, mean, invStd } = batchNormForwardF32({ x, rows: 64 * 32 * 32, channels: 16, gamma, beta, eps: 1e-5 });
 */
export function batchNormForwardF32(options: {
  readonly x: Float32Array;
  readonly rows: number;
  readonly channels: number;
  readonly gamma: Float32Array | null;
  readonly beta: Float32Array | null;
  readonly eps: number;
  readonly engine?: Engine;
}): BatchNormForward {
  const { x, rows, channels, gamma, beta, eps, engine = defaultEngine } = options;
  if (gamma) checkLength('batchNormForwardF32', 'gamma', gamma, channels);
  if (beta) checkLength('batchNormForwardF32', 'beta', beta, channels);
  const { mean, variance } = channelStatisticsF32(x, rows, channels, engine);
  const invStd = variance.map((v) => 1 / Math.sqrt(v + eps));
  const scale = gamma ? invStd.map((s, c) => s * gamma[c]) : invStd;
  const out = centerScaleF32({ x, rows, channels, mean, scale, shift: beta, engine });
  return {
    out,
    mean: Float32Array.from(mean),
    variance: Float32Array.from(variance),
    invStd: Float32Array.from(invStd),
  };
}

/**
 * `(x − mean) · scale + shift` per channel: the normalization with running statistics (evaluation mode), or any per-channel affine map.
 *
 * @param mean `[channels]`
 * @param scale `[channels]`
 * @param shift `[channels]` or null for zeros
 * @returns `[rows][channels]`
 * @throws ShapeError when lengths do not fit.
 * @example
 * const y = centerScaleF32({ x, rows, channels, mean: runningMean, scale: invStd, shift: beta });
 */
export function centerScaleF32(options: {
  readonly x: Float32Array;
  readonly rows: number;
  readonly channels: number;
  readonly mean: ArrayLike<number>;
  readonly scale: ArrayLike<number>;
  readonly shift: ArrayLike<number> | null;
  readonly clamp?: { readonly min?: number; readonly max?: number };
  readonly engine?: Engine;
}): Float32Array {
  const { x, rows, channels, mean, scale, shift, clamp, engine = defaultEngine } = options;
  checkSizes('centerScaleF32', { rows, channels });
  checkLength('centerScaleF32', 'x', x, rows * channels);
  checkLength('centerScaleF32', 'mean', mean, channels);
  checkLength('centerScaleF32', 'scale', scale, channels);
  if (shift) checkLength('centerScaleF32', 'shift', shift, channels);
  const out = new Float32Array(x.length);
  if (x.length === 0) return out;
  engine.scratch((take) => {
    const step = blockRows(rows, channels);
    const block = take((step * channels + 4) * 4);
    const means = stageChannels(engine, take, mean, channels);
    const scales = stageChannels(engine, take, scale, channels);
    const shifts = stageChannels(engine, take, shift ?? 0, channels);
    // A separate output block: a row's tail reads on into the next row, which must not have been overwritten.
    const result = take((step * channels + 4) * 4);
    for (let r = 0; r < rows; r += step) {
      const count = Math.min(step, rows - r);
      stageRows(engine, block, x, channels, r, count);
      engine.kernels.f32_center_scale(
        block,
        count,
        channels,
        means,
        scales,
        shifts,
        result,
        clamp?.min ?? -Infinity,
        clamp?.max ?? Infinity,
      );
      out.set(engine.heap.f32.subarray(result >> 2, (result >> 2) + count * channels), r * channels);
    }
  });
  return out;
}

/** Result of {@link batchNormBackwardF32}. */
export interface BatchNormBackward {
  readonly gradInput: Float32Array;
  readonly gradGamma: Float32Array;
  readonly gradBeta: Float32Array;
}

/**
 * Gradients of {@link batchNormForwardF32}.
 *
 * @param gradOut `[rows][channels]`
 * @param x the forward's input
 * @param mean the forward's saved mean
 * @param invStd the forward's saved 1 / sqrt(variance + eps)
 * @param gamma `[channels]` or null for ones
 * @throws ShapeError when lengths do not fit.
 * @example
 * const { gradInput, gradGamma, gradBeta } = batchNormBackwardF32({ gradOut, x, rows, channels, mean, invStd, gamma });
 */
export function batchNormBackwardF32(options: {
  readonly gradOut: Float32Array;
  readonly x: Float32Array;
  readonly rows: number;
  readonly channels: number;
  readonly mean: Float32Array;
  readonly invStd: Float32Array;
  readonly gamma: Float32Array | null;
  readonly engine?: Engine;
}): BatchNormBackward {
  const { gradOut, x, rows, channels, mean, invStd, gamma, engine = defaultEngine } = options;
  checkSizes('batchNormBackwardF32', { rows, channels });
  checkLength('batchNormBackwardF32', 'gradOut', gradOut, rows * channels);
  checkLength('batchNormBackwardF32', 'x', x, rows * channels);
  checkLength('batchNormBackwardF32', 'mean', mean, channels);
  checkLength('batchNormBackwardF32', 'invStd', invStd, channels);
  if (gamma) checkLength('batchNormBackwardF32', 'gamma', gamma, channels);
  const gradInput = new Float32Array(x.length);
  const sum = new Float64Array(channels);
  const product = new Float64Array(channels);
  if (x.length > 0) {
    engine.scratch((take) => {
      const step = blockRows(rows, channels);
      const xBlock = take((step * channels + 4) * 4);
      const gBlock = take((step * channels + 4) * 4);
      const result = take((step * channels + 4) * 4);
      const means = stageChannels(engine, take, mean, channels);
      const first = take((channels + 4) * 4);
      const second = take((channels + 4) * 4);
      for (let r = 0; r < rows; r += step) {
        const staged = Math.min(step, rows - r);
        stageRows(engine, xBlock, x, channels, r, staged);
        stageRows(engine, gBlock, gradOut, channels, r, staged);
        forSubBlocks(staged, (from, count) => {
          const at = from * channels * 4;
          engine.kernels.f32_column_grad_sums(
            gBlock + at,
            xBlock + at,
            count,
            channels,
            means,
            first,
            second,
          );
          const f32 = engine.heap.f32;
          for (let c = 0; c < channels; c++) {
            sum[c] += f32[(first >> 2) + c];
            product[c] += f32[(second >> 2) + c];
          }
        });
      }
      // gradIn = γ·invStd · (g − mean(g) − (x − mean) · invStd² · mean(g·(x − mean)))
      const scale = Float64Array.from(invStd, (s, c) => s * (gamma?.[c] ?? 1));
      const gScale = stageChannels(engine, take, scale, channels);
      const xFactor = scale.map((s, c) => (-s * invStd[c] * invStd[c] * product[c]) / rows);
      const xScale = stageChannels(engine, take, xFactor, channels);
      const shift = stageChannels(
        engine,
        take,
        scale.map((s, c) => (-s * sum[c]) / rows),
        channels,
      );
      for (let r = 0; r < rows; r += step) {
        const count = Math.min(step, rows - r);
        stageRows(engine, xBlock, x, channels, r, count);
        stageRows(engine, gBlock, gradOut, channels, r, count);
        engine.kernels.f32_center_scale_grad(
          gBlock,
          xBlock,
          count,
          channels,
          means,
          gScale,
          xScale,
          shift,
          result,
        );
        gradInput.set(engine.heap.f32.subarray(result >> 2, (result >> 2) + count * channels), r * channels);
      }
    });
  }
  return {
    gradInput,
    gradGamma: Float32Array.from(product, (p, c) => p * invStd[c]),
    gradBeta: Float32Array.from(sum),
  };
}
