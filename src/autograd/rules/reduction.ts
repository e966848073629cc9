import { product } from '../../core/math.ts';
import { dispatch } from '../../ops/dispatch.ts';
import { logSoftmaxGrad, prodGrad, softmaxGrad } from '../../ops/float/reduction/backward.ts';
import { reducedDims } from '../../ops/float/reduction/fold.ts';
import type { ReductionOps } from '../../ops/signatures/index.ts';
import type { Dims } from '../../ops/signatures/reduction.ts';
import { zerosLike } from '../../tensor/creation.ts';
import { normalizeDim } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { RulesOf } from './rule.ts';

const mul = (a: Tensor, b: Tensor | number): Tensor => dispatch('mul', a, b);
const div = (a: Tensor, b: Tensor | number): Tensor => dispatch('div', a, b);

/** A reduced tensor with its dimensions back as ones, so that it broadcasts against the input. */
function restored(reduced: Tensor, x: Tensor, dim: Dims): Tensor {
  const dims = reducedDims(dim, x.ndim, 'backward');
  return dispatch(
    'reshape',
    reduced,
    x.shape.map((size, d) => (dims.includes(d) ? 1 : size)),
  );
}

/** A reduced gradient repeated to the shape of the input. */
function spread(grad: Tensor, x: Tensor, dim: Dims): Tensor {
  return dispatch('expand', restored(grad, x, dim), x.shape);
}

function reducedCount(x: Tensor, dim: Dims): number {
  return product(reducedDims(dim, x.ndim, 'backward').map((d) => x.shape[d]));
}

/** Ties share the gradient evenly, as `amax` does in PyTorch. */
function tiesShare(grad: Tensor, out: Tensor, x: Tensor, dim: Dims): Tensor {
  const winners = dispatch('to', dispatch('eq', x, restored(out, x, dim)), x.dtype);
  const count = dispatch('sum', winners, reducedDims(dim, x.ndim, 'backward'), true);
  return mul(div(winners, count), restored(grad, x, dim));
}

/** Puts gradients back where the values were taken from along `dim`. */
function scattered(
  grad: Tensor | null,
  indices: Tensor,
  x: Tensor,
  dim: number,
  keepdim: boolean,
): readonly (Tensor | null)[] {
  if (!grad) return [null];
  const d = normalizeDim(dim, x.ndim, 'backward');
  const full = (t: Tensor): Tensor => (keepdim || x.ndim === 0 ? t : dispatch('unsqueeze', t, d));
  return [dispatch('scatterAdd', zerosLike(x), d, full(indices), full(grad))];
}

function centred(x: Tensor, dim: Dims): Tensor {
  return dispatch('sub', x, dispatch('mean', x, reducedDims(dim, x.ndim, 'backward'), true), 1);
}

/** Gradients of the reductions. */
export const reductionRules: RulesOf<ReductionOps> = {
  sum: (_out, x, dim) => (g) => [spread(g, x, dim)],
  mean: (_out, x, dim) => (g) => [spread(div(g, reducedCount(x, dim)), x, dim)],
  prod: (_out, x, dim) => (g) => {
    const full = dispatch('expand', restored(g, x, dim), x.shape);
    if (dim !== undefined) return [prodGrad(full, x, dim)];
    const flat = prodGrad(dispatch('reshape', full, [-1]), dispatch('reshape', x, [-1]), 0);
    return [dispatch('reshape', flat, x.shape)];
  },
  var: (_out, x, dim, correction) => (g) => {
    const factor = 2 / Math.max(reducedCount(x, dim) - correction, 0);
    return [mul(mul(centred(x, dim), factor), restored(g, x, dim))];
  },
  std: (out, x, dim, correction) => (g) => {
    const factor = 1 / Math.max(reducedCount(x, dim) - correction, 0);
    const share = dispatch('maskedFill', div(g, out), dispatch('eq', out, 0), 0);
    return [mul(mul(centred(x, dim), factor), restored(share, x, dim))];
  },
  amax: (out, x, dim) => (g) => [tiesShare(g, out, x, dim)],
  amin: (out, x, dim) => (g) => [tiesShare(g, out, x, dim)],
  maxDim:
    ([, indices], x, dim, keepdim) =>
    ([g]) =>
      scattered(g, indices, x, dim, keepdim),
  minDim:
    ([, indices], x, dim, keepdim) =>
    ([g]) =>
      scattered(g, indices, x, dim, keepdim),
  argmax: 'none',
  argmin: 'none',
  norm: (out, x, p, dim) => (g) => {
    if (p === 0) return [mul(x, 0)];
    const sign = dispatch('sign', x);
    if (p === 1) return [mul(sign, restored(g, x, dim))];
    if (!Number.isFinite(p)) return [mul(sign, tiesShare(g, out, dispatch('abs', x), dim))];
    // |x|^(p−1) · sign(x) / norm^(p−1), and 0 where the norm is 0.
    const scale = div(g, p === 2 ? out : dispatch('pow', out, p - 1));
    const safe = restored(dispatch('maskedFill', scale, dispatch('eq', out, 0), 0), x, dim);
    const slope = p === 2 ? x : mul(sign, dispatch('pow', dispatch('abs', x), p - 1));
    return [mul(slope, safe)];
  },
  logsumexp: (out, x, dim) => (g) => [
    mul(dispatch('exp', dispatch('sub', x, restored(out, x, dim), 1)), restored(g, x, dim)),
  ],
  cumsum: (_out, _x, dim) => (g) => {
    if (g.ndim === 0) return [g];
    return [dispatch('flip', dispatch('cumsum', dispatch('flip', g, [dim]), dim), [dim])];
  },
  all: 'none',
  any: 'none',
  sort:
    ([, indices], x, dim) =>
    ([g]) =>
      scattered(g, indices, x, dim, true),
  topk:
    ([, indices], x, _k, dim) =>
    ([g]) =>
      scattered(g, indices, x, dim, true),
  softmax: (out, _x, dim) => (g) => [softmaxGrad(g, out, dim)],
  logSoftmax: (out, _x, dim) => (g) => [logSoftmaxGrad(g, out, dim)],
};
