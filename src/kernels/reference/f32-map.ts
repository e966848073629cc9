import type { MapFunction } from '../f32/map.ts';

/** 1 − erf(x) of a non-negative number in double precision: the series near 0, a continued fraction further out. Source: Abramowitz & Stegun 7.1.6, 7.1.14. */
function erfc(x: number): number {
  if (x > 27) return 0;
  if (x >= 2) {
    let tail = x;
    for (let n = 200; n >= 1; n--) tail = x + n / 2 / tail;
    return Math.exp(-x * x) / (Math.sqrt(Math.PI) * tail);
  }
  let term = x;
  let sum = x;
  for (let n = 1; term > sum * 1e-18; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return 1 - (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const limited = (x: number, low: number, high: number): number => Math.min(Math.max(x, low), high);

/** x·Φ(x), without the cancellation of 1 + erf on the negative side. */
function gelu(x: number): number {
  const tail = erfc(Math.abs(x) / Math.SQRT2) / 2;
  return x === Number.NEGATIVE_INFINITY ? 0 : x * (x < 0 ? tail : 1 - tail);
}

function geluTanh(x: number): number {
  const u = Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3);
  return x === Number.NEGATIVE_INFINITY ? 0 : x * sigmoid(2 * u);
}

function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Obviously right twins of the functions of `mapF32`, in double precision. */
export const REFERENCE_MAP: Readonly<Record<MapFunction, (x: number, p: number, q: number) => number>> = {
  clamp: (x, p, q) => limited(x, p, q),
  gelu,
  geluTanh,
  sigmoid,
  tanh: Math.tanh,
  silu: (x) => x * sigmoid(x),
  hardsigmoid: (x) => limited(x + 3, 0, 6) / 6,
  hardswish: (x) => (x * limited(x + 3, 0, 6)) / 6,
  elu: (x, p) => (x > 0 ? x : p * Math.expm1(x)),
  leakyRelu: (x, p) => (x > 0 ? x : x * p),
  exp: Math.exp,
  neg: (x) => -x,
  abs: Math.abs,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  reciprocal: (x) => 1 / x,
  square: (x) => x * x,
  floor: Math.floor,
  ceil: Math.ceil,
  round: roundHalfEven,
  log: Math.log,
  log1p: Math.log1p,
  expm1: Math.expm1,
  softplus: (x, p, q) => (x * p > q ? x : Math.log1p(Math.exp(x * p)) / p),
};
