import type { Tensor } from '../../../tensor/tensor.ts';
import { dispatch } from '../../dispatch.ts';

/** Options of {@link softplus}. */
export interface SoftplusOptions {
  /** Sharpness of the bend; 1 where not given. */
  readonly beta?: number;
  /** Above this value of `beta · x` the function is x itself; 20 where not given. */
  readonly threshold?: number;
}

/** Options of {@link gelu}. */
export interface GeluOptions {
  /** `none` (where not given) uses the error function, `tanh` its usual approximation. */
  readonly approximate?: 'none' | 'tanh';
}

/**
 * max(x, 0). Keeps the dtype; NaN stays NaN. Works on quantized tensors, keeping their qparams.
 * Source: `torch.nn.functional.relu`.
 *
 * @example
 * relu(tensor([-1, 2])); // [0, 2]
 */
export function relu(x: Tensor): Tensor {
  return dispatch('relu', x);
}

/**
 * x clamped into [0, 6].
 * Source: `torch.nn.functional.relu6`.
 *
 * @example
 * relu6(tensor([-1, 8])); // [0, 6]
 */
export function relu6(x: Tensor): Tensor {
  return dispatch('relu6', x);
}

/**
 * x clamped into [min, max]; the gradient is 0 at the bounds themselves.
 * Source: `torch.nn.functional.hardtanh`.
 *
 * @example
 * hardtanh(tensor([-2, 0.5])); // [-1, 0.5]
 */
export function hardtanh(x: Tensor, min = -1, max = 1): Tensor {
  return dispatch('hardtanh', x, min, max);
}

/**
 * x where positive, `negativeSlope` · x elsewhere.
 * Source: `torch.nn.functional.leaky_relu`.
 *
 * @example
 * leakyRelu(tensor([-1, 2]), 0.1); // [-0.1, 2]
 */
export function leakyRelu(x: Tensor, negativeSlope = 0.01): Tensor {
  return dispatch('leakyRelu', x, negativeSlope);
}

/**
 * x where positive, slope · x elsewhere, with a learned slope: one in all, or one per channel (dimension 1).
 *
 * @throws {@link ShapeError} where `weight` is neither.
 * Source: `torch.nn.functional.prelu`.
 *
 * @example
 * prelu(tensor([[-1, -1]]), tensor([0.1, 0.2])); // [[-0.1, -0.2]]
 */
export function prelu(x: Tensor, weight: Tensor): Tensor {
  return dispatch('prelu', x, weight);
}

/**
 * x where positive, α(eˣ − 1) elsewhere.
 * Source: `torch.nn.functional.elu`.
 *
 * @example
 * elu(tensor([-1, 2])); // [-0.6321, 2]
 */
export function elu(x: Tensor, alpha = 1): Tensor {
  return dispatch('elu', x, alpha);
}

/**
 * x · Φ(x), Φ being the normal distribution.
 * Source: `torch.nn.functional.gelu`.
 *
 * @example
 * gelu(tensor([1])); // [0.8413]
 * gelu(tensor([1]), { approximate: 'tanh' }); // [0.8412]
 */
export function gelu(x: Tensor, options: GeluOptions = {}): Tensor {
  return dispatch('gelu', x, options.approximate ?? 'none');
}

/**
 * x · sigmoid(x).
 * Source: `torch.nn.functional.silu`.
 *
 * @example
 * silu(tensor([1])); // [0.7311]
 */
export function silu(x: Tensor): Tensor {
  return dispatch('silu', x);
}

/**
 * x · min(max(x + 3, 0), 6) / 6, with the float32 roundings of PyTorch.
 * Source: `torch.nn.functional.hardswish`.
 *
 * @example
 * hardswish(tensor([1])); // [0.6667]
 */
export function hardswish(x: Tensor): Tensor {
  return dispatch('hardswish', x);
}

/**
 * min(max(x + 3, 0), 6) / 6, with the float32 roundings of PyTorch.
 * Source: `torch.nn.functional.hardsigmoid`.
 *
 * @example
 * hardsigmoid(tensor([0])); // [0.5]
 */
export function hardsigmoid(x: Tensor): Tensor {
  return dispatch('hardsigmoid', x);
}

/**
 * log(1 + e^(βx)) / β, a smooth relu.
 * Source: `torch.nn.functional.softplus`.
 *
 * @example
 * softplus(tensor([0])); // [0.6931]
 */
export function softplus(x: Tensor, options: SoftplusOptions = {}): Tensor {
  return dispatch('softplus', x, options.beta ?? 1, options.threshold ?? 20);
}

/**
 * x clamped into [min, max]; null leaves a side open. The gradient is 1 at the bounds themselves.
 * Source: `torch.clamp`.
 *
 * @example
 * clamp(tensor([-2, 0.5]), 0, 1); // [0, 0.5]
 * clamp(x, 0); // no upper bound
 */
export function clamp(x: Tensor, min: number | null = null, max: number | null = null): Tensor {
  return dispatch('clamp', x, min, max);
}
