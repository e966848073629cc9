import { dispatch } from '../ops/dispatch.ts';
import { normalizeDim } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';

// The functions behind the layers, under the names of `torch.nn.functional`.
export {
  elu,
  gelu,
  hardsigmoid,
  hardswish,
  hardtanh,
  leakyRelu,
  prelu,
  relu,
  relu6,
  silu,
  softplus,
} from '../ops/functions/elementwise/activation.ts';
export { sigmoid, tanh } from '../ops/functions/elementwise/math.ts';
export * from '../ops/functions/layer/attention.ts';
export * from '../ops/functions/layer/conv.ts';
export * from '../ops/functions/layer/dropout.ts';
export * from '../ops/functions/layer/embedding.ts';
export * from '../ops/functions/layer/interpolate.ts';
export * from '../ops/functions/layer/loss.ts';
export { linear } from '../ops/functions/layer/matmul.ts';
export * from '../ops/functions/layer/norm.ts';
export * from '../ops/functions/layer/pool.ts';
export { pad } from '../ops/functions/movement/rearrange.ts';
export { logSoftmax, softmax } from '../ops/functions/reduction.ts';

/**
 * The first half along `dim` times the sigmoid of the second half. Source: `torch.nn.functional.glu`; Dauphin et al.
 * (2016).
 *
 * @example
 * glu(randn([2, 8])).shape; // [2, 4]
 */
export function glu(x: Tensor, dim = -1): Tensor {
  const [value, gate] = dispatch('chunk', x, 2, normalizeDim(dim, x.ndim, 'glu'));
  return dispatch('mul', value, dispatch('sigmoid', gate));
}

/** Divides by the p-norm along `dim`, or by `eps` where that is larger. Source: `torch.nn.functional.normalize`. */
export function normalize(x: Tensor, p = 2, dim = 1, eps = 1e-12): Tensor {
  const length = dispatch('norm', x, p, normalizeDim(dim, x.ndim, 'normalize'), true);
  return dispatch('div', x, dispatch('clamp', length, eps, null));
}
