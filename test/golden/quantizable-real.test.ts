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

/** What `quantizable_real.py` writes: nats per character. */
const golden = JSON.parse(readFileSync(new URL('./data/quantizable_real.json', import.meta.url), 'utf8')) as {
  readonly float: number;
  readonly int8: number;
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
  const [float, quantized] = [model, int8].map((m) =>
    crossEntropy(
      flatten(
        noGrad(() => m(x)),
        0,
        1,
      ),
      target,
    ).item(),
  );
  console.log(
    `nats per character: float ${float.toFixed(4)} (PyTorch ${golden.float.toFixed(4)}), static int8 ${quantized.toFixed(4)} (${golden.int8.toFixed(4)})`,
  );
  expect(Math.abs(float - golden.float)).toBeLessThan(1e-5);
  // One rounding of a multiplier more or less moves this by 0.002: a trained LSTM carries it from step to step.
  expect(Math.abs(quantized - golden.int8)).toBeLessThan(4e-3);
});
