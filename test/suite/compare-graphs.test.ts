import { describe, expect, test } from 'vitest';
import {
  ArgumentError,
  cat,
  deepCopy,
  flatten,
  manualSeed,
  nn,
  noGrad,
  quantization,
  randn,
  suite,
  type Tensor,
} from '../../src/index.ts';

/** Layers with and without weights, operators of one and two tensors, and of a number. */
class Mixed extends nn.Module {
  conv1: nn.Module = new nn.Conv2d(3, 8, 3, { padding: 1 });
  bn1: nn.Module = new nn.BatchNorm2d(8);
  relu: nn.Module = new nn.ReLU();
  conv2: nn.Module = new nn.Conv2d(8, 8, 3, { padding: 1 });
  conv3: nn.Module = new nn.Conv2d(8, 4, 1);
  act: nn.Module = new nn.Hardswish();
  gate: nn.Module = new nn.Sigmoid();
  leaky: nn.Module = new nn.LeakyReLU(0.1);
  fc: nn.Module = new nn.Linear(972, 5);

  forward(input: Tensor): Tensor {
    const x = this.relu(this.bn1(this.conv1(input)));
    const y = this.conv2(x).add(x).relu();
    const z = this.leaky(this.act(this.conv3(x)));
    return this.fc(flatten(cat([y, z.mul(this.gate(z))], 1), 1).mul(2));
  }
}

manualSeed(0);
const float = new Mixed().eval();
const batches = [0, 1].map(() => randn([4, 3, 9, 9]));
const mapping = quantization.getDefaultQConfigMapping('qnnpack');

function calibrated<M extends nn.Module>(prepared: M): M {
  for (const x of batches) noGrad(() => prepared(x));
  return prepared;
}

const prepared = calibrated(quantization.prepareFx(float, mapping, [batches[0]]));
const int8 = quantization.convertFx(prepared);
const reference = quantization.convertToReferenceFx(prepared);
const byRun = quantization.convertDbr(calibrated(quantization.prepareDbr(float, mapping, [batches[0]])));

const PATHS = [
  ...[
    '(input)',
    'conv1',
    'conv2',
    'add',
    'conv3',
    'act',
    'leaky',
    'gate',
    'mul',
    'cat',
    'mul_1',
    'fc',
    '(output)',
  ],
];

describe('comparisons of graphs and of models that run by run', () => {
  test.each([
    ['int8', int8],
    ['define-by-run', byRun],
  ] as const)('%s: the same places under the same names', (_, model) => {
    const rows = suite.compareActivations(float, model, batches);
    expect(rows.map((r) => r.path).sort()).toEqual([...PATHS].sort());
    for (const row of rows) {
      expect(row.note, row.path).toBe('');
      expect(row.sqnr, row.path).toBeGreaterThan(15);
    }
    const add = rows.find((r) => r.path === 'add');
    expect([add?.float, add?.int8]).toEqual(['add + relu', 'quantized::add_relu']);
    const shadows = suite.compareShadows(float, model, batches);
    expect(shadows).toHaveLength(PATHS.length - 1);
    // A factor is put into the scale.
    expect(shadows.find((r) => r.path === 'mul_1')?.maxError).toBeLessThan(1e-5);
  });

  test('graph mode and define-by-run make the same noise up to the first addition', () => {
    const [graph, running] = [int8, byRun].map((m) => suite.compareActivations(float, m, batches));
    for (const path of ['(input)', 'conv1', 'conv2']) {
      const [a, b] = [graph, running].map((rows) => rows.find((r) => r.path === path)?.sqnr as number);
      expect(b, path).toBeCloseTo(a, 1);
    }
  });

  test('the reference graph is the int8 model but for what float sums round', () => {
    const rows = suite.compareActivations(reference, int8, batches);
    const layers = rows.filter((r) => r.float.startsWith('Conv') || r.float === 'Linear');
    expect(layers.map((r) => r.path)).toEqual(['conv1', 'conv2', 'conv3', 'fc']);
    expect(rows.at(-1)?.sqnr).toBeGreaterThan(30);
  });

  test('prepared graphs stand for the float model, and with fake-quantize for the int8 one', () => {
    const observed = suite.compareActivations(float, prepared, batches);
    for (const row of observed) expect(row.sqnr, row.path).toBeGreaterThan(100);
    const qat = quantization.prepareQatFx(
      deepCopy(float).train(),
      quantization.getDefaultQatQConfigMapping('qnnpack'),
      [batches[0]],
    );
    noGrad(() => qat(batches[0]));
    qat.eval();
    const rows = suite.compareActivations(float, qat, batches);
    expect(rows[0].path).toBe('(input)');
    for (const row of rows) expect(row.sqnr, row.path).toBeGreaterThan(15);
    const converted = suite.compareActivations(qat, quantization.convertFx(qat), batches);
    expect(converted.at(-1)?.sqnr).toBeGreaterThan(25);
  });

  test('sensitivity: all layers alone are the int8 model, in every mode', () => {
    for (const model of [int8, byRun]) {
      const found = suite.sensitivity(float, model, batches, { layers: ['', 'add', 'fc'] });
      const all = found.rows.find((r) => r.path === '');
      expect(all?.alone?.sqnr).toBeCloseTo(found.int8.sqnr, 6);
      for (const row of found.rows) expect(row.alone?.sqnr).toBeGreaterThanOrEqual(found.int8.sqnr - 1e-6);
    }
    const [row] = suite.sensitivity(float, int8, batches, { layers: [''], direction: 'returned' }).rows;
    expect(row.gain).toBeGreaterThan(5);
    expect(suite.diagnose(float, int8, batches).map((d) => d.path)).toContain('mul');
  });

  test('batches that are none are refused', () => {
    const attempt = (wrong: unknown): (() => unknown) => {
      return () => suite.compareActivations(float, int8, wrong as Tensor[]);
    };
    expect(attempt(batches[0])).toThrow(/batches: expected a list of batches, got one tensor/);
    expect(attempt([1])).toThrow(/expected tensors or lists of arguments, got number/);
    expect(attempt(undefined)).toThrow(ArgumentError);
  });
});
