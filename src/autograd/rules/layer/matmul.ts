import { dispatch } from '../../../ops/dispatch.ts';
import { lastDimSums } from '../../../ops/float/layer/channels-last.ts';
import { linearWeightGrad } from '../../../ops/float/layer/matmul.ts';
import type { LayerOps } from '../../../ops/signatures/index.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { type RulesOf, sumTo } from '../rule.ts';

/** Gradients of matrix products. */
export const matmulRules: RulesOf<Pick<LayerOps, 'matmul' | 'bmm' | 'linear'>> = {
  matmul: (_out, a, b) => (grad) => {
    // Vectors take part as matrices of one row (a) or one column (b), as in the forward pass.
    const left = a.ndim === 1 ? dispatch('unsqueeze', a, 0) : a;
    const right = b.ndim === 1 ? dispatch('unsqueeze', b, 1) : b;
    let g = b.ndim === 1 ? dispatch('unsqueeze', grad, -1) : grad;
    if (a.ndim === 1) g = dispatch('unsqueeze', g, -2);
    const gradA = a.requiresGrad
      ? fold(dispatch('matmul', g, dispatch('transpose', right, -2, -1)), left, a)
      : null;
    if (!b.requiresGrad) return [gradA, null];
    // One matrix shared by a stack: its gradient is a single tall product, not a stack to be summed.
    const gradB =
      right.ndim === 2
        ? linearWeightGrad(left, g)
        : dispatch('matmul', dispatch('transpose', left, -2, -1), g);
    return [gradA, fold(gradB, right, b)];
  },
  bmm: (_out, a, b) => (grad) => [
    a.requiresGrad ? dispatch('bmm', grad, dispatch('transpose', b, 1, 2)) : null,
    b.requiresGrad ? dispatch('bmm', dispatch('transpose', a, 1, 2), grad) : null,
  ],
  linear: (_out, x, weight, bias) => (grad) => [
    x.requiresGrad ? dispatch('matmul', grad, weight) : null,
    weight.requiresGrad ? linearWeightGrad(grad, x) : null,
    bias?.requiresGrad ? lastDimSums(grad) : null,
  ],
};

/** Sums over broadcast dimensions, then drops the dimension a vector had been given. */
function fold(grad: Tensor, matrix: Tensor, operand: Tensor): Tensor {
  const summed = sumTo(grad, matrix.shape);
  return operand.ndim === 1 ? dispatch('reshape', summed, operand.shape) : summed;
}
