import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import '../../src/autograd/index.ts';
import { loadNpz, loadStateDict, writeSafetensors } from '../../src/io/index.ts';
import { charLstm, g2p, g2pStateDict, PHONEMES } from '../../src/models/index.ts';
import type { AnyModule } from '../../src/nn/module.ts';
import { crossEntropy, flatten, noGrad } from '../../src/ops/index.ts';
import { quantizeDynamic } from '../../src/quantization/index.ts';
import { tensor } from '../../src/tensor/creation.ts';
import { DATA, haveData } from '../support/trained-data.ts';

const present = haveData(
  'trained recurrent models',
  'char_lstm_shakespeare.pth',
  'tinyshakespeare.txt',
  'g2p_gru.npz',
  'cmudict_words.txt',
);

/** What `test/golden/recurrent_models.py` writes. */
const golden = JSON.parse(
  readFileSync(new URL('../golden/data/recurrent_models.json', import.meta.url), 'utf8'),
) as {
  readonly characters: Record<'restored' | 'leftOut', { readonly float: number; readonly int8: number }>;
  readonly pronunciations: Record<'float' | 'int8', number[][]>;
};

function sizes(float: AnyModule, small: AnyModule): number {
  return writeSafetensors(small.stateDict()).length / writeSafetensors(float.stateDict()).length;
}

describe.runIf(present)('characters of Shakespeare, LSTM', () => {
  const read = (name: string): string => readFileSync(`${DATA}/${name}`, 'utf8');

  test('nats per character are PyTorch’s in float, int8 and float16', async () => {
    const model = charLstm().eval();
    model.loadStateDict(await loadStateDict(`${DATA}/char_lstm_shakespeare.pth`));
    const int8 = quantizeDynamic(model);
    const half = quantizeDynamic(model, undefined, { dtype: 'float16' });
    // The vocabulary file spells U as nothing and u as two blanks.
    const vocabulary = JSON.parse(read('char_lstm_shakespeare.vocab.json')) as Record<string, number>;
    const restored: Record<string, number> = { ...vocabulary, U: vocabulary[''], u: vocabulary['  '] };
    const text = read('tinyshakespeare.txt');
    const texts = {
      restored: [...text.slice(0, 40001)].map((c) => restored[c]),
      leftOut: [...text]
        .filter((c) => c in vocabulary)
        .slice(0, 40001)
        .map((c) => vocabulary[c]),
    };
    for (const name of ['restored', 'leftOut'] as const) {
      const ids = Float64Array.from(texts[name]);
      const x = tensor(ids.slice(0, -1), { shape: [20, 2000], dtype: 'int64' });
      const next = tensor(ids.slice(1), { dtype: 'int64' });
      const [float, q, h] = [model, int8, half].map((m) =>
        crossEntropy(flatten(noGrad(() => m(x))[0], 0, 1), next).item(),
      );
      const want = golden.characters[name];
      console.log(
        `${name}: float ${float.toFixed(4)} (PyTorch ${want.float.toFixed(4)}), int8 ${q.toFixed(4)} (${want.int8.toFixed(4)}), float16 ${h.toFixed(4)}`,
      );
      expect(Math.abs(float - want.float)).toBeLessThan(1e-5);
      // 40,000 steps of feedback turn a last bit into another integer here and there.
      expect(Math.abs(q - want.int8)).toBeLessThan(5e-4);
      expect(Math.abs(h - want.float)).toBeLessThan(1e-4);
      if (name === 'restored') continue;
      // What PyTorch reaches elsewhere on the same characters.
      expect(Math.abs(float - 1.8251)).toBeLessThan(0.002);
      expect(Math.abs(q - 1.8247)).toBeLessThan(0.002);
    }
    expect(sizes(model, int8)).toBeLessThan(0.3);
    expect(sizes(model, half)).toBeLessThan(0.53);
  });
});

describe.runIf(present)('pronunciation of words, GRU', () => {
  const entries = (): { word: string; sound: string }[] =>
    readFileSync(`${DATA}/cmudict_words.txt`, 'utf8')
      .trim()
      .split('\n')
      .map((line) => {
        const [word, ...sound] = line.split('#')[0].trim().split(' ');
        return { word, sound: sound.join(' ') };
      });

  test('one word at a time gives PyTorch’s phonemes; batches lose nothing', async () => {
    const model = g2p().eval();
    model.loadStateDict(g2pStateDict(await loadNpz(`${DATA}/g2p_gru.npz`)));
    const int8 = quantizeDynamic(model);
    const half = quantizeDynamic(model, undefined, { dtype: 'float16' });
    const sample = entries()
      .filter((_, i) => i % 38 === 0)
      .slice(0, 500);
    const words = sample.map((e) => e.word);
    const exact = (said: string[][], stress = true): number => {
      const plain = (s: string): string => (stress ? s : s.replaceAll(/\d/g, ''));
      return said.filter((s, i) => plain(s.join(' ')) === plain(sample[i].sound)).length;
    };
    for (const [form, m] of [
      ['float', model],
      ['int8', int8],
    ] as const) {
      const want = golden.pronunciations[form].map((ids) => ids.map((i) => PHONEMES[i]));
      const alone = words.map((w) => m.pronounce([w])[0]);
      const together = m.pronounce(words);
      const differing = alone.filter((s, i) => s.join(' ') !== want[i].join(' ')).length;
      console.log(
        `${form}: ${exact(alone)} of 500 words exact (${exact(alone, false)} but for stress), PyTorch ${exact(want)}; ${differing} words said otherwise; in one batch ${exact(together)}`,
      );
      expect(differing).toBe(0);
      expect(Math.abs(exact(together) - exact(want))).toBeLessThanOrEqual(form === 'float' ? 0 : 3);
    }
    const [a, b, c] = [model, int8, half].map((m) => exact(m.pronounce(words)));
    expect(Math.abs(a - b)).toBeLessThanOrEqual(3);
    expect(Math.abs(a - c)).toBeLessThanOrEqual(1);
    expect(sizes(model, int8)).toBeLessThan(0.3);
  });
});
