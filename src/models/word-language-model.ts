import { ArgumentError } from '../core/errors.ts';
import { Dropout, Embedding, init, Linear, LSTM, Module } from '../nn/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { LstmState } from './char-lstm.ts';

/** Options of {@link WordLanguageModel}. */
export interface WordLanguageModelOptions {
  /** Number of different words; 33278, those of WikiText-2. */
  readonly vocabSize?: number;
  /** Size of a word's vector; 200. */
  readonly embeddingSize?: number;
  /** Size of the hidden state; 200. */
  readonly hiddenSize?: number;
  /** LSTM layers, one on the other; 2. */
  readonly numLayers?: number;
  /** Probability of dropping while training, before, between and after the LSTM layers; 0.2. */
  readonly dropout?: number;
  /** One weight for encoder and decoder; false. Needs `embeddingSize` and `hiddenSize` to be equal. */
  readonly tieWeights?: boolean;
}

/**
 * A word language model: embedding, LSTM, linear layer. Takes int64 words [time, batch] and, after the first piece of a
 * text, the state of the one before; gives logits of each next word [time, batch, vocabSize] and the new state. Programs
 * of it are traced with `batchDim: 1`. Layers and keys are those of PyTorch's example of that name, whose logarithmic
 * softmax is left to the loss. Source: pytorch/examples, `word_language_model`; Zaremba et al. (2014).
 */
export class WordLanguageModel extends Module<[Tensor, (LstmState | null)?], [Tensor, LstmState]> {
  drop: Dropout;
  // Not narrower: quantization puts other layers in their places.
  encoder: Module;
  rnn: LSTM;
  decoder: Module;

  constructor(options: WordLanguageModelOptions = {}) {
    super();
    const {
      vocabSize = 33278,
      embeddingSize = 200,
      hiddenSize = 200,
      numLayers = 2,
      dropout = 0.2,
    } = options;
    const encoder = new Embedding(vocabSize, embeddingSize);
    const decoder = new Linear(hiddenSize, vocabSize);
    this.drop = new Dropout(dropout);
    this.encoder = encoder;
    this.rnn = new LSTM(embeddingSize, hiddenSize, { numLayers, dropout });
    this.decoder = decoder;
    init.uniform_(encoder.weight, -0.1, 0.1);
    init.uniform_(decoder.weight, -0.1, 0.1);
    if (decoder.bias) init.zeros_(decoder.bias);
    if (!options.tieWeights) return;
    if (embeddingSize !== hiddenSize) {
      throw new ArgumentError({
        fn: 'WordLanguageModel',
        argument: 'tieWeights',
        expected: 'false where embeddingSize and hiddenSize differ',
        got: `true with ${embeddingSize} and ${hiddenSize}`,
      });
    }
    decoder.weight = encoder.weight;
  }

  forward(words: Tensor, state: LstmState | null = null): [Tensor, LstmState] {
    const [output, next] = this.rnn(this.drop(this.encoder(words)), state);
    return [this.decoder(this.drop(output)), next];
  }
}

/**
 * A {@link WordLanguageModel} with random weights.
 *
 * @example
 * const model = wordLanguageModel().eval();
 * const [logits, state] = model(randint(0, 33278, [35, 1])); // [35, 1, 33278]
 * const small = quantizeDynamic(model, [nn.LSTM, nn.Linear]);
 */
export function wordLanguageModel(options: WordLanguageModelOptions = {}): WordLanguageModel {
  return new WordLanguageModel(options);
}
