import { Embedding, GRU, GRUCell, Linear, Module, PackedSequence, packPaddedSequence } from '../nn/index.ts';
import { argmax } from '../ops/functions/reduction.ts';
import { noGrad } from '../ops/grad-mode.ts';
import { tensor } from '../tensor/creation.ts';
import type { StateDict } from '../tensor/state.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** What the encoder reads, by index: three marks, then the letters. */
export const GRAPHEMES: readonly string[] = ['<pad>', '<unk>', '</s>', ...'abcdefghijklmnopqrstuvwxyz'];

const MARKS = ['<pad>', '<unk>', '<s>', '</s>'];
/** ARPAbet; a vowel is followed by its stress: 0 none, 1 primary, 2 secondary. */
const SOUNDS = [
  'AA* AE* AH* AO* AW* AY* B CH D DH EH* ER* EY* F G HH IH* IY* JH K L M N NG',
  'OW* OY* P R S SH T TH UH* UW UW* V W Y Z ZH',
].join(' ');

/** What the decoder says, by index: four marks, then the ARPAbet sounds with their stresses. */
export const PHONEMES: readonly string[] = [
  ...MARKS,
  ...SOUNDS.split(' ').flatMap((s) =>
    s.endsWith('*') ? ['0', '1', '2'].map((n) => s.slice(0, -1) + n) : [s],
  ),
];

const UNKNOWN = GRAPHEMES.indexOf('<unk>');
const END_OF_WORD = GRAPHEMES.indexOf('</s>');
const START = PHONEMES.indexOf('<s>');
const END = PHONEMES.indexOf('</s>');

/** Options of {@link G2p}. */
export interface G2pOptions {
  /** Size of the embeddings and of the hidden state; 256. */
  readonly hiddenSize?: number;
  /** Phonemes after which the decoder gives up; 20. */
  readonly maxLength?: number;
}

/**
 * How words are pronounced: a GRU reads the letters, another says the phonemes, each time the likeliest one.
 * Takes int64 graphemes ([batch, time], or packed for words of different lengths) and gives int64 phonemes
 * [batch, steps], `</s>` from the end of each word on. Source: Park and Kim, "g2p_en" (2019).
 *
 * @example
 * const model = g2p().eval();
 * model.loadStateDict(g2pStateDict(await loadNpz('g2p_gru.npz')));
 * model.pronounce(['quantize']); // [['K', 'W', 'AA1', 'N', 'T', 'AY2', 'Z']]
 */
export class G2p extends Module<[Tensor | PackedSequence], Tensor> {
  encoderEmbedding: Embedding;
  encoder: GRU;
  decoderEmbedding: Embedding;
  decoder: GRUCell;
  fc: Module;
  readonly maxLength: number;

  constructor(options: G2pOptions = {}) {
    super();
    const { hiddenSize = 256, maxLength = 20 } = options;
    this.encoderEmbedding = new Embedding(GRAPHEMES.length, hiddenSize);
    this.encoder = new GRU(hiddenSize, hiddenSize, { batchFirst: true });
    this.decoderEmbedding = new Embedding(PHONEMES.length, hiddenSize);
    this.decoder = new GRUCell(hiddenSize, hiddenSize);
    this.fc = new Linear(hiddenSize, PHONEMES.length);
    this.maxLength = maxLength;
  }

  forward(graphemes: Tensor | PackedSequence): Tensor {
    let h = this.encode(graphemes);
    const batch = h.shape[0];
    let last = tensor(new Float64Array(batch).fill(START), { dtype: 'int64' });
    const ended = new Uint8Array(batch);
    const steps: Float64Array[] = [];
    while (steps.length < this.maxLength && ended.includes(0)) {
      h = this.decoder(this.decoderEmbedding(last), h);
      last = argmax(this.fc(h), 1);
      const said = Float64Array.from(last.numbers(), (p, i) => (ended[i] ? END : p));
      said.forEach((p, i) => {
        if (p === END) ended[i] = 1;
      });
      steps.push(said);
    }
    const phonemes = Float64Array.from({ length: batch * steps.length }, (_, i) => {
      return steps[i % steps.length][Math.floor(i / steps.length)];
    });
    return tensor(phonemes, { shape: [batch, steps.length], dtype: 'int64' });
  }

  /** The state after reading the words, [batch, hidden]. */
  encode(graphemes: Tensor | PackedSequence): Tensor {
    const [, h] =
      graphemes instanceof PackedSequence
        ? this.encoder(
            new PackedSequence(
              this.encoderEmbedding(graphemes.data),
              graphemes.batchSizes,
              graphemes.sortedIndices,
            ),
          )
        : this.encoder(this.encoderEmbedding(graphemes));
    return h.select(0, 0);
  }

  /** Phonemes of words in lower case, as one batch. What is not a letter is read as unknown. */
  pronounce(words: readonly string[]): string[][] {
    if (words.length === 0) return [];
    const longest = Math.max(...words.map((w) => w.length)) + 1;
    const ids = new Float64Array(words.length * longest);
    words.forEach((word, row) => {
      [...word].forEach((letter, i) => {
        const id = GRAPHEMES.indexOf(letter);
        ids[row * longest + i] = id < 0 ? UNKNOWN : id;
      });
      ids[row * longest + word.length] = END_OF_WORD;
    });
    const padded = tensor(ids, { shape: [words.length, longest], dtype: 'int64' });
    const lengths = words.map((w) => w.length + 1);
    const packed = packPaddedSequence(padded, lengths, { batchFirst: true, enforceSorted: false });
    const phonemes = noGrad(() => this(packed)).toArray() as number[][];
    return phonemes.map((row) => {
      const end = row.indexOf(END);
      return row.slice(0, end < 0 ? row.length : end).map((p) => PHONEMES[p]);
    });
  }
}

/**
 * A {@link G2p} with random weights: 834,890 parameters.
 *
 * @example
 * const small = quantizeDynamic(g2p());
 */
export function g2p(options: G2pOptions = {}): G2p {
  return new G2p(options);
}

const ARRAYS: Readonly<Record<string, string>> = {
  enc_emb: 'encoderEmbedding.weight',
  enc_w_ih: 'encoder.weight_ih_l0',
  enc_w_hh: 'encoder.weight_hh_l0',
  enc_b_ih: 'encoder.bias_ih_l0',
  enc_b_hh: 'encoder.bias_hh_l0',
  dec_emb: 'decoderEmbedding.weight',
  dec_w_ih: 'decoder.weight_ih',
  dec_w_hh: 'decoder.weight_hh',
  dec_b_ih: 'decoder.bias_ih',
  dec_b_hh: 'decoder.bias_hh',
  fc_w: 'fc.weight',
  fc_b: 'fc.bias',
};

/** The state dict of a {@link G2p} from the arrays of g2p_en's checkpoint, by name. */
export function g2pStateDict(arrays: ReadonlyMap<string, Tensor>): StateDict {
  return new Map([...arrays].map(([name, values]) => [ARRAYS[name] ?? name, values]));
}
