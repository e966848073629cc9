import { describe, expect, test } from 'vitest';
import {
  ArgumentError,
  backward,
  data,
  deepCopy,
  manualSeed,
  models,
  nn,
  optim,
  quantization,
  randn,
  suite,
  type Tensor,
} from '../../src/index.ts';

const qconfig: quantization.QConfig = {
  activation: quantization.MinMaxObserver.withArgs({ dtype: 'quint8' }),
  weight: quantization.defaultPerChannelWeightObserver,
};

/** A trained classifier of drawn digits, fused, and its int8 form. */
function classifier(): { float: nn.Module; int8: nn.Module; batches: Tensor[]; labels: Tensor } {
  manualSeed(1);
  const train = data.strokeDigits({ count: 600, seed: 1 });
  const test = data.strokeDigits({ count: 200, seed: 2 });
  const model = models.quantizableLenet();
  const optimizer = new optim.Adam(model.parameters(), { lr: 2e-3 });
  for (let step = 0; step < 30; step++) {
    const at = (step * 32) % 560;
    optimizer.zeroGrad();
    backward(
      nn.functional.crossEntropy(model(train.images.narrow(0, at, 32)), train.labels.narrow(0, at, 32)),
    );
    optimizer.step();
  }
  const float = model.eval().fuseModel();
  const batches = [0, 100].map((at) => test.images.narrow(0, at, 100));
  return { float, int8: quantizeWith(float, batches), batches, labels: test.labels };
}

function quantizeWith(float: nn.Module, batches: readonly Tensor[]): nn.Module {
  const model = deepCopy(float);
  model.qconfig = qconfig;
  return quantization.quantize(model, (m) => {
    for (const x of batches) m(x);
  });
}

const { float, int8, batches, labels } = classifier();

