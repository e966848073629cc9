import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Generator } from '../../src/core/random.ts';
import { rand, randint, randn, randperm } from '../../src/tensor/creation.ts';
import type { PlainDType } from '../../src/tensor/dtype.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { decodeTensor, type EncodedTensor } from './cases.ts';

interface Draw {
  readonly kind: 'rand' | 'randn' | 'randperm' | 'randint';
  readonly args: readonly unknown[];
  readonly dtype?: PlainDType;
  readonly result: EncodedTensor;
}

function draw({ kind, args, dtype }: Draw, generator: Generator): Tensor {
  const options = { generator, dtype };
  if (kind === 'rand') return rand(args[0] as number[], options);
  if (kind === 'randn') return randn(args[0] as number[], options);
  if (kind === 'randperm') return randperm(args[0] as number, options);
  return randint(args[0] as number, args[1] as number, args[2] as number[], options);
}

describe('the same seed gives the numbers of PyTorch', () => {
  const cases = JSON.parse(readFileSync(new URL('./data/randomness.json', import.meta.url), 'utf8')) as {
    readonly seed: number;
    readonly draws: readonly Draw[];
  }[];
  const name = (d: Draw): string => `${d.kind}(${d.args.map((a) => JSON.stringify(a)).join(', ')})`;
  test.each(cases.map((c) => [c.seed, c.draws.map(name).join(', '), c.draws] as const))(
    'seed %d: %s',
    (seed, _, draws) => {
      const generator = new Generator(seed);
      for (const d of draws) {
        const got = draw(d, generator);
        const want = decodeTensor(d.result);
        expect(got.dtype).toBe(want.dtype);
        expect(got.shape).toEqual(want.shape);
        // Uniform and whole numbers are exact; normal ones pass through log, sin and cos, which differ in the last bits.
        const limit = d.kind === 'randn' ? (want.dtype === 'float64' ? 1e-14 : 2e-6) : 0;
        const values = got.numbers();
        want.numbers().forEach((w, i) => {
          if (Math.abs(values[i] - w) > limit * Math.max(1, Math.abs(w)))
            expect.fail(`${name(d)}: element ${i}: expected ${w}, got ${values[i]}`);
        });
      }
    },
  );
});
