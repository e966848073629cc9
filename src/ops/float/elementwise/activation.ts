import { ShapeError } from '../../../core/errors.ts';
import type { Generator } from '../../../core/random.ts';
import { reluF32 } from '../../../kernels/f32/elementwise.ts';
import { DTYPES } from '../../../tensor/dtype.ts';
import { formatShape } from '../../../tensor/shape.ts';
import { Tensor, viewOf } from '../../../tensor/tensor.ts';
import type { ElementwiseOps } from '../../signatures/index.ts';
import { dense, inLayout } from '../layout.ts';
import { bitsOf, float32Bits } from './bits.ts';
import { erf } from './erf.ts';
import { inKernel, KERNEL_LENGTH, type MapLoop, map, mapFloat } from './map.ts';
import { type ZipLoop, zip } from './zip.ts';

/**
 * Clearing by sign in the integer bits has no branch to mispredict. Every negative number's bits are, as a signed
 * integer, at most those of −∞; NaNs of either sign lie above it and pass through, as in PyTorch. So does −0, whose bits
 * alone turn positive when decremented.
 */
const reluBits = (x: Int32Array, y: Int32Array): void => {
  for (let i = 0; i < y.length; i++) {
    const v = x[i];
    y[i] = v & (~(((v - 1) | 0) >> 31) | ((-8388608 - v) >> 31));
  }
};
const reluLoop: MapLoop = (x, y) => {
  if (x instanceof Float32Array && y instanceof Float32Array) {
    if (y.length >= KERNEL_LENGTH) reluF32(x, { out: y });
    else reluBits(bitsOf(x), bitsOf(y));
    return;
  }
  for (let i = 0; i < y.length; i++) y[i] = x[i] < 0 ? 0 : x[i];
};
/** NaN compares false with both bounds and passes through. */
const clampBits = (x: Float32Array, xb: Int32Array, y: Int32Array, min: number, max: number): void => {
  const low = float32Bits(min);
  const high = float32Bits(max);
  for (let i = 0; i < y.length; i++) {
    const v = xb[i];
    const raised = v ^ ((v ^ low) & -+(x[i] < min));
    y[i] = raised ^ ((raised ^ high) & -+(x[i] > max));
  }
};
const clampLoop: MapLoop = (x, y, min, max) => {
  if (min <= max && x instanceof Float32Array && y instanceof Float32Array) {
    clampBits(x, bitsOf(x), bitsOf(y), min, max);
    return;
  }
  for (let i = 0; i < y.length; i++) y[i] = Math.min(Math.max(x[i], min), max);
};
const leakyReluLoop: MapLoop = (x, y, slope) => {
  for (let i = 0; i < y.length; i++) y[i] = x[i] > 0 ? x[i] : x[i] * slope;
};
const eluLoop: MapLoop = (x, y, alpha) => {
  for (let i = 0; i < y.length; i++) y[i] = x[i] > 0 ? x[i] : alpha * Math.expm1(x[i]);
};
const geluLoop: MapLoop = (x, y) => {
  if (inKernel(x, y, 'gelu')) return;
  for (let i = 0; i < y.length; i++) y[i] = 0.5 * x[i] * (1 + erf(x[i] * Math.SQRT1_2));
};
const geluTanhLoop: MapLoop = (x, y) => {
  if (inKernel(x, y, 'geluTanh')) return;
  const beta = Math.sqrt(2 / Math.PI);
  for (let i = 0; i < y.length; i++) {
    const v = x[i];
    y[i] = 0.5 * v * (1 + Math.tanh(beta * (v + 0.044715 * v * v * v)));
  }
};
const siluLoop: MapLoop = (x, y) => {
  if (inKernel(x, y, 'silu')) return;
  for (let i = 0; i < y.length; i++) y[i] = x[i] / (1 + Math.exp(-x[i]));
};
const hardsigmoidLoop: MapLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = Math.min(Math.max(x[i] + 3, 0), 6) / 6;
};
/** PyTorch rounds after every step, and quantized hardswish tables are built from this. */
const hardsigmoidF32Loop: MapLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = Math.min(Math.max(Math.fround(x[i] + 3), 0), 6) / 6;
};
const hardswishLoop: MapLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = (x[i] * Math.min(Math.max(x[i] + 3, 0), 6)) / 6;
};
const hardswishF32Loop: MapLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) {
    y[i] = Math.fround(x[i] * Math.min(Math.max(Math.fround(x[i] + 3), 0), 6)) / 6;
  }
};
const softplusLoop: MapLoop = (x, y, beta, threshold) => {
  for (let i = 0; i < y.length; i++) {
    y[i] = x[i] * beta > threshold ? x[i] : Math.log1p(Math.exp(x[i] * beta)) / beta;
  }
};
const preluLoop: ZipLoop = (a, ao, am, an, b, bo, bm, bn, y, yo, m, n) => {
  for (let i = 0; i < m; i++, ao += am, bo += bm) {
    for (let j = 0, p = ao, q = bo; j < n; j++, p += an, q += bn) y[yo++] = a[p] > 0 ? a[p] : a[p] * b[q];
  }
};

