import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadStateDict } from '../../src/io/index.ts';
import type { RescuableModel } from '../../src/models/index.ts';
import { create, modelInfo } from '../../src/models/registry.ts';
import { PercentileObserver } from '../../src/quantization/index.ts';
import { collectOutputs, sqnr, top1Accuracy, top1Agreement } from '../../src/suite/index.ts';
import { batchesOf, formatTrials, loadSamples, quantizeBest } from '../../src/workflow/index.ts';
import { DATA, haveData } from '../support/trained-data.ts';

/** Trained models, and how close to float the recipe must bring them. */
const SUBJECTS = [
  {
    model: 'squeezenet1_1',
    checkpoint: 'squeezenet1_1.pth',
    calibration: 'imagenet500',
    calibrationSamples: 100,
    evaluation: 'imagenet500',
    // PyTorch's eager defaults reach 80.4 % and 23.92 dB (fbgemm), 87.2 % and 27.79 dB (qnnpack).
    accuracyLoss: 0.008,
    agreement: 0.93,
    sqnr: 35,
  },
  {
    model: 'resnet20',
    checkpoint: 'resnet20-12fca82f.th',
    calibration: 'cifar10_train_4000.npz',
    calibrationSamples: 512,
    evaluation: 'cifar10_test_jpeg_2500.npz',
    // PyTorch's eager defaults reach 96.6 % and 22.71 dB (fbgemm), 97.6 % and 26.30 dB (qnnpack).
    accuracyLoss: 0.008,
    agreement: 0.975,
    sqnr: 27,
  },
] as const;

describe.each(SUBJECTS)('quantizeBest on $model', (subject) => {
  const present = haveData(subject.model, subject.checkpoint, subject.calibration, subject.evaluation);

  test.skipIf(!present)(
    'stays close to float without looking at labels',
    async () => {
      const info = modelInfo(subject.model);
      const model = create(subject.model, { quantizable: true }) as RescuableModel;
      model.loadStateDict(await loadStateDict(join(DATA, subject.checkpoint)));
      model.eval().fuseModel();
      const limit = subject.calibrationSamples;
      const calibration = await loadSamples(join(DATA, subject.calibration), info, { limit });
      const { model: int8, trials } = quantizeBest(model, [...batchesOf(calibration, 20)], {
        ...model.rescuePlan(),
        // The strongest of what the recipe tries on its own, so that the test takes minutes rather than many.
        ranges: { '99.999 %': PercentileObserver.withArgs({ percentile: 99.999 }) },
        strengths: [0.75],
      });
      const samples = await loadSamples(join(DATA, subject.evaluation), info);
      const [float, quantized] = [model, int8].map((m) => collectOutputs(m, batchesOf(samples, 20)));
      const labels = samples.labels;
      if (!labels) throw new Error('the evaluation data has no labels');
      const [floatTop1, top1] = [float, quantized].map((logits) => top1Accuracy(logits, labels));
      const agreement = top1Agreement(float, quantized);
      const ratio = sqnr(float, quantized);
      console.log(
        `${formatTrials(trials)}\n${subject.model}: top-1 ${(100 * floatTop1).toFixed(2)} % float, ` +
          `${(100 * top1).toFixed(2)} % int8, agreement ${(100 * agreement).toFixed(2)} %, ${ratio.toFixed(2)} dB`,
      );
      expect(floatTop1 - top1).toBeLessThanOrEqual(subject.accuracyLoss);
      expect(agreement).toBeGreaterThanOrEqual(subject.agreement);
      expect(ratio).toBeGreaterThanOrEqual(subject.sqnr);
    },
    1_200_000,
  );
});
