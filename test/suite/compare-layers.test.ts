import { describe, expect, test } from 'vitest';
import {
  ArgumentError,
  cat,
  deepCopy,
  flatten,
  io,
  manualSeed,
  nn,
  QuantizationError,
  quantization,
  quantizePerTensor,
  randn,
  suite,
  type Tensor,
  ZeropointError,
} from '../../src/index.ts';

const { DeQuantStub, FloatFunctional, QuantStub } = quantization;

class Net extends nn.Module {
  quant: nn.Module = new QuantStub();
  conv: nn.Module = new nn.Conv2d(3, 8, 3, { padding: 1 });
  bn: nn.Module = new nn.BatchNorm2d(8);
  relu: nn.Module = new nn.ReLU();
  again: nn.Module = new nn.Conv2d(8, 8, 1);
  skip: quantization.FloatFunctional = new FloatFunctional();
  join: quantization.FloatFunctional = new FloatFunctional();
  pool: nn.Module = new nn.MaxPool2d(2);
  fc: nn.Module = new nn.Linear(256, 5);
  dequant: nn.Module = new DeQuantStub();

  forward(input: Tensor): Tensor {
    const x = this.relu(this.bn(this.conv(this.quant(input))));
    const y = this.skip.addRelu(this.again(this.again(x)), x);
    const joined = this.pool(this.join.cat([y, x], 1));
    return this.dequant(this.fc(flatten(joined, 1)));
  }
}

/** The same layers without stubs, and functions in place of FloatFunctionals. */
class Plain extends Net {
  override forward(input: Tensor): Tensor {
    const x = this.relu(this.bn(this.conv(input)));
    const y = this.again(this.again(x)).add(x).relu();
    return this.fc(flatten(this.pool(cat([y, x], 1)), 1));
  }
}

function models(): { unfused: Net; float: Net; int8: Net; batches: Tensor[] } {
  manualSeed(3);
  const unfused = new Net();
  const batches = [4, 4, 2].map((n) => randn([n, 3, 8, 8]));
  unfused(batches[0]); // running statistics other than 0 and 1
  unfused.eval();
  const float = quantization.fuseModules(unfused, ['conv', 'bn', 'relu']);
  const int8 = quantization.quantize(float, (m) => {
    for (const x of batches) m(x);
  });
  return { unfused, float, int8, batches };
}

const { unfused, float, int8, batches } = models();

function fails(body: () => unknown, type: abstract new (...args: any[]) => ZeropointError): ZeropointError {
  try {
    body();
  } catch (error) {
    expect(error).toBeInstanceOf(type);
    return error as ZeropointError;
  }
  throw new Error('did not throw');
}

function comparable(rows: readonly suite.LayerRow[]): [string, number, number][] {
  return rows.map((r) => [r.path, r.elements, Math.round(r.sqnr * 1e3)]);
}

