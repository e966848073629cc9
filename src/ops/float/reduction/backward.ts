import { DTYPES, type TypedArray } from '../../../tensor/dtype.ts';
import { normalizeDim } from '../../../tensor/shape.ts';
import { Tensor } from '../../../tensor/tensor.ts';
import { expFloat32 } from '../elementwise/exp.ts';
import { inLayout, slicesAlong, stridesInOrder } from '../layout.ts';

/** One line's gradient: `g` of the output, `s` what was saved; lines start at `base` and step by `step`. */
type LineGrad = (
  g: TypedArray,
  s: TypedArray,
  y: TypedArray,
  base: number,
  size: number,
  step: number,
) => void;

function alongDim(grad: Tensor, saved: Tensor, dim: number, line: LineGrad): Tensor {
  const d = normalizeDim(dim, saved.ndim, 'backward');
  const { data, outer, size, inner, order } = slicesAlong(saved, d);
  const strides = stridesInOrder(saved.shape, order);
  const g = inLayout(grad, strides);
  const storage = DTYPES[saved.dtype].allocate(data.length);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) line(g, data, storage, o * size * inner + i, size, inner);
  }
  return new Tensor({ storage, shape: saved.shape, strides, dtype: saved.dtype });
}

const softmaxLine: LineGrad = (g, out, y, base, size, step) => {
  let dot = 0;
  for (let j = 0, p = base; j < size; j++, p += step) dot += g[p] * out[p];
  for (let j = 0, p = base; j < size; j++, p += step) y[p] = out[p] * (g[p] - dot);
};
const logSoftmaxLine: LineGrad = (g, out, y, base, size, step) => {
  let sum = 0;
  for (let j = 0, p = base; j < size; j++, p += step) sum += g[p];
  for (let j = 0, p = base; j < size; j++, p += step) y[p] = g[p] - Math.exp(out[p]) * sum;
};
const logSoftmaxLineFloat32: LineGrad = (g, out, y, base, size, step) => {
  let sum = 0;
  for (let j = 0, p = base; j < size; j++, p += step) sum += g[p];
  for (let j = 0, p = base; j < size; j++, p += step) y[p] = g[p] - expFloat32(out[p]) * sum;
};
/** Products of the others, as prefix times suffix, so that zeros need no special case. */
const productLine: LineGrad = (g, x, y, base, size, step) => {
  let before = 1;
  for (let j = 0, p = base; j < size; j++, p += step) {
    y[p] = before;
    before *= x[p];
  }
  let after = 1;
  for (let j = size - 1, p = base + j * step; j >= 0; j--, p -= step) {
    y[p] *= g[p] * after;
    after *= x[p];
  }
};

/** Gradient of `softmax` from its output. */
export function softmaxGrad(grad: Tensor, out: Tensor, dim: number): Tensor {
  return alongDim(grad, out, dim, softmaxLine);
}

/** Gradient of `logSoftmax` from its output. */
export function logSoftmaxGrad(grad: Tensor, out: Tensor, dim: number): Tensor {
  return alongDim(grad, out, dim, out.dtype === 'float64' ? logSoftmaxLine : logSoftmaxLineFloat32);
}

/** Gradient of `prod` along `dim`; `grad` is already expanded to the shape of `x`. */
export function prodGrad(grad: Tensor, x: Tensor, dim: number): Tensor {
  return alongDim(grad, x, dim, productLine);
}
