import { describe, expect, it } from 'vitest';
import { manualSeed, quantizePerTensor, rand, type Tensor } from '../../src/index.ts';
import { dispatch } from '../../src/ops/dispatch.ts';
import type { OpName } from '../../src/ops/signatures/index.ts';
import { SAMPLED_SHAPES } from '../../src/runtime/plan/shapes/sampled.ts';
import { metaOf } from '../../src/runtime/plan/value.ts';

manualSeed(3);

/** Images of one shape, laid out in every way that operators give or take them. */
const IMAGES: readonly Tensor[] = [
  rand([2, 3, 5, 7]),
  rand([2, 5, 7, 3]).permute([0, 3, 1, 2]),
  rand([7, 5, 3, 2]).permute([3, 2, 1, 0]),
  rand([2, 3, 5, 9]).narrow(3, 1, 7),
  rand([2, 1, 5, 7]).expand([2, 3, 5, 7]),
];
const OTHERS: readonly Tensor[] = [...IMAGES, rand([3, 1, 1]), rand([]), rand([1, 1, 7])];
const quantized = (x: Tensor): Tensor => quantizePerTensor(x, 0.05, 3, 'quint8');
const POOL = { kernelSize: [3, 2], stride: [2, 1], padding: [1, 0], dilation: [1, 1], ceilMode: false };

/** Arguments to try for an operator. */
function argumentsOf(op: OpName): unknown[][] {
  const each = (...rest: unknown[]): unknown[][] => IMAGES.map((x) => [x, ...rest]);
  const pairs = (...rest: unknown[]): unknown[][] =>
    IMAGES.flatMap((a) =>
      OTHERS.flatMap((b) => [
        [a, b, ...rest],
        [b, a, ...rest],
      ]),
    );
  switch (op) {
    case 'hardtanh':
    case 'clamp':
      return each(-0.5, 0.5);
    case 'leakyRelu':
    case 'elu':
      return each(0.1);
    case 'softplus':
      return each(1, 20);
    case 'gelu':
      return each('none');
    case 'to':
      return [...each('float32'), ...each('int64')];
    case 'quantizePerTensor':
      return each(0.1, 2, 'qint8');
    case 'dequantize':
      return IMAGES.map((x) => [quantized(x)]);
    case 'add':
    case 'sub':
      return [...pairs(1), ...pairs(0.5), ...each(2, 1)];
    case 'mul':
    case 'div':
      return [...pairs(), ...each(2), ...pairs().map(([a, b]) => [(a as Tensor).to('int64'), b])];
    case 'maximum':
    case 'minimum':
      return pairs();
    case 'softmax':
    case 'logSoftmax':
      return [...each(1), ...each(-1), ...each(0)];
    case 'layerNorm':
      return [...each([7], rand([7]), null, 1e-5), ...each([5, 7], null, rand([5, 7]), 1e-5)];
    case 'batchNormEval':
      return each(rand([3]), rand([3]), rand([3]), null, 1e-5);
    case 'maxPool2d':
      return each(POOL);
    case 'avgPool2d':
      return each({ ...POOL, countIncludePad: true, divisorOverride: null });
    case 'adaptiveAvgPool2d':
      return each([2, 3]);
    default:
      if (!op.startsWith('quantized::')) return each();
      return pairs(0.1, 4).map(([a, b, ...rest]) => [
        quantized(a as Tensor),
        quantized(b as Tensor),
        ...rest,
      ]);
  }
}

describe('what a slice says of an operator', () => {
  it.each([...SAMPLED_SHAPES.keys()] as OpName[])('%s looks as when it runs on everything', (op) => {
    const rule = SAMPLED_SHAPES.get(op);
    let known = 0;
    for (const args of argumentsOf(op)) {
      const whole = (dispatch as (op: OpName, ...args: readonly unknown[]) => Tensor)(op, ...args);
      const said = rule?.(...args);
      if (!said) continue;
      known++;
      expect(said).toEqual(metaOf(whole));
    }
    console.log(`${op}: ${known} of ${argumentsOf(op).length} layouts known`);
    expect(known).toBeGreaterThanOrEqual(IMAGES.length);
  });

  it('leaves what the operators refuse to them', () => {
    const refuses = (op: OpName, ...args: unknown[]): void => {
      expect(() => (dispatch as (op: OpName, ...args: readonly unknown[]) => unknown)(op, ...args)).toThrow();
      expect(SAMPLED_SHAPES.get(op)?.(...args)).toBeNull();
    };
    const [x] = IMAGES;
    refuses('add', x, rand([4, 7]), 1);
    refuses('softmax', x, 4);
    refuses('layerNorm', x, [6], null, null, 1e-5);
    refuses('batchNormEval', x, rand([4]), rand([3]), null, null, 1e-5);
    refuses('maxPool2d', x, { ...POOL, kernelSize: [30, 2] });
    refuses('quantizePerTensor', x, -1, 0, 'quint8');
    refuses('quantized::add', quantized(x), x, 0.1, 0);
  });
});
