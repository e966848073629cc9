import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  chunk,
  deepCopy,
  gelu,
  io,
  jit,
  manualSeed,
  models,
  mul,
  nn,
  noGrad,
  quantization,
  randint,
  randn,
  sigmoid,
  suite,
  type Tensor,
} from '../../src/index.ts';
import { loadSamples } from '../../src/workflow/index.ts';
import { DATA, haveData } from '../support/trained-data.ts';

const checkpoint = 'resnet20-12fca82f.th';
const images = 'cifar10_train_4000.npz';
const present = haveData('the numeric suite in three modes on resnet20', checkpoint, images);

/** A table has a title, a rule and a line for every row; summaries may follow. */
function expectTable(text: string, rows: number): void {
  expect(text.split('\n').length).toBeGreaterThanOrEqual(rows + 2);
}

function expectPlain(rows: readonly unknown[]): void {
  expect(JSON.parse(JSON.stringify(rows))).toHaveLength(rows.length);
}

describe.skipIf(!present)('resnet20, trained: three modes by three comparisons', () => {
  test('weights, outputs and shadows of eager mode, graph mode and define-by-run', async () => {
    const state = await io.loadStateDict(join(DATA, checkpoint));
    const plain = models.resnet20();
    plain.loadStateDict(state);
    const stubbed = models.quantizableResnet20();
    stubbed.loadStateDict(state);
    for (const model of [plain, stubbed]) model.eval();
    const samples = await loadSamples(join(DATA, images), models.modelInfo('resnet20'), { limit: 8 });
    const batches = [samples.batch(0, 4), samples.batch(4, 8)];
    const calibrated = <M extends nn.AnyModule>(prepared: M): M => {
      for (const x of batches) noGrad(() => prepared(x));
      return prepared;
    };
    const qconfig = quantization.getDefaultQConfig('fbgemm');
    const mapping = quantization.getDefaultQConfigMapping('fbgemm');
    const fused = stubbed.fuseModel();
    const eagerFloat = deepCopy(fused);
    eagerFloat.qconfig = qconfig;
    const graph = calibrated(quantization.prepareFx(plain, mapping, [batches[0]]));
    const modes = {
      eager: [fused, quantization.convert(calibrated(quantization.prepare(eagerFloat)))],
      graph: [plain, quantization.convertFx(graph)],
      'define-by-run': [
        plain,
        quantization.convertDbr(calibrated(quantization.prepareDbr(plain, mapping, [batches[0]]))),
      ],
    } as const;
    const worst: Record<string, string> = {};
    for (const [mode, [float, int8]] of Object.entries(modes)) {
      // Weights are compared with folded ones: those of the prepared graph.
      const weights = suite.compareWeights(mode === 'eager' ? float : graph, int8);
      expect(
        weights.map((r) => r.path),
        mode,
      ).toHaveLength(20);
      for (const row of weights) expect(row.sqnr, `${mode} ${row.path}`).toBeGreaterThan(35);
      const outputs = suite.compareActivations(float, int8, batches);
      const shadows = suite.compareShadows(float, int8, batches);
      for (const [kind, rows] of Object.entries({ outputs, shadows })) {
        const layers = rows.filter((r) => /^(Conv|Linear)/.test(r.float));
        expect(layers, `${mode}: ${kind}`).toHaveLength(20);
        for (const row of layers) {
          expect(row.note, `${mode} ${kind} ${row.path}`).toBe('');
          expect(row.sqnr, `${mode} ${kind} ${row.path}`).toBeGreaterThan(12);
        }
        expectPlain(rows);
        expectTable(suite.formatLayers(rows), rows.length);
      }
      const least = (rows: readonly suite.LayerRow[]): string =>
        Math.min(...rows.map((r) => r.sqnr)).toFixed(1);
      worst[mode] = `weights ${least(weights)}, outputs ${least(outputs)}, shadows ${least(shadows)}`;
    }
    console.log('worst layer in dB', worst);
  }, 120_000);
});

/** A gated unit out of two halves, and a layer behind an operator that stays float. */
class Gated extends nn.Module {
  enter = new nn.Linear(16, 32);
  norm = new nn.LayerNorm(16);
  last = new nn.Linear(16, 8);

  forward(x: Tensor): Tensor {
    const [value, gate] = chunk(this.enter(x), 2, 1);
    return this.last(gelu(this.norm(mul(value, sigmoid(gate)))));
  }
}

