import { describe, expect, test } from 'vitest';
import '../../src/autograd/index.ts';
import { deepCopy } from '../../src/nn/deep-copy.ts';
import { Sequential } from '../../src/nn/index.ts';
import {
  disableFakeQuant,
  disableObserver,
  enableFakeQuant,
  enableObserver,
  FakeQuantize,
  FixedQParamsFakeQuantize,
  FusedMovingAvgObsFakeQuantize,
  LearnableFakeQuantize,
} from '../../src/quantization/fake-quantize/index.ts';
import {
  MinMaxObserver,
  MovingAverageMinMaxObserver,
  MovingAveragePerChannelMinMaxObserver,
  NoopObserver,
} from '../../src/quantization/observers/index.ts';
import { tensor } from '../../src/tensor/creation.ts';

const x = tensor([-1, 0.3, 2]);

describe('switches', () => {
  test('apply reaches every fake-quantize of a model', () => {
    const fq = new FakeQuantize({ observer: MinMaxObserver });
    const model = new Sequential(fq);
    model.apply(disableFakeQuant);
    expect(model(x)).toBe(x);
    expect(fq.activationPostProcess.hasObserved()).toBe(true);
    model.apply(enableFakeQuant).apply(disableObserver);
    const scale = fq.scale.item();
    const y = model(tensor([-100, 0.3, 100]));
    expect(fq.scale.item()).toBe(scale);
    expect(y.toArray()).toEqual([-1, 0.3, 2].map((v) => expect.closeTo(v, 1)));
    model.apply(enableObserver);
    model(tensor([-100, 0.3, 100]));
    expect(fq.scale.item()).toBeGreaterThan(scale);
  });

  test('the state dict carries switches, parameters and statistics', () => {
    for (const make of [
      () =>
        new FakeQuantize({ observer: MovingAveragePerChannelMinMaxObserver, qscheme: 'per_channel_affine' }),
      () => new FusedMovingAvgObsFakeQuantize({}),
      () => new LearnableFakeQuantize({ observer: MovingAverageMinMaxObserver }),
    ]) {
      const [a, b] = [make(), make()];
      a(
        tensor([
          [-1, 2],
          [3, 4],
          [5, 9],
        ]),
      );
      a.disableObserver();
      b.loadStateDict(a.stateDict());
      expect(String(b)).toBe(String(a));
      expect(b.scale.toArray()).toEqual(a.scale.toArray());
      const copy = deepCopy(a);
      copy.enableObserver();
      copy(
        tensor([
          [-10, 2],
          [3, 40],
          [5, 9],
        ]),
      );
      expect(String(b)).toBe(String(a));
    }
  });
});

describe('options that cannot work are refused', () => {
  test('observers without ranges', () => {
    expect(() => new FakeQuantize({ observer: NoopObserver })).toThrow(/measures ranges/);
    expect(() => new FusedMovingAvgObsFakeQuantize({ observer: MinMaxObserver })).toThrow(/MovingAverage/);
    expect(() => new FixedQParamsFakeQuantize({ observer: MinMaxObserver.withArgs() as never })).toThrow(
      /FixedQParamsObserver/,
    );
  });

  test('ranges beyond the dtype', () => {
    expect(() => new FakeQuantize({ quantMin: 0, quantMax: 255, dtype: 'qint8' })).toThrow(/qint8/);
  });

  test('a learnable per-channel one without its number of channels', () => {
    const options = { observer: MovingAveragePerChannelMinMaxObserver, qscheme: 'per_channel_affine' };
    expect(() => new LearnableFakeQuantize(options)).toThrow(/channelLen/);
    const fq = new LearnableFakeQuantize({ ...options, channelLen: 2 });
    expect(() => fq(tensor([[1], [2], [3]]))).toThrow(/2 channels/);
  });

  test('rounding before anything was observed, in the fused one', () => {
    const fq = new FusedMovingAvgObsFakeQuantize({});
    fq.disableObserver();
    expect(() => fq(x)).toThrow(/minimum/);
  });
});

test('two halves merge', () => {
  const make = () => new FakeQuantize({ observer: MinMaxObserver });
  const [a, b, whole] = [make(), make(), make()];
  a(x);
  b(tensor([-7, 1]));
  for (const t of [x, tensor([-7, 1])]) whole(t);
  a.merge(b);
  expect(String(a)).toBe(String(whole));
});
