/**
 * int8 against float16: one trained perceptron with its weights in float32, float16 and int8, and int8 for activations as well.
 * float16 halves the file and loses next to nothing, but is widened to float32 to multiply; int8 quarters it and multiplies integers.
 *
 *   node examples/int8-against-float16.ts
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

const { fuseModules, quantize, quantizeDynamic } = quantization;

manualSeed(0);
const train = data.strokeDigits({ count: 4000, seed: 1 });
const test = data.strokeDigits({ count: 1000, seed: 2 });

const float = models.quantizableMlp();
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

const fused = fuseModules(float, [
  ['fc1', 'relu1'],
  ['fc2', 'relu2'],
]);
const variants = [
  { name: 'float32', model: float },
  { name: 'float16 dynamic', model: quantizeDynamic(float, [nn.Linear], { dtype: 'float16' }) },
  { name: 'int8 dynamic', model: quantizeDynamic(float, [nn.Linear], { dtype: 'qint8' }) },
  { name: 'int8 static', model: quantize(fused, (m) => m(train.images.narrow(0, 0, 256))) },
];
print(
  suite.formatComparison(
    suite.compareVariants(
      variants.map((v) => ({ ...v, bytes: io.writeSafetensors(v.model.stateDict()).length })),
      {
        batches: () => [test.images],
        labels: test.labels,
        latencyInput: test.images.narrow(0, 0, 1),
      },
    ),
  ),
);
