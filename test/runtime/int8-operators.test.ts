import { describe, expect, test } from 'vitest';
import { ArgumentError } from '../../src/core/errors.ts';
import { manualSeed } from '../../src/core/random.ts';
import { dispatch } from '../../src/ops/dispatch.ts';
import * as ops from '../../src/ops/index.ts';
import { PackedWeights } from '../../src/ops/quantized/packed.ts';
import { PackedTransposedWeights } from '../../src/ops/quantized/transposed.ts';
import { full, randint, randn } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { expectEager, programOf } from '../support/both-builds.ts';
import { eagerly, planned } from '../support/plan.ts';
import { bits } from '../support/same-bits.ts';

const quint8 = (x: Tensor): Tensor => ops.quantizePerTensor(x, 0.03, 110, 'quint8');
const qint8 = (x: Tensor): Tensor => ops.quantizePerTensor(x, 0.03, -9, 'qint8');

/** Sizes of one convolution, ordinary or transposed. */
interface Case {
  readonly size: readonly number[];
  readonly channels: readonly [number, number];
  readonly kernel: readonly number[];
  readonly stride?: number;
  readonly padding?: number;
  readonly outputPadding?: number;
  readonly dilation?: number;
  readonly groups?: number;
}

const TRANSPOSED: readonly Case[] = [
  { size: [17], channels: [9, 6], kernel: [8], stride: 4 },
  { size: [17], channels: [16, 1], kernel: [8], stride: 4, padding: 2 },
  { size: [5], channels: [3, 5], kernel: [3], stride: 2, padding: 1, outputPadding: 1 },
  { size: [6, 5], channels: [12, 20], kernel: [2, 2], stride: 2 },
  { size: [6, 5], channels: [9, 10], kernel: [4, 4], stride: 2, padding: 1 },
  { size: [4, 5], channels: [2, 3], kernel: [3, 3], padding: 1 },
  { size: [4, 5], channels: [8, 8], kernel: [3, 3], stride: 1, padding: 1, groups: 8 },
  { size: [4, 5], channels: [24, 24], kernel: [3, 3], stride: 2, padding: 1, groups: 24 },
  { size: [4, 3], channels: [12, 18], kernel: [3, 2], stride: 2, groups: 3, dilation: 2 },
  { size: [2, 2], channels: [3, 2], kernel: [2, 2], stride: 3, outputPadding: 2 },
  { size: [1, 4], channels: [4, 2], kernel: [5, 5], stride: 2, padding: 1 },
  { size: [2, 3, 2], channels: [5, 9], kernel: [3, 2, 2], stride: 2, padding: 1 },
];

function repeated(kernel: readonly number[], value: number): number[] {
  return kernel.map(() => value);
}

function transposedWeights(c: Case): PackedTransposedWeights {
  const { channels, kernel, stride = 1, padding = 0, outputPadding = 0, dilation = 1, groups = 1 } = c;
  const weight = randn([channels[0], channels[1] / groups, ...kernel]);
  return new PackedTransposedWeights(ops.quantizePerTensor(weight, 0.021, 0, 'qint8'), randn([channels[1]]), {
    stride: repeated(kernel, stride),
    padding: repeated(kernel, padding),
    outputPadding: repeated(kernel, outputPadding),
    dilation: repeated(kernel, dilation),
    groups,
  });
}

/** The name of an operator for the rank of its kernel. */
type Rank = 1 | 2 | 3;

describe('transposed convolutions', () => {
  test.each(TRANSPOSED.map((c) => [JSON.stringify(c), c] as const))('%s', (_, c) => {
    manualSeed(1);
    const op = `quantized::conv_transpose${c.kernel.length as Rank}d` as const;
    const packed = transposedWeights(c);
    for (const quantize of [quint8, qint8]) {
      const program = programOf(
        (x) => [
          dispatch(op, quantize(x), packed, 0.05, 7),
          dispatch(op, quantize(x), packed, 0.2, 0).dequantize(),
        ],
        randn([1, c.channels[0], ...c.size]),
      );
      for (const n of [1, 2, 7]) {
        expect(expectEager(program, randn([n, c.channels[0], ...c.size]))).toEqual([]);
      }
    }
  });
});

const CONVOLUTIONS: readonly Case[] = [
  { size: [40], channels: [1, 9], kernel: [8], stride: 4 },
  { size: [21], channels: [16, 24], kernel: [5], stride: 2, padding: 2 },
  { size: [9, 7], channels: [3, 10], kernel: [3, 3], stride: 2, padding: 1 },
  { size: [9, 7], channels: [3, 5], kernel: [3, 3], padding: 2, dilation: 2 },
  { size: [8, 5], channels: [12, 70], kernel: [1, 1] },
  { size: [20, 15], channels: [12, 20], kernel: [3, 3], padding: 1 },
  { size: [8, 5], channels: [12, 18], kernel: [3, 3], padding: 1, groups: 3 },
  { size: [11, 6], channels: [19, 19], kernel: [3, 3], padding: 1, groups: 19 },
  { size: [4, 5, 6], channels: [2, 6], kernel: [3, 3, 3], padding: 1 },
];

function convolutionWeights(c: Case): PackedWeights {
  const { channels, kernel, stride = 1, padding = 0, dilation = 1, groups = 1 } = c;
  const weight = randn([channels[1], channels[0] / groups, ...kernel]);
  return new PackedWeights(ops.quantizePerTensor(weight, 0.021, 0, 'qint8'), randn([channels[1]]), {
    stride: repeated(kernel, stride),
    padding: repeated(kernel, padding),
    dilation: repeated(kernel, dilation),
    groups,
  });
}

