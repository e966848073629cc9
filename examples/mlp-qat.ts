/**
 * Quantization-aware training: a perceptron whose last epoch simulates the rounding, against one quantized after training.
 * What training simulates is what int8 computes, but for the rounding of float32 sums: the two are compared too.
 *
 *   node examples/mlp-qat.ts
 */
import {
  backward,
  data,
  deepCopy,
  manualSeed,
  models,
  nn,
  noGrad,
  optim,
  print,
  quantization,
  suite,
} from '../src/index.ts';

const { convert, fuseModules, fuseModulesQat, getDefaultQatQConfig, prepareQat, quantize } = quantization;

manualSeed(0);
const train = data.strokeDigits({ count: 4000, seed: 1 });
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

// One more epoch in float, then quantized with ranges from 256 images.
const float = deepCopy(start);
trainFor(float, 1, 3e-4);
const afterwards = quantize(fuseModules(float.eval(), layers), (prepared) => {
  prepared(train.images.narrow(0, 0, 256));
});

// The same epoch with every rounding simulated.
start.qconfig = getDefaultQatQConfig();
const prepared = prepareQat(fuseModulesQat(start, layers));
trainFor(prepared, 1, 3e-4);
prepared.eval().apply(quantization.disableObserver);
const trained = convert(prepared);

const [simulated, computed] = noGrad(() => [prepared(test.images), trained(test.images)]);
const differing = computed.numbers().filter((v, i) => v !== simulated.numbers()[i]).length;
print(`simulated against computed: ${differing} of ${computed.numel} results differ`);
print(
  suite.formatComparison(
    suite.compareVariants(
      [
        { name: 'float', model: float },
        { name: 'int8 afterwards', model: afterwards },
        { name: 'int8 trained', model: trained },
      ],
      {
        batches: () => [test.images],
        labels: test.labels,
        latencyInput: test.images.narrow(0, 0, 1),
      },
    ),
  ),
);
