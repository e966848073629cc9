import { describe, expect, test } from 'vitest';
import {
  ArgumentError,
  deepCopy,
  manualSeed,
  nn,
  noGrad,
  quantization,
  randn,
  suite,
  type Tensor,
  tensor,
} from '../../src/index.ts';

const { DeQuantStub, MinMaxObserver, QuantStub } = quantization;

class Net extends nn.Module {
  quant: nn.Module = new QuantStub();
  conv: nn.Module = new nn.Conv2d(3, 16, 3, { padding: 1 });
  pool: nn.Module = new nn.AdaptiveAvgPool2d(1);
  flat: nn.Module = new nn.Flatten();
  fc: nn.Module = new nn.Linear(16, 40);
  dequant: nn.Module = new DeQuantStub();

  forward(x: Tensor): Tensor {
    return this.dequant(this.fc(this.flat(this.pool(this.conv(this.quant(x))))));
  }
}

type Weights = 'per tensor' | 'per channel';

/** The network and its int8 form, calibrated on the batches; `change` edits the float model first. */
function quantized(
  change: (net: Net) => void = () => {},
  weights: Weights = 'per channel',
  batches: readonly Tensor[] = inputs(),
): { float: Net; int8: Net; batches: readonly Tensor[] } {
  manualSeed(5);
  const float = new Net().eval();
  noGrad(() => change(float));
  const prepared = deepCopy(float);
  prepared.qconfig = {
    activation: MinMaxObserver.withArgs({ dtype: 'quint8' }),
    weight:
      weights === 'per channel'
        ? quantization.defaultPerChannelWeightObserver
        : quantization.defaultWeightObserver,
  };
  const int8 = quantization.quantize(prepared, (m) => {
    for (const x of batches) m(x);
  });
  return { float, int8, batches };
}

function inputs(): Tensor[] {
  manualSeed(6);
  return [randn([16, 3, 8, 8]), randn([16, 3, 8, 8])];
}

function causesOf(rows: readonly suite.Diagnosis[], path: string): readonly suite.Cause[] {
  return rows.find((r) => r.path === path)?.causes ?? [];
}

function labels(rows: readonly suite.Diagnosis[], path: string): string[] {
  return causesOf(rows, path).map((c) => c.label);
}

describe('diagnose', () => {
  test('finds nothing in healthy layers, and the coarse grid that an average pool is left with', () => {
    const { float, int8, batches } = quantized();
    const rows = suite.diagnose(float, int8, batches);
    expect(rows.map((r) => r.path)).toEqual(['conv', 'pool', 'flat', 'fc']);
    expect(labels(rows, 'conv')).toEqual([]);
    expect(labels(rows, 'fc')).toEqual([]);
    const [pool] = causesOf(rows, 'pool');
    expect(pool.label).toBe('coarse grid');
    // Means over 64 places of a signal whose extremes fill the grid.
    expect(pool.measure).toBeGreaterThan(10);
    expect(pool.measure).toBeLessThan(48);
    expect(pool.fix).toContain('float');
    const shadow = suite.compareShadows(float, int8, batches).find((r) => r.path === 'pool');
    expect(rows[1].sqnr).toBe(shadow?.sqnr);
    expect(suite.formatDiagnoses(rows)).toMatch(
      /^pool +AdaptiveAvgPool2d +[\d.]+ dB +coarse grid: all values lie within \d+ steps/m,
    );
  });

  test('saturation: a grid that is too narrow', () => {
    const { float, int8, batches } = quantized();
    (int8.conv as nn.quantized.Conv2d).scale *= 0.3;
    const [cause] = causesOf(suite.diagnose(float, int8, batches), 'conv');
    expect(cause.label).toBe('saturation');
    expect(cause.measure).toBeGreaterThan(0.9);
    expect(cause.proof).toMatch(/^\d+ % of the values are cut off, which makes (9\d|100) % of the noise$/);
  });

  test('outliers: one value stretches the grid', () => {
    const batches = inputs();
    // In a corner, which four of 1,024 outputs of a channel see.
    for (const x of batches) x.data[0] = 200;
    const rows = suite.diagnose(...values(quantized(undefined, 'per channel', batches)));
    const [cause] = causesOf(rows, 'conv');
    expect(cause.label).toBe('outliers');
    expect(cause.measure).toBeLessThan(32);
    expect(cause.proof).toMatch(/^99 % of the values share \d+ of 2\d\d steps$/);
  });

  test('weight range: one scale for channels of very different size; one a channel helps', () => {
    const grow = ({ conv }: Net): void => {
      const { weight } = conv as nn.Conv2d;
      for (let i = 0; i < 27; i++) weight.data[i] *= 40;
    };
    const found = suite.diagnose(...values(quantized(grow, 'per tensor')));
    const cause = causesOf(found, 'conv').find((c) => c.label === 'weight range');
    expect(cause?.measure).toBe(15 / 16);
    expect(cause?.proof).toBe('15 of 16 channels of the weight have fewer than 16 of 255 steps');
    expect(labels(suite.diagnose(...values(quantized(grow, 'per channel'))), 'conv')).not.toContain(
      'weight range',
    );
  });

  test('bias: channels that are off by a constant; bias correction takes it back', () => {
    const { float, int8, batches } = quantized();
    const conv = int8.conv as nn.quantized.Conv2d;
    const bias = (conv.bias() as Tensor).numbers();
    conv.setWeightBias(conv.weight(), tensor(Array.from(bias, (b, c) => b + (c % 2 ? 0.05 : -0.05))));
    const [cause] = causesOf(suite.diagnose(float, int8, batches), 'conv');
    expect(cause.label).toBe('bias');
    expect(cause.measure).toBeGreaterThan(0.8);
    const corrected = quantization.biasCorrection(float, int8, batches);
    expect(labels(suite.diagnose(float, corrected, batches), 'conv')).toEqual([]);
  });

  test('dead channels: weights that are rounded away', () => {
    const shrink = ({ fc }: Net): void => {
      const { weight, bias } = fc as nn.Linear;
      for (let i = 0; i < 10 * 16; i++) weight.data[i] *= 1e-3;
      bias?.zero_();
    };
    const cause = causesOf(suite.diagnose(...values(quantized(shrink, 'per tensor'))), 'fc').find(
      (c) => c.label === 'dead channels',
    );
    expect(cause?.measure).toBe(10 / 40);
    expect(cause?.proof).toBe('10 of 40 channels have one value in int8');
  });

  test('wants data, and models in evaluation mode', () => {
    const { float, int8, batches } = quantized();
    expect(() => suite.diagnose(float, int8, [])).toThrow(ArgumentError);
    expect(() => suite.diagnose(deepCopy(float).train(), int8, batches)).toThrow(ArgumentError);
  });
});

function values<A, B, C>({ float, int8, batches }: { float: A; int8: B; batches: C }): [A, B, C] {
  return [float, int8, batches];
}
