import type { MovementOps } from '../../../src/ops/signatures/index.ts';
import { indices, mask, normal, type SamplesOf } from './sample.ts';

const END = Number.MAX_SAFE_INTEGER;

export const movementSamples: SamplesOf<MovementOps> = {
  view: [[normal(2, 6), [3, -1]]],
  reshape: [
    [normal(2, 6), [3, 4]],
    [normal(2, 3, 2), [6, 2]],
  ],
  flatten: [[normal(2, 3, 2), 1, -1]],
  unflatten: [[normal(2, 6), 1, [3, 2]]],
  permute: [[normal(2, 3, 2), [2, 0, 1]]],
  transpose: [[normal(2, 3, 2), 0, -1]],
  expand: [[normal(2, 1), [3, 2, 4]]],
  squeeze: [
    [normal(2, 1, 3), 1],
    [normal(1, 2, 1), undefined],
  ],
  unsqueeze: [[normal(2, 3), 1]],
  slice: [
    [normal(3, 5), 1, 1, END, 2],
    [normal(3, 5), -2, -2, -1, 1],
  ],
  select: [[normal(3, 4), 1, -1]],
  contiguous: [
    [normal(2, 3), 'contiguous'],
    [normal(2, 3, 2, 2), 'channelsLast'],
  ],
  flip: [[normal(2, 3), [0, 1]]],
  repeat: [[normal(2, 2), [3, 1, 2]]],
  pad: [
    [normal(2, 3), [1, 2, 0, 1], 'constant', 0.5],
    [normal(2, 4), [-1, 1], 'constant', 0],
    [normal(2, 3, 3), [2, 1, 1, 2], 'reflect', 0],
    [normal(2, 3), [2, 1], 'replicate', 0],
    [normal(2, 3), [2, 3], 'circular', 0],
  ],
  tril: [[normal(2, 3, 3), 0]],
  triu: [[normal(3, 4), 1]],
  cat: [
    [[normal(2, 1), normal(2, 3)], 1],
    [[normal(2, 2), normal(1, 2)], -2],
  ],
  stack: [[[normal(2, 3), normal(2, 3)], 1]],
  split: [
    [normal(5, 2), 2, 0],
    [normal(2, 4), [1, 3], 1],
  ],
  chunk: [[normal(2, 5), 2, 1]],
  unbind: [[normal(3, 2), 0]],
  indexSelect: [[normal(3, 4), 1, indices([3, 0, 3])]],
  gather: [[normal(2, 3), 1, indices([2, 0, 2, 1], [2, 2])]],
  scatterAdd: [[normal(2, 3), 1, indices([2, 0, 2, 1], [2, 2]), normal(2, 3)]],
  maskedSelect: [[normal(2, 3), mask([1, 0, 1])]],
};
