/**
 * Quantization-aware training against quantization after training, with fewer and fewer levels for the weights. A perceptron is
 * trained once; then it gets one more pass either in float, to be rounded afterwards, or with every rounding simulated.
 *
 *   node examples/qat-against-ptq.ts
 */
import {
  backward,
  data,
  deepCopy,
  manualSeed,
  models,
  nn,
  optim,
  print,
  quantization,
  suite,
} from '../src/index.ts';

const { FakeQuantize, MinMaxObserver, MovingAverageMinMaxObserver } = quantization;

manualSeed(0);
const train = data.strokeDigits({ count: 3000, seed: 1 });
const test = data.strokeDigits({ count: 1000, seed: 2 });
const dataset = new data.TensorDataset(train.images, train.labels);
const layers = [
  ['fc1', 'relu1'],
  ['fc2', 'relu2'],
];

function trainFor(model: models.MLP, epochs: number, lr: number): void {
  const optimizer = new optim.Adam(model.parameters(), { lr });
  for (let epoch = 0; epoch < epochs; epoch++) {
    for (const [x, y] of new data.DataLoader(dataset, { batchSize: 64, shuffle: true })) {
      optimizer.zeroGrad();
      backward(nn.functional.crossEntropy(model(x), y));
      optimizer.step();
    }
  }
}

const start = models.quantizableMlp();
trainFor(start, 2, 1e-3);
const float = deepCopy(start);
trainFor(float, 1, 5e-4);
float.eval();

const variants: { name: string; model: models.MLP }[] = [{ name: 'float', model: float }];
for (const top of [127, 7, 1]) {
  // As many levels on both sides of zero: 255, 15 or 3 in all.
  const weight = { dtype: 'qint8', qscheme: 'per_tensor_symmetric', quantMin: -top, quantMax: top } as const;
  const activation = { dtype: 'quint8', quantMin: 0, quantMax: 255 } as const;

  const rounded = quantization.fuseModules(float, layers);
  rounded.qconfig = {
    activation: MinMaxObserver.withArgs(activation),
    weight: MinMaxObserver.withArgs(weight),
  };
  const after = quantization.quantize(rounded, (m) => m(train.images.narrow(0, 0, 256)));

  const trained = quantization.fuseModulesQat(start, layers);
  const observer = MovingAverageMinMaxObserver;
  trained.qconfig = {
    activation: FakeQuantize.withArgs({ observer, ...activation }),
    weight: FakeQuantize.withArgs({ observer, ...weight }),
  };
  const through = quantization.quantizeQat(trained, (m) => trainFor(m, 1, 5e-4));

  variants.push({ name: `${2 * top + 1} levels, after training`, model: after });
  variants.push({ name: `${2 * top + 1} levels, trained`, model: through });
}

print(
  suite.formatComparison(
    suite.compareVariants(variants, {
      batches: () => [test.images],
      labels: test.labels,
      latencyInput: test.images.narrow(0, 0, 1),
    }),
  ),
);