describe('sensitivity', () => {
  test('names the layer that was damaged', () => {
    const damaged = deepCopy(int8);
    const layer = damaged.getSubmodule('conv2') as nn.quantized.Conv2d;
    layer.scale *= 0.2;
    // What is wrong is the grid of its output, which it would be put on again, and which the next layer reads from.
    const alone = suite.sensitivity(float, damaged, batches, { direction: 'alone' }).rows;
    expect(alone.slice(0, 2).map((r) => r.path)).toEqual(['conv2', 'fc1']);
    expect(alone[2].alone?.sqnr).toBeGreaterThan((alone[1].alone?.sqnr ?? 0) + 10);
    const wrong = deepCopy(int8) as unknown as Record<'fc1', nn.quantized.Linear>;
    const weight = wrong.fc1.weight();
    const integers = weight.data.map((v) => (Math.abs(v) > 40 ? 0 : v));
    wrong.fc1.setWeightBias(Object.create(weight, { data: { value: integers } }), wrong.fc1.bias());
    const [first, second] = suite.sensitivity(float, wrong as unknown as nn.Module, batches).rows;
    expect(first.path).toBe('fc1');
    expect(first.gain).toBeGreaterThan(10 * Math.abs(second.gain));
  });

  test('all layers in int8 are the int8 model, to the bit; all in float lose the rounding of the input only', () => {
    const found = suite.sensitivity(float, int8, batches, { layers: [''] });
    expect(found.rows[0].alone).toEqual(found.int8);
    expect(found.rows[0].returned?.sqnr).toBeGreaterThan(found.int8.sqnr + 6);
    const quant = (int8 as unknown as { quant: nn.Module }).quant;
    const onGrid = suite.sqnr(
      suite.collectOutputs(float, batches),
      suite.collectOutputs(
        float,
        batches.map((x) => quant(x).dequantize()),
      ),
    );
    expect(found.rows[0].returned?.sqnr).toBeCloseTo(onGrid, 3);
  });

  test('a returned layer computes what the model computes that was converted without it', () => {
    const converted = quantizeWith(quantization.runInFloat(float, 'conv2'), batches);
    const expected = suite.sqnr(
      suite.collectOutputs(float, batches),
      suite.collectOutputs(converted, batches),
    );
    const [row] = suite.sensitivity(float, int8, batches, { layers: ['conv2'], direction: 'returned' }).rows;
    expect(row.alone).toBeNull();
    expect(row.returned?.sqnr).toBeCloseTo(expected, 6);
  });

  test('takes a metric and chosen layers, and reports progress', () => {
    const steps: string[] = [];
    const found = suite.sensitivity(float, int8, batches.values(), {
      metric: (m) => suite.top1Accuracy(suite.collectOutputs(m, batches), labels),
      layers: ['fc1', 'conv1'],
      onProgress: (path, batch) => steps.push(`${path} ${batch}`),
    });
    expect(steps).toEqual(['fc1 0', 'conv1 0', 'fc1 1', 'conv1 1']);
    expect(found.float.metric).toBe(suite.top1Accuracy(suite.collectOutputs(float, batches), labels));
    for (const row of found.rows) {
      expect(row.gain).toBeCloseTo((row.returned?.metric ?? 0) - (found.int8.metric ?? 0), 10);
    }
    const text = suite.formatSensitivity(found);
    expect(text.split('\n')).toHaveLength(5);
    expect(text).toMatch(
      /^layer +type +in float +agreement +metric +gain +alone in int8 +agreement +metric$/m,
    );
    expect(suite.formatSensitivity(found, 1).split('\n')).toHaveLength(4);
    const alone = suite.sensitivity(float, int8, batches, { layers: ['fc1'], direction: 'alone' });
    expect(suite.formatSensitivity(alone)).toMatch(/^fc1 +LinearReLU +[\d.]+ dB +[\d.]+ %$/m);
  });

  test('ranks the layers of a dynamic model, and one without classes', () => {
    manualSeed(2);
    class Tagger extends nn.Module {
      lstm: nn.LSTM = new nn.LSTM(8, 16);
      head: nn.Module = new nn.Linear(16, 4);
      forward(x: Tensor): Tensor {
        return this.head(this.lstm(x)[0]);
      }
    }
    const tagger = new Tagger().eval();
    const inputs = [randn([6, 3, 8]), randn([4, 3, 8])];
    const found = suite.sensitivity(tagger, quantization.quantizeDynamic(tagger), inputs);
    expect(found.rows.map((r) => r.path).sort()).toEqual(['head', 'lstm']);
    expect(found.int8.agreement).toBeNull();
    for (const row of found.rows) expect(row.gain).toBeGreaterThan(0);
  });

  test('refuses no data, training mode and layers that do not exist', () => {
    const attempt = (body: () => unknown, argument: string): void => {
      expect(body).toThrow(ArgumentError);
      expect(body).toThrow(new RegExp(argument));
    };
    attempt(() => suite.sensitivity(float, int8, []), 'batches: expected at least one');
    attempt(() => suite.sensitivity(float, deepCopy(int8).train(), batches), 'int8: .*evaluation mode');
    attempt(() => suite.sensitivity(float, int8, batches, { layers: ['conv9'] }), "layers: .*'conv9'");
  });
});

describe('latencyByLayer', () => {
  test('has a row for every layer and what lies between, in both models', () => {
    const rows = suite.latencyByLayer(float, int8, batches[0].narrow(0, 0, 2), { rounds: 3 });
    const paths = rows.map((r) => r.path);
    expect(paths.slice(0, 4)).toEqual(['quant', 'conv1', 'pool1', 'conv2']);
    expect(paths.slice(-3)).toEqual(['(moves)', '(dequantize)', '(model)']);
    for (const { floatLatency, int8Latency, path } of rows) {
      expect(floatLatency === null).toBe(['quant', '(dequantize)'].includes(path));
      for (const latency of [floatLatency, int8Latency]) {
        if (latency) expect(latency.medianMs).toBeGreaterThanOrEqual(latency.minMs);
      }
      expect(int8Latency?.minMs).toBeGreaterThanOrEqual(0);
    }
    expect(suite.formatLatencies(rows)).toMatch(/^\(model\) .*100\.0 %$/m);
    expect(() => suite.latencyByLayer(float, int8, batches[0], { rounds: 0 })).toThrow(ArgumentError);
  });
});
