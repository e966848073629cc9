/**
 * Dynamic quantization: a trained 784-256-128-10 perceptron whose weights become int8 in one call, without data. Prints accuracy,
 * size and latency of both.
 *
 *   node examples/mlp-dynamic.ts
 */
import {
  backward,
  data,
  io,
  manualSeed,
  models,
  nn,
  optim,
  print,
  quantization,
  suite,
} from '../src/index.ts';

manualSeed(0);
const train = data.strokeDigits({ count: 6000, seed: 1 });
const test = data.strokeDigits({ count: 1000, seed: 2 });

const float = models.mlp();
const optimizer = new optim.Adam(float.parameters(), { lr: 1e-3 });
const dataset = new data.TensorDataset(train.images, train.labels);
for (let epoch = 0; epoch < 2; epoch++) {
  for (const [x, y] of new data.DataLoader(dataset, { batchSize: 64, shuffle: true })) {
    optimizer.zeroGrad();
    backward(nn.functional.crossEntropy(float(x), y));
    optimizer.step();
  }
}
float.eval();

const int8 = quantization.quantizeDynamic(float);
print(int8);

const size = (model: models.MLP): number => io.writeSafetensors(model.stateDict()).length;
print(`${float.parameters().reduce((n, p) => n + p.numel, 0)} parameters`);
print(
  suite.formatComparison(
    suite.compareVariants(
      [
        { name: 'float', model: float, bytes: size(float) },
        { name: 'int8 dynamic', model: int8, bytes: size(int8) },
      ],
      {
        batches: () => [test.images],
        labels: test.labels,
        latencyInput: test.images.narrow(0, 0, 1),
      },
    ),
  ),
);
