import { ArgumentError, DTypeError } from '../../../core/errors.ts';
import { type DType, isFloatDType } from '../../../tensor/dtype.ts';
import { formatShape } from '../../../tensor/shape.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import type { ReductionOps } from '../../signatures/index.ts';
import type { Dims } from '../../signatures/reduction.ts';
import { convert } from '../elementwise/map.ts';
import { type Folded, type FoldLoop, fold, foldDims, foldedTensor, reducedDims } from './fold.ts';

/** Four running sums hide the latency of the addition where a row folds into one number. */
const sumLoop: FoldLoop = (x, xo, xm, xn, acc, ao, am, an, m, n) => {
  for (let i = 0; i < m; i++, xo += xm, ao += am) {
    if (an === 0) {
      let s = 0;
      let t = 0;
      let u = 0;
      let v = 0;
      let p = xo;
      let j = 0;
      for (; j + 4 <= n; j += 4, p += 4 * xn) {
        s += x[p];
        t += x[p + xn];
        u += x[p + 2 * xn];
        v += x[p + 3 * xn];
      }
      for (; j < n; j++, p += xn) s += x[p];
      acc[ao] += s + t + (u + v);
    } else {
      for (let j = 0, p = xo, q = ao; j < n; j++, p += xn, q += an) acc[q] += x[p];
    }
  }
};
const productLoop: FoldLoop = (x, xo, xm, xn, acc, ao, am, an, m, n) => {
  for (let i = 0; i < m; i++, xo += xm, ao += am) {
    if (an === 0) {
      let s = acc[ao];
      for (let j = 0, p = xo; j < n; j++, p += xn) s = s * x[p];
      acc[ao] = s;
    } else {
      for (let j = 0, p = xo, q = ao; j < n; j++, p += xn, q += an) acc[q] = acc[q] * x[p];
    }
  }
};
const maxLoop: FoldLoop = (x, xo, xm, xn, acc, ao, am, an, m, n) => {
  for (let i = 0; i < m; i++, xo += xm, ao += am) {
    if (an === 0) {
      let s = acc[ao];
      for (let j = 0, p = xo; j < n; j++, p += xn) s = Math.max(s, x[p]);
      acc[ao] = s;
    } else {
      for (let j = 0, p = xo, q = ao; j < n; j++, p += xn, q += an) acc[q] = Math.max(acc[q], x[p]);
    }
  }
};
const minLoop: FoldLoop = (x, xo, xm, xn, acc, ao, am, an, m, n) => {
  for (let i = 0; i < m; i++, xo += xm, ao += am) {
    if (an === 0) {
      let s = acc[ao];
      for (let j = 0, p = xo; j < n; j++, p += xn) s = Math.min(s, x[p]);
      acc[ao] = s;
    } else {
      for (let j = 0, p = xo, q = ao; j < n; j++, p += xn, q += an) acc[q] = Math.min(acc[q], x[p]);
    }
  }
};
const squaredDeviationLoop: FoldLoop = (x, xo, xm, xn, acc, ao, am, an, m, n, aux) => {
  for (let i = 0; i < m; i++, xo += xm, ao += am) {
    if (an === 0) {
      let s = acc[ao];
      for (let j = 0, p = xo; j < n; j++, p += xn) s = s + (x[p] - aux[ao]) * (x[p] - aux[ao]);
      acc[ao] = s;
    } else {
      for (let j = 0, p = xo, q = ao; j < n; j++, p += xn, q += an)
        acc[q] = acc[q] + (x[p] - aux[q]) * (x[p] - aux[q]);
    }
  }
};
const sumOfSquaresLoop: FoldLoop = (x, xo, xm, xn, acc, ao, am, an, m, n) => {
  for (let i = 0; i < m; i++, xo += xm, ao += am) {
    if (an === 0) {
      let s = acc[ao];
      for (let j = 0, p = xo; j < n; j++, p += xn) s = s + x[p] * x[p];
      acc[ao] = s;
    } else {
      for (let j = 0, p = xo, q = ao; j < n; j++, p += xn, q += an) acc[q] = acc[q] + x[p] * x[p];
    }
  }
};
const sumOfMagnitudesLoop: FoldLoop = (x, xo, xm, xn, acc, ao, am, an, m, n) => {
  for (let i = 0; i < m; i++, xo += xm, ao += am) {
    if (an === 0) {
      let s = acc[ao];
      for (let j = 0, p = xo; j < n; j++, p += xn) s = s + Math.abs(x[p]);
      acc[ao] = s;
    } else {
      for (let j = 0, p = xo, q = ao; j < n; j++, p += xn, q += an) acc[q] = acc[q] + Math.abs(x[p]);
    }
  }
};
const maxMagnitudeLoop: FoldLoop = (x, xo, xm, xn, acc, ao, am, an, m, n) => {
  for (let i = 0; i < m; i++, xo += xm, ao += am) {
    if (an === 0) {
      let s = acc[ao];
      for (let j = 0, p = xo; j < n; j++, p += xn) s = Math.max(s, Math.abs(x[p]));
      acc[ao] = s;
    } else {
      for (let j = 0, p = xo, q = ao; j < n; j++, p += xn, q += an) acc[q] = Math.max(acc[q], Math.abs(x[p]));
    }
  }
};
const minMagnitudeLoop: FoldLoop = (x, xo, xm, xn, acc, ao, am, an, m, n) => {
  for (let i = 0; i < m; i++, xo += xm, ao += am) {
    if (an === 0) {
      let s = acc[ao];
      for (let j = 0, p = xo; j < n; j++, p += xn) s = Math.min(s, Math.abs(x[p]));
      acc[ao] = s;
    } else {
      for (let j = 0, p = xo, q = ao; j < n; j++, p += xn, q += an) acc[q] = Math.min(acc[q], Math.abs(x[p]));
    }
  }
};
const nonzerosLoop: FoldLoop = (x, xo, xm, xn, acc, ao, am, an, m, n) => {
  for (let i = 0; i < m; i++, xo += xm, ao += am) {
    if (an === 0) {
      let s = acc[ao];
      for (let j = 0, p = xo; j < n; j++, p += xn) s = x[p] !== 0 ? s + 1 : s;
      acc[ao] = s;
    } else {
      for (let j = 0, p = xo, q = ao; j < n; j++, p += xn, q += an) acc[q] = x[p] !== 0 ? acc[q] + 1 : acc[q];
    }
  }
};
const sumOfPowersLoop: FoldLoop = (x, xo, xm, xn, acc, ao, am, an, m, n, aux) => {
  for (let i = 0; i < m; i++, xo += xm, ao += am) {
    if (an === 0) {
      let s = acc[ao];
      for (let j = 0, p = xo; j < n; j++, p += xn) s = s + Math.abs(x[p]) ** aux[0];
      acc[ao] = s;
    } else {
      for (let j = 0, p = xo, q = ao; j < n; j++, p += xn, q += an)
        acc[q] = acc[q] + Math.abs(x[p]) ** aux[0];
    }
  }
};
const sumOfExponentialsLoop: FoldLoop = (x, xo, xm, xn, acc, ao, am, an, m, n, aux) => {
  for (let i = 0; i < m; i++, xo += xm, ao += am) {
    if (an === 0) {
      let s = acc[ao];
      for (let j = 0, p = xo; j < n; j++, p += xn) s = s + Math.exp(x[p] - aux[ao]);
      acc[ao] = s;
    } else {
      for (let j = 0, p = xo, q = ao; j < n; j++, p += xn, q += an) acc[q] = acc[q] + Math.exp(x[p] - aux[q]);
    }
  }
};

