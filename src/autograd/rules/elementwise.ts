import { dispatch } from '../../ops/dispatch.ts';
import { dropoutMask, preluWeight } from '../../ops/float/elementwise/activation.ts';
import {
  activationGrad,
  closedRangeGrad,
  eluGrad,
  geluGrad,
  geluTanhGrad,
  hardsigmoidGrad,
  hardswishGrad,
  leakyReluGrad,
  openRangeGrad,
  reluGrad,
  sigmoidGrad,
  siluGrad,
  softplusGrad,
  tanhGrad,
} from '../../ops/float/elementwise/backward.ts';
import type { ElementwiseOps } from '../../ops/signatures/index.ts';
import { isFloatDType } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type RulesOf, sumTo } from './rule.ts';

const neg = (x: Tensor): Tensor => dispatch('neg', x);
const mul = (a: Tensor, b: Tensor | number): Tensor => dispatch('mul', a, b);
const div = (a: Tensor, b: Tensor | number): Tensor => dispatch('div', a, b);
const add = (a: Tensor, b: Tensor | number): Tensor => dispatch('add', a, b, 1);
const pow = (a: Tensor, b: Tensor | number): Tensor => dispatch('pow', a, b);

/** The gradient of one operand, in its shape and dtype; null for numbers and for operands that need none. */
function back(operand: Tensor | number, gradient: () => Tensor): Tensor | null {
  if (typeof operand === 'number' || !operand.requiresGrad) return null;
  const g = sumTo(gradient(), operand.shape);
  return g.dtype === operand.dtype ? g : dispatch('to', g, operand.dtype);
}

/** Gradients of a binary operator; a number as second operand takes no place in the list. */
function both(a: Tensor, b: Tensor | number, ofA: () => Tensor, ofB: () => Tensor): (Tensor | null)[] {
  return typeof b === 'number' ? [back(a, ofA)] : [back(a, ofA), back(b, ofB)];
}

/** Half of the gradient goes to each side of a tie, and all of it to both sides of a NaN, as in PyTorch. */
function winnerShare(grad: Tensor, winner: Tensor, loser: Tensor): Tensor {
  const won = dispatch('maskedFill', grad, dispatch('lt', winner, loser), 0);
  return dispatch('where', dispatch('eq', winner, loser), mul(grad, 0.5), won);
}

