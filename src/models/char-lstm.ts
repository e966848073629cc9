import { Embedding, Linear, LSTM, Module } from '../nn/index.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Options of {@link CharLstm}. */
export interface CharLstmOptions {
  /** Number of different characters; 65. */
  readonly vocabSize?: number;
  /** Size of the embedding and of the hidden state; 128. */
  readonly hiddenSize?: number;
  /** LSTM layers, one on the other; 2. */
  readonly numLayers?: number;
}

/** Hidden and cell state, each [layers, batch, hidden]. */
export type LstmState = readonly [Tensor, Tensor];

/**
 * A character language model. Takes int64 characters [batch, time] and, after the first piece of a text, the state of
 * the one before; gives logits of each next character [batch, time, vocabSize] and the new state.
 * Source: Karpathy, "The Unreasonable Effectiveness of Recurrent Neural Networks" (2015).
 */
export class CharLstm extends Module<[Tensor, (LstmState | null)?], [Tensor, LstmState]> {
  embedding: Module;
  lstm: LSTM;
  decoder: Module;

  constructor(options: CharLstmOptions = {}) {
    super();
    const { vocabSize = 65, hiddenSize = 128, numLayers = 2 } = options;
    this.embedding = new Embedding(vocabSize, hiddenSize);
    this.lstm = new LSTM(hiddenSize, hiddenSize, { numLayers, batchFirst: true });
    this.decoder = new Linear(hiddenSize, vocabSize);
  }

  forward(characters: Tensor, state: LstmState | null = null): [Tensor, LstmState] {
    const [out, next] = this.lstm(this.embedding(characters), state);
    return [this.decoder(out), next];
  }
}

/**
 * A {@link CharLstm} with random weights: 280,897 parameters for 65 characters.
 *
 * @example
 * const [logits, state] = charLstm()(randint(0, 65, [1, 10])); // [1, 10, 65]
 */
export function charLstm(options: CharLstmOptions = {}): CharLstm {
  return new CharLstm(options);
}
