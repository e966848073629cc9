import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import {
  cat,
  deepCopy,
  flatten,
  manualSeed,
  nn,
  noGrad,
  quantization,
  rand,
  randn,
  suite,
  Tensor,
} from '../../src/index.ts';

/** SQNR in dB, cosine, normalized L2. */
type Metrics = readonly [number, number, number];

/** What graph mode says of a node. */
interface GraphNode {
  readonly value: Metrics | null;
}

/** A case as `numeric_suite.py` writes it. Keys are `path.stats` and state-dict keys in eager mode, nodes in graph mode. */
interface Case {
  readonly model: 'residual' | 'recurrent' | 'plain';
  readonly mode: 'eager' | 'graph';
  readonly seed: number;
  readonly weight: 'tensor' | 'channel';
  readonly weights: Readonly<Record<string, Metrics | GraphNode>>;
  readonly outputs: Readonly<Record<string, Metrics | GraphNode>>;
  readonly shadows: Readonly<Record<string, Metrics | GraphNode>>;
}

const cases = JSON.parse(
  readFileSync(new URL('./data/numeric_suite.json', import.meta.url), 'utf8'),
) as readonly Case[];

class Residual extends nn.Module {
  quant: nn.Module = new quantization.QuantStub();
  conv1: nn.Module = new nn.Conv2d(3, 8, 3, { padding: 1 });
  relu: nn.Module = new nn.ReLU();
  conv2: nn.Module = new nn.Conv2d(8, 8, 3, { padding: 1 });
  skip: quantization.FloatFunctional = new quantization.FloatFunctional();
  pool: nn.Module = new nn.MaxPool2d(3);
  fc: nn.Module = new nn.Linear(72, 5);
  dequant: nn.Module = new quantization.DeQuantStub();

  forward(input: Tensor): Tensor {
    const x = this.relu(this.conv1(this.quant(input)));
    const pooled = this.pool(this.skip.addRelu(this.conv2(x), x));
    return this.dequant(this.fc(flatten(pooled, 1)));
  }
}

class Plain extends nn.Module {
  conv1: nn.Module = new nn.Conv2d(3, 8, 3, { padding: 1 });
  bn1: nn.Module = new nn.BatchNorm2d(8);
  relu: nn.Module = new nn.ReLU();
  conv2: nn.Module = new nn.Conv2d(8, 8, 3, { padding: 1 });
  conv3: nn.Module = new nn.Conv2d(8, 4, 1);
  fc: nn.Module = new nn.Linear(972, 5);

  forward(input: Tensor): Tensor {
    const x = this.relu(this.bn1(this.conv1(input)));
    const y = this.conv2(x).add(x).relu();
    return this.fc(flatten(cat([y, this.conv3(x)], 1), 1));
  }
}

class Recurrent extends nn.Module {
  lstm: nn.LSTM = new nn.LSTM(6, 10, { numLayers: 2, bidirectional: true });
  fc: nn.Module = new nn.Linear(20, 5);

  forward(x: Tensor): Tensor {
    return this.fc(this.lstm(x)[0]);
  }
}

const WEIGHT = {
  tensor: quantization.defaultWeightObserver,
  channel: quantization.defaultPerChannelWeightObserver,
};

function fill(model: nn.Module<any, any>): void {
  for (const [key, t] of model.stateDict()) {
    if (!(t instanceof Tensor) || t.dtype !== 'float32') continue;
    t.copy_(key.endsWith('running_var') ? rand(t.shape).add(0.5) : randn(t.shape).mul(0.3));
  }
}

interface Subject {
  readonly float: nn.Module;
  /** The float model as it was before, where that is another. */
  readonly unfused?: nn.Module;
  readonly int8: nn.Module;
  readonly batches: Tensor[];
}

function qconfig(c: Case): quantization.QConfig {
  return {
    activation: quantization.MinMaxObserver.withArgs({ dtype: 'quint8' }),
    weight: WEIGHT[c.weight],
  };
}

