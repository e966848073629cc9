import type { Tensor } from '../../../tensor/tensor.ts';
import { dispatch } from '../../dispatch.ts';

/**
 * Matrix product with broadcasting: vector · vector gives a scalar, […, m, k] · […, k, n] gives […, m, n] with the leading
 * dimensions broadcast, and a vector on either side stands for one row or column. float32, float64 or integers, both sides
 * of one dtype. Source: `torch.matmul`.
 *
 * @throws ShapeError where the inner sizes differ or the leading ones do not broadcast; DTypeError for mixed dtypes.
 * @example
 * matmul(randn([8, 12, 64, 32]), randn([32, 10])).shape; // [8, 12, 64, 10]
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  return dispatch('matmul', a, b);
}

/**
 * Product of two stacks of matrices, [b, m, k] · [b, k, n] → [b, m, n], without broadcasting. Source: `torch.bmm`.
 *
 * @throws ShapeError unless both have three dimensions that fit.
 * @example
 * bmm(randn([4, 2, 3]), randn([4, 3, 5])).shape; // [4, 2, 5]
 */
export function bmm(a: Tensor, b: Tensor): Tensor {
  return dispatch('bmm', a, b);
}

/**
 * x·wᵀ + b over the last dimension: x […, inFeatures], weight [outFeatures, inFeatures], bias [outFeatures]. float32 or
 * float64. Source: `torch.nn.functional.linear`.
 *
 * @throws ShapeError where the features differ.
 * @example
 * linear(randn([64, 784]), randn([10, 784]), zeros([10])).shape; // [64, 10]
 */
export function linear(x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor {
  return dispatch('linear', x, weight, bias);
}
