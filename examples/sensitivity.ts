/**
 * Which layer loses the accuracy, and what it takes to get it back: a network that ends in an average pool, as SqueezeNet does,
 * is quantized in graph mode, its layers are compared and ranked, and the most sensitive one is returned to float.
 *
 *   node examples/sensitivity.ts         a small network, trained here on drawn digits
 *   node examples/sensitivity.ts DATA    SqueezeNet, from a folder with squeezenet1_1.pth and imagenet500
 */
import { join } from 'node:path';
import {
  backward,
  data,
  flatten,
  io,
  manualSeed,
  models,
  nn,
  noGrad,
  optim,
  print,
  quantization,
  suite,
  type Tensor,
} from '../src/index.ts';
import { batchesOf, loadSamples, type Samples } from '../src/workflow/index.ts';

class Digits extends nn.Module {
  features: nn.Module = new nn.Sequential(
    new nn.Conv2d(1, 16, 3, { stride: 2, padding: 1 }),
    new nn.BatchNorm2d(16),
    new nn.ReLU(),
    new nn.Conv2d(16, 32, 3, { stride: 2, padding: 1 }),
    new nn.BatchNorm2d(32),
    new nn.ReLU(),
  );
  classifier: nn.Module = new nn.Sequential(new nn.Conv2d(32, 10, 3), new nn.AdaptiveAvgPool2d(1));

  forward(x: Tensor): Tensor {
    return flatten(this.classifier(this.features(x)), 1);
  }
}

interface Subject {
  readonly model: nn.Module;
  readonly samples: Samples;
  /** How many samples to calibrate on, and to rank layers with. */
  readonly calibration: number;
  readonly ranking: number;
}

function digits(): Subject {
  manualSeed(0);
  const train = data.strokeDigits({ count: 2000, seed: 1 });
  const test = data.strokeDigits({ count: 1000, seed: 2 });
  const model = new Digits();
  const optimizer = new optim.Adam(model.parameters(), { lr: 3e-3 });
  const dataset = new data.TensorDataset(train.images, train.labels);
  for (let epoch = 0; epoch < 8; epoch++) {
    for (const [x, y] of new data.DataLoader(dataset, { batchSize: 50, shuffle: true })) {
      optimizer.zeroGrad();
      backward(nn.functional.crossEntropy(model(x), y));
      optimizer.step();
    }
  }
  const batch = (start: number, end: number): Tensor => test.images.narrow(0, start, end - start);
  return { model, samples: { length: 1000, labels: test.labels, batch }, calibration: 200, ranking: 200 };
}

async function squeezenet(folder: string): Promise<Subject> {
  const model = models.squeezenet1_1();
  model.loadStateDict(await io.loadStateDict(join(folder, 'squeezenet1_1.pth')));
  const samples = await loadSamples(join(folder, 'imagenet500'), models.modelInfo('squeezenet1_1'));
  return { model, samples, calibration: 100, ranking: 50 };
}

const [folder] = process.argv.slice(2);
const { model, samples, calibration, ranking } = folder ? await squeezenet(folder) : digits();
model.eval();

// Calibrated once, converted as often as needed.
const mapping = quantization.getDefaultQConfigMapping('fbgemm');
const prepared = quantization.prepareFx(model, mapping, [samples.batch(0, 1)]);
for (let at = 0; at < calibration; at += 50) noGrad(() => prepared(samples.batch(at, at + 50)));
const int8 = quantization.convertFx(prepared);

const some = [samples.batch(0, ranking)];
print(suite.formatLayers(suite.compareShadows(model, int8, some)), '\n');
const found = suite.sensitivity(model, int8, some, { direction: 'returned' });
print(suite.formatSensitivity(found, 8), '\n');

// The flatten behind the pool would round the logits once more.
const [{ path }] = found.rows;
const qconfigMapping = quantization
  .getDefaultQConfigMapping('fbgemm')
  .setModuleName(path, null)
  .setObjectType('flatten', null);
const returned = quantization.convertFx(prepared, { qconfigMapping });
print(`returned to float: ${path}`);
print(
  suite.formatComparison(
    suite.compareVariants(
      [
        { name: 'float', model },
        { name: 'int8', model: int8 },
        { name: `int8, ${path} in float`, model: returned },
      ],
      {
        batches: () => batchesOf(samples, 50),
        labels: samples.labels,
        latencyInput: samples.batch(0, 1),
      },
    ),
  ),
);