function residual(c: Case): Subject {
  const model = new Residual().eval();
  manualSeed(c.seed);
  fill(model);
  const float = quantization.fuseModules(model, [['conv1', 'relu']]);
  const prepared = deepCopy(float);
  prepared.qconfig = qconfig(c);
  const batches = [0, 1, 2].map(() => randn([4, 3, 9, 9]));
  const int8 = quantization.quantize(prepared, (m) => {
    for (const x of batches) m(x);
  });
  return { float, int8, batches };
}

function plain(c: Case): Subject {
  const unfused = new Plain().eval();
  manualSeed(c.seed);
  fill(unfused);
  const batches = [0, 1, 2].map(() => randn([4, 3, 9, 9]));
  const mapping = new quantization.QConfigMapping().setGlobal(qconfig(c));
  const float = quantization.prepareFx(unfused, mapping, [batches[0]]);
  for (const x of batches) float(x);
  return { float, unfused, int8: quantization.convertFx(float), batches };
}

const SUBJECTS = { residual, recurrent, plain };

function recurrent(c: Case): Subject {
  const float = new Recurrent().eval();
  manualSeed(c.seed);
  fill(float);
  const batches = [0, 1, 2].map(() => randn([7, 3, 6]));
  return { float, int8: quantization.quantizeDynamic(float), batches };
}

const counts = { compared: 0, further: 0 };
let worst = 0;
afterAll(() =>
  console.log(
    `numeric suite against PyTorch's: ${counts.compared} layers, ${counts.further} with an SQNR further than 0.001 dB, the worst ${worst.toFixed(4)} dB`,
  ),
);

/** Path of the layer that a key of PyTorch's stands for. */
function pathOf(key: string): string {
  // Graph mode names operators after nodes: the quantized one, ours after the float one.
  return key.replace(/\.(stats|weight|_packed_params\._packed_params)$/, '').replace('add_relu', 'add');
}

/**
 * Holds every one of PyTorch's layers against ours. Metrics are float32 sums there, which differ by about 1e-5. Where an
 * integer of the two int8 models differs by one, because a float on the edge of two steps had another last bit, a layer of few
 * outputs moves by a tenth of a decibel: such layers are counted.
 */
function compare(rows: readonly suite.LayerRow[], wanted: Case['weights']): void {
  for (const [key, entry] of Object.entries(wanted)) {
    const metrics = 'value' in entry ? entry.value : entry;
    if (metrics === null) continue;
    const [sqnr, cosine, l2] = metrics;
    const name = pathOf(key);
    const row = rows.find((r) => [r.path, `${r.path}.${r.value}`].includes(name));
    expect(row, name).toBeDefined();
    if (!row) continue;
    counts.compared++;
    const distance = Math.abs(row.sqnr - sqnr);
    worst = Math.max(worst, distance);
    if (distance > 0.001) counts.further++;
    const bound = row.elements < 1000 ? 1.5 : 0.05;
    expect(distance, `${name}: ${row.sqnr} dB against ${sqnr}`).toBeLessThan(bound);
    if (distance > 0.001) continue;
    expect(Math.abs(row.cosine - cosine)).toBeLessThan(3e-6);
    expect(Math.abs(row.normalizedL2 / l2 - 1)).toBeLessThan(2e-4);
  }
}

describe.each(cases)('$mode: $model, weights per $weight, seed $seed', (c) => {
  const { float, unfused = float, int8, batches } = noGrad(() => SUBJECTS[c.model](c));

  test('weights', () => compare(suite.compareWeights(float, int8), c.weights));
  test('outputs', () => compare(suite.compareActivations(unfused, int8, batches), c.outputs));
  test('shadows', () => compare(suite.compareShadows(float, int8, batches), c.shadows));
});

test('hardly any layer differs', () => {
  expect(counts.further / counts.compared).toBeLessThan(0.08);
});
