import { ArgumentError, ShapeError } from '../core/errors.ts';
import {
  Dropout,
  Embedding,
  functional,
  GELU,
  init,
  LayerNorm,
  Linear,
  Module,
  ModuleList,
} from '../nn/index.ts';
import { add, mul, sub, tanh } from '../ops/index.ts';
import { arange, ones } from '../tensor/creation.ts';
import { formatShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Options of {@link Bert}; the defaults are those of the base model. */
export interface BertOptions {
  /** Number of different tokens; 30522. */
  readonly vocabSize?: number;
  /** Width of all layers; 768. */
  readonly hiddenSize?: number;
  /** Encoder layers; 12. */
  readonly numHiddenLayers?: number;
  /** Attention heads of each layer; 12. */
  readonly numAttentionHeads?: number;
  /** Width inside the feed-forward part; 3072. */
  readonly intermediateSize?: number;
  /** The longest sequence; 512. */
  readonly maxPositionEmbeddings?: number;
  /** Kinds of segments; 2. */
  readonly typeVocabSize?: number;
  /** Probability of dropping in training, attention weights included; 0.1. */
  readonly dropout?: number;
  readonly layerNormEps?: number;
  /** Add the layer that makes one vector per sequence of its first token; true. */
  readonly pooler?: boolean;
}

type Config = Required<BertOptions>;

const BASE: Config = {
  vocabSize: 30522,
  hiddenSize: 768,
  numHiddenLayers: 12,
  numAttentionHeads: 12,
  intermediateSize: 3072,
  maxPositionEmbeddings: 512,
  typeVocabSize: 2,
  dropout: 0.1,
  layerNormEps: 1e-12,
  pooler: true,
};

/** What a masked key's score gets added, as there: float32's lowest number. */
const MASKED = -3.4028234663852886e38;

/** Words, positions and segments as vectors: int64 [N, T] → [N, T, hiddenSize]. */
class BertEmbeddings extends Module<[Tensor, Tensor | null]> {
  word_embeddings: Embedding;
  position_embeddings: Embedding;
  token_type_embeddings: Embedding;
  LayerNorm: LayerNorm;
  dropout: Dropout;

  constructor(config: Config) {
    super();
    const { hiddenSize } = config;
    this.word_embeddings = new Embedding(config.vocabSize, hiddenSize, { paddingIdx: 0 });
    this.position_embeddings = new Embedding(config.maxPositionEmbeddings, hiddenSize);
    this.token_type_embeddings = new Embedding(config.typeVocabSize, hiddenSize);
    this.LayerNorm = new LayerNorm(hiddenSize, { eps: config.layerNormEps });
    this.dropout = new Dropout(config.dropout);
  }

  forward(ids: Tensor, tokenTypes: Tensor | null): Tensor {
    const longest = this.position_embeddings.numEmbeddings;
    if (ids.ndim !== 2 || ids.shape[1] > longest) {
      throw new ShapeError({
        fn: 'Bert',
        argument: 'ids',
        expected: `[batch, time] with at most ${longest} tokens`,
        got: formatShape(ids.shape),
      });
    }
    const places = arange(0, ids.shape[1], 1, { dtype: 'int64' });
    const positions = this.position_embeddings(places);
    const words = this.word_embeddings(ids);
    // Positions and the one segment depend on weights alone, so a program has their sum computed.
    const context = tokenTypes
      ? add(this.token_type_embeddings(tokenTypes), positions)
      : add(positions, this.token_type_embeddings(mul(places, 0)));
    return this.dropout(this.LayerNorm(add(words, context)));
  }
}

class BertSelfAttention extends Module<[Tensor, Tensor | null]> {
  query: Linear;
  key: Linear;
  value: Linear;
  dropout: Dropout;
  readonly heads: number;

  constructor({ hiddenSize, numAttentionHeads, dropout }: Config) {
    super();
    this.query = new Linear(hiddenSize, hiddenSize);
    this.key = new Linear(hiddenSize, hiddenSize);
    this.value = new Linear(hiddenSize, hiddenSize);
    this.dropout = new Dropout(dropout);
    this.heads = numAttentionHeads;
  }

  /** @param mask Added to the scores, [N, 1, 1, T]. */
  forward(x: Tensor, mask: Tensor | null): Tensor {
    const [batch, time, size] = x.shape;
    const split = (y: Tensor): Tensor =>
      y.view(batch, time, this.heads, size / this.heads).permute(0, 2, 1, 3);
    const context = functional.scaledDotProductAttention(
      split(this.query(x)),
      split(this.key(x)),
      split(this.value(x)),
      { attnMask: mask, dropoutP: this.training ? this.dropout.p : 0 },
    );
    return context.permute(0, 2, 1, 3).reshape(batch, time, size);
  }
}

/** A linear layer whose output is added to what the block began with, and normalized. */
class BertResidual extends Module<[Tensor, Tensor]> {
  dense: Linear;
  LayerNorm: LayerNorm;
  dropout: Dropout;

  constructor(inFeatures: number, { hiddenSize, layerNormEps, dropout }: Config) {
    super();
    this.dense = new Linear(inFeatures, hiddenSize);
    this.LayerNorm = new LayerNorm(hiddenSize, { eps: layerNormEps });
    this.dropout = new Dropout(dropout);
  }

  forward(x: Tensor, residual: Tensor): Tensor {
    return this.LayerNorm(add(this.dropout(this.dense(x)), residual));
  }
}

class BertAttention extends Module<[Tensor, Tensor | null]> {
  self: BertSelfAttention;
  output: BertResidual;

  constructor(config: Config) {
    super();
    this.self = new BertSelfAttention(config);
    this.output = new BertResidual(config.hiddenSize, config);
  }

  forward(x: Tensor, mask: Tensor | null): Tensor {
    return this.output(this.self(x, mask), x);
  }
}

class BertIntermediate extends Module {
  dense: Linear;
  intermediate_act_fn: GELU;

  constructor({ hiddenSize, intermediateSize }: Config) {
    super();
    this.dense = new Linear(hiddenSize, intermediateSize);
    this.intermediate_act_fn = new GELU();
  }

  forward(x: Tensor): Tensor {
    return this.intermediate_act_fn(this.dense(x));
  }
}

class BertLayer extends Module<[Tensor, Tensor | null]> {
  attention: BertAttention;
  intermediate: BertIntermediate;
  output: BertResidual;

  constructor(config: Config) {
    super();
    this.attention = new BertAttention(config);
    this.intermediate = new BertIntermediate(config);
    this.output = new BertResidual(config.intermediateSize, config);
  }

  forward(x: Tensor, mask: Tensor | null): Tensor {
    const attended = this.attention(x, mask);
    return this.output(this.intermediate(attended), attended);
  }
}

class BertEncoder extends Module<[Tensor, Tensor | null]> {
  layer: ModuleList<BertLayer>;

  constructor(config: Config) {
    super();
    this.layer = new ModuleList(Array.from({ length: config.numHiddenLayers }, () => new BertLayer(config)));
  }

  forward(x: Tensor, mask: Tensor | null): Tensor {
    let hidden = x;
    for (const layer of this.layer) hidden = layer(hidden, mask);
    return hidden;
  }
}

class BertPooler extends Module {
  dense: Linear;

  constructor({ hiddenSize }: Config) {
    super();
    this.dense = new Linear(hiddenSize, hiddenSize);
  }

  forward(hidden: Tensor): Tensor {
    return tanh(this.dense(hidden.select(1, 0)));
  }
}

/**
 * The BERT encoder. Takes int64 tokens [N, T]; optionally a mask [N, T], 1 where a token counts and 0 where it is
 * padding, and int64 segments [N, T] (all 0 where not given). Gives the last layer's output [N, T, hiddenSize], and with
 * a pooler one vector per sequence [N, hiddenSize], else null.
 *
 * Layers and keys are those of Hugging Face's `BertModel`, whose checkpoints load (leave out `embeddings.position_ids`
 * where an old one has it).
 * Source: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers" (2018).
 */
export class Bert extends Module<[Tensor, (Tensor | null)?, (Tensor | null)?], [Tensor, Tensor | null]> {
  embeddings: BertEmbeddings;
  encoder: BertEncoder;
  pooler: BertPooler | null;

  constructor(options: BertOptions = {}) {
    super();
    const config: Config = { ...BASE, ...options };
    if (config.hiddenSize % config.numAttentionHeads !== 0) {
      throw new ArgumentError({
        fn: 'Bert',
        argument: 'hiddenSize',
        expected: `a multiple of numAttentionHeads = ${config.numAttentionHeads}`,
        got: String(config.hiddenSize),
      });
    }
    this.embeddings = new BertEmbeddings(config);
    this.encoder = new BertEncoder(config);
    this.pooler = config.pooler ? new BertPooler(config) : null;
    this.resetParameters();
  }

  /** Draws all weights anew: normal with standard deviation 0.02, biases zero. */
  resetParameters(): void {
    for (const module of this.modules()) {
      if (module instanceof Linear && module.bias) init.zeros_(module.bias);
      if (module instanceof Linear || module instanceof Embedding) init.normal_(module.weight, 0, 0.02);
    }
    const { weight, embeddingDim } = this.embeddings.word_embeddings;
    weight.storage.fill(0, 0, embeddingDim);
  }

  forward(
    ids: Tensor,
    mask: Tensor | null = null,
    tokenTypes: Tensor | null = null,
  ): [Tensor, Tensor | null] {
    const hidden = this.encoder(this.embeddings(ids, tokenTypes), mask && scoreMask(mask, ids));
    return [hidden, this.pooler ? this.pooler(hidden) : null];
  }
}

/** [N, T] of ones and zeros as what is added to the scores, [N, 1, 1, T]. */
function scoreMask(mask: Tensor, ids: Tensor): Tensor {
  if (mask.shape.join() !== ids.shape.join()) {
    throw new ShapeError({
      fn: 'Bert',
      argument: 'mask',
      expected: `the shape of ids, ${formatShape(ids.shape)}`,
      got: formatShape(mask.shape),
    });
  }
  return mul(sub(ones([]), mask.to('float32').unsqueeze(1).unsqueeze(1)), MASKED);
}

/**
 * A {@link Bert} with random weights: 109,482,240 parameters where no option is given.
 *
 * @example
 * const [hidden, pooled] = bert().eval()(randint(0, 30522, [1, 128])); // [1, 128, 768] and [1, 768]
 * const small = quantizeDynamic(bert().eval(), [nn.Linear]);
 */
export function bert(options: BertOptions = {}): Bert {
  return new Bert(options);
}
