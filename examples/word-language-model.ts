/**
 * A word language model (embedding, LSTM, linear layer), trained on a text and quantized dynamically. Prints the quantized model,
 * and perplexity on the last tenth of the text, size and time in float, int8 and float16.
 *
 *   node examples/word-language-model.ts wikitext2_valid.txt
 *
 * Any text will do; without one the model reads this package's licence, which is too short to learn much from.
 */
import { readFileSync } from 'node:fs';
import {
  backward,
  io,
  manualSeed,
  models,
  nn,
  noGrad,
  optim,
  print,
  quantization,
  type Tensor,
  tensor,
} from '../src/index.ts';

const BATCH = 20;
const STEPS = 35;
const UPDATES = 300;
const PASSES = 2;
const WORDS = 4000;

// The text as numbers: the commonest words by rank, all others as <unk>.
const text = readFileSync(process.argv[2] ?? new URL('../LICENSE', import.meta.url), 'utf8');
const words = text
  .replaceAll('\n', ' <eos> ')
  .split(' ')
  .filter((w) => w !== '');
const counts = new Map<string, number>();
for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
const common = [...counts].sort((a, b) => b[1] - a[1]).slice(0, WORDS - 1);
const ranks = new Map(common.map(([word], i) => [word, i + 1]));
const ids = words.map((word) => ranks.get(word) ?? 0);
const vocabulary = ranks.size + 1;

/** Columns of words side by side, [time, batch], cut into pieces: what goes in, and the next word of each. */
function pieces(from: number, to: number, batch: number): [Tensor, Tensor][] {
  const length = Math.floor((to - from - 1) / batch);
  const found: [Tensor, Tensor][] = [];
  for (let start = 0; start < length; start += STEPS) {
    const time = Math.min(STEPS, length - start);
    const at = (shift: number): number[] =>
      Array.from({ length: time * batch }, (_, i) => {
        return ids[from + (i % batch) * length + start + Math.floor(i / batch) + shift];
      });
    found.push([tensor(at(0), { shape: [time, batch], dtype: 'int64' }), tensor(at(1), { dtype: 'int64' })]);
  }
  return found;
}

manualSeed(0);
const held = Math.floor(ids.length * 0.9);
const training = pieces(0, held, BATCH);
const testing = pieces(held, ids.length, 10);
const model = models.wordLanguageModel({
  vocabSize: vocabulary,
  embeddingSize: 128,
  hiddenSize: 128,
  dropout: 0,
});
const optimizer = new optim.Adam(model.parameters(), { lr: 4e-3 });
let state: models.LstmState | null = null;
const updates = Math.min(UPDATES, PASSES * training.length);
for (let update = 0; update < updates; update++) {
  const piece = update % training.length;
  const [input, next] = training[piece];
  optimizer.zeroGrad();
  const [logits, after]: [Tensor, models.LstmState] = model(input, piece === 0 ? null : state);
  const loss = nn.functional.crossEntropy(logits.flatten(0, 1), next);
  backward(loss);
  nn.clipGradNorm_(model.parameters(), 0.5);
  optimizer.step();
  state = [after[0].detach(), after[1].detach()];
  if ((update + 1) % 100 === 0 || update + 1 === updates)
    print(`update ${update + 1}: ${loss.item().toFixed(3)} nats a word`);
}
model.eval();

const int8 = quantization.quantizeDynamic(model, [nn.LSTM, nn.Linear], { dtype: 'qint8' });
const half = quantization.quantizeDynamic(model, [nn.LSTM, nn.Linear], { dtype: 'float16' });
print(int8);

function report(name: string, m: models.WordLanguageModel): void {
  noGrad(() => m(testing[0][0]));
  const start = performance.now();
  let [nats, count] = [0, 0];
  let state: models.LstmState | null = null;
  for (const [input, next] of testing) {
    const [logits, after]: [Tensor, models.LstmState] = noGrad(() => m(input, state));
    nats += nn.functional.crossEntropy(logits.flatten(0, 1), next).item() * next.numel;
    count += next.numel;
    state = after;
  }
  const milliseconds = performance.now() - start;
  const megabytes = io.writeSafetensors(m.stateDict()).length / 1e6;
  print(
    `${name.padEnd(8)} perplexity ${Math.exp(nats / count).toFixed(2)}, ${megabytes.toFixed(2)} MB, ${milliseconds.toFixed(0)} ms`,
  );
}

print(
  `${words.length} words, ${vocabulary} of them different; perplexity over the last ${words.length - held}`,
);
report('float', model);
report('int8', int8);
report('float16', half);
