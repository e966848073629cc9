import { QuantizationError } from '../../../core/errors.ts';
import {
  type EmbeddingBagOptions,
  type EmbeddingOptions,
  Embedding as FloatEmbedding,
  EmbeddingBag as FloatEmbeddingBag,
  Parameter,
} from '../../../nn/index.ts';
import type { AnyModule } from '../../../nn/module.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import { embeddingBag } from '../../../ops/functions/layer/embedding.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import type { ObserverBase } from '../../observers/observer.ts';
import {
  attachWeightFakeQuant,
  type QatOptions,
  qconfigForTraining,
  weightFakeQuantOf,
} from './weight-fake-quant.ts';

/** Options of {@link Embedding}: a float embedding's, and the qconfig. */
export interface QatEmbeddingOptions extends EmbeddingOptions, QatOptions {}

/** Options of {@link EmbeddingBag}: a float bag's, and the qconfig. */
export interface QatEmbeddingBagOptions extends EmbeddingBagOptions, QatOptions {}

/**
 * Embedding whose rows are fake-quantized, each with a scale and a float zero point of its own.
 * Source: `torch.ao.nn.qat.Embedding`.
 *
 * @throws {@link QuantizationError} where the qconfig's weights have another scheme than that of embeddings.
 * @example
 * const table = new Embedding(1000, 64, { qconfig: defaultEmbeddingQatQConfig });
 */
export class Embedding extends FloatEmbedding {
  constructor(numEmbeddings: number, embeddingDim: number, options: QatEmbeddingOptions) {
    super(numEmbeddings, embeddingDim, options);
    attachRowFakeQuant(this, options);
  }

  /** Trains on with the rows of a float embedding that has a qconfig. */
  static fromFloat(module: AnyModule): Embedding {
    const qconfig = qconfigForTraining(module, FloatEmbedding, 'qat.Embedding.fromFloat');
    const { numEmbeddings, embeddingDim, paddingIdx, weight } = module as FloatEmbedding;
    return new Embedding(numEmbeddings, embeddingDim, { paddingIdx, weight, qconfig });
  }

  /** The fake-quantize of the rows. */
  get weightFakeQuant(): ObserverBase {
    return weightFakeQuantOf(this);
  }

  override forward(indices: Tensor): Tensor {
    return dispatch('embedding', indices, this.weightFakeQuant(this.weight), this.paddingIdx);
  }

  /** The float embedding with the trained rows. Source: `to_float`. */
  toFloat(): FloatEmbedding {
    const { numEmbeddings, embeddingDim, paddingIdx } = this;
    const weight = new Parameter(this.weight);
    return new FloatEmbedding(numEmbeddings, embeddingDim, { paddingIdx, weight }).train(this.training);
  }
}

/**
 * Embedding bag whose rows are fake-quantized, each with a scale and a float zero point of its own.
 * Source: `torch.ao.nn.qat.EmbeddingBag`.
 *
 * @throws {@link QuantizationError} where the qconfig's weights have another scheme than that of embeddings.
 */
export class EmbeddingBag extends FloatEmbeddingBag {
  constructor(numEmbeddings: number, embeddingDim: number, options: QatEmbeddingBagOptions) {
    super(numEmbeddings, embeddingDim, options);
    attachRowFakeQuant(this, options);
  }

  /** Trains on with the rows of a float bag that has a qconfig. */
  static fromFloat(module: AnyModule): EmbeddingBag {
    const qconfig = qconfigForTraining(module, FloatEmbeddingBag, 'qat.EmbeddingBag.fromFloat');
    const { numEmbeddings, embeddingDim, mode, includeLastOffset, weight } = module as FloatEmbeddingBag;
    return new EmbeddingBag(numEmbeddings, embeddingDim, { mode, includeLastOffset, weight, qconfig });
  }

  /** The fake-quantize of the rows. */
  get weightFakeQuant(): ObserverBase {
    return weightFakeQuantOf(this);
  }

  override forward(
    indices: Tensor,
    offsets: Tensor | null = null,
    perSampleWeights: Tensor | null = null,
  ): Tensor {
    const { mode, includeLastOffset } = this;
    const weight = this.weightFakeQuant(this.weight);
    return embeddingBag(indices, weight, offsets, { mode, includeLastOffset, perSampleWeights });
  }

  /** The float bag with the trained rows. Source: `to_float`. */
  toFloat(): FloatEmbeddingBag {
    const { numEmbeddings, embeddingDim, mode, includeLastOffset } = this;
    const weight = new Parameter(this.weight);
    const made = new FloatEmbeddingBag(numEmbeddings, embeddingDim, { mode, includeLastOffset, weight });
    return made.train(this.training);
  }
}

function attachRowFakeQuant(layer: AnyModule, options: QatOptions): void {
  attachWeightFakeQuant(layer, options);
  const { qscheme } = weightFakeQuantOf(layer);
  if (qscheme === 'per_channel_affine_float_qparams') return;
  throw new QuantizationError({
    fn: `qat.${layer.typeName}`,
    argument: 'qconfig.weight',
    expected: 'the scheme per_channel_affine_float_qparams',
    got: qscheme,
    fix: 'Give the embedding its own: embedding.qconfig = defaultEmbeddingQatQConfig, or null to keep it float.',
  });
}
