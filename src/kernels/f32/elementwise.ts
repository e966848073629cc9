import { engine as defaultEngine, type Engine } from '../engine.ts';
import { inBlocks } from './blocks.ts';
import { checkLength } from './panels.ts';

/** Options of the element-wise functions: `out` is written in place when given. */
export interface ElementwiseOptions {
  readonly out?: Float32Array;
  readonly engine?: Engine;
}

/** The array a result goes to: `out` if given, of the right length, else a fresh one. */
function resultArray(fn: string, out: Float32Array | undefined, length: number): Float32Array {
  if (!out) return new Float32Array(length);
  checkLength(fn, 'out', out, length);
  return out;
}

/**
 * `x < 0 ? 0 : x`; NaN and −0 pass through. `torch.relu`.
 *
 * @example
 * const y = reluF32(x);
 */
export function reluF32(x: Float32Array, options: ElementwiseOptions = {}): Float32Array {
  const { engine = defaultEngine } = options;
  const out = resultArray('reluF32', options.out, x.length);
  inBlocks(engine, [x], [out], ([a], [o], n) => engine.kernels.f32_relu(a, n, o));
  return out;
}

/**
 * Gradient of {@link reluF32}: `gradOut` where the activation is positive (or NaN), zero elsewhere.
 *
 * @param activation input or output of the ReLU
 * @throws ShapeError when the lengths differ.
 * @example
 * const gradInput = reluGradF32(gradOut, y);
 */
export function reluGradF32(
  gradOut: Float32Array,
  activation: Float32Array,
  options: ElementwiseOptions = {},
): Float32Array {
  const { engine = defaultEngine } = options;
  checkLength('reluGradF32', 'activation', activation, gradOut.length);
  const out = resultArray('reluGradF32', options.out, gradOut.length);
  inBlocks(engine, [gradOut, activation], [out], ([g, y], [o], n) =>
    engine.kernels.f32_relu_grad(g, y, n, o),
  );
  return out;
}

/**
 * `a + alpha · b` of equal shapes, optionally through a ReLU (the residual sum of a ResNet). `torch.add`.
 *
 * @param options `out` may be `a` or `b`, for accumulation in place.
 * @throws ShapeError when the lengths differ.
 * @example
 * addF32(grad, update, { out: grad }); // grad += update
 */
export function addF32(
  a: Float32Array,
  b: Float32Array,
  options: ElementwiseOptions & { readonly alpha?: number; readonly relu?: boolean } = {},
): Float32Array {
  const { alpha = 1, relu = false, engine = defaultEngine } = options;
  checkLength('addF32', 'b', b, a.length);
  const out = resultArray('addF32', options.out, a.length);
  inBlocks(engine, [a, b], [out], ([p, q], [o], n) =>
    engine.kernels.f32_add(p, q, alpha, n, relu ? 0 : -Infinity, o),
  );
  return out;
}

/**
 * `a · b` element by element, of equal shapes. `torch.mul`.
 *
 * @throws ShapeError when the lengths differ.
 * @example
 * const masked = mulF32(x, mask);
 */
export function mulF32(a: Float32Array, b: Float32Array, options: ElementwiseOptions = {}): Float32Array {
  const { engine = defaultEngine } = options;
  checkLength('mulF32', 'b', b, a.length);
  const out = resultArray('mulF32', options.out, a.length);
  inBlocks(engine, [a, b], [out], ([p, q], [o], n) => engine.kernels.f32_mul(p, q, n, o));
  return out;
}

/**
 * `alpha · x`.
 *
 * @example
 * const mean = scaleF32(sum, 1 / count);
 */
export function scaleF32(x: Float32Array, alpha: number, engine: Engine = defaultEngine): Float32Array {
  const out = new Float32Array(x.length);
  inBlocks(engine, [x], [out], ([p], [o], n) => engine.kernels.f32_scale(p, alpha, n, o));
  return out;
}

/**
 * Sum of all elements in double precision, rounded once by whoever stores it.
 *
 * @example
 * const mean = sumF32(x) / x.length;
 */
export function sumF32(x: Float32Array, engine: Engine = defaultEngine): number {
  let sum = 0;
  const padded = x.length & ~3;
  inBlocks(engine, [x.subarray(0, padded)], [], ([p], _, n) => {
    sum += engine.kernels.f32_sum(p, n);
  });
  for (let i = padded; i < x.length; i++) sum += x[i];
  return sum;
}
