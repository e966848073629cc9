import type { Tensor } from '../../../tensor/tensor.ts';
import { dispatch } from '../../dispatch.ts';

/**
 * −x. Keeps the dtype.
 * Source: `torch.neg`.
 *
 * @example
 * neg(tensor([1, -2])); // [-1, 2]
 */
export function neg(x: Tensor): Tensor {
  return dispatch('neg', x);
}

/**
 * |x|. Keeps the dtype.
 * Source: `torch.abs`.
 *
 * @example
 * abs(tensor([-1, 2])); // [1, 2]
 */
export function abs(x: Tensor): Tensor {
  return dispatch('abs', x);
}

/**
 * eˣ. Integers give float32.
 * Source: `torch.exp`.
 *
 * @example
 * exp(tensor([0, 1])); // [1, 2.7183]
 */
export function exp(x: Tensor): Tensor {
  return dispatch('exp', x);
}

/**
 * eˣ − 1, accurate near 0. Integers give float32.
 * Source: `torch.expm1`.
 *
 * @example
 * expm1(tensor([1e-10])); // [1e-10]
 */
export function expm1(x: Tensor): Tensor {
  return dispatch('expm1', x);
}

/**
 * The natural logarithm; NaN below 0. Integers give float32.
 * Source: `torch.log`.
 *
 * @example
 * log(tensor([1, Math.E])); // [0, 1]
 */
export function log(x: Tensor): Tensor {
  return dispatch('log', x);
}

/**
 * log(1 + x), accurate near 0. Integers give float32.
 * Source: `torch.log1p`.
 *
 * @example
 * log1p(tensor([1e-10])); // [1e-10]
 */
export function log1p(x: Tensor): Tensor {
  return dispatch('log1p', x);
}

/**
 * √x; NaN below 0. Integers give float32.
 * Source: `torch.sqrt`.
 *
 * @example
 * sqrt(tensor([4, 9])); // [2, 3]
 */
export function sqrt(x: Tensor): Tensor {
  return dispatch('sqrt', x);
}

/**
 * 1/√x. Integers give float32.
 * Source: `torch.rsqrt`.
 *
 * @example
 * rsqrt(tensor([4])); // [0.5]
 */
export function rsqrt(x: Tensor): Tensor {
  return dispatch('rsqrt', x);
}

/**
 * x². Keeps the dtype.
 * Source: `torch.square`.
 *
 * @example
 * square(tensor([-3])); // [9]
 */
export function square(x: Tensor): Tensor {
  return dispatch('square', x);
}

/**
 * 1/x. Integers give float32.
 * Source: `torch.reciprocal`.
 *
 * @example
 * reciprocal(tensor([4])); // [0.25]
 */
export function reciprocal(x: Tensor): Tensor {
  return dispatch('reciprocal', x);
}

/**
 * The sine of x in radians. Integers give float32.
 * Source: `torch.sin`.
 *
 * @example
 * sin(tensor([0])); // [0]
 */
export function sin(x: Tensor): Tensor {
  return dispatch('sin', x);
}

/**
 * The cosine of x in radians. Integers give float32.
 * Source: `torch.cos`.
 *
 * @example
 * cos(tensor([0])); // [1]
 */
export function cos(x: Tensor): Tensor {
  return dispatch('cos', x);
}

/**
 * The hyperbolic tangent. Integers give float32.
 * Source: `torch.tanh`.
 *
 * @example
 * tanh(tensor([0])); // [0]
 */
export function tanh(x: Tensor): Tensor {
  return dispatch('tanh', x);
}

/**
 * 1/(1 + e⁻ˣ). Integers give float32.
 * Source: `torch.sigmoid`.
 *
 * @example
 * sigmoid(tensor([0])); // [0.5]
 */
export function sigmoid(x: Tensor): Tensor {
  return dispatch('sigmoid', x);
}

/**
 * The error function, computed to double precision. Integers give float32.
 * Source: `torch.erf`.
 *
 * @example
 * erf(tensor([1])); // [0.8427]
 */
export function erf(x: Tensor): Tensor {
  return dispatch('erf', x);
}

/**
 * −1, 0 or 1 by the sign of x. Keeps the dtype.
 * Source: `torch.sign`.
 *
 * @example
 * sign(tensor([-3, 0, 2])); // [-1, 0, 1]
 */
export function sign(x: Tensor): Tensor {
  return dispatch('sign', x);
}

/**
 * The largest whole number not above x. Keeps the dtype.
 * Source: `torch.floor`.
 *
 * @example
 * floor(tensor([-0.5])); // [-1]
 */
export function floor(x: Tensor): Tensor {
  return dispatch('floor', x);
}

/**
 * The smallest whole number not below x. Keeps the dtype.
 * Source: `torch.ceil`.
 *
 * @example
 * ceil(tensor([0.2])); // [1]
 */
export function ceil(x: Tensor): Tensor {
  return dispatch('ceil', x);
}

/**
 * The nearest whole number, ties to even. Keeps the dtype.
 * Source: `torch.round`.
 *
 * @example
 * round(tensor([0.5, 1.5])); // [0, 2]
 */
export function round(x: Tensor): Tensor {
  return dispatch('round', x);
}

/**
 * A copy with its own memory, in the same memory order.
 * Source: `torch.clone`.
 *
 * @example
 * const y = clone(x);
 */
export function clone(x: Tensor): Tensor {
  return dispatch('clone', x);
}