/** Sums of integers and bools are int64, as in PyTorch. */
function sumDType(dtype: DType): DType {
  return isFloatDType(dtype) ? dtype : 'int64';
}

function requireFloat(x: Tensor, fn: string): void {
  if (isFloatDType(x.dtype)) return;
  throw new DTypeError({
    fn,
    argument: 'x',
    expected: 'a float tensor',
    got: x.dtype,
    fix: "Convert it with to('float32') first.",
  });
}

function requireElements(x: Tensor, dims: readonly number[], fn: string): void {
  const empty = dims.some((d) => x.shape[d] === 0);
  if (!empty) return;
  throw new ArgumentError({
    fn,
    argument: 'x',
    expected: 'at least one element along every reduced dimension',
    got: `shape ${formatShape(x.shape)}`,
    fix: 'There is no largest or smallest element of nothing.',
  });
}

function extreme(
  x: Tensor,
  dim: Dims,
  keepdim: boolean,
  fn: string,
  loop: FoldLoop,
  initial: number,
): Tensor {
  const dims = reducedDims(dim, x.ndim, fn);
  requireElements(x, dims, fn);
  return foldedTensor(fold(x, dims, keepdim, loop, initial), x.dtype);
}

/** Two passes, so that a large mean does not eat the digits of a small variance. */
function variance(x: Tensor, dim: Dims, correction: number, keepdim: boolean, fn: string): Folded {
  requireFloat(x, fn);
  const dims = reducedDims(dim, x.ndim, fn);
  const { acc, count } = fold(x, dims, keepdim, sumLoop, 0);
  for (let i = 0; i < acc.length; i++) acc[i] /= count;
  const folded = fold(x, dims, keepdim, squaredDeviationLoop, 0, acc);
  const divisor = Math.max(count - correction, 0);
  for (let i = 0; i < folded.acc.length; i++) folded.acc[i] /= divisor;
  return folded;
}

