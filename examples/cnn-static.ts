/**
 * Static quantization: a small convolutional network, trained, fused, calibrated and converted. Weights and activations are int8;
 * what became of every layer is listed.
 *
 *   node examples/cnn-static.ts
 */
import {
  backward,
  data,
  flatten,
  io,
  manualSeed,
  maxPool2d,
  nn,
  noGrad,
  optim,
  print,
  quantization,
  suite,
  type Tensor,
} from '../src/index.ts';

const { convert, DeQuantStub, fuseModules, getDefaultQConfig, prepare, QuantStub } = quantization;

class SimpleCNN extends nn.Module {
  quant: nn.Module = new QuantStub();
  conv1: nn.Module = new nn.Conv2d(1, 20, 5);
  relu1: nn.Module = new nn.ReLU();
  conv2: nn.Module = new nn.Conv2d(20, 50, 5);
  relu2: nn.Module = new nn.ReLU();
  fc1: nn.Module = new nn.Linear(4 * 4 * 50, 500);
  relu3: nn.Module = new nn.ReLU();
  fc2: nn.Module = new nn.Linear(500, 10);
  dequant: nn.Module = new DeQuantStub();

  forward(image: Tensor): Tensor {
    const c1 = maxPool2d(this.relu1(this.conv1(this.quant(image))), 2);
    const c2 = maxPool2d(this.relu2(this.conv2(c1)), 2);
    return this.dequant(this.fc2(this.relu3(this.fc1(flatten(c2, 1)))));
  }
}

manualSeed(0);
const train = data.strokeDigits({ count: 3000, seed: 1 });
const test = data.strokeDigits({ count: 500, seed: 2 });

const model = new SimpleCNN();
const optimizer = new optim.Adam(model.parameters(), { lr: 1e-3 });
const dataset = new data.TensorDataset(train.images, train.labels);
for (const [x, y] of new data.DataLoader(dataset, { batchSize: 32, shuffle: true })) {
  optimizer.zeroGrad();
  backward(nn.functional.crossEntropy(model(x), y));
  optimizer.step();
}
model.eval();

const fused = fuseModules(model, [
  ['conv1', 'relu1'],
  ['conv2', 'relu2'],
  ['fc1', 'relu3'],
]);
fused.qconfig = getDefaultQConfig();
const prepared = prepare(fused);
noGrad(() => prepared(train.images.narrow(0, 0, 256)));
const int8 = convert(prepared);

print(suite.formatCoverage(suite.coverage(int8)));
const size = (m: SimpleCNN): number => io.writeSafetensors(m.stateDict()).length;
print(
  suite.formatComparison(
    suite.compareVariants(
      [
        { name: 'float', model, bytes: size(model) },
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
