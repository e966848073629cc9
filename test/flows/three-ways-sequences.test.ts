import { expect, test } from 'vitest';
import { TraceError } from '../../src/core/errors.ts';
import { manualSeed } from '../../src/core/random.ts';
import { nn } from '../../src/index.ts';
import {
  bert,
  CharLstm,
  charLstm,
  demucs,
  g2p,
  type LstmState,
  WordLanguageModel,
  wordLanguageModel,
} from '../../src/models/index.ts';
import type { AnyModule, Module } from '../../src/nn/module.ts';
import { noGrad } from '../../src/ops/index.ts';
import {
  convert,
  convertDbr,
  convertFx,
  DeQuantStub,
  defaultDynamicQConfig,
  defaultQConfig,
  PrepareCustomConfig,
  type PrepareFxOptions,
  prepare,
  prepareDbr,
  prepareFx,
  QConfigMapping,
  QuantStub,
  quantizeDynamic,
} from '../../src/quantization/index.ts';
import { randint, randn } from '../../src/tensor/creation.ts';
import { Tensor } from '../../src/tensor/tensor.ts';

interface Case {
  readonly make: () => AnyModule;
  readonly inputs: () => readonly Tensor[];
  /** Layers that become dynamic. */
  readonly layers: number;
}

const CASES: Readonly<Record<string, Case>> = {
  charLstm: { make: () => charLstm(), inputs: () => [randint(0, 65, [2, 20])], layers: 2 },
  wordLanguageModel: {
    make: () => wordLanguageModel({ vocabSize: 500 }),
    inputs: () => [randint(0, 500, [12, 3])],
    layers: 2,
  },
  bert: {
    make: () =>
      bert({
        vocabSize: 300,
        hiddenSize: 64,
        numHiddenLayers: 2,
        numAttentionHeads: 4,
        intermediateSize: 96,
        maxPositionEmbeddings: 32,
      }),
    inputs: () => [randint(0, 300, [2, 16])],
    layers: 13,
  },
  demucs: { make: () => demucs({ hidden: 8, depth: 3 }), inputs: () => [randn([2, 1, 1000])], layers: 1 },
  g2p: { make: () => g2p({ hiddenSize: 64 }), inputs: () => [randint(0, 29, [3, 6])], layers: 3 },
};

const DYNAMIC = [nn.Linear, nn.LSTM, nn.GRU, nn.GRUCell].reduce(
  (mapping, type) => mapping.setObjectType(type, defaultDynamicQConfig),
  new QConfigMapping(),
);

/** Embeddings stay float. */
const STATIC = new QConfigMapping().setGlobal(defaultQConfig).setObjectType(nn.Embedding, null);

/** The numbers of all tensors in what a model gives. */
function numbers(model: AnyModule, inputs: readonly Tensor[]): number[] {
  const flat = (value: unknown): number[] =>
    value instanceof Tensor ? [...value.numbers()] : (value as readonly unknown[]).flatMap(flat);
  return flat(noGrad(() => model(...inputs)));
}

function compare(name: string, models: Readonly<Record<string, AnyModule>>, inputs: readonly Tensor[]): void {
  const [[first, model], ...others] = Object.entries(models);
  const expected = numbers(model, inputs);
  for (const [other, twin] of others) {
    const found = numbers(twin, inputs);
    const differing = expected.filter((v, i) => v !== found[i]).length;
    console.log(
      `${name}, ${first} and ${other}: numbers compared ${expected.length}, differing ${differing}`,
    );
    expect(found.length).toBe(expected.length);
    expect(differing).toBe(0);
  }
}

const dynamicLayers = (model: AnyModule): number =>
  model.modules().filter((module) => module.typeName.startsWith('Dynamic')).length;

function byRun(model: AnyModule, mapping: QConfigMapping, inputs: readonly Tensor[]): AnyModule {
  const prepared = prepareDbr(model, mapping, inputs);
  noGrad(() => prepared(...inputs));
  return convertDbr(prepared);
}

function byGraph(
  model: AnyModule,
  mapping: QConfigMapping,
  inputs: readonly Tensor[],
  options: PrepareFxOptions = {},
): AnyModule {
  const prepared = prepareFx(model as Module<any, any>, mapping, inputs as never, options);
  noGrad(() => (prepared as AnyModule)(...inputs));
  return convertFx(prepared);
}

test.each(Object.keys(CASES).filter((name) => name !== 'g2p'))(
  '%s, dynamically: eager mode, a traced graph and define-by-run give the same numbers',
  (name) => {
    manualSeed(3);
    const { make, inputs, layers } = CASES[name];
    const model = make().eval();
    const x = inputs();
    const models = {
      eager: quantizeDynamic(model),
      'define-by-run': byRun(model, DYNAMIC, x),
      graph: byGraph(model, DYNAMIC, x),
    };
    for (const converted of Object.values(models)) expect(dynamicLayers(converted)).toBe(layers);
    compare(name, models, x);
  },
);

test('g2p, dynamically: eager mode and define-by-run; its loop ends by what it says, which no graph holds', () => {
  manualSeed(3);
  const { make, inputs, layers } = CASES.g2p;
  const model = make().eval();
  const x = inputs();
  const models = { eager: quantizeDynamic(model), 'define-by-run': byRun(model, DYNAMIC, x) };
  for (const converted of Object.values(models)) expect(dynamicLayers(converted)).toBe(layers);
  compare('g2p', models, x);
  expect(() => byGraph(model, DYNAMIC, x)).toThrow(TraceError);
});

/** {@link charLstm} between stubs; its embedding gives floats. */
class StubbedCharLstm extends CharLstm {
  quant: AnyModule = new QuantStub();
  dequant: AnyModule = new DeQuantStub();

  override forward(characters: Tensor): [Tensor, LstmState] {
    const [out, state] = this.lstm(this.quant(this.embedding(characters)) as Tensor);
    return [this.dequant(this.decoder(out)) as Tensor, state];
  }
}

/** {@link wordLanguageModel} between stubs; its encoder gives floats. */
class StubbedWordLanguageModel extends WordLanguageModel {
  quant: AnyModule = new QuantStub();
  dequant: AnyModule = new DeQuantStub();

  override forward(words: Tensor): [Tensor, LstmState] {
    const [out, state] = this.rnn(this.quant(this.drop(this.encoder(words))) as Tensor);
    return [this.dequant(this.decoder(this.drop(out))) as Tensor, state];
  }
}

test.each([
  ['charLstm', () => new StubbedCharLstm()],
  ['wordLanguageModel', () => new StubbedWordLanguageModel({ vocabSize: 500 })],
] as const)(
  '%s, statically: stubs by hand, a traced graph and define-by-run give the same integers',
  (name, make) => {
    manualSeed(5);
    const model: AnyModule = make().eval();
    const x = CASES[name].inputs();
    const eager = prepare(model, { qconfigMapping: STATIC });
    noGrad(() => eager(...x));
    const observed = new PrepareCustomConfig().setFloatToObservedMapping(nn.LSTM, nn.quantizable.LSTM);
    compare(
      name,
      {
        eager: convert(eager),
        'define-by-run': byRun(model, STATIC, x),
        graph: byGraph(model, STATIC, x, { prepareCustomConfig: observed }),
      },
      x,
    );
  },
);

test('bert, statically: a traced graph and define-by-run; eager mode would need a form of it with stubs', () => {
  manualSeed(4);
  const { make, inputs } = CASES.bert;
  const model = make().eval();
  const x = inputs();
  compare('bert', { 'define-by-run': byRun(model, STATIC, x), graph: byGraph(model, STATIC, x) }, x);
});
