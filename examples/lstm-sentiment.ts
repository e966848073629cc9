/**
 * A sentiment classifier (embedding, LSTM, linear layer), trained on labelled sentences and quantized statically: with stubs put
 * in by hand, and define-by-run, which takes the model as it is. Both give the same integers; dynamic quantization, which
 * leaves sums and states in float, is held against them.
 *
 *   node examples/lstm-sentiment.ts sst2_train.tsv sst2_dev.tsv
 *
 * Files hold a sentence, a tab and 0 or 1 on every line. Without them the example makes up sentences about films.
 */
import { readFileSync } from 'node:fs';
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
  randint,
  suite,
  type Tensor,
  tensor,
} from '../src/index.ts';

const { convert, convertDbr, getDefaultQConfig, prepare, prepareDbr, quantizeDynamic } = quantization;

const WORDS = 4000;
const LENGTH = 24;

/** Takes word numbers [batch, time], gives logits [batch, 2]. */
class Sentiment extends nn.Module {
  embedding: nn.Module = new nn.Embedding(WORDS, 32);
  lstm: nn.LSTM = new nn.LSTM(32, 64, { batchFirst: true });
  fc: nn.Module = new nn.Linear(64, 2);

  forward(words: Tensor): Tensor {
    const [outputs] = this.lstm(this.enter(this.embedding(words)));
    return this.leave(this.fc(outputs.amax(1)));
  }

  enter(x: Tensor): Tensor {
    return x;
  }

  leave(x: Tensor): Tensor {
    return x;
  }
}

/** The same with the stubs that eager mode needs. */
class StubbedSentiment extends Sentiment {
  quant: nn.Module = new quantization.QuantStub();
  dequant: nn.Module = new quantization.DeQuantStub();

  override enter(x: Tensor): Tensor {
    return this.quant(x);
  }

  override leave(x: Tensor): Tensor {
    return this.dequant(x);
  }
}

type Line = readonly [sentence: string, label: number];

function readLines(path: string): Line[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line.includes('\t'))
    .map((line) => [line.slice(0, line.lastIndexOf('\t')), Number(line.slice(line.lastIndexOf('\t') + 1))]);
}

/** Praise and complaint, either of them said directly or by denying the other. */
function makeUpLines(count: number): Line[] {
  const pick = (words: string): string => {
    const list = words.split(' ');
    return list[randint(0, list.length, [1]).item()];
  };
  const word = [
    (): string => pick('dull tired clumsy hollow shallow tedious bland messy lifeless stale forced flat'),
    (): string => pick('moving funny tender witty vivid gripping fresh warm clever graceful rich honest'),
  ];
  return Array.from({ length: count }, () => {
    const label = randint(0, 2, [1]).item();
    const denied = randint(0, 3, [1]).item() === 0;
    const verdict = denied ? `never ${word[1 - label]()}` : `${pick('always often simply')} ${word[label]()}`;
    const subject = pick('film story cast script camera score plot ending director dialogue');
    const place = pick('paris winter school court war theatre sea family city night');
    return [
      `the ${subject} about ${place} is ${verdict} and the ${pick('rest sound cut light')} follows`,
      label,
    ];
  });
}

manualSeed(0);
const [trainPath, testPath] = process.argv.slice(2);
const train = trainPath ? readLines(trainPath) : makeUpLines(1200);
const test = testPath ? readLines(testPath) : makeUpLines(300);

// Words by rank from 2 on; 0 fills up, 1 stands for all others.
const counts = new Map<string, number>();
for (const [sentence] of train)
  for (const word of sentence.split(' ')) counts.set(word, (counts.get(word) ?? 0) + 1);
const ranked = [...counts].sort((a, b) => b[1] - a[1]).slice(0, WORDS - 2);
const numbers = new Map(ranked.map(([word], i) => [word, i + 2]));

/** The last words of each sentence as [sentences, LENGTH], filled up in front. */
function encode(lines: readonly Line[]): [words: Tensor, labels: Tensor] {
  const rows = lines.map(([sentence]) => {
    const known = sentence.split(' ').map((word) => numbers.get(word) ?? 1);
    return [...new Array<number>(LENGTH).fill(0), ...known].slice(-LENGTH);
  });
  const options = { dtype: 'int64' } as const;
  return [
    tensor(rows, options),
    tensor(
      lines.map(([, label]) => label),
      options,
    ),
  ];
}

const [trainWords, trainLabels] = encode(train);
const [testWords, testLabels] = encode(test);
const model = new Sentiment();
const optimizer = new optim.Adam(model.parameters(), { lr: 3e-3 });
const dataset = new data.TensorDataset(trainWords, trainLabels);
for (let epoch = 0; epoch < 3; epoch++) {
  let loss = 0;
  for (const [words, labels] of new data.DataLoader(dataset, { batchSize: 50, shuffle: true })) {
    optimizer.zeroGrad();
    const batchLoss = nn.functional.crossEntropy(model(words), labels);
    backward(batchLoss);
    nn.clipGradNorm_(model.parameters(), 1);
    optimizer.step();
    loss += (batchLoss.item() * words.shape[0]) / train.length;
  }
  print(`epoch ${epoch + 1}: loss ${loss.toFixed(3)}`);
}
model.eval();

// The table of words is quantized by rows and looked up in float; everything behind it is static.
const qconfigs = { '': getDefaultQConfig(), embedding: quantization.floatQParamsWeightOnlyQConfig };
const calibration = trainWords.narrow(0, 0, 200);

const stubbed = new StubbedSentiment().eval();
stubbed.loadStateDict(model.stateDict());
const observed = prepare(stubbed, { qconfigDict: qconfigs, strict: true });
noGrad(() => observed(calibration));
const byHand = convert(observed, { strict: true });

const mapping = new quantization.QConfigMapping()
  .setGlobal(qconfigs[''])
  .setModuleName('embedding', qconfigs.embedding);
const recorded = prepareDbr(model, mapping, [calibration], { strict: true });
noGrad(() => recorded(calibration));
const byRun = convertDbr(recorded);
print(byRun);

const dynamic = quantizeDynamic(model);
const size = (m: nn.Module): number => io.writeSafetensors(m.stateDict()).length;
const variants = {
  float: model,
  'int8 dynamic': dynamic,
  'int8 static, stubs': byHand,
  'int8 static, by run': byRun,
};
print(
  suite.formatComparison(
    suite.compareVariants(
      Object.entries(variants).map(([name, m]) => ({ name, model: m, bytes: size(m) })),
      {
        batches: () => testWords.split(100, 0),
        labels: testLabels,
        latencyInput: testWords.narrow(0, 0, 1),
      },
    ),
  ),
);
const [a, b] = noGrad(() => [byHand(testWords).numbers(), byRun(testWords).numbers()]);
const differing = a.filter((value, i) => value !== b[i]).length;
print(`static by hand and by run: ${differing} of ${a.length} results differ`);
