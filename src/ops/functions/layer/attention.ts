import { ArgumentError } from '../../../core/errors.ts';
import type { Generator } from '../../../core/random.ts';
import { ones } from '../../../tensor/creation.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { dispatch } from '../../dispatch.ts';
import { dropout } from './dropout.ts';

/** Options of {@link scaledDotProductAttention}. */
export interface AttentionOptions {
  /** Broadcast to […, L, S]: bool (true takes part) or float (added to the scores). */
  readonly attnMask?: Tensor | null;
  /** Probability of dropping an attention weight; 0. */
  readonly dropoutP?: number;
  /** Let position i see keys 0 … i only; false. Not together with `attnMask`. */
  readonly isCausal?: boolean;
  /** Factor of the scores; 1 / √E. */
  readonly scale?: number;
  readonly generator?: Generator;
}

/**
 * softmax(q·kᵀ·scale + mask)·v: q […, L, E], k […, S, E], v […, S, Ev] → […, L, Ev].
 * Source: `torch.nn.functional.scaled_dot_product_attention`; Vaswani et al. (2017).
 *
 * @throws ArgumentError for `isCausal` with a mask; ShapeError where sizes do not fit.
 * @example
 * scaledDotProductAttention(randn([2, 12, 128, 64]), randn([2, 12, 128, 64]), randn([2, 12, 128, 64]));
 */
export function scaledDotProductAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions = {},
): Tensor {
  const { attnMask = null, dropoutP = 0, isCausal = false } = options;
  if (isCausal && attnMask) {
    throw new ArgumentError({
      fn: 'scaledDotProductAttention',
      argument: 'attnMask',
      expected: 'null with isCausal',
      got: 'a mask',
    });
  }
  const scale = options.scale ?? 1 / Math.sqrt(q.shape[q.ndim - 1]);
  const keys = dispatch('transpose', k, -2, -1);
  let scores = dispatch('matmul', dispatch('mul', q, scale), keys);
  const mask = isCausal
    ? dispatch('tril', ones([q.shape[q.ndim - 2], k.shape[k.ndim - 2]], { dtype: 'bool' }), 0)
    : attnMask;
  if (mask?.dtype === 'bool')
    scores = dispatch('maskedFill', scores, dispatch('logicalNot', mask), -Infinity);
  else if (mask) scores = dispatch('add', scores, mask, 1);
  const weights = dropout(dispatch('softmax', scores, -1), dropoutP, true, options);
  return dispatch('matmul', weights, v);
}

/**
 * Cosine of the angle between vectors along `dim`; lengths below `eps` count as `eps`. Operands broadcast.
 * Source: `torch.nn.functional.cosine_similarity`.
 *
 * @example
 * cosineSimilarity(randn([100, 128]), randn([100, 128])).shape; // [100]
 */
export function cosineSimilarity(a: Tensor, b: Tensor, dim = 1, eps = 1e-8): Tensor {
  const length = (x: Tensor): Tensor =>
    dispatch('sqrt', dispatch('clamp', dispatch('sum', dispatch('square', x), dim, true), eps * eps, null));
  const unit = (x: Tensor): Tensor => dispatch('div', x, length(x));
  return dispatch('sum', dispatch('mul', unit(a), unit(b)), dim, false);
}