describe('compareWeights', () => {
  test('has a row for every quantized weight, with the bytes of both', () => {
    const rows = suite.compareWeights(float, int8);
    expect(rows.map((r) => r.path)).toEqual(['conv', 'again', 'fc']);
    for (const row of rows) {
      expect(row.sqnr).toBeGreaterThan(35);
      expect(row.saturation).toBe(0);
    }
    expect(rows[2].bytes).toEqual({ float: 4 * 5 * 256, int8: 5 * 256 + 5 * 5 });
    expect(suite.formatLayers(rows)).toMatch(/^fc +Linear +QuantizedLinear +[\d.]+ dB .*5\.1 kB → 1\.3 kB$/m);
  });

  test('finds what is wrong with a weight', () => {
    const damaged = deepCopy(int8);
    const fc = damaged.fc as nn.quantized.Linear;
    const weight = (float.fc as nn.Linear).weight;
    fc.setWeightBias(quantizePerTensor(weight.detach(), 1e-3, 0, 'qint8'), fc.bias());
    const [, again, broken] = suite.compareWeights(float, damaged);
    expect(again.saturation).toBe(0);
    // Uniform in ±1/16, and the grid ends at ±0.128: nothing is lost. A tenth of the step holds a fifth of them.
    expect(broken.saturation).toBe(0);
    fc.setWeightBias(quantizePerTensor(weight.detach(), 1e-4, 0, 'qint8'), fc.bias());
    const [, , clipped] = suite.compareWeights(float, damaged);
    expect(clipped.saturation).toBeCloseTo(1 - 0.0128 * 16, 1);
    expect(clipped.maxError).toBeCloseTo(1 / 16 - 0.0127, 3);
  });

  test('compares recurrent, embedded and half-precision weights', () => {
    const lstm = new nn.Sequential(new nn.LSTM(4, 6, { numLayers: 2, bidirectional: true }));
    const names = suite.compareWeights(lstm, quantization.quantizeDynamic(lstm)).map((r) => r.value);
    expect(names).toHaveLength(8);
    expect(names).toContain('weight_hh_l1_reverse');
    const cell = new nn.Sequential(new nn.GRUCell(4, 6));
    const halves = suite.compareWeights(
      cell,
      quantization.quantizeDynamic(cell, undefined, { dtype: 'float16' }),
    );
    expect(halves.map((r) => r.value)).toEqual(['weight_ih', 'weight_hh']);
    expect(halves[0].sqnr).toBeGreaterThan(65);
    const table = new nn.Sequential(new nn.Embedding(20, 8));
    const [row] = suite.compareWeights(
      table,
      quantization.quantizeDynamic(table, undefined, { dtype: 'quint8' }),
    );
    expect(row.bytes).toEqual({ float: 640, int8: 160 + 8 * 20 });
  });

  test('an LSTM and an attention that were taken apart are compared with the whole', () => {
    class Tagger extends nn.Module {
      quant: nn.Module = new QuantStub();
      lstm: nn.Module<any, any> = new nn.LSTM(8, 8);
      attention: nn.Module<any, any> = new nn.MultiheadAttention(8, 2);
      dequant: nn.Module = new DeQuantStub();
      forward(x: Tensor): Tensor {
        const [y] = this.lstm(this.quant(x));
        return this.dequant(this.attention(y, y, y)[0]);
      }
    }
    const whole = new Tagger().eval();
    const x = randn([5, 3, 8]);
    const quantized = quantization.quantize(whole, (m) => m(x));
    const rows = suite.compareWeights(whole, quantized);
    expect(rows.map((r) => `${r.path}.${r.value}`)).toEqual([
      'lstm.weight_ih_l0',
      'lstm.weight_hh_l0',
      ...['Q', 'K', 'V'].map((p) => `attention.linear_${p}.weight`),
      'attention.out_proj.weight',
    ]);
    for (const row of rows) expect(row.sqnr).toBeGreaterThan(35);
    const shadows = suite.compareShadows(whole, quantized, [x]);
    expect(shadows.map((r) => r.path)).toEqual(['quant', 'lstm', 'attention']);
  });

  test('refuses models that do not correspond, naming the layer', () => {
    expect(fails(() => suite.compareWeights(unfused, int8), QuantizationError).argument).toBe('bn');
    expect(fails(() => suite.compareWeights(int8, float), QuantizationError).got).toContain('without any');
    expect(
      fails(() => suite.compareWeights(new nn.Sequential(new nn.Linear(4, 4)), int8), QuantizationError)
        .argument,
    ).toBe('conv');
    const wide = deepCopy(float);
    wide.fc = new nn.Linear(300, 5);
    const error = fails(() => suite.compareWeights(wide, int8), QuantizationError);
    expect([error.argument, error.got]).toEqual(['fc', 'float32 of shape [5, 300]']);
  });
});

