import { engine as defaultEngine, type Engine } from '../engine.ts';
import { inBlocks } from './blocks.ts';

/** The functions of one float that the kernel `f32_map` knows, in its order. */
export const MAP_FUNCTIONS = [
  'clamp',
  'gelu',
  'geluTanh',
  'sigmoid',
  'tanh',
  'silu',
  'hardsigmoid',
  'hardswish',
  'elu',
  'leakyRelu',
  'exp',
  'neg',
  'abs',
  'sqrt',
  'rsqrt',
  'reciprocal',
  'square',
  'floor',
  'ceil',
  'round',
  'log',
  'log1p',
  'expm1',
  'softplus',
] as const;

/** One of {@link MAP_FUNCTIONS}. */
export type MapFunction = (typeof MAP_FUNCTIONS)[number];

/** Parameters of a {@link MapFunction}: bounds of `clamp`, slope of `leakyRelu`, alpha of `elu`, beta and threshold of `softplus`. */
export interface MapF32Options {
  readonly p?: number;
  readonly q?: number;
  /** Written in place when given; may be `x`. */
  readonly out?: Float32Array;
  readonly engine?: Engine;
}

/**
 * A function of every float, as `torch.nn.functional` defines it, to a few units in the last place of its result; the same bits in
 * all builds but for gelu, which the baseline build rounds more often.
 *
 * @example
 * const y = mapF32(x, 'gelu');
 */
export function mapF32(x: Float32Array, fn: MapFunction, options: MapF32Options = {}): Float32Array {
  const { p = 0, q = 0, out = new Float32Array(x.length), engine = defaultEngine } = options;
  const op = MAP_FUNCTIONS.indexOf(fn);
  inBlocks(engine, [x], [out], ([a], [o], n) => engine.kernels.f32_map(op, a, n, o, p, q));
  return out;
}