/** Gradients of the element-wise operators. */
export const elementwiseRules: RulesOf<ElementwiseOps> = {
  neg: () => (g) => [neg(g)],
  abs: (_out, x) => (g) => [mul(g, dispatch('sign', x))],
  exp: (out) => (g) => [mul(g, out)],
  expm1: (out) => (g) => [mul(g, add(out, 1))],
  log: (_out, x) => (g) => [div(g, x)],
  log1p: (_out, x) => (g) => [div(g, add(x, 1))],
  sqrt: (out) => (g) => [div(g, mul(out, 2))],
  rsqrt: (out) => (g) => [mul(g, mul(pow(out, 3), -0.5))],
  square: (_out, x) => (g) => [mul(g, mul(x, 2))],
  reciprocal: (out) => (g) => [mul(g, neg(dispatch('square', out)))],
  sin: (_out, x) => (g) => [mul(g, dispatch('cos', x))],
  cos: (_out, x) => (g) => [mul(g, neg(dispatch('sin', x)))],
  tanh: (out) => (g) => [activationGrad(g, out, tanhGrad)],
  sigmoid: (out) => (g) => [activationGrad(g, out, sigmoidGrad)],
  erf: (_out, x) => (g) => [mul(g, mul(dispatch('exp', neg(dispatch('square', x))), 2 / Math.sqrt(Math.PI)))],
  // Steps: zero almost everywhere, and a gradient of zeros rather than none, as in PyTorch.
  sign: () => (g) => [mul(g, 0)],
  floor: () => (g) => [mul(g, 0)],
  ceil: () => (g) => [mul(g, 0)],
  round: () => (g) => [mul(g, 0)],

  relu: (out) => (g) => [activationGrad(g, out, reluGrad)],
  relu6: (_out, x) => (g) => [activationGrad(g, x, openRangeGrad, 0, 6)],
  hardtanh: (_out, x, min, max) => (g) => [activationGrad(g, x, openRangeGrad, min, max)],
  leakyRelu: (_out, x, slope) => (g) => [activationGrad(g, x, leakyReluGrad, slope)],
  prelu: (_out, x, weight) => (g) => {
    const slopes = preluWeight(x, weight);
    const positive = dispatch('gt', x, 0);
    const ofSlopes = (): Tensor => {
      const full = dispatch('maskedFill', mul(g, x), positive, 0);
      return dispatch('reshape', sumTo(full, slopes.shape), weight.shape);
    };
    return [
      x.requiresGrad ? dispatch('where', positive, g, mul(g, slopes)) : null,
      weight.requiresGrad ? ofSlopes() : null,
    ];
  },
  elu: (_out, x, alpha) => (g) => [activationGrad(g, x, eluGrad, alpha)],
  gelu: (_out, x, approximate) => (g) => [
    activationGrad(g, x, approximate === 'tanh' ? geluTanhGrad : geluGrad),
  ],
  silu: (_out, x) => (g) => [activationGrad(g, x, siluGrad)],
  hardswish: (_out, x) => (g) => [activationGrad(g, x, hardswishGrad)],
  hardsigmoid: (_out, x) => (g) => [activationGrad(g, x, hardsigmoidGrad)],
  softplus: (_out, x, beta, threshold) => (g) => [activationGrad(g, x, softplusGrad, beta, threshold)],
  clamp: (_out, x, min, max) => (g) => [
    activationGrad(g, x, closedRangeGrad, min ?? Number.NEGATIVE_INFINITY, max ?? Number.POSITIVE_INFINITY),
  ],
  dropout: (out) => {
    const factors = dropoutMask(out);
    return (g) => [mul(g, factors)];
  },

  add: (_out, a, b, alpha) => (g) =>
    both(
      a,
      b,
      () => g,
      () => (alpha === 1 ? g : mul(g, alpha)),
    ),
  sub: (_out, a, b, alpha) => (g) =>
    both(
      a,
      b,
      () => g,
      () => mul(g, -alpha),
    ),
  mul: (_out, a, b) => (g) =>
    both(
      a,
      b,
      () => mul(g, b),
      () => mul(g, a),
    ),
  div: (_out, a, b) => (g) =>
    both(
      a,
      b,
      () => div(g, b),
      () => neg(mul(g, div(div(a, b), b))),
    ),
  pow: (out, a, b) => (g) =>
    both(
      a,
      b,
      () => {
        if (typeof b === 'number') return b === 0 ? mul(g, 0) : mul(g, mul(pow(a, b - 1), b));
        const slope = mul(b, pow(a, add(b, -1)));
        return mul(g, dispatch('maskedFill', slope, dispatch('eq', b, 0), 0));
      },
      () => {
        // 0^b has slope 0 in b for b ≥ 0, where the logarithm would give 0 · ∞.
        const flat = dispatch('logicalAnd', dispatch('eq', a, 0), dispatch('ge', b as Tensor, 0));
        return mul(g, dispatch('maskedFill', mul(out, dispatch('log', a)), flat, 0));
      },
    ),
  remainder: (_out, a, b) => (g) =>
    both(
      a,
      b,
      () => g,
      () => neg(mul(g, dispatch('floor', div(a, b)))),
    ),
  maximum: (_out, a, b) => (g) =>
    both(
      a,
      b,
      () => winnerShare(g, a, b),
      () => winnerShare(g, b, a),
    ),
  minimum: (_out, a, b) => (g) =>
    both(
      a,
      b,
      () => winnerShare(g, b, a),
      () => winnerShare(g, a, b),
    ),

  eq: 'none',
  ne: 'none',
  lt: 'none',
  le: 'none',
  gt: 'none',
  ge: 'none',
  logicalNot: 'none',
  logicalAnd: 'none',
  logicalOr: 'none',
  where: (_out, condition, a, b) => (g) => {
    const zero = mul(g, 0);
    return [
      null,
      back(a, () => dispatch('where', condition, g, zero)),
      back(b, () => dispatch('where', condition, zero, g)),
    ];
  },
  maskedFill: (_out, x, mask) => (g) => [back(x, () => dispatch('maskedFill', g, mask, 0)), null],

  to: (_out, x, dtype) => (g) => [isFloatDType(dtype) ? dispatch('to', g, x.dtype) : null],
  clone: () => (g) => [g],
};
