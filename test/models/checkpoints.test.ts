import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadNpz, loadStateDict } from '../../src/io/index.ts';
import { charLstm, create, dsCnn, modelInfo } from '../../src/models/index.ts';
import type { AnyModule } from '../../src/nn/module.ts';
import { argmax, crossEntropy, flatten, noGrad } from '../../src/ops/index.ts';
import { tensor } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { DATA, haveData } from '../support/trained-data.ts';

const present = haveData('trained checkpoints', 'resnet20-12fca82f.th', 'ds_cnn.pth', 'squeezenet1_1.pth');

/** Images [n, height, width, 3] of bytes → [n, 3, height, width], normalized as the model was trained. */
function prepareImages(images: Tensor, name: string, count: number): Tensor {
  const { inputShape, mean, std } = modelInfo(name);
  const [channels, height, width] = inputShape;
  const area = height * width;
  const out = new Float32Array(count * channels * area);
  for (let n = 0; n < count; n++) {
    for (let i = 0; i < area; i++) {
      for (let c = 0; c < channels; c++) {
        const value = images.storage[(n * area + i) * channels + c] / 255;
        out[(n * channels + c) * area + i] = (value - mean[c]) / std[c];
      }
    }
  }
  return tensor(out, { shape: [count, ...inputShape] });
}

function countRight(model: AnyModule, x: Tensor, labels: Tensor): number {
  const answers = noGrad(() => argmax(model(x), 1)).storage as Float64Array;
  return answers.reduce((n, y, i) => n + (y === labels.storage[i] ? 1 : 0), 0);
}

// The counts are PyTorch's on the same inputs; one image may tip over on a different order of additions.
describe.runIf(present)('trained checkpoints reach the accuracy PyTorch gets from them', () => {
  test.each([false, true])('ResNet-20 on CIFAR-10, quantizable form: %s', async (quantizable) => {
    const model = create('resnet20', { quantizable }).eval();
    model.loadStateDict(await loadStateDict(`${DATA}/resnet20-12fca82f.th`), { strict: false });
    const images = await loadNpz(`${DATA}/cifar10_test_jpeg_2500.npz`);
    const right = countRight(
      model,
      prepareImages(images.get('x') as Tensor, 'resnet20', 500),
      images.get('y') as Tensor,
    );
    expect(Math.abs(right - 414)).toBeLessThanOrEqual(1);
  });

  test('keyword spotter', async () => {
    const model = dsCnn().eval();
    model.loadStateDict(await loadStateDict(`${DATA}/ds_cnn.pth`));
    const data = await loadNpz(`${DATA}/keyword_mfcc_500.npz`);
    const right = countRight(model, data.get('x') as Tensor, data.get('y') as Tensor);
    expect(Math.abs(right - 458)).toBeLessThanOrEqual(1);
  });

  test('character language model', async () => {
    const model = charLstm().eval();
    model.loadStateDict(await loadStateDict(`${DATA}/char_lstm_shakespeare.pth`));
    const vocabulary = JSON.parse(readFileSync(`${DATA}/char_lstm_shakespeare.vocab.json`, 'utf8')) as Record<
      string,
      number
    >;
    const text = readFileSync(`${DATA}/tinyshakespeare.txt`, 'utf8').slice(0, 2001);
    const characters = [...text].map((c) => vocabulary[c] ?? vocabulary['']);
    const x = tensor([characters.slice(0, 2000)], { dtype: 'int64' });
    const target = tensor(characters.slice(1), { dtype: 'int64' });
    const [logits] = noGrad(() => model(x));
    expect(crossEntropy(flatten(logits, 0, 1), target).item()).toBeCloseTo(1.8541149, 4);
  });

  test('SqueezeNet takes the ImageNet checkpoint', async () => {
    const report = create('squeezenet1_1').loadStateDict(await loadStateDict(`${DATA}/squeezenet1_1.pth`));
    expect(report.missingKeys).toEqual([]);
  });
});