describe('compareActivations', () => {
  test('many batches give the sums of one', () => {
    const inputs = [cat(batches, 0)];
    const streamed = comparable(suite.compareActivations(float, int8, batches.values()));
    expect(streamed).toEqual(comparable(suite.compareActivations(float, int8, inputs)));
    expect(streamed.map(([path]) => path)).toEqual([
      ...['quant', 'conv', 'again', 'skip', 'join', 'pool', 'fc', '(output)'],
    ]);
    // `again` runs twice a batch.
    expect(streamed[2][1]).toBe(2 * streamed[1][1]);
  });

  test('a float model that is not fused, or has no stubs, gives the same numbers', () => {
    const plain = Object.setPrototypeOf(deepCopy(unfused), Plain.prototype);
    const expected = suite.compareActivations(float, int8, batches);
    for (const other of [unfused, plain]) {
      const rows = suite.compareActivations(other, int8, batches);
      expect(rows.map((r) => r.path)).toEqual(expected.map((r) => r.path));
      expect(rows[1].float).toBe('Conv2d + BatchNorm2d + ReLU');
      for (const [i, row] of rows.entries()) expect(row.sqnr).toBeCloseTo(expected[i].sqnr, 2);
      expect(rows.every((r) => r.note === '')).toBe(true);
    }
  });

  test('shows every pair to a callback', () => {
    const seen: string[] = [];
    const onOutputs = ({ path, float: a, int8: b }: suite.LayerOutputs): void => {
      seen.push(`${path} ${a.dtype} ${b.dtype}`);
    };
    suite.compareActivations(float, int8, [batches[0]], { onOutputs });
    expect(seen).toEqual([
      'quant float32 quint8',
      'conv float32 quint8',
      'again float32 quint8',
      'again float32 quint8',
      'skip float32 quint8',
      'join float32 quint8',
      'pool float32 quint8',
      'fc float32 quint8',
      '(output) float32 float32',
    ]);
  });

  test('takes a model with fake-quantize for the int8 one', () => {
    const training = quantization.fuseModulesQat(deepCopy(unfused).train(), ['conv', 'bn', 'relu']);
    training.qconfig = quantization.getDefaultQatQConfig();
    const prepared = quantization.prepareQat(training);
    for (const x of batches) prepared(x);
    prepared.eval();
    const rows = suite.compareActivations(float, prepared, batches);
    expect(rows.map((r) => r.path)).toContain('skip');
    for (const row of rows) expect(row.sqnr).toBeGreaterThan(10);
  });

  test('refuses what cannot be compared', () => {
    const compare = (a: nn.Module, b: nn.Module, inputs: Iterable<Tensor> = batches): (() => unknown) => {
      return () => suite.compareActivations(a, b, inputs);
    };
    expect(fails(compare(float, int8, []), ArgumentError).argument).toBe('batches');
    expect(fails(compare(deepCopy(float).train(), int8), ArgumentError).argument).toBe('float');
    expect(
      fails(compare(new nn.Sequential(new nn.Conv2d(3, 5, 1)).eval(), int8), QuantizationError).argument,
    ).toBe('conv');
    const conv = new nn.Conv2d(3, 5, 1);
    const other = new nn.Sequential(new nn.Flatten(), new nn.Softmax(1)).eval();
    const nothing = fails(compare(new nn.Sequential(conv).eval(), other), QuantizationError);
    expect(nothing.message).toContain('0: expected Conv2d or a quantized form of it');
    const foreign = new nn.Sequential(new nn.Sequential(new nn.Sigmoid())).eval();
    const inputs = [randn([2, 3, 4, 4])];
    expect(fails(compare(new nn.Sequential(conv).eval(), foreign, inputs), QuantizationError).expected).toBe(
      'a quantized form of the float model, whose layers are 0, …',
    );
    const rectified = deepCopy(float);
    rectified.conv = (float.conv as unknown as Record<string, nn.Module>)['0'];
    expect(fails(compare(rectified, int8), QuantizationError).expected).toContain('a ReLU after');
  });

  test('a layer that runs more often in one model is named', () => {
    class Twice extends Net {
      override forward(input: Tensor): Tensor {
        const x = this.relu(this.bn(this.conv(this.quant(input))));
        const y = this.skip.addRelu(this.again(x), x);
        return this.dequant(this.fc(flatten(this.pool(this.join.cat([y, x], 1)), 1)));
      }
    }
    const once: Net = Object.setPrototypeOf(deepCopy(float), Twice.prototype);
    const error = fails(() => suite.compareActivations(once, int8, batches), QuantizationError);
    expect([error.argument, error.expected]).toEqual(['again', '1 calls, as in the float model']);
  });

  test('outputs of other shapes name the layer', () => {
    const make = (n: number): nn.Module => new nn.Sequential(new nn.Linear(4, n)).eval();
    const small = quantization.quantizeDynamic(make(5));
    const error = fails(() => suite.compareActivations(make(6), small, [randn([2, 4])]), ZeropointError);
    expect(error.modulePath).toBe('0');
  });
});

describe('compareShadows', () => {
  test('shows the noise of each layer alone', () => {
    const rows = suite.compareShadows(float, int8, batches);
    const travelled = suite.compareActivations(float, int8, batches);
    expect(rows.map((r) => r.path)).toEqual(['quant', 'conv', 'again', 'skip', 'join', 'pool', 'fc']);
    const pool = rows.find((r) => r.path === 'pool');
    expect(pool?.sqnr).toBe(Number.POSITIVE_INFINITY);
    rows.forEach((row, i) => {
      if (i > 0) expect(row.sqnr, row.path).toBeGreaterThan(travelled[i].sqnr);
    });
    expect(suite.formatLayers(rows)).toMatch(/^pool +MaxPool2d +MaxPool2d +identical/m);
  });

  test('finds the layer that was damaged, where the outputs of all after it are', () => {
    const damaged = deepCopy(int8);
    const layer = damaged.again as nn.quantized.Conv2d;
    layer.scale *= 0.05;
    const shadows = suite.compareShadows(float, damaged, batches);
    const worst = [...shadows].sort((a, b) => a.sqnr - b.sqnr)[0];
    expect(worst.path).toBe('again');
    expect(worst.saturation).toBeGreaterThan(0.2);
    expect(shadows.filter((r) => r.path !== 'again').every((r) => r.sqnr > 20)).toBe(true);
  });
});

describe('sizeByLayer', () => {
  test('adds up to the data of the files', () => {
    const rows = suite.sizeByLayer(float, int8);
    expect(rows.map((r) => r.path)).toEqual(['conv', 'again', 'fc', 'quant', 'skip', 'join']);
    const state = [...float.stateDict().values()] as Tensor[];
    const bytes = state.reduce((n, t) => n + t.numel * t.elementSize(), 0);
    expect(rows.reduce((n, r) => n + r.floatBytes, 0)).toBe(bytes);
    const int8Bytes = rows.reduce((n, r) => n + r.int8Bytes, 0);
    expect(int8Bytes).toBeLessThan(io.writeSafetensors(int8.stateDict()).length);
    expect(int8Bytes).toBeGreaterThan(8 * 27 + 64 + 1280);
    expect(suite.formatSizes(rows)).toMatch(/^all /m);
  });
});
