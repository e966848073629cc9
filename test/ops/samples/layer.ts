import type { LayerOps } from '../../../src/ops/signatures/index.ts';
import type { ConvGeometry, ConvTransposeGeometry, PoolGeometry } from '../../../src/ops/signatures/layer.ts';
import { distinct, indices, normal, positive, type SamplesOf } from './sample.ts';

function conv(rank: number, stride = 1, padding = 0, dilation = 1, groups = 1): ConvGeometry {
  const all = (value: number): number[] => new Array<number>(rank).fill(value);
  return { stride: all(stride), padding: all(padding), dilation: all(dilation), groups };
}

function convTranspose(geometry: ConvGeometry, outputPadding = 0): ConvTransposeGeometry {
  return { ...geometry, outputPadding: geometry.stride.map(() => outputPadding) };
}

function pool(rank: number, size: number, stride = size, padding = 0, ceilMode = false): PoolGeometry {
  const { stride: steps, padding: pads, dilation } = conv(rank, stride, padding);
  return { kernelSize: new Array<number>(rank).fill(size), stride: steps, padding: pads, dilation, ceilMode };
}

export const layerSamples: SamplesOf<LayerOps> = {
  matmul: [
    [normal(3), normal(3)],
    [normal(2, 3), normal(3)],
    [normal(3), normal(2, 3, 2)],
    [normal(2, 3), normal(3, 4)],
    [normal(2, 1, 2, 3), normal(2, 3, 2)],
    [normal(2, 2, 3), normal(3, 2)],
    [normal(2, 3), normal(2, 3, 2)],
  ],
  bmm: [[normal(2, 2, 3), normal(2, 3, 2)]],
  linear: [
    [normal(2, 3), normal(4, 3), normal(4)],
    [normal(2, 2, 3), normal(1, 3), null],
    [normal(3), normal(2, 3), normal(2)],
  ],
  conv1d: [
    [normal(2, 2, 5), normal(3, 2, 3), normal(3), conv(1)],
    [normal(1, 4, 6), normal(2, 2, 2), null, conv(1, 2, 1, 2, 2)],
  ],
  conv2d: [
    [normal(1, 2, 4, 3), normal(2, 2, 3, 2), normal(2), conv(2, 1, 1)],
    [normal(2, 2, 5, 4), normal(4, 1, 2, 2), normal(4), conv(2, 2, 1, 1, 2)],
    [normal(1, 3, 4, 4), normal(3, 1, 3, 3), null, conv(2, 1, 1, 1, 3)],
  ],
  conv3d: [[normal(1, 2, 3, 3, 2), normal(2, 2, 2, 2, 2), normal(2), conv(3, 1, 1, 1)]],
  convTranspose1d: [
    [normal(1, 2, 3), normal(2, 2, 3), normal(2), convTranspose(conv(1, 2, 1), 1)],
    [normal(1, 4, 3), normal(4, 1, 2), null, convTranspose(conv(1, 1, 0, 2, 2))],
  ],
  convTranspose2d: [
    [normal(1, 2, 3, 2), normal(2, 3, 2, 2), normal(3), convTranspose(conv(2, 2))],
    [normal(1, 2, 2, 3), normal(2, 1, 3, 3), null, convTranspose(conv(2, 2, 1, 1, 2), 1)],
  ],
  convTranspose3d: [
    [normal(1, 2, 2, 3, 2), normal(2, 1, 2, 2, 2), normal(2), convTranspose(conv(3, 2, 0, 1, 2))],
  ],

  maxPool1d: [[distinct(2, 2, 5), pool(1, 2)]],
  maxPool2d: [
    [distinct(1, 2, 4, 4), pool(2, 2)],
    [distinct(2, 1, 5, 4), pool(2, 3, 2, 1, true)],
    [distinct(1, 1, 5, 5), { ...pool(2, 2, 1), dilation: [2, 2] }],
  ],
  maxPool3d: [[distinct(1, 1, 3, 4, 3), pool(3, 2, 1)]],
  avgPool1d: [[normal(2, 2, 5), { ...pool(1, 3, 2, 1), countIncludePad: false }]],
  avgPool2d: [
    [normal(1, 2, 4, 5), { ...pool(2, 3, 2, 1, true), countIncludePad: true }],
    [normal(1, 2, 4, 4), { ...pool(2, 2), countIncludePad: false }],
  ],
  avgPool3d: [[normal(1, 1, 3, 3, 4), { ...pool(3, 2, 1), countIncludePad: true }]],
  adaptiveAvgPool1d: [[normal(1, 2, 5), [3]]],
  adaptiveAvgPool2d: [
    [normal(2, 2, 3, 4), [1, 1]],
    [normal(1, 2, 3, 4), [2, 5]],
  ],
  adaptiveAvgPool3d: [[normal(1, 2, 3, 2, 4), [2, 1, 3]]],
  interpolate: [
    [normal(1, 2, 3), { size: [5], mode: 'linear', alignCorners: false, scales: null }],
    [normal(1, 2, 3, 2), { size: [5, 4], mode: 'bilinear', alignCorners: true, scales: null }],
    [normal(1, 1, 3, 3), { size: [2, 5], mode: 'nearest', alignCorners: false, scales: null }],
    [normal(1, 1, 2, 3), { size: [3, 5], mode: 'bilinear', alignCorners: false, scales: [0.6, 0.5] }],
  ],

  batchNormTrain: [
    [normal(3, 2), normal(2), normal(2), 1e-5],
    [normal(2, 3, 2, 2), normal(3), null, 1e-3],
    [normal(4, 2, 2), null, null, 1e-5],
  ],
  batchNormEval: [
    [normal(2, 3, 2), normal(3), positive(3), normal(3), normal(3), 1e-5],
    [normal(2, 2), normal(2), positive(2), null, null, 1e-3],
  ],
  layerNorm: [
    [normal(2, 3), [3], normal(3), normal(3), 1e-5],
    [normal(2, 2, 3), [2, 3], normal(2, 3), null, 1e-3],
    [normal(3, 4), [4], null, null, 1e-5],
  ],
  groupNorm: [
    [normal(2, 4, 3), 2, normal(4), normal(4), 1e-5],
    [normal(1, 2, 2, 3), 2, null, normal(2), 1e-5],
  ],

  nllLoss: [
    [normal(3, 4), indices([1, 3, 0]), null, -100, 'mean'],
    [normal(2, 3, 2), indices([1, 2, 0, 1], [2, 2]), null, 1, 'sum'],
  ],
  embedding: [
    [indices([2, 0, 2, 1], [2, 2]), normal(4, 3), null],
    [indices([2, 0, 1]), normal(3, 2), null],
  ],
  embeddingBag: [
    [indices([1, 0, 3, 2, 1]), normal(4, 2), indices([0, 2, 2]), 'mean', null],
    [indices([1, 0, 3, 2, 1]), normal(4, 2), indices([0, 3]), 'sum', normal(5)],
    [indices([1, 0, 3, 2, 1]), distinct(4, 2), indices([0, 3]), 'max', null],
  ],

  lstmPointwise: [[normal(2, 12), normal(2, 3)]],
  gruPointwise: [[normal(2, 9), normal(2, 9), normal(2, 3)]],
};
