import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  create,
  type ModelName,
  modelInfo,
  modelNames,
  type QuantizableModel,
} from '../../src/models/index.ts';
import type { AnyModule } from '../../src/nn/module.ts';
import { noGrad } from '../../src/ops/index.ts';
import { tensor } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { fill, noise } from '../support/hashed-weights.ts';

interface Golden {
  inputShape: number[];
  state: [string, number[]][];
  parameters: number;
  tree: string | null;
  outputShape: number[];
  first: number[];
  sum: number;
  norm: number;
}

const golden = JSON.parse(readFileSync(new URL('data/models.json', import.meta.url), 'utf8')) as Record<
  ModelName,
  Golden
>;

function inputOf(name: ModelName): Tensor {
  const shape = golden[name].inputShape;
  if (modelInfo(name).input === 'characters') {
    const characters = Array.from({ length: 10 }, (_, i) => (i * 7) % 65);
    return tensor(characters, { shape, dtype: 'int64' });
  }
  const n = shape.reduce((a, b) => a * b);
  return tensor(Float32Array.from(noise(n, 999)), { shape });
}

function run(model: AnyModule, name: ModelName): Tensor {
  const out = noGrad(() => model(inputOf(name))) as Tensor | [Tensor, unknown];
  return Array.isArray(out) ? out[0] : out;
}

test('every model of the registry is checked', () => {
  expect(Object.keys(golden).sort()).toEqual([...modelNames].sort());
});

describe.each(modelNames)('%s', (name) => {
  const expected = golden[name];
  let model: AnyModule;

  beforeAll(() => {
    model = create(name).eval();
    fill(model);
  });

  test("has PyTorch's keys, shapes, number of parameters and printed tree", () => {
    const state = [...model.stateDict()].map(([k, v]) => [k, [...(v as Tensor).shape]]);
    expect(state).toEqual(expected.state);
    expect(model.parameters().reduce((n, p) => n + p.numel, 0)).toBe(expected.parameters);
    if (expected.tree !== null) expect(String(model)).toBe(expected.tree);
  });

  test("computes PyTorch's logits", () => {
    const out = run(model, name);
    expect([...out.shape]).toEqual(expected.outputShape);
    const values = Array.from(out.numbers());
    const norm = Math.hypot(...values);
    expect(Math.abs(norm / expected.norm - 1)).toBeLessThan(2e-5);
    const unit = expected.norm / Math.sqrt(values.length);
    for (const [i, e] of expected.first.entries()) {
      expect(Math.abs(values[i] - e), `logit ${i}: ${values[i]} and ${e}`).toBeLessThan(
        2e-4 * Math.max(unit, Math.abs(e)),
      );
    }
  });

  test.skipIf(name === 'charLstm')('has a quantizable form that computes the same, also when fused', () => {
    const quantizable = create(name, { quantizable: true }).eval() as QuantizableModel;
    expect([...quantizable.stateDict().keys()]).toEqual([...model.stateDict().keys()]);
    quantizable.loadStateDict(model.stateDict());
    // The quantizable MobileNetV2 has other rectifiers on purpose, so it is its own reference.
    const reference = run(name === 'mobilenetV2' ? quantizable : model, name).numbers();
    const unit = Math.hypot(...reference) / Math.sqrt(reference.length);
    const expectSame = (values: ArrayLike<number>): void => {
      for (let i = 0; i < reference.length; i++) {
        expect(Math.abs(values[i] - reference[i])).toBeLessThan(1e-3 * unit);
      }
    };
    expectSame(run(quantizable, name).numbers());
    quantizable.fuseModel();
    expect(quantizable.modules().filter((m) => m.typeName.startsWith('BatchNorm'))).toEqual([]);
    expectSame(run(quantizable, name).numbers());
  });
});

test('names that do not exist, and forms that do not exist', () => {
  expect(() => create('vgg16')).toThrow(/one of mlp, lenet/);
  expect(() => create('charLstm', { quantizable: true })).toThrow(/quantizeDynamic/);
  expect(create('resnet20', { numClasses: 7 }).stateDict().get('linear.bias')).toMatchObject({ shape: [7] });
});
