/**
 * Static quantization of an LSTM classifier, which reads digits row by row. Between prepare and convert the LSTM is made of parts
 * that are observed one by one; what it becomes is held against dynamic quantization, which leaves its sums and states in float.
 *
 *   node examples/lstm-static.ts
 */
import {
  backward,
  data,
  io,
  manualSeed,
  nn,
  noGrad,
  optim,
  print,
  quantization,
  suite,
  type Tensor,
} from '../src/index.ts';

const { convert, DeQuantStub, getDefaultQConfig, prepare, QuantStub, quantizeDynamic } = quantization;

/** Takes [batch, 1, 28, 28], gives logits [batch, 10]. */
class RowReader extends nn.Module {
  quant: nn.Module = new QuantStub();
  lstm: nn.LSTM = new nn.LSTM(28, 64, { batchFirst: true });
  fc: nn.Module = new nn.Linear(64, 10);
  dequant: nn.Module = new DeQuantStub();

  forward(images: Tensor): Tensor {
    const [output] = this.lstm(this.quant(images.squeeze(1)));
    return this.dequant(this.fc(output.select(1, 27)));
  }
}

manualSeed(0);
const train = data.strokeDigits({ count: 3000, seed: 1 });
const test = data.strokeDigits({ count: 500, seed: 2 });

const model = new RowReader();
const optimizer = new optim.Adam(model.parameters(), { lr: 4e-3 });
const dataset = new data.TensorDataset(train.images, train.labels);
for (let epoch = 0; epoch < 3; epoch++) {
  for (const [x, y] of new data.DataLoader(dataset, { batchSize: 50, shuffle: true })) {
    optimizer.zeroGrad();
    backward(nn.functional.crossEntropy(model(x), y));
    nn.clipGradNorm_(model.parameters(), 1);
    optimizer.step();
  }
}
model.eval();

const dynamic = quantizeDynamic(model);

const prepared = prepare(model, { qconfigDict: { '': getDefaultQConfig() }, strict: true });
noGrad(() => prepared(train.images.narrow(0, 0, 200)));
const int8 = convert(prepared, { strict: true });
print(int8);

const size = (m: nn.Module): number => io.writeSafetensors(m.stateDict()).length;
print(
  suite.formatComparison(
    suite.compareVariants(
      [
        { name: 'float', model, bytes: size(model) },
        { name: 'int8 dynamic', model: dynamic, bytes: size(dynamic) },
        { name: 'int8 static', model: int8, bytes: size(int8) },
      ],
      {
        batches: () => Array.from({ length: 5 }, (_, i) => test.images.narrow(0, 100 * i, 100)),
        labels: test.labels,
        latencyInput: test.images.narrow(0, 0, 1),
      },
    ),
  ),
);
