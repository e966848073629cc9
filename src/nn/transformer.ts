import { dispatch } from '../ops/dispatch.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { MultiheadAttention } from './attention.ts';
import { ModuleList } from './containers.ts';
import { deepCopy } from './deep-copy.ts';
import { Dropout } from './dropout.ts';
import { Linear } from './linear.ts';
import { Module } from './module.ts';
import { LayerNorm } from './normalization.ts';

/** Options of {@link TransformerEncoderLayer}. */
export interface TransformerEncoderLayerOptions {
  /** Width of the feed-forward part; 2048 where not given. */
  readonly dimFeedforward?: number;
  /** Probability of dropping, in all parts; 0.1 where not given. */
  readonly dropout?: number;
  /** Between the two linear layers; `relu` where not given. */
  readonly activation?: 'relu' | 'gelu' | Module;
  readonly layerNormEps?: number;
  /** Inputs and outputs are [batch, time, features] rather than [time, batch, features]. */
  readonly batchFirst?: boolean;
  /** Normalize before attention and feed-forward rather than after. */
  readonly normFirst?: boolean;
}

/** Masks of a call of {@link TransformerEncoderLayer}; true (boolean) is where attention is forbidden, floats are added. */
export interface EncoderMasks {
  /** [time, time], or [batch · heads, time, time]. */
  readonly mask?: Tensor | null;
  /** [batch, time]: positions to leave out. */
  readonly srcKeyPaddingMask?: Tensor | null;
}

/**
 * Self-attention and a feed-forward network, each with a residual connection and layer normalization.
 * [time, batch, dModel] → the same. Source: `torch.nn.TransformerEncoderLayer`; Vaswani et al. (2017).
 *
 * @example
 * new TransformerEncoderLayer(512, 8, { batchFirst: true })(rand([32, 10, 512])).shape; // [32, 10, 512]
 */
export class TransformerEncoderLayer extends Module<[Tensor, EncoderMasks?]> {
  self_attn: MultiheadAttention;
  linear1: Linear;
  dropout: Dropout;
  linear2: Linear;
  norm1: LayerNorm;
  norm2: LayerNorm;
  dropout1: Dropout;
  dropout2: Dropout;
  activation: 'relu' | 'gelu' | Module;
  readonly normFirst: boolean;

  constructor(dModel: number, nhead: number, options: TransformerEncoderLayerOptions = {}) {
    super();
    const dropout = options.dropout ?? 0.1;
    const width = options.dimFeedforward ?? 2048;
    const eps = options.layerNormEps ?? 1e-5;
    this.self_attn = new MultiheadAttention(dModel, nhead, { dropout, batchFirst: options.batchFirst });
    this.linear1 = new Linear(dModel, width);
    this.dropout = new Dropout(dropout);
    this.linear2 = new Linear(width, dModel);
    this.norm1 = new LayerNorm(dModel, { eps });
    this.norm2 = new LayerNorm(dModel, { eps });
    this.dropout1 = new Dropout(dropout);
    this.dropout2 = new Dropout(dropout);
    this.activation = options.activation ?? 'relu';
    this.normFirst = options.normFirst ?? false;
  }

  forward(src: Tensor, masks: EncoderMasks = {}): Tensor {
    if (this.normFirst) {
      const x = dispatch('add', src, this.attentionBlock(this.norm1(src), masks), 1);
      return dispatch('add', x, this.feedForwardBlock(this.norm2(x)), 1);
    }
    const x = this.norm1(dispatch('add', src, this.attentionBlock(src, masks), 1));
    return this.norm2(dispatch('add', x, this.feedForwardBlock(x), 1));
  }

  attentionBlock(x: Tensor, masks: EncoderMasks): Tensor {
    const [out] = this.self_attn(x, x, x, {
      attnMask: masks.mask,
      keyPaddingMask: masks.srcKeyPaddingMask,
      needWeights: false,
    });
    return this.dropout1(out);
  }

  feedForwardBlock(x: Tensor): Tensor {
    return this.dropout2(this.linear2(this.dropout(this.activate(this.linear1(x)))));
  }

  activate(x: Tensor): Tensor {
    if (this.activation === 'relu') return dispatch('relu', x);
    if (this.activation === 'gelu') return dispatch('gelu', x, 'none');
    return this.activation(x);
  }
}

/**
 * A stack of copies of one encoder layer. Source: `torch.nn.TransformerEncoder`.
 *
 * @example
 * new TransformerEncoder(new TransformerEncoderLayer(512, 8), 6)(rand([10, 32, 512])).shape; // [10, 32, 512]
 */
export class TransformerEncoder extends Module<[Tensor, EncoderMasks?]> {
  layers: ModuleList<TransformerEncoderLayer>;
  norm: LayerNorm | null;
  readonly numLayers: number;

  /** @param norm Applied to the output of the last layer. */
  constructor(
    encoderLayer: TransformerEncoderLayer,
    numLayers: number,
    options: { readonly norm?: LayerNorm | null } = {},
  ) {
    super();
    this.layers = new ModuleList(Array.from({ length: numLayers }, () => deepCopy(encoderLayer)));
    this.norm = options.norm ?? null;
    this.numLayers = numLayers;
  }

  forward(src: Tensor, masks: EncoderMasks = {}): Tensor {
    let x = src;
    for (const layer of this.layers) x = layer(x, masks);
    return this.norm ? this.norm(x) : x;
  }
}
