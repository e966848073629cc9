import { describe } from 'vitest';
import * as functions from '../../src/ops/functions/layer.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { type Run, testGolden } from './cases.ts';

for (const kind of ['product', 'conv', 'pool', 'norm', 'lookup']) {
  describe(`layer operators agree with PyTorch: ${kind}`, () => testGolden(`layer-${kind}`));
}

describe('layer functions agree with PyTorch', () => testGolden('layer-functions', runFunction));

type AnyFunction = (...args: unknown[]) => Tensor;

function runFunction(...[name, ...args]: Parameters<Run>): ReturnType<Run> {
  const named = functions as unknown as Record<string, AnyFunction>;
  const [x, mean, variance, options] = args as [Tensor, Tensor, Tensor, object];
  switch (name) {
    case 'batchNormRunning':
      return [functions.batchNorm(x, mean, variance, { ...options, training: true }), mean, variance];
    case 'instanceNormRunning':
      return [
        functions.instanceNorm(x, { ...options, runningMean: mean, runningVar: variance }),
        mean,
        variance,
      ];
    default:
      return named[name](...args);
  }
}
