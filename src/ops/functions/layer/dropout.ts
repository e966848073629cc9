import { ArgumentError } from '../../../core/errors.ts';
import { defaultGenerator, type Generator } from '../../../core/random.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { dispatch } from '../../dispatch.ts';

/**
 * Zeros each element with probability `p` and scales the others by 1 / (1 − p) while training; the input itself
 * otherwise. Source: `torch.nn.functional.dropout`; Srivastava et al. (2014).
 *
 * @throws ArgumentError unless 0 ≤ p ≤ 1.
 * @example
 * dropout(x, 0.1, this.training);
 */
export function dropout(
  x: Tensor,
  p = 0.5,
  training = true,
  options: { readonly generator?: Generator } = {},
): Tensor {
  if (!(p >= 0 && p <= 1)) {
    throw new ArgumentError({
      fn: 'dropout',
      argument: 'p',
      expected: 'a probability from 0 to 1',
      got: String(p),
    });
  }
  return training && p > 0 ? dispatch('dropout', x, p, options.generator ?? defaultGenerator) : x;
}
