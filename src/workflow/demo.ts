import { backward } from '../autograd/index.ts';
import { manualSeed } from '../core/random.ts';
import { DataLoader, strokeDigits, TensorDataset } from '../data/index.ts';
import { writeSafetensors } from '../io/index.ts';
import { quantizableLenet } from '../models/index.ts';
import { deepCopy } from '../nn/deep-copy.ts';
import { crossEntropy } from '../ops/index.ts';
import { Adam } from '../optim/index.ts';
import { quantize, quantizeDynamic } from '../quantization/index.ts';
import { compareVariants, type VariantReport } from '../suite/index.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Sizes of {@link demo}; the defaults take a minute or two. */
export interface DemoOptions {
  readonly trainImages?: number;
  readonly testImages?: number;
  readonly epochs?: number;
  readonly onProgress?: (stage: string, done: number, total: number, note: string) => void;
}

/**
 * The whole way on data it makes itself: draws digits from pen strokes, trains LeNet in float, quantizes it dynamically
 * and statically, and compares the three.
 *
 * @example
 * print(formatComparison(demo()));
 */
export function demo(options: DemoOptions = {}): VariantReport[] {
  const { trainImages = 12_000, testImages = 2_000, epochs = 3, onProgress } = options;
  manualSeed(0);
  const train = strokeDigits({ count: trainImages, seed: 1 });
  const test = strokeDigits({ count: testImages, seed: 2 });

  const model = quantizableLenet();
  const optimizer = new Adam(model.parameters(), { lr: 1e-3 });
  const loader = new DataLoader(new TensorDataset(train.images, train.labels), {
    batchSize: 64,
    shuffle: true,
  });
  const steps = epochs * Math.ceil(trainImages / 64);
  let step = 0;
  let average = 0;
  for (let epoch = 0; epoch < epochs; epoch++) {
    for (const [x, y] of loader) {
      optimizer.zeroGrad();
      const loss = crossEntropy(model(x), y);
      backward(loss);
      optimizer.step();
      average = step === 0 ? loss.item() : 0.95 * average + 0.05 * loss.item();
      onProgress?.('train', ++step, steps, `loss ${average.toFixed(3)}`);
    }
  }
  model.eval();

  const batches = function* (images: Tensor, count: number): Generator<Tensor> {
    for (let i = 0; i < count; i += 100) yield images.narrow(0, i, Math.min(100, count - i));
  };
  const dynamic = quantizeDynamic(model);
  const calibrated = Math.min(500, trainImages);
  const fixed = quantize(deepCopy(model).fuseModel(), (prepared) => {
    let done = 0;
    for (const batch of batches(train.images, calibrated)) {
      prepared(batch);
      done += batch.shape[0];
      onProgress?.('calibrate', done, calibrated, '');
    }
  });
  const bytes = (m: typeof model): number => writeSafetensors(m.stateDict()).length;
  return compareVariants(
    [
      { name: 'float', model, bytes: bytes(model) },
      { name: 'int8 dynamic', model: dynamic, bytes: bytes(dynamic) },
      { name: 'int8 static', model: fixed, bytes: bytes(fixed) },
    ],
    {
      batches: () => batches(test.images, testImages),
      labels: test.labels,
      latencyInput: test.images.narrow(0, 0, 1),
      onProgress: (name, samples) => onProgress?.(`evaluate ${name}`, samples, testImages, ''),
    },
  );
}