describe('parts of tensors and operators without a quantized form', () => {
  manualSeed(7);
  const float = new Gated().eval();
  const batches = [0, 1].map(() => randn([16, 16]));
  const mapping = quantization.getDefaultQConfigMapping('fbgemm');
  const calibrated = <M extends nn.AnyModule>(prepared: M): M => {
    for (const x of batches) noGrad(() => prepared(x));
    return prepared;
  };
  const modes = {
    graph: quantization.convertFx(calibrated(quantization.prepareFx(float, mapping, [batches[0]]))),
    'define-by-run': quantization.convertDbr(
      calibrated(quantization.prepareDbr(float, mapping, [batches[0]])),
    ),
  };

  test.each(Object.entries(modes))('%s: rows, sizes, latencies, sensitivity and causes', (_mode, int8) => {
    expect(suite.compareWeights(float, int8).map((r) => r.path)).toEqual(['enter', 'last']);
    const paths = ['enter', 'mul', 'norm', 'last'];
    for (const compare of [suite.compareActivations, suite.compareShadows]) {
      const rows = compare(float, int8, batches);
      expect(rows.map((r) => r.path)).toEqual(expect.arrayContaining(paths));
      for (const row of rows) expect([row.note, row.sqnr > 15], row.path).toEqual(['', true]);
      expectPlain(rows);
    }
    expect(suite.sizeByLayer(float, int8).map((r) => r.path)).toEqual(
      expect.arrayContaining(['enter', 'last']),
    );
    const times = suite.latencyByLayer(float, int8, batches[0], { rounds: 2 });
    expectTable(suite.formatLatencies(times), 4);
    const found = suite.sensitivity(float, int8, batches);
    expect(found.rows.map((r) => r.path)).toEqual(expect.arrayContaining(paths));
    expectTable(suite.formatSensitivity(found), found.rows.length);
    const causes = suite.diagnose(float, int8, batches);
    expect(causes.map((d) => d.path)).toEqual(expect.arrayContaining(['enter', 'last']));
    expectTable(suite.formatDiagnoses(causes), 1);
  });
});

const text = 'char_lstm_shakespeare.pth';
const haveText = haveData('the numeric suite on a dynamic model', text);

describe.skipIf(!haveText)('charLstm, trained, with dynamic int8 weights', () => {
  test('every function of the suite', async () => {
    const float = models.charLstm();
    float.loadStateDict(await io.loadStateDict(join(DATA, text)));
    float.eval();
    manualSeed(1);
    const batches = [0, 1].map(() => randint(0, 65, [2, 12]));
    const int8 = quantization.quantizeDynamic(float);
    const weights = suite.compareWeights(float, int8);
    expect(weights).toHaveLength(5);
    const outputs = suite.compareActivations(float, int8, batches);
    const shadows = suite.compareShadows(float, int8, batches);
    for (const rows of [outputs, shadows]) {
      expect(rows.map((r) => r.path)).toEqual(expect.arrayContaining(['lstm', 'decoder']));
      for (const row of rows) expect(row.sqnr, row.path).toBeGreaterThan(20);
    }
    const sizes = suite.sizeByLayer(float, int8);
    const lstm = sizes.find((r) => r.path === 'lstm');
    expect((lstm?.floatBytes ?? 0) / (lstm?.int8Bytes ?? 1)).toBeGreaterThan(3.5);
    expectTable(suite.formatLatencies(suite.latencyByLayer(float, int8, batches[0], { rounds: 1 })), 3);
    const found = suite.sensitivity(float, int8, batches);
    expect(found.rows.map((r) => r.path).sort()).toEqual(['decoder', 'lstm']);
    console.log(suite.formatSensitivity(found));
    console.log(suite.formatDiagnoses(suite.diagnose(float, int8, batches)));
  }, 60_000);
});

test('programs have no layers to compare, and are told apart', () => {
  manualSeed(2);
  const model = new Gated().eval();
  const x = randn([4, 16]);
  const program = jit.trace(model, [x]) as never;
  const calls: Readonly<Record<string, () => unknown>> = {
    compareWeights: () => suite.compareWeights(model, program),
    compareActivations: () => suite.compareActivations(program, model, [x]),
    compareShadows: () => suite.compareShadows(model, program, [x]),
    sizeByLayer: () => suite.sizeByLayer(model, program),
    latencyByLayer: () => suite.latencyByLayer(model, program, x),
    sensitivity: () => suite.sensitivity(model, program, [x]),
    diagnose: () => suite.diagnose(model, program, [x]),
    coverage: () => suite.coverage(program),
  };
  for (const [fn, call] of Object.entries(calls))
    expect(call, fn).toThrow(new RegExp(`^${fn}: .*got a program.*the model it was traced from`));
  expect(() => suite.sizeByLayer(undefined as never, model)).toThrow(/sizeByLayer: float: .*got undefined/);
});
