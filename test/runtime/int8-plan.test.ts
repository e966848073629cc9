import { describe, expect, test } from 'vitest';
import { manualSeed } from '../../src/core/random.ts';
import * as ops from '../../src/ops/index.ts';
import * as quantizedOps from '../../src/ops/quantized/namespace.ts';
import {
  conv1d,
  conv1dRelu,
  conv2d,
  conv2dRelu,
  conv3d,
  conv3dRelu,
} from '../../src/ops/quantized/namespace.ts';
import { PackedWeights } from '../../src/ops/quantized/packed.ts';
import { rand, randn } from '../../src/tensor/creation.ts';
import type { QuantizedDType } from '../../src/tensor/dtype.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { expectEager, programOf } from '../support/both-builds.ts';

/** Random weights, quantized per tensor with a zero point or per channel without. */
function weightOf(shape: readonly number[], scheme: 'per channel' | 'per tensor' | 'quint8'): Tensor {
  const w = randn([...shape]);
  if (scheme === 'per tensor') return ops.quantizePerTensor(w, 0.031, 9, 'qint8');
  if (scheme === 'quint8') return ops.quantizePerTensor(w, 0.027, 130, 'quint8');
  const scales = rand([shape[0]]).mul(0.02).add(0.01);
  return ops.quantizePerChannel(w, scales, scales.mul(0), 0, 'qint8');
}

interface ConvCase {
  readonly size: readonly number[];
  readonly channels: readonly [number, number];
  readonly kernel: readonly number[];
  readonly stride?: number;
  readonly padding?: number;
  readonly dilation?: number;
  readonly groups?: number;
  readonly weights?: 'per channel' | 'per tensor' | 'quint8';
  readonly dtype?: QuantizedDType;
}

const CONVOLUTIONS = [
  [conv1d, conv1dRelu],
  [conv2d, conv2dRelu],
  [conv3d, conv3dRelu],
] as const;

const CONVS: readonly ConvCase[] = [
  { size: [9, 7], channels: [3, 10], kernel: [3, 3], stride: 2, padding: 1 },
  { size: [9, 7], channels: [1, 8], kernel: [5, 3], padding: 2, dtype: 'qint8' },
  { size: [9, 7], channels: [3, 5], kernel: [3, 3], padding: 2, dilation: 2 },
  { size: [8, 5], channels: [12, 20], kernel: [1, 1] },
  { size: [8, 5], channels: [12, 20], kernel: [1, 1], stride: 2 },
  { size: [8, 5], channels: [9, 20], kernel: [3, 3], padding: 1, weights: 'per tensor' },
  { size: [8, 5], channels: [9, 20], kernel: [3, 2], stride: 2, padding: 1, weights: 'quint8' },
  { size: [8, 5], channels: [12, 18], kernel: [3, 3], padding: 1, groups: 3, dtype: 'qint8' },
  { size: [11, 6], channels: [24, 24], kernel: [3, 3], padding: 1, groups: 24 },
  { size: [11, 6], channels: [19, 19], kernel: [3, 3], stride: 2, padding: 1, groups: 19, dtype: 'qint8' },
  {
    size: [11, 6],
    channels: [16, 16],
    kernel: [5, 5],
    padding: 4,
    dilation: 2,
    groups: 16,
    weights: 'per tensor',
  },
  { size: [11, 6], channels: [8, 16], kernel: [3, 3], padding: 1, groups: 8 },
  { size: [13], channels: [4, 6], kernel: [3], padding: 1 },
  { size: [13], channels: [16, 24], kernel: [5], stride: 2, padding: 2, dtype: 'qint8' },
  { size: [4, 5, 6], channels: [2, 6], kernel: [3, 3, 3], padding: 1 },
  { size: [4, 5, 6], channels: [8, 6], kernel: [2, 3, 3], stride: 2, padding: 1 },
];

describe('quantized convolutions', () => {
  test.each(CONVS.map((c) => [JSON.stringify(c), c] as const))('%s', (_, c) => {
    manualSeed(1);
    const { size, channels, kernel, stride = 1, padding = 0, dilation = 1, groups = 1 } = c;
    const { weights = 'per channel', dtype = 'quint8' } = c;
    const rank = kernel.length as 1 | 2 | 3;
    const all = (v: number): number[] => kernel.map(() => v);
    const packed = new PackedWeights(
      weightOf([channels[1], channels[0] / groups, ...kernel], weights),
      randn([channels[1]]),
      { stride: all(stride), padding: all(padding), dilation: all(dilation), groups },
    );
    const [plain, rectified] = CONVOLUTIONS[rank - 1];
    const zeroPoint = dtype === 'qint8' ? -20 : 108;
    // The same weights twice, with other parameters: each use needs panels of its own.
    const program = programOf(
      (x) => {
        const q = ops.quantizePerTensor(x, 0.02, zeroPoint, dtype);
        // The last scale leads to sums far outside of what a float rounds to integers.
        return [
          rectified(q, packed, 0.05, zeroPoint + 3),
          plain(q, packed, 0.11, zeroPoint - 5),
          plain(q, packed, 1e-12, zeroPoint),
        ];
      },
      randn([1, channels[0], ...size]),
    );
    for (const n of [1, 2, 7]) {
      expect(expectEager(program, randn([n, channels[0], ...size]))).toEqual([]);
    }
  });
});

/** Gains, shifts, means and variances of up to 19 channels. */
const CHANNEL_FLOATS: readonly Tensor[] = [0, 1, 2, 3].map((k) => {
  manualSeed(k);
  return rand([19]).add(0.1);
});

