import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { manualSeed } from '../../src/core/random.ts';
import { supportedBuilds } from '../../src/kernels/engine.ts';
import {
  create,
  type ModelName,
  modelInfo,
  modelNames,
  type QuantizableModel,
  quantizableDemucs,
} from '../../src/models/index.ts';
import type { AnyModule } from '../../src/nn/index.ts';
import * as nn from '../../src/nn/index.ts';
import { noGrad } from '../../src/ops/index.ts';
import { convert, getDefaultQConfig, prepare, QuantWrapper } from '../../src/quantization/index.ts';
import { trace } from '../../src/runtime/index.ts';
import { rand, randn } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { expectEager } from '../support/both-builds.ts';
import { dynamicModels, FirstOf } from '../support/dynamic-models.ts';

const BATCHES = [1, 2, 7];
const builds = supportedBuilds();

/** Calibrates a model on one input and makes it int8. */
function toInt8(model: AnyModule, input: Tensor): AnyModule {
  (model as QuantizableModel).fuseModel?.();
  model.qconfig = getDefaultQConfig('qnnpack');
  const prepared = prepare(model);
  noGrad(() => prepared(input));
  return convert(prepared);
}

/** Images small enough for a quick test, of the architecture's own channels. */
function smallShape(name: ModelName): readonly number[] {
  const { input, inputShape } = modelInfo(name);
  return input === 'image' ? inputShape.map((size) => Math.min(size, 33)) : inputShape;
}

const images = modelNames.filter((name) => modelInfo(name).input !== 'characters');

describe('static int8 models: plans of both builds give what the operators give', () => {
  test.each(images)('%s', (name) => {
    manualSeed(1);
    const shape = smallShape(name);
    const model = toInt8(create(name, { quantizable: true }).eval(), rand([2, ...shape]));
    const program = trace(model, [rand([1, ...shape])]);
    for (const n of BATCHES) expect(expectEager(program, rand([n, ...shape]))).toEqual([]);
  });

  test('demucs', () => {
    manualSeed(2);
    const model = toInt8(quantizableDemucs({ hidden: 8, depth: 3 }).eval(), randn([1, 1, 500]));
    const program = trace(model, [randn([1, 1, 500])]);
    for (const n of BATCHES) expect(expectEager(program, randn([n, 1, 500]))).toEqual([]);
  });

  test('an LSTM of two layers and directions', () => {
    manualSeed(3);
    const lstm = new nn.LSTM(12, 20, { numLayers: 2, bidirectional: true });
    const model = toInt8(new QuantWrapper(new FirstOf(lstm)).eval(), randn([6, 2, 12]));
    const program = trace(model, [randn([6, 1, 12])], { batchDim: 1 });
    for (const n of BATCHES) expect(expectEager(program, randn([6, n, 12]))).toEqual([]);
  });
});

describe.each(builds)('dynamic int8 models on the %s build', (build) => {
  let loaded: typeof import('../support/dynamic-models.ts');

  // A library of its own for each build: packed weights of dynamic layers live in the one engine that it starts.
  beforeAll(async () => {
    vi.resetModules();
    vi.stubEnv('ZEROPOINT_KERNELS', build);
    loaded = await import('../support/dynamic-models.ts');
  });
  afterAll(() => {
    vi.unstubAllEnvs();
    vi.resetModules();
  });

  test.each(dynamicModels)('%s', (name) => {
    const { worst, ...found } = loaded.compareDynamic(name);
    console.log(`${name}: ${found.compared} compared, ${found.differing} differing, worst ${worst}`);
    expect(found).toMatchObject({ build, tornBits: 0, operators: [] });
    expect(found.compared).toBeGreaterThan(0);
    expect(worst).toBeLessThan(1e-5);
  });
});
