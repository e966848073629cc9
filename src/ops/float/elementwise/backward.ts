import { reluGradF32 } from '../../../kernels/f32/elementwise.ts';
import { DTYPES, type TypedArray } from '../../../tensor/dtype.ts';
import { Tensor } from '../../../tensor/tensor.ts';
import { broadcastInLayout, dense } from '../layout.ts';
import { bitsOf } from './bits.ts';
import { erf } from './erf.ts';
import { expFloat32 } from './exp.ts';
import { KERNEL_LENGTH } from './map.ts';

/** One activation's gradient over flat runs: `g` is the output's gradient, `s` what the rule saved (input or output). */
export type BackwardLoop = (g: TypedArray, s: TypedArray, y: TypedArray, p: number, q: number) => void;

/** Runs a gradient loop; the result has the memory order of what was saved. `p` and `q` are the activation's parameters. */
export function activationGrad(grad: Tensor, saved: Tensor, loop: BackwardLoop, p = 0, q = 0): Tensor {
  const { data, strides } = dense(saved);
  const out = DTYPES[saved.dtype].allocate(data.length);
  loop(broadcastInLayout(grad, saved.shape, strides), data, out, p, q);
  return new Tensor({ storage: out, shape: saved.shape, strides, dtype: saved.dtype });
}

/**
 * Keeps the gradient where the output is not zero. On the integer bits without the sign, `v | −v` is negative exactly for
 * v ≠ 0, which needs no branch.
 */
const reluBits = (g: Int32Array, o: Int32Array, y: Int32Array): void => {
  for (let i = 0; i < y.length; i++) {
    const v = o[i] << 1;
    y[i] = g[i] & ((v | -v) >> 31);
  }
};
export const reluGrad: BackwardLoop = (g, out, y) => {
  if (g instanceof Float32Array && out instanceof Float32Array && y instanceof Float32Array) {
    if (y.length >= KERNEL_LENGTH) reluGradF32(g, out, { out: y });
    else reluBits(bitsOf(g), bitsOf(out), bitsOf(y));
    return;
  }
  for (let i = 0; i < y.length; i++) y[i] = out[i] === 0 ? 0 : g[i];
};
/** Inside (min, max), both excluded: `hardtanh`, `relu6`. */
export const openRangeGrad: BackwardLoop = (g, x, y, min, max) => {
  if (g instanceof Float32Array && y instanceof Float32Array) {
    const gb = bitsOf(g);
    const yb = bitsOf(y);
    for (let i = 0; i < y.length; i++) yb[i] = gb[i] & -(+(x[i] > min) & +(x[i] < max));
    return;
  }
  for (let i = 0; i < y.length; i++) y[i] = x[i] > min && x[i] < max ? g[i] : 0;
};
/** Inside [min, max], both included: `clamp`. */
export const closedRangeGrad: BackwardLoop = (g, x, y, min, max) => {
  if (g instanceof Float32Array && y instanceof Float32Array) {
    const gb = bitsOf(g);
    const yb = bitsOf(y);
    for (let i = 0; i < y.length; i++) yb[i] = gb[i] & -(+(x[i] >= min) & +(x[i] <= max));
    return;
  }
  for (let i = 0; i < y.length; i++) y[i] = x[i] >= min && x[i] <= max ? g[i] : 0;
};
export const leakyReluGrad: BackwardLoop = (g, x, y, slope) => {
  for (let i = 0; i < y.length; i++) y[i] = x[i] > 0 ? g[i] : g[i] * slope;
};
export const eluGrad: BackwardLoop = (g, x, y, alpha) => {
  for (let i = 0; i < y.length; i++) y[i] = x[i] > 0 ? g[i] : g[i] * alpha * Math.exp(x[i]);
};
export const sigmoidGrad: BackwardLoop = (g, out, y) => {
  for (let i = 0; i < y.length; i++) y[i] = g[i] * out[i] * (1 - out[i]);
};
export const tanhGrad: BackwardLoop = (g, out, y) => {
  for (let i = 0; i < y.length; i++) y[i] = g[i] * (1 - out[i] * out[i]);
};
export const geluGrad: BackwardLoop = (g, x, y) => {
  const density = 1 / Math.sqrt(2 * Math.PI);
  if (y instanceof Float32Array) {
    for (let i = 0; i < y.length; i++) {
      const v = x[i];
      y[i] = g[i] * (0.5 * (1 + erf(v * Math.SQRT1_2)) + v * density * expFloat32(-0.5 * v * v));
    }
    return;
  }
  for (let i = 0; i < y.length; i++) {
    const v = x[i];
    y[i] = g[i] * (0.5 * (1 + erf(v * Math.SQRT1_2)) + v * density * Math.exp(-0.5 * v * v));
  }
};
export const geluTanhGrad: BackwardLoop = (g, x, y) => {
  const beta = Math.sqrt(2 / Math.PI);
  for (let i = 0; i < y.length; i++) {
    const v = x[i];
    const t = Math.tanh(beta * (v + 0.044715 * v * v * v));
    const slope = beta * (1 + 3 * 0.044715 * v * v);
    y[i] = g[i] * (0.5 * (1 + t) + 0.5 * v * (1 - t * t) * slope);
  }
};
export const siluGrad: BackwardLoop = (g, x, y) => {
  for (let i = 0; i < y.length; i++) {
    const s = 1 / (1 + Math.exp(-x[i]));
    y[i] = g[i] * s * (1 + x[i] * (1 - s));
  }
};
export const hardswishGrad: BackwardLoop = (g, x, y) => {
  for (let i = 0; i < y.length; i++) {
    const v = x[i];
    y[i] = v < -3 ? 0 : v <= 3 ? g[i] * (v / 3 + 0.5) : g[i];
  }
};
export const hardsigmoidGrad: BackwardLoop = (g, x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = x[i] > -3 && x[i] < 3 ? g[i] / 6 : 0;
};
export const softplusGrad: BackwardLoop = (g, x, y, beta, threshold) => {
  for (let i = 0; i < y.length; i++) {
    y[i] = x[i] * beta > threshold ? g[i] : g[i] / (1 + Math.exp(-x[i] * beta));
  }
};