/** A parameter as the kernels see it: PyTorch casts scalars to the tensor's dtype. */
function parameter(value: number, x: Tensor): number {
  return x.dtype === 'float32' ? Math.fround(value) : value;
}

/** The slopes of `prelu` shaped to broadcast over dimension 1. */
export function preluWeight(x: Tensor, weight: Tensor): Tensor {
  if (weight.numel === 1) return viewOf(weight, [], []);
  if (x.ndim < 2 || weight.ndim !== 1 || weight.numel !== x.shape[1]) {
    throw new ShapeError({
      fn: 'prelu',
      argument: 'weight',
      expected: `one slope, or one per channel (dimension 1 of ${formatShape(x.shape)})`,
      got: formatShape(weight.shape),
    });
  }
  const ones = new Array<number>(x.ndim - 2).fill(1);
  const step = weight.strides[0];
  return viewOf(weight, [weight.numel, ...ones], [step, ...ones.map(() => step)]);
}

const masks = new WeakMap<Tensor, Tensor>();

/** The 0-or-1/(1−p) factors a dropout drew, for its gradient. */
export function dropoutMask(out: Tensor): Tensor {
  return masks.get(out)!;
}

function dropout(x: Tensor, p: number, generator: Generator): Tensor {
  const { data, strides } = dense(x);
  const keep = p === 1 ? 0 : 1 / (1 - p);
  // Drawn in row-major order whatever the layout of x, so that a seed gives the same mask everywhere.
  const drawn = DTYPES[x.dtype].allocate(data.length);
  for (let i = 0; i < drawn.length; i++) drawn[i] = generator.uniformDouble() < 1 - p ? keep : 0;
  const factors = inLayout(new Tensor({ storage: drawn, shape: x.shape, dtype: x.dtype }), strides);
  const storage = DTYPES[x.dtype].allocate(data.length);
  for (let i = 0; i < storage.length; i++) storage[i] = data[i] * factors[i];
  const out = new Tensor({ storage, shape: x.shape, strides, dtype: x.dtype });
  masks.set(out, new Tensor({ storage: factors, shape: x.shape, strides, dtype: x.dtype }));
  return out;
}

type ActivationName =
  | 'relu'
  | 'relu6'
  | 'hardtanh'
  | 'leakyRelu'
  | 'prelu'
  | 'elu'
  | 'gelu'
  | 'silu'
  | 'hardswish'
  | 'hardsigmoid'
  | 'softplus'
  | 'clamp'
  | 'dropout';

/** Activation functions, clamping and dropout. */
export const activation: Pick<ElementwiseOps, ActivationName> = {
  relu: (x) => map(x, x.dtype, reluLoop),
  relu6: (x) => map(x, x.dtype, clampLoop, 0, 6),
  hardtanh: (x, min, max) => map(x, x.dtype, clampLoop, parameter(min, x), parameter(max, x)),
  leakyRelu: (x, negativeSlope) => mapFloat(x, leakyReluLoop, parameter(negativeSlope, x)),
  prelu: (x, weight) => zip(x, preluWeight(x, weight), 'prelu', preluLoop),
  elu: (x, alpha) => mapFloat(x, eluLoop, parameter(alpha, x)),
  gelu: (x, approximate) => mapFloat(x, approximate === 'tanh' ? geluTanhLoop : geluLoop),
  silu: (x) => mapFloat(x, siluLoop),
  hardswish: (x) => mapFloat(x, x.dtype === 'float64' ? hardswishLoop : hardswishF32Loop),
  hardsigmoid: (x) => mapFloat(x, x.dtype === 'float64' ? hardsigmoidLoop : hardsigmoidF32Loop),
  softplus: (x, beta, threshold) => mapFloat(x, softplusLoop, beta, threshold),
  clamp: (x, min, max) =>
    map(
      x,
      x.dtype,
      clampLoop,
      min === null ? Number.NEGATIVE_INFINITY : parameter(min, x),
      max === null ? Number.POSITIVE_INFINITY : parameter(max, x),
    ),
  dropout,
};
