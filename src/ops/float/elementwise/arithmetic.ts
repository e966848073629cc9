import { DTypeError } from '../../../core/errors.ts';
import { addF32, mulF32 } from '../../../kernels/f32/elementwise.ts';
import type { TypedArray } from '../../../tensor/dtype.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import type { ElementwiseOps } from '../../signatures/index.ts';
import { floatResult, KERNEL_LENGTH } from './map.ts';
import { resultDType, type ZipLoop, zip } from './zip.ts';

function isFloat32(x: TypedArray): x is Float32Array {
  return x instanceof Float32Array;
}

/** `n` neighbouring elements from `from` on. */
function run(x: Float32Array, from: number, n: number): Float32Array {
  return x.length === n ? x : x.subarray(from, from + n);
}

const addLoop: ZipLoop = (a, ao, am, an, b, bo, bm, bn, y, yo, m, n) => {
  if (m === 1 && an === 1 && bn === 1) {
    if (n >= KERNEL_LENGTH && isFloat32(a) && isFloat32(b) && isFloat32(y)) {
      addF32(run(a, ao, n), run(b, bo, n), { out: run(y, yo, n) });
      return;
    }
    for (let j = 0; j < n; j++) y[yo + j] = a[ao + j] + b[bo + j];
    return;
  }
  for (let i = 0; i < m; i++, ao += am, bo += bm) {
    for (let j = 0, p = ao, q = bo; j < n; j++, p += an, q += bn) y[yo++] = a[p] + b[q];
  }
};
const addScaledLoop: ZipLoop = (a, ao, am, an, b, bo, bm, bn, y, yo, m, n, alpha) => {
  if (m === 1 && an === 1 && bn === 1) {
    for (let j = 0; j < n; j++) y[yo + j] = a[ao + j] + alpha * b[bo + j];
    return;
  }
  for (let i = 0; i < m; i++, ao += am, bo += bm) {
    for (let j = 0, p = ao, q = bo; j < n; j++, p += an, q += bn) y[yo++] = a[p] + alpha * b[q];
  }
};
const subLoop: ZipLoop = (a, ao, am, an, b, bo, bm, bn, y, yo, m, n) => {
  if (m === 1 && an === 1 && bn === 1) {
    for (let j = 0; j < n; j++) y[yo + j] = a[ao + j] - b[bo + j];
    return;
  }
  for (let i = 0; i < m; i++, ao += am, bo += bm) {
    for (let j = 0, p = ao, q = bo; j < n; j++, p += an, q += bn) y[yo++] = a[p] - b[q];
  }
};
const mulLoop: ZipLoop = (a, ao, am, an, b, bo, bm, bn, y, yo, m, n) => {
  if (m === 1 && an === 1 && bn === 1) {
    if (n >= KERNEL_LENGTH && isFloat32(a) && isFloat32(b) && isFloat32(y)) {
      mulF32(run(a, ao, n), run(b, bo, n), { out: run(y, yo, n) });
      return;
    }
    for (let j = 0; j < n; j++) y[yo + j] = a[ao + j] * b[bo + j];
    return;
  }
  for (let i = 0; i < m; i++, ao += am, bo += bm) {
    for (let j = 0, p = ao, q = bo; j < n; j++, p += an, q += bn) y[yo++] = a[p] * b[q];
  }
};
const divLoop: ZipLoop = (a, ao, am, an, b, bo, bm, bn, y, yo, m, n) => {
  for (let i = 0; i < m; i++, ao += am, bo += bm) {
    for (let j = 0, p = ao, q = bo; j < n; j++, p += an, q += bn) y[yo++] = a[p] / b[q];
  }
};
const powLoop: ZipLoop = (a, ao, am, an, b, bo, bm, bn, y, yo, m, n) => {
  for (let i = 0; i < m; i++, ao += am, bo += bm) {
    for (let j = 0, p = ao, q = bo; j < n; j++, p += an, q += bn) y[yo++] = a[p] ** b[q];
  }
};
const squareLoop: ZipLoop = (a, ao, am, an, _b, _bo, _bm, _bn, y, yo, m, n) => {
  for (let i = 0; i < m; i++, ao += am) {
    for (let j = 0, p = ao; j < n; j++, p += an) y[yo++] = a[p] * a[p];
  }
};
const remainderLoop: ZipLoop = (a, ao, am, an, b, bo, bm, bn, y, yo, m, n) => {
  for (let i = 0; i < m; i++, ao += am, bo += bm) {
    for (let j = 0, p = ao, q = bo; j < n; j++, p += an, q += bn) y[yo++] = flooredRemainder(a[p], b[q]);
  }
};
const maximumLoop: ZipLoop = (a, ao, am, an, b, bo, bm, bn, y, yo, m, n) => {
  for (let i = 0; i < m; i++, ao += am, bo += bm) {
    for (let j = 0, p = ao, q = bo; j < n; j++, p += an, q += bn) y[yo++] = Math.max(a[p], b[q]);
  }
};
const minimumLoop: ZipLoop = (a, ao, am, an, b, bo, bm, bn, y, yo, m, n) => {
  for (let i = 0; i < m; i++, ao += am, bo += bm) {
    for (let j = 0, p = ao, q = bo; j < n; j++, p += an, q += bn) y[yo++] = Math.min(a[p], b[q]);
  }
};

/** The remainder with the sign of the divisor, as Python's `%`. */
function flooredRemainder(x: number, divisor: number): number {
  const r = x % divisor;
  return r !== 0 && r < 0 !== divisor < 0 ? r + divisor : r;
}

function addScaled(a: Tensor, b: Tensor | number, alpha: number, fn: string): Tensor {
  const dtype = resultDType(a, b, fn);
  // 1 + 1 is still true.
  if (alpha === 1) return zip(a, b, fn, dtype === 'bool' ? maximumLoop : addLoop, dtype);
  if (alpha === -1) {
    if (dtype === 'bool') {
      throw new DTypeError({
        fn,
        argument: 'dtypes',
        expected: 'numbers (bools cannot be subtracted)',
        got: 'bool',
        fix: 'Use logicalNot() or ne().',
      });
    }
    return zip(a, b, fn, subLoop, dtype);
  }
  return zip(a, b, fn, addScaledLoop, dtype, dtype, dtype === 'float64' ? alpha : Math.fround(alpha));
}

/** Arithmetic on two broadcast operands. */
export const arithmetic: Pick<
  ElementwiseOps,
  'add' | 'sub' | 'mul' | 'div' | 'pow' | 'remainder' | 'maximum' | 'minimum'
> = {
  add: (a, b, alpha) => addScaled(a, b, alpha, 'add'),
  sub: (a, b, alpha) => addScaled(a, b, -alpha, 'sub'),
  mul: (a, b) => zip(a, b, 'mul', mulLoop),
  div: (a, b) => zip(a, b, 'div', divLoop, floatResult(resultDType(a, b, 'div'))),
  pow: (a, b) => zip(a, b, 'pow', b === 2 ? squareLoop : powLoop),
  remainder: (a, b) => zip(a, b, 'remainder', remainderLoop),
  maximum: (a, b) => zip(a, b, 'maximum', maximumLoop),
  minimum: (a, b) => zip(a, b, 'minimum', minimumLoop),
};
