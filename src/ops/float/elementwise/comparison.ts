import { product } from '../../../core/math.ts';
import { DTYPES, type TypedArray } from '../../../tensor/dtype.ts';
import { broadcastShapes, contiguousStrides, type Shape } from '../../../tensor/shape.ts';
import { encodeNumbers, Tensor } from '../../../tensor/tensor.ts';
import type { ElementwiseOps } from '../../signatures/index.ts';
import { broadcastInLayout, isDense, stridesLike } from '../layout.ts';
import { bitsOf } from './bits.ts';
import { convert } from './map.ts';
import { resultDType, type ZipLoop, zip } from './zip.ts';

const eqLoop: ZipLoop = (a, ao, am, an, b, bo, bm, bn, y, yo, m, n) => {
  for (let i = 0; i < m; i++, ao += am, bo += bm) {
    for (let j = 0, p = ao, q = bo; j < n; j++, p += an, q += bn) y[yo++] = +(a[p] === b[q]);
  }
};
const neLoop: ZipLoop = (a, ao, am, an, b, bo, bm, bn, y, yo, m, n) => {
  for (let i = 0; i < m; i++, ao += am, bo += bm) {
    for (let j = 0, p = ao, q = bo; j < n; j++, p += an, q += bn) y[yo++] = +(a[p] !== b[q]);
  }
};
const ltLoop: ZipLoop = (a, ao, am, an, b, bo, bm, bn, y, yo, m, n) => {
  for (let i = 0; i < m; i++, ao += am, bo += bm) {
    for (let j = 0, p = ao, q = bo; j < n; j++, p += an, q += bn) y[yo++] = +(a[p] < b[q]);
  }
};
const leLoop: ZipLoop = (a, ao, am, an, b, bo, bm, bn, y, yo, m, n) => {
  for (let i = 0; i < m; i++, ao += am, bo += bm) {
    for (let j = 0, p = ao, q = bo; j < n; j++, p += an, q += bn) y[yo++] = +(a[p] <= b[q]);
  }
};
const gtLoop: ZipLoop = (a, ao, am, an, b, bo, bm, bn, y, yo, m, n) => {
  for (let i = 0; i < m; i++, ao += am, bo += bm) {
    for (let j = 0, p = ao, q = bo; j < n; j++, p += an, q += bn) y[yo++] = +(a[p] > b[q]);
  }
};
const geLoop: ZipLoop = (a, ao, am, an, b, bo, bm, bn, y, yo, m, n) => {
  for (let i = 0; i < m; i++, ao += am, bo += bm) {
    for (let j = 0, p = ao, q = bo; j < n; j++, p += an, q += bn) y[yo++] = +(a[p] >= b[q]);
  }
};
const andLoop: ZipLoop = (a, ao, am, an, b, bo, bm, bn, y, yo, m, n) => {
  for (let i = 0; i < m; i++, ao += am, bo += bm) {
    for (let j = 0, p = ao, q = bo; j < n; j++, p += an, q += bn) y[yo++] = a[p] & b[q];
  }
};
const orLoop: ZipLoop = (a, ao, am, an, b, bo, bm, bn, y, yo, m, n) => {
  for (let i = 0; i < m; i++, ao += am, bo += bm) {
    for (let j = 0, p = ao, q = bo; j < n; j++, p += an, q += bn) y[yo++] = a[p] | b[q];
  }
};

function compare(a: Tensor, b: Tensor | number, fn: string, loop: ZipLoop): Tensor {
  return zip(a, b, fn, loop, resultDType(a, b, fn), 'bool');
}

function chooseBits(condition: Uint8Array, a: Int32Array, b: Int32Array, y: Int32Array): void {
  for (let i = 0; i < y.length; i++) y[i] = b[i] ^ ((a[i] ^ b[i]) & -condition[i]);
}

function choose(condition: Uint8Array, a: TypedArray, b: TypedArray, y: TypedArray): void {
  if (a instanceof Float32Array && b instanceof Float32Array && y instanceof Float32Array) {
    chooseBits(condition, bitsOf(a), bitsOf(b), bitsOf(y));
    return;
  }
  for (let i = 0; i < y.length; i++) y[i] = condition[i] !== 0 ? a[i] : b[i];
}

function where(condition: Tensor, a: Tensor, b: Tensor): Tensor {
  const dtype = resultDType(a, b, 'where');
  const shape = broadcastShapes(broadcastShapes(a.shape, b.shape, 'where'), condition.shape, 'where');
  const full = [a, b, condition].find((x) => product(x.shape) === product(shape) && x.ndim === shape.length);
  const strides: Shape = full && isDense(full) ? stridesLike(full) : contiguousStrides(shape);
  const storage = DTYPES[dtype].allocate(product(shape));
  choose(
    broadcastInLayout(convert(condition, 'bool'), shape, strides) as Uint8Array,
    broadcastInLayout(convert(a, dtype), shape, strides),
    broadcastInLayout(convert(b, dtype), shape, strides),
    storage,
  );
  return new Tensor({ storage, shape, strides, dtype });
}

/** Comparisons and choices. */
export const comparison: Pick<
  ElementwiseOps,
  'eq' | 'ne' | 'lt' | 'le' | 'gt' | 'ge' | 'logicalAnd' | 'logicalOr' | 'where' | 'maskedFill'
> = {
  eq: (a, b) => compare(a, b, 'eq', eqLoop),
  ne: (a, b) => compare(a, b, 'ne', neLoop),
  lt: (a, b) => compare(a, b, 'lt', ltLoop),
  le: (a, b) => compare(a, b, 'le', leLoop),
  gt: (a, b) => compare(a, b, 'gt', gtLoop),
  ge: (a, b) => compare(a, b, 'ge', geLoop),
  logicalAnd: (a, b) => zip(convert(a, 'bool'), convert(b, 'bool'), 'logicalAnd', andLoop),
  logicalOr: (a, b) => zip(convert(a, 'bool'), convert(b, 'bool'), 'logicalOr', orLoop),
  where,
  maskedFill: (x, mask, value) =>
    where(mask, new Tensor({ storage: encodeNumbers([value], x.dtype), shape: [], dtype: x.dtype }), x),
};
