import { expect, test } from 'vitest';
import { Generator } from '../../src/core/random.ts';
import { dropout, manualSeed, nn, noGrad, optim, quantization, randn, type Tensor } from '../../src/index.ts';

const { convertDbr, convertFx, disableObserver, getDefaultQatQConfigMapping, prepareQatDbr, prepareQatFx } =
  quantization;

class Dropping extends nn.Module {
  first = new nn.Linear(6, 8);
  second = new nn.Linear(8, 4);
  readonly generator: Generator | undefined;

  constructor(generator?: Generator) {
    super();
    this.generator = generator;
  }

  forward(x: Tensor): Tensor {
    const { generator } = this;
    const y = dropout(this.first(x), 0.5, this.training, generator ? { generator } : {});
    return this.second(y);
  }
}

const numbers = (y: unknown): number[] => Array.from((y as Tensor).numbers());

test.each([
  ['graph mode', prepareQatFx, convertFx],
  ['define-by-run', prepareQatDbr, convertDbr],
] as const)('%s: a functional dropout drops in training, and nothing after it', (_mode, prepare, convert) => {
  manualSeed(3);
  const x = randn([16, 6]);
  const prepared = (prepare as any)(new Dropping().train(), getDefaultQatQConfigMapping(), [
    x,
  ]) as nn.AnyModule;
  const sgd = new optim.SGD(prepared.parameters(), { lr: 1e-2 });
  (prepared(x) as Tensor).mean().backward();
  sgd.step();
  prepared.apply(disableObserver);
  expect(numbers(prepared(x))).not.toEqual(numbers(prepared(x)));
  prepared.eval();
  const predicted = numbers(noGrad(() => prepared(x)));
  expect(numbers(noGrad(() => prepared(x)))).toEqual(predicted);
  const int8 = (convert as any)(prepared) as nn.AnyModule;
  expect(numbers(noGrad(() => int8(x)))).toEqual(predicted);
});

test('a dropout with a generator of its own is refused where it would go on dropping', () => {
  const model = new Dropping(new Generator(1)).train();
  expect(() => prepareQatFx(model, getDefaultQatQConfigMapping(), [randn([2, 6])])).toThrow(
    /prepareQatFx: dropout: .*default generator.*nn\.Dropout/,
  );
});
