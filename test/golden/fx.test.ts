import { describe, expect, test } from 'vitest';
import { nn, quantization } from '../../src/index.ts';
import { placed, sharing } from '../support/fx-rows.ts';
import { fill, noiseTensor } from '../support/hashed-weights.ts';
import { compare, observersOf, readGolden, run } from './fx-comparison.ts';
import { CASES } from './fx-models.ts';

const { disableObserver, getDefaultQatQConfigMapping, getDefaultQConfigMapping, prepareFx, prepareQatFx } =
  quantization;

const MOVED = 'lstm, static, moved';

describe('graph mode against PyTorch FX', () => {
  const golden = readGolden('fx');
  test.each(Object.keys(golden).filter((name) => name !== MOVED))('%s', (name) => {
    const { make, mapping, options } = CASES[name];
    const { shapes } = golden[name];
    const model = make().eval();
    fill(model);
    const inputs = shapes.map((s, i) => noiseTensor(s, 990 + i));
    const qconfigs = mapping?.() ?? getDefaultQConfigMapping('qnnpack');
    const prepared = prepareFx(model, qconfigs, inputs as never, options);
    run(prepared, shapes, 2);
    compare(name, prepared, golden[name], inputs);
  });
});

test('what an LSTM gives is not observed with what it took, as PyTorch does where it is moved', () => {
  const { shapes, observers } = readGolden('fx')[MOVED];
  const { make, options } = CASES[MOVED];
  const inputs = shapes.map((s, i) => noiseTensor(s, 990 + i));
  const prepared = prepareFx(make().eval(), getDefaultQConfigMapping('qnnpack'), inputs as never, options);
  const ours = observersOf(prepared);
  expect(placed(ours)).toEqual(placed(observers));
  expect(sharing(observers)).toContain('enter = permute = permute_1');
  expect(sharing(ours)).toEqual(
    [...sharing(observers).filter((g) => !g.includes('=')), 'enter = permute_1', 'permute'].sort(),
  );
});

describe('graph mode for training against PyTorch FX, 4 steps with a learning rate of 0', () => {
  const golden = readGolden('fx-training');
  test.each(Object.keys(golden))('%s', (name) => {
    const { shapes } = golden[name];
    const model = CASES[name].make().train();
    fill(model);
    for (const module of model.modules()) if (module instanceof nn.Dropout) module.p = 0;
    const inputs = shapes.map((s, i) => noiseTensor(s, 990 + i));
    const prepared = prepareQatFx(model, getDefaultQatQConfigMapping('qnnpack'), inputs as never);
    run(prepared, shapes, 4);
    prepared.eval().apply(disableObserver);
    compare(name, prepared, golden[name], inputs);
  });
});
