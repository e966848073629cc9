import { Generator } from '../../../src/core/random.ts';
import type { ElementwiseOps } from '../../../src/ops/signatures/index.ts';
import type { Tensor } from '../../../src/tensor/tensor.ts';
import { distinct, mask, normal, positive, type SamplesOf } from './sample.ts';

const unary: [Tensor][] = [[distinct(3, 4)], [normal(2, 3, 2, 2)]];
const above: [Tensor][] = [[positive(3, 4)]];
const flags = mask([1, 0, 0, 1, 1, 0], [2, 3]);

export const elementwiseSamples: SamplesOf<ElementwiseOps> = {
  neg: unary,
  abs: [[distinct(3, 4)]],
  exp: unary,
  expm1: unary,
  log: above,
  log1p: above,
  sqrt: above,
  rsqrt: above,
  square: unary,
  reciprocal: above,
  sin: unary,
  cos: unary,
  tanh: unary,
  sigmoid: unary,
  erf: unary,
  sign: [[distinct(3, 4)]],
  floor: [[distinct(3, 4)]],
  ceil: [[distinct(3, 4)]],
  round: [[distinct(3, 4)]],

  relu: [[distinct(3, 4)]],
  relu6: [[distinct(8, 8)]],
  hardtanh: [[distinct(3, 4), -1, 1]],
  leakyRelu: [[distinct(3, 4), 0.1]],
  prelu: [
    [distinct(2, 3, 2), normal(3)],
    [distinct(5), normal(1)],
  ],
  elu: [[distinct(3, 4), 0.7]],
  gelu: [
    [normal(3, 4), 'none'],
    [normal(3, 4), 'tanh'],
  ],
  silu: unary,
  hardswish: [[distinct(5, 6)]],
  hardsigmoid: [[distinct(5, 6)]],
  softplus: [[normal(3, 4), 1, 20]],
  clamp: [
    [distinct(3, 4), -1, 1],
    [distinct(3, 4), null, 0.5],
  ],
  dropout: [[normal(4, 5), 0.4, new Generator(3)]],

  add: [
    [normal(2, 3), normal(3), 0.5],
    [normal(2, 3), 2, 1],
    [normal(2, 1), normal(1, 3), 1],
  ],
  sub: [
    [normal(2, 3), normal(3), 0.5],
    [normal(3), normal(2, 3), 1],
  ],
  mul: [
    [normal(2, 3), normal(2, 1)],
    [normal(2, 3), -1.5],
  ],
  div: [
    [normal(2, 3), positive(3)],
    [normal(2, 3), 4],
  ],
  pow: [
    [positive(2, 3), normal(3)],
    [positive(2, 3), 2.5],
    [normal(4), 2],
    [normal(4), 0],
  ],
  remainder: [
    [distinct(2, 3), 0.7],
    [distinct(2, 3), positive(3)],
  ],
  maximum: [[distinct(2, 3), distinct(3, 1, 1)]],
  minimum: [[distinct(2, 3), distinct(3, 1, 1)]],

  eq: 'not differentiable',
  ne: 'not differentiable',
  lt: 'not differentiable',
  le: 'not differentiable',
  gt: 'not differentiable',
  ge: 'not differentiable',
  logicalNot: 'not differentiable',
  logicalAnd: 'not differentiable',
  logicalOr: 'not differentiable',
  where: [
    [flags, normal(2, 3), normal(2, 3)],
    [flags, normal(3), normal(2, 2, 1)],
  ],
  maskedFill: [[normal(2, 2, 3), flags, -7]],

  to: [[normal(2, 3), 'float64']],
  clone: unary,
};
