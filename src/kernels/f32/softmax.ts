import { engine as defaultEngine, type Engine } from '../engine.ts';
import { inBlocks } from './blocks.ts';
import { checkLength, checkSizes } from './panels.ts';

/** Floats handled at a time; longer rows are taken one by one. */
const BLOCK_FLOATS = 16 * 1024;

/**
 * `e^x`, within 1.5 units in the last place over the normal range (and correctly small below it).
 *
 * @example
 * const odds = expF32(logits);
 */
export function expF32(x: Float32Array, engine: Engine = defaultEngine): Float32Array {
  const out = new Float32Array(x.length);
  inBlocks(engine, [x], [out], ([a], [o], n) => engine.kernels.f32_exp(a, n, o));
  return out;
}

/**
 * Softmax over the last axis, `torch.softmax(x, -1)`. A row of NaN or of nothing but −∞ gives NaN, as in PyTorch.
 *
 * @param x `[rows][columns]`
 * @throws ShapeError when `x` does not hold rows·columns floats.
 * @example
 * const attention = softmaxF32(scores, 12 * 128, 128);
 */
export function softmaxF32(
  x: Float32Array,
  rows: number,
  columns: number,
  engine: Engine = defaultEngine,
): Float32Array {
  return rowsInBlocks('softmaxF32', engine, x, rows, columns, (source, count, target) =>
    engine.kernels.f32_softmax(source, count, columns, target),
  );
}

/**
 * Logarithm of the softmax over the last axis, `torch.log_softmax(x, -1)`.
 *
 * @param x `[rows][columns]`
 * @throws ShapeError when `x` does not hold rows·columns floats.
 * @example
 * const logProbabilities = logSoftmaxF32(logits, 64, 10);
 */
export function logSoftmaxF32(
  x: Float32Array,
  rows: number,
  columns: number,
  engine: Engine = defaultEngine,
): Float32Array {
  return rowsInBlocks('logSoftmaxF32', engine, x, rows, columns, (source, count, target) =>
    engine.kernels.f32_log_softmax(source, count, columns, target),
  );
}

/**
 * Normalizes every row to mean 0 and variance 1, then times `weight` plus `bias`, `torch.nn.functional.layer_norm` over the last axis.
 * The same bits in both builds.
 *
 * @param x `[rows][columns]`
 * @param weight `[columns]`, ones where null
 * @param bias `[columns]`, zeros where null
 * @throws ShapeError when the lengths do not fit.
 * @example
 * const y = layerNormF32(x, 128, 768, weight, bias, 1e-12);
 */
export function layerNormF32(
  x: Float32Array,
  rows: number,
  columns: number,
  weight: Float32Array | null,
  bias: Float32Array | null,
  eps: number,
  engine: Engine = defaultEngine,
): Float32Array {
  if (weight) checkLength('layerNormF32', 'weight', weight, columns);
  if (bias) checkLength('layerNormF32', 'bias', bias, columns);
  return engine.scratch((take) => {
    const gain = take(columns * 4);
    const shift = take(columns * 4);
    const { f32 } = engine.heap;
    if (weight) f32.set(weight, gain >> 2);
    else f32.fill(1, gain >> 2, (gain >> 2) + columns);
    if (bias) f32.set(bias, shift >> 2);
    else f32.fill(0, shift >> 2, (shift >> 2) + columns);
    return rowsInBlocks('layerNormF32', engine, x, rows, columns, (source, count, target) =>
      engine.kernels.f32_layer_norm(source, 0, count, columns, gain, shift, eps, target),
    );
  });
}

/** Runs a kernel over whole rows, as many at a time as a block holds. */
function rowsInBlocks(
  fn: string,
  engine: Engine,
  x: Float32Array,
  rows: number,
  columns: number,
  kernel: (source: number, count: number, target: number) => void,
): Float32Array {
  checkSizes(fn, { rows, columns });
  checkLength(fn, 'x', x, rows * columns);
  const out = new Float32Array(x.length);
  if (x.length === 0) return out;
  const step = Math.max(1, Math.min(rows, Math.floor(BLOCK_FLOATS / columns)));
  for (let r = 0; r < rows; r += step) {
    const count = Math.min(step, rows - r);
    engine.scratch((take) => {
      const source = take(count * columns * 4);
      const target = take(count * columns * 4);
      engine.heap.f32.set(x.subarray(r * columns, (r + count) * columns), source >> 2);
      kernel(source, count, target);
      const from = target >> 2;
      out.set(engine.heap.f32.subarray(from, from + count * columns), r * columns);
    });
  }
  return out;
}