describe('convolutions that quantize their input', () => {
  const cases = [
    ...CONVOLUTIONS.map((c) => ['conv', c] as const),
    ...TRANSPOSED.map((c) => ['conv_transpose', c] as const),
  ];
  test.each(cases.map(([op, c]) => [`${op} ${JSON.stringify(c)}`, op, c] as const))('%s', (_, op, c) => {
    manualSeed(2);
    const rank = c.kernel.length as Rank;
    const forward =
      op === 'conv'
        ? (
            (packed) => (x: Tensor, reduceRange: boolean) =>
              dispatch(`quantized::conv${rank}d_dynamic`, x, packed, reduceRange)
          )(convolutionWeights(c))
        : (
            (packed) => (x: Tensor, reduceRange: boolean) =>
              dispatch(`quantized::conv_transpose${rank}d_dynamic`, x, packed, reduceRange)
          )(transposedWeights(c));
    const program = programOf(
      // Twice on the same weights: their panels are written anew for each.
      (x) => [forward(x, true), forward(x.mul(3), false), ops.relu(forward(x, false))],
      randn([1, c.channels[0], ...c.size]),
    );
    for (const n of [1, 2, 7]) {
      for (const shift of [0, 2]) {
        const x = randn([n, c.channels[0], ...c.size]).add(shift);
        const { result, inParts, operators } = planned(program, x);
        expect(operators).toEqual([]);
        expect(bits(result)).toEqual(bits(eagerly(program, x)));
        expect(bits(inParts)).toEqual(bits(result));
      }
    }
    const bad = full([1, c.channels[0], ...c.size], Number.NaN);
    expect(() => program.run(bad)).toThrow(ArgumentError);
    expect(() => program.run(bad)).toThrow(/NaN or infinity/);
  });
});

describe('normalizations, resizing and reductions', () => {
  const gains = (n: number): Tensor => randn([n]);
  const [gain, shift] = (() => {
    manualSeed(5);
    return [gains(12), gains(12)];
  })();

  test.each<[string, (q: Tensor) => unknown]>([
    [
      'layer norm',
      (q) => [
        dispatch('quantized::layer_norm', q, [7], null, null, 1e-5, 0.03, 100),
        dispatch('quantized::layer_norm', q.permute([0, 2, 3, 1]), [12], gain, shift, 1e-6, 0.05, 20),
      ],
    ],
    [
      'group norm',
      (q) => [
        dispatch('quantized::group_norm', q, 3, gain, shift, 1e-5, 0.04, 100),
        dispatch('quantized::group_norm', ops.maxPool2d(q, 2), 4, null, null, 1e-5, 0.04, 100),
        dispatch('quantized::group_norm', q.flatten(2), 12, gain, null, 1e-5, 0.04, 100),
      ],
    ],
    ['instance norm', (q) => dispatch('quantized::instance_norm', q, gain, shift, 1e-5, 0.04, 100)],
    [
      'softmax',
      (q) => [
        ops.softmax(q, -1),
        dispatch('quantized::softmax', ops.maxPool2d(q, 2), 1, 1 / 128, 10),
        ops.softmax(q, 0),
      ],
    ],
    [
      'resizing',
      (q) => [
        ops.interpolate(q, { size: [17, 5] }),
        ops.interpolate(ops.maxPool2d(q, 2), { scaleFactor: 2, mode: 'bilinear' }),
        ops.interpolate(q, { size: [4, 11], mode: 'bilinear', alignCorners: true }),
        ops.interpolate(q.flatten(2), { size: [50], mode: 'linear' }),
        ops.interpolate(q.dequantize(), { scaleFactor: 2 }),
      ],
    ],
    [
      'means',
      (q) => [
        q.mean([2, 3]),
        q.mean(-1),
        q.mean(1, { keepdim: true }),
        ops.maxPool2d(q, 2).mean([2, 3]),
        ops.maxPool2d(q, 2).mean([0, 2]),
      ],
    ],
    ['turning around', (q) => [q.flip([0, 3]), ops.maxPool2d(q, 2).flip([1, 2]), q.dequantize().flip(-1)]],
  ])('%s', (_, f) => {
    manualSeed(6);
    for (const quantize of [quint8, qint8]) {
      const program = programOf((x) => f(quantize(x)), randn([1, 12, 9, 7]));
      for (const n of [1, 2, 7]) expect(expectEager(program, randn([n, 12, 9, 7]))).toEqual([]);
    }
  });

  test('look-ups in tables of 8 and 4 bits, and numbers that name no row', () => {
    manualSeed(7);
    for (const [dtype, width] of [
      ['quint8', 21],
      ['qint8', 8],
      ['quint4x2', 9],
      ['quint4x2', 16],
    ] as const) {
      const rows = randn([30, width]);
      const scales = randn([30]).abs().mul(0.01).add(0.01);
      const zeroPoints = dtype === 'qint8' ? scales.mul(0) : scales.mul(300);
      const table = ops.quantizePerChannel(rows, scales, zeroPoints, 0, dtype);
      const program = programOf((ids) => dispatch('embedding', ids, table, null), randint(0, 30, [1, 4]));
      for (const n of [1, 2, 7]) expect(expectEager(program, randint(0, 30, [n, 4]))).toEqual([]);
      const wrong = full([2, 4], 30).to('int64');
      expect(() => program.run(wrong)).toThrow(/30/);
      expect(bits(program.run(randint(3, 4, [2, 4])))).toEqual(
        bits(eagerly(program, full([2, 4], 3).to('int64'))),
      );
    }
  });
});