function norm(x: Tensor, p: number, dim: Dims, keepdim: boolean): Tensor {
  requireFloat(x, 'norm');
  const dims = reducedDims(dim, x.ndim, 'norm');
  const of = (loop: FoldLoop, initial = 0, aux?: Float64Array) => fold(x, dims, keepdim, loop, initial, aux);
  if (p === 1) return foldedTensor(of(sumOfMagnitudesLoop), x.dtype);
  if (p === 0) return foldedTensor(of(nonzerosLoop), x.dtype);
  if (p === Number.POSITIVE_INFINITY) return foldedTensor(of(maxMagnitudeLoop), x.dtype);
  if (p === Number.NEGATIVE_INFINITY) {
    requireElements(x, dims, 'norm');
    return foldedTensor(of(minMagnitudeLoop, Number.POSITIVE_INFINITY), x.dtype);
  }
  const folded = p === 2 ? of(sumOfSquaresLoop) : of(sumOfPowersLoop, 0, Float64Array.of(p));
  const { acc } = folded;
  for (let i = 0; i < acc.length; i++) acc[i] = p === 2 ? Math.sqrt(acc[i]) : acc[i] ** (1 / p);
  return foldedTensor(folded, x.dtype);
}

function logsumexp(x: Tensor, dim: Dims, keepdim: boolean): Tensor {
  requireFloat(x, 'logsumexp');
  const dims = reducedDims(dim, x.ndim, 'logsumexp');
  const shift = fold(x, dims, keepdim, maxLoop, Number.NEGATIVE_INFINITY).acc;
  // Where all are −∞ (or one is +∞) the largest is the answer; shifting by it would make NaN of it.
  for (let i = 0; i < shift.length; i++) if (Math.abs(shift[i]) === Number.POSITIVE_INFINITY) shift[i] = 0;
  const folded = fold(x, dims, keepdim, sumOfExponentialsLoop, 0, shift);
  for (let i = 0; i < shift.length; i++) folded.acc[i] = shift[i] + Math.log(folded.acc[i]);
  return foldedTensor(folded, x.dtype);
}

type FoldName =
  | 'sum'
  | 'mean'
  | 'prod'
  | 'var'
  | 'std'
  | 'amax'
  | 'amin'
  | 'norm'
  | 'logsumexp'
  | 'all'
  | 'any';

/** Reductions that fold elements into one value per kept position. */
export const folds: Pick<ReductionOps, FoldName> = {
  sum: (x, dim, keepdim) => foldedTensor(foldDims(x, dim, keepdim, 'sum', sumLoop, 0), sumDType(x.dtype)),
  mean: (x, dim, keepdim) => {
    requireFloat(x, 'mean');
    const folded = foldDims(x, dim, keepdim, 'mean', sumLoop, 0);
    for (let i = 0; i < folded.acc.length; i++) folded.acc[i] /= folded.count;
    return foldedTensor(folded, x.dtype);
  },
  prod: (x, dim, keepdim) =>
    foldedTensor(foldDims(x, dim, keepdim, 'prod', productLoop, 1), sumDType(x.dtype)),
  var: (x, dim, correction, keepdim) => foldedTensor(variance(x, dim, correction, keepdim, 'var'), x.dtype),
  std: (x, dim, correction, keepdim) => {
    const folded = variance(x, dim, correction, keepdim, 'std');
    for (let i = 0; i < folded.acc.length; i++) folded.acc[i] = Math.sqrt(folded.acc[i]);
    return foldedTensor(folded, x.dtype);
  },
  amax: (x, dim, keepdim) => extreme(x, dim, keepdim, 'amax', maxLoop, Number.NEGATIVE_INFINITY),
  amin: (x, dim, keepdim) => extreme(x, dim, keepdim, 'amin', minLoop, Number.POSITIVE_INFINITY),
  norm,
  logsumexp,
  all: (x, dim, keepdim) =>
    foldedTensor(foldDims(convert(x, 'bool'), dim, keepdim, 'all', minLoop, 1), 'bool'),
  any: (x, dim, keepdim) =>
    foldedTensor(foldDims(convert(x, 'bool'), dim, keepdim, 'any', maxLoop, 0), 'bool'),
};
