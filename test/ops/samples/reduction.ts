import type { ReductionOps } from '../../../src/ops/signatures/index.ts';
import { distinct, normal, positive, type SamplesOf } from './sample.ts';

export const reductionSamples: SamplesOf<ReductionOps> = {
  sum: [
    [normal(2, 3, 2), undefined, false],
    [normal(2, 3, 2), [0, 2], false],
    [normal(2, 3, 2), -2, true],
  ],
  mean: [
    [normal(2, 3), undefined, false],
    [normal(2, 3, 2), [-1, 0], true],
  ],
  prod: [
    [normal(2, 3), undefined, false],
    [normal(2, 3), 1, false],
    [normal(3, 2), 0, true],
  ],
  var: [
    [normal(2, 3), undefined, 1, false],
    [normal(2, 3, 2), [0, 2], 0, false],
    [normal(2, 3), 1, 1, true],
  ],
  std: [
    [normal(2, 3), undefined, 1, false],
    [normal(2, 3), 1, 0, true],
  ],
  amax: [
    [distinct(2, 3), undefined, false],
    [distinct(2, 3, 2), [0, 2], true],
  ],
  amin: [[distinct(2, 3), 1, false]],
  maxDim: [
    [distinct(2, 3, 2), 1, false],
    [distinct(2, 3), -1, true],
  ],
  minDim: [[distinct(2, 3), 0, false]],
  argmax: 'not differentiable',
  argmin: 'not differentiable',
  norm: [
    [normal(2, 3), 2, undefined, false],
    [normal(2, 3), 2, 1, true],
    [distinct(2, 3), 1, 0, false],
    [distinct(2, 3), 3, 1, false],
    [distinct(2, 3), Number.POSITIVE_INFINITY, 1, false],
  ],
  logsumexp: [
    [normal(2, 3), 1, false],
    [normal(2, 3, 2), [0, 2], true],
  ],
  cumsum: [
    [normal(2, 3), 1],
    [normal(2, 3), 0],
  ],
  all: 'not differentiable',
  any: 'not differentiable',
  sort: [
    [distinct(2, 4), 1, false],
    [distinct(3, 2), 0, true],
  ],
  topk: [
    [distinct(2, 5), 2, 1, true, true],
    [distinct(4, 2), 3, 0, false, true],
  ],
  softmax: [
    [normal(2, 4), 1],
    [normal(2, 3, 2), 1],
  ],
  logSoftmax: [
    [normal(2, 4), -1],
    [positive(3, 2), 0],
  ],
};