describe('quantized operators', () => {
  const quint8 = (x: Tensor): Tensor => ops.quantizePerTensor(x, 0.03, 110, 'quint8');
  const qint8 = (x: Tensor): Tensor => ops.quantizePerTensor(x, 0.03, -9, 'qint8');

  test.each<[string, (q: Tensor) => unknown]>([
    ['addition', (q) => quantizedOps.addRelu(q, quantizedOps.add(q, q, 0.07, 40), 0.09, 60)],
    [
      'products',
      (q) => [
        quantizedOps.mul(q, ops.sigmoid(q), 0.02, 40),
        quantizedOps.mulRelu(q, q, 0.05, 11),
        quantizedOps.mul(q, ops.adaptiveAvgPool2d(q, 1), 0.02, 40),
        q.add(0.4),
        q.mul(-1.5),
      ],
    ],
    [
      'mean over pixels',
      (q) => [
        ops.maxPool2d(q, 1).mean([2, 3]),
        ops.relu(ops.maxPool2d(q, 2)).mean([-1, 2], { keepdim: true }),
      ],
    ],
    [
      'batch normalization and slopes per channel',
      (q) => {
        const channels = q.shape[1];
        const floats = (k: number): Tensor => CHANNEL_FLOATS[k].narrow(0, 0, channels);
        const slopes = ops.quantizePerTensor(floats(1), 0.01, 100, 'quint8');
        return [
          quantizedOps.batchNorm2d(q, floats(0), floats(1), floats(2), floats(3), 1e-5, 0.05, 30),
          quantizedOps.batchNorm2dRelu(q, null, null, floats(2), floats(3), 1e-3, 0.05, 30),
          quantizedOps.prelu(q, slopes, 0.04, 12),
        ];
      },
    ],
    [
      'views, broadcasts and their mixture with what wants other layouts',
      (q) => [
        quantizedOps.add(q, q.narrow(2, 0, 1), 0.07, 40),
        quantizedOps.add(q.narrow(3, 0, 5), q.narrow(3, 2, 5), 0.07, 40),
        ops.relu(q.narrow(1, 1, 2)),
        ops.maxPool2d(q.permute([0, 1, 3, 2]), 2),
        quantizedOps.cat([q.narrow(1, 0, 2), q.transpose(2, 3).transpose(2, 3)], 1, 0.05, 20),
        q.flatten(1).dequantize(),
        q.permute([0, 2, 3, 1]).dequantize(),
      ],
    ],
    ['clamps', (q) => [ops.relu(q), ops.relu6(q), ops.hardtanh(q, -1, 2), ops.clamp(q, null, 0.5)]],
    ['sigmoid and tanh', (q) => [ops.sigmoid(q), ops.tanh(q), quantizedOps.sigmoid(q, 0.01, 3)]],
    [
      'other curves',
      (q) => [
        quantizedOps.hardswish(q, 0.02, 10),
        quantizedOps.elu(q, 0.02, 30),
        quantizedOps.leakyRelu(q, 0.1, 0.03, 20),
        quantizedOps.threshold(q, 0.2, -0.5),
      ],
    ],
    [
      'numbers',
      (q) => [quantizedOps.addScalar(q, 0.3), quantizedOps.mulScalar(q, 2), quantizedOps.mulScalar(q, -2)],
    ],
    ['max pool', (q) => ops.maxPool2d(q, 3, { stride: 2, padding: 1, ceilMode: true })],
    [
      'average pool',
      (q) => [
        ops.avgPool2d(q, 3, { stride: 2, padding: 1 }),
        ops.avgPool2d(q, 2, { ceilMode: true, countIncludePad: false }),
      ],
    ],
    ['adaptive pool', (q) => [ops.adaptiveAvgPool2d(q, 1), ops.adaptiveAvgPool2d(q, [3, 2])]],
    [
      'concatenation',
      (q) => [
        quantizedOps.cat([q, ops.relu(q), ops.maxPool2d(q, 1)], 1, 0.03, q.dtype === 'qint8' ? -9 : 110),
        quantizedOps.cat([q, ops.sigmoid(q)], 1, 0.05, 20),
        quantizedOps.cat([q, ops.sigmoid(q)], -1, 0.05, 20),
        quantizedOps.cat([q, q], 0, 0.05, 20),
      ],
    ],
  ])('%s', (_, f) => {
    manualSeed(2);
    for (const quantize of [quint8, qint8]) {
      const program = programOf((x) => f(quantize(x)), randn([1, 19, 9, 7]));
      for (const n of [1, 3]) expect(expectEager(program, randn([n, 19, 9, 7]))).toEqual([]);
      const floats = programOf(
        (x) => [f(quantize(x))].flat().map((y) => (y as Tensor).dequantize()),
        randn([1, 3, 8, 8]),
      );
      expect(expectEager(floats, randn([2, 3, 8, 8]))).toEqual([]);
    }
  });

  test('linear layers over several dimensions', () => {
    manualSeed(3);
    for (const weights of ['per channel', 'per tensor', 'quint8'] as const) {
      const packed = new PackedWeights(weightOf([21, 13], weights), randn([21]), null);
      for (const quantize of [quint8, qint8]) {
        const program = programOf(
          (x) => quantizedOps.linearRelu(quantize(x), packed, 0.2, 5),
          randn([1, 4, 13]),
        );
        for (const n of [1, 2, 60]) expect(expectEager(program, randn([n, 4, 13]))).toEqual([]);
      }
    }
  });

  test('values that a quantized input of the program holds', () => {
    manualSeed(4);
    for (const quantize of [quint8, qint8]) {
      const program = programOf(
        (q) => quantizedOps.add(ops.relu(q), q, 0.1, 7),
        quantize(randn([1, 5, 6, 6])),
      );
      expect(expectEager(program, quantize(randn([2, 5, 6, 6])))).toEqual([]);
    }
  });
});
