import { roundHalfEven } from '../../../core/math.ts';
import type { ElementwiseOps } from '../../signatures/index.ts';
import { erf as erfOf } from './erf.ts';
import { expFloat32 } from './exp.ts';
import { convert, inKernel, type MapLoop, map, mapFloat } from './map.ts';

const negLoop: MapLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = -x[i];
};
const absLoop: MapLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = Math.abs(x[i]);
};
const expLoop: MapLoop = (x, y) => {
  if (y instanceof Float32Array) {
    for (let i = 0; i < y.length; i++) y[i] = expFloat32(x[i]);
    return;
  }
  for (let i = 0; i < y.length; i++) y[i] = Math.exp(x[i]);
};
const expm1Loop: MapLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = Math.expm1(x[i]);
};
const logLoop: MapLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = Math.log(x[i]);
};
const log1pLoop: MapLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = Math.log1p(x[i]);
};
const sqrtLoop: MapLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = Math.sqrt(x[i]);
};
const rsqrtLoop: MapLoop = (x, y) => {
  // PyTorch rounds the root before it divides; folded batch norms depend on it bit for bit.
  const round = y instanceof Float32Array ? Math.fround : Number;
  for (let i = 0; i < y.length; i++) y[i] = 1 / round(Math.sqrt(x[i]));
};
const squareLoop: MapLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = x[i] * x[i];
};
const reciprocalLoop: MapLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = 1 / x[i];
};
const sinLoop: MapLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = Math.sin(x[i]);
};
const cosLoop: MapLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = Math.cos(x[i]);
};
const tanhLoop: MapLoop = (x, y) => {
  if (inKernel(x, y, 'tanh')) return;
  for (let i = 0; i < y.length; i++) y[i] = Math.tanh(x[i]);
};
const sigmoidLoop: MapLoop = (x, y) => {
  if (inKernel(x, y, 'sigmoid')) return;
  for (let i = 0; i < y.length; i++) y[i] = 1 / (1 + Math.exp(-x[i]));
};
const erfLoop: MapLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = erfOf(x[i]);
};
const signLoop: MapLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = x[i] > 0 ? 1 : x[i] < 0 ? -1 : 0;
};
const floorLoop: MapLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = Math.floor(x[i]);
};
const ceilLoop: MapLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = Math.ceil(x[i]);
};
const roundLoop: MapLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = roundHalfEven(x[i]);
};
const logicalNotLoop: MapLoop = (x, y) => {
  for (let i = 0; i < y.length; i++) y[i] = x[i] === 0 ? 1 : 0;
};

type UnaryName =
  | 'neg'
  | 'abs'
  | 'exp'
  | 'expm1'
  | 'log'
  | 'log1p'
  | 'sqrt'
  | 'rsqrt'
  | 'square'
  | 'reciprocal'
  | 'sin'
  | 'cos'
  | 'tanh'
  | 'sigmoid'
  | 'erf'
  | 'sign'
  | 'floor'
  | 'ceil'
  | 'round'
  | 'logicalNot';

/** Functions of one element. */
export const unary: Pick<ElementwiseOps, UnaryName> = {
  neg: (x) => map(x, x.dtype, negLoop),
  abs: (x) => map(x, x.dtype, absLoop),
  exp: (x) => mapFloat(x, expLoop),
  expm1: (x) => mapFloat(x, expm1Loop),
  log: (x) => mapFloat(x, logLoop),
  log1p: (x) => mapFloat(x, log1pLoop),
  sqrt: (x) => mapFloat(x, sqrtLoop),
  rsqrt: (x) => mapFloat(x, rsqrtLoop),
  square: (x) => map(x, x.dtype, squareLoop),
  reciprocal: (x) => mapFloat(x, reciprocalLoop),
  sin: (x) => mapFloat(x, sinLoop),
  cos: (x) => mapFloat(x, cosLoop),
  tanh: (x) => mapFloat(x, tanhLoop),
  sigmoid: (x) => mapFloat(x, sigmoidLoop),
  erf: (x) => mapFloat(x, erfLoop),
  sign: (x) => map(x, x.dtype, signLoop),
  floor: (x) => map(x, x.dtype, floorLoop),
  ceil: (x) => map(x, x.dtype, ceilLoop),
  round: (x) => map(x, x.dtype, roundLoop),
  logicalNot: (x) => map(convert(x, 'bool'), 'bool', logicalNotLoop),
};
