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
  return rowsInBlocks('softmaxF32', engine, x, rows, columns, (_, source, count, target) =>
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
  return rowsInBlocks('logSoftmaxF32', engine, x, rows, columns, (take, source, count, target) => {
    const maxima = take(count * 4);
    const sums = take(count * 8);
    const logs = take(count * 4);
    engine.kernels.f32_log_softmax_terms(source, count, columns, maxima, sums);
    const { f32, f64 } = engine.heap;
    for (let r = 0; r < count; r++) f32[(logs >> 2) + r] = Math.log(f64[(sums >> 3) + r]);
    engine.kernels.f32_log_softmax_finish(source, count, columns, maxima, logs, target);
  });
}

/** Runs a kernel over whole rows, as many at a time as a block holds. */
function rowsInBlocks(
  fn: string,
  engine: Engine,
  x: Float32Array,
  rows: number,
  columns: number,
  kernel: (take: (bytes: number) => number, source: number, count: number, target: number) => void,
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
      kernel(take, source, count, target);
      const from = target >> 2;
      out.set(engine.heap.f32.subarray(from, from + count * columns), r * columns);
    });
  }
  return out;
}
