import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import * as observers from '../../src/quantization/observers/index.ts';
import * as qconfigs from '../../src/quantization/qconfig.ts';
import { CONTRACTS } from '../quantization/contracts.ts';

/** How many random configurations of each thing are to be compared with PyTorch. */
const LEAST = 20;

type Row = Readonly<Record<string, any>>;

function rows(name: string): readonly Row[] {
  const parsed = JSON.parse(readFileSync(new URL(`data/${name}.json`, import.meta.url), 'utf8'));
  return Array.isArray(parsed) ? parsed : parsed.cases;
}

const layers = rows('quantized_layers');
const ops = rows('quantized_ops');
const modules = ['activation', 'normalization', 'other'].flatMap((part) => rows(`quantized_modules_${part}`));
const dynamic = rows('dynamic');
const quantizable = rows('quantizable');
const qat = rows('qat-layers');
const watched = rows('observers');
const rounded = rows('fake-quantize');
const configured = rows('qconfigs');
const flows = rows('flows');

const count = (from: readonly Row[], fits: (row: Row) => boolean): number => from.filter(fits).length;

/** A static convolution or linear layer, as a module with its float form and as an operator. */
function products(kind: string, relu: boolean): number {
  const same = (r: Row, field: string): boolean => r[field] === kind && r.relu === relu;
  return count(layers, (r) => same(r, 'kind')) + count(ops, (r) => same(r, 'op'));
}

const operator = (...names: string[]): number => count(ops, (r) => names.includes(r.op));

/** Golden cases of a class under contract; null where the class has no numbers of its own. */
function casesOf(name: string): number | null {
  const last = name.slice(name.lastIndexOf('.') + 1);
  const place = name.slice(0, name.lastIndexOf('.'));
  if (place === 'qat.dynamic') return count(qat, (r) => r.layer === 'DynamicLinear');
  if (place.endsWith('qat')) return count(qat, (r) => r.layer === last);
  if (place === 'quantizable' || last === 'LSTM' || last === 'MultiheadAttention') {
    if (place !== 'quantized.dynamic')
      return count(quantizable, (r) => r.kind === (last === 'MultiheadAttention' ? 'attention' : 'lstm'));
  }
  if (place.endsWith('dynamic')) {
    if (last === 'LinearReLU') return count(layers, (r) => r.kind === 'linear_dynamic' && r.relu);
    return count(dynamic, (r) => r.kind === last);
  }
  const product = /^(Conv\dd|Linear|ConvReLU\dd|LinearReLU)$/.exec(last);
  if (product) return products(last.replace('ReLU', '').toLowerCase(), last.includes('ReLU'));
  const known: Readonly<Record<string, number>> = {
    MaxPool2d: operator('max_pool2d'),
    Quantize: operator('quantize_per_tensor'),
    QFunctional: operator('add', 'add_relu', 'mul', 'cat') + count(layers, (r) => r.kind === 'functional'),
  };
  return known[last] ?? count(modules, (r) => r.op === last);
}

/** What computes nothing, is the float module itself, or is not in PyTorch. */
const WITHOUT_NUMBERS = new Set([
  'quantized.Dropout',
  'quantized.DeQuantize',
  'quantized.FloatFunctional',
  'quantized.FXFloatFunctional',
  'quantized.dynamic.RNN',
]);

/** Observers that measure nothing, and those that PyTorch does not have. */
const UNMEASURED = new Set(['NoopObserver', 'IdentityObserver', 'EntropyObserver', 'PercentileObserver']);

function table(): Map<string, number> {
  const found = new Map<string, number>();
  for (const name of Object.keys(CONTRACTS)) {
    const n = WITHOUT_NUMBERS.has(name) ? null : casesOf(name);
    if (n !== null) found.set(`nn.${name}`, n);
  }
  const kinds = JSON.parse(readFileSync(new URL('data/qconfigs.json', import.meta.url), 'utf8'))
    .kinds as Record<string, readonly (readonly string[])[]>;
  const inQConfigs = (type: string): number =>
    count(configured, (r) => kinds[r.qconfig].some(([made]) => made === type));
  for (const [name, value] of Object.entries(observers)) {
    if (!/Observer$/.test(name) || typeof value !== 'function' || !value.prototype || UNMEASURED.has(name))
      continue;
    if (/Base$/.test(name)) continue;
    found.set(name, count(watched, (r) => r.observer === name) + inQConfigs(name));
  }
  for (const name of ['FakeQuantize', 'FusedMovingAvgObsFakeQuantize', 'FixedQParamsFakeQuantize'])
    found.set(name, count(rounded, (r) => r.module === name) + inQConfigs(name));
  found.set(
    'LearnableFakeQuantize',
    count(rounded, (r) => r.module === 'LearnableFakeQuantize'),
  );
  for (const name of Object.keys(qconfigs)) {
    if (!/QConfig(4bit|V2)?$/.test(name) || !name.startsWith('default')) continue;
    const theirs = name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`).replace(/q_config/g, 'qconfig');
    found.set(
      name,
      count(configured, (r) => r.qconfig.replace(/_/g, '') === theirs.replace(/_/g, '')),
    );
  }
  for (const backend of ['fbgemm', 'qnnpack', 'onednn', 'x86'])
    for (const kind of ['static 0', 'qat 0', 'qat 1'])
      found.set(
        `${backend} ${kind}`,
        count(configured, (r) => r.qconfig === `${backend} ${kind}`),
      );
  for (const flow of ['static', 'qat', 'dynamic', 'mixed'])
    found.set(
      `flow ${flow}`,
      count(flows, (r) => r.flow === flow),
    );
  return found;
}

test(`every layer, observer, qconfig and flow is compared with PyTorch in ${LEAST} configurations or more`, () => {
  const found = table();
  const lines = [...found].map(([name, n]) => `${n} ${name}`);
  console.log(`golden configurations: ${found.size} things\n  ${lines.join(', ')}`);
  expect(found.size).toBeGreaterThan(110);
  expect([...found].filter(([, n]) => n < LEAST)).toEqual([]);
});
