import { describe, expect, test } from 'vitest';
import { Generator, manualSeed } from '../../src/core/random.ts';
import { create, modelInfo, type QuantizableModel } from '../../src/models/index.ts';
import { noGrad } from '../../src/ops/index.ts';
import { convert, getDefaultQConfig, prepare } from '../../src/quantization/index.ts';
import { rand } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

/** 10·log10(Σ float² / Σ (float − int8)²). */
function sqnr(float: Tensor, int8: Tensor): number {
  const [a, b] = [float.numbers(), int8.numbers()];
  let signal = 0;
  let error = 0;
  for (let i = 0; i < a.length; i++) {
    signal += a[i] ** 2;
    error += (a[i] - b[i]) ** 2;
  }
  return 10 * Math.log10(signal / error);
}

const names = ['mlp', 'lenet', 'resnet20', 'resnet18', 'resnet50', 'squeezenet1_1', 'mobilenetV2', 'dsCnn'];

describe.each(names)('%s', (name) => {
  test('fuses, prepares, calibrates and converts to int8 that follows the float model', () => {
    manualSeed(1);
    const { inputShape, input } = modelInfo(name);
    const shape =
      input === 'image'
        ? [4, inputShape[0], ...inputShape.slice(1).map((s) => Math.min(s, 64))]
        : [4, ...inputShape];
    const x = rand(shape, { generator: new Generator(2) });
    const model = create(name, { quantizable: true }) as QuantizableModel;
    // A few batches in training mode give the batch norms statistics to fold.
    noGrad(() => {
      for (let i = 0; i < 10; i++) model(x);
    });
    model.eval().fuseModel();
    model.qconfig = getDefaultQConfig('qnnpack');
    const expected = noGrad(() => model(x));
    const prepared = prepare(model);
    noGrad(() => prepared(x));
    const converted = convert(prepared);
    const left = converted
      .modules()
      .filter((m) => ['Conv2d', 'Linear', 'FloatFunctional'].includes(m.typeName));
    expect(left.map(String)).toEqual([]);
    const actual = noGrad(() => converted(x));
    expect(sqnr(expected, actual)).toBeGreaterThan(15);
  });
});
