import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { loadStateDict } from '../../src/io/index.ts';
import { CharLstm } from '../../src/models/index.ts';
import { Module } from '../../src/nn/index.ts';
import { crossEntropy, flatten, noGrad } from '../../src/ops/index.ts';
import {
  convert,
  DeQuantStub,
  defaultPerChannelWeightObserver,
  MinMaxObserver,
  prepare,
  QuantStub,
} from '../../src/quantization/index.ts';
import { type Tensor, tensor } from '../../src/tensor/index.ts';
import { DATA, haveData } from '../support/trained-data.ts';

const present = haveData(
  'static quantization of a trained LSTM',
  'char_lstm_shakespeare.pth',
  'tinyshakespeare.txt',
);

/** What `quantizable_real.py` writes: nats per character, and the parameters of every module with an output of its own. */
const golden = JSON.parse(readFileSync(new URL('./data/quantizable_real.json', import.meta.url), 'utf8')) as {
  readonly float: number;
  readonly int8: number;
  readonly qparams: Readonly<Record<string, readonly [number, number]>>;
};

class QuantizableCharLstm extends Module {
  model: CharLstm;
  quant = new QuantStub();
  dequant = new DeQuantStub();

  constructor(model: CharLstm) {
    super();
    this.model = model;
  }

  forward(characters: Tensor): Tensor {
    const [out] = this.model.lstm(this.quant(this.model.embedding(characters)));
    return this.dequant(this.model.decoder(out));
  }
}

test.runIf(present)('a trained character LSTM in static int8 loses what it loses in PyTorch', async () => {
  const trained = new CharLstm().eval();
  trained.loadStateDict(await loadStateDict(`${DATA}/char_lstm_shakespeare.pth`));
  const model = new QuantizableCharLstm(trained).eval();
  const vocabulary = JSON.parse(readFileSync(`${DATA}/char_lstm_shakespeare.vocab.json`, 'utf8')) as Record<
    string,
    number
  >;
  const text = readFileSync(`${DATA}/tinyshakespeare.txt`, 'utf8');
  const known = [...text].filter((c) => c in vocabulary).map((c) => vocabulary[c]);
  const piece = (from: number, to: number, shape: number[]): Tensor =>
    tensor(Float64Array.from(known.slice(from, to)), { shape, dtype: 'int64' });
  model.qconfig = {
    activation: MinMaxObserver.withArgs({ dtype: 'quint8' }),
    weight: defaultPerChannelWeightObserver,
  };
  trained.embedding.qconfig = null;
  const prepared = prepare(model);
  noGrad(() => prepared(piece(0, 4000, [20, 200])));
  const int8 = convert(prepared);
  const x = piece(4000, 14000, [20, 500]);
  const target = piece(4001, 14001, [10000]);
  const nats = (m: QuantizableCharLstm): number => {
    const logits = noGrad(() => m(x));
    return crossEntropy(flatten(logits, 0, 1), target).item();
  };
  const [float, own] = [model, int8].map(nats);
  let differing = 0;
  const adopted = new Set<string>();
  for (const [path, module] of int8.namedModules()) {
    const layer = module as { scale?: unknown; zeroPoint?: unknown };
    if (typeof layer.scale !== 'number') continue;
    const name = path.replace(/^model\./, '');
    const [scale, zeroPoint] = golden.qparams[name];
    if (layer.scale !== scale || layer.zeroPoint !== zeroPoint) differing++;
    Object.assign(layer, { scale, zeroPoint });
    adopted.add(name);
  }
  expect([...adopted].sort()).toEqual(Object.keys(golden.qparams).sort());
  const theirs = nats(int8);
  console.log(
    `nats per character: float ${float.toFixed(6)} (PyTorch ${golden.float.toFixed(6)}), static int8 ${own.toFixed(6)}, ` +
      `with PyTorch's parameters ${theirs.toFixed(6)} (${golden.int8.toFixed(6)}); ` +
      `${differing} of ${adopted.size} parameters differ`,
  );
  expect(Math.abs(float - golden.float)).toBeLessThan(1e-5);
  expect(Math.abs(theirs - golden.int8)).toBeLessThan(1e-6);
  // A trained LSTM carries what it rounds from step to step, so last bits of scales are seen here, but hardly.
  expect(Math.abs(own - golden.int8)).toBeLessThan(1e-4);
});
