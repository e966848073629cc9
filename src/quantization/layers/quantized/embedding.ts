import { DTypeError, QuantizationError, ShapeError } from '../../../core/errors.ts';
import type { Embedding as FloatEmbedding, EmbeddingBag as FloatEmbeddingBag } from '../../../nn/index.ts';
import { type AnyModule, Module, type StateLoader } from '../../../nn/module.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import { embeddingBag } from '../../../ops/functions/layer/embedding.ts';
import { packEmbedding } from '../../../ops/quantized/embedding.ts';
import { DTYPES } from '../../../tensor/dtype.ts';
import { formatShape } from '../../../tensor/shape.ts';
import type { StateDict } from '../../../tensor/state.ts';
import { fromStorage, Tensor } from '../../../tensor/tensor.ts';
import { observeWeight, quantizeWeight } from '../weights.ts';

/** Element types of quantized tables: a byte, or two elements a byte. */
export type EmbeddingDType = 'quint8' | 'quint4x2';

/** Options of the quantized embeddings. */
export interface QuantizedEmbeddingOptions {
  /** `quint8` where not given. */
  readonly dtype?: EmbeddingDType;
  /** A quantized table of [numEmbeddings, embeddingDim] to start from, instead of zeros. */
  readonly weight?: Tensor;
}

/** The table that both embeddings keep. */
abstract class QuantizedTable<Args extends unknown[]> extends Module<Args> {
  readonly numEmbeddings: number;
  readonly embeddingDim: number;
  table: Tensor;

  constructor(numEmbeddings: number, embeddingDim: number, options: QuantizedEmbeddingOptions) {
    super();
    this.numEmbeddings = numEmbeddings;
    this.embeddingDim = embeddingDim;
    this.table = zeroTable(numEmbeddings, embeddingDim, options.dtype ?? 'quint8');
    if (options.weight) this.setWeight(options.weight);
  }

  /** The quantized table: quint8 or quint4x2, every row with a float scale and zero point of its own. */
  weight(): Tensor {
    return this.table;
  }

  /**
   * Replaces the table.
   *
   * @throws {@link ShapeError} where its shape is not [numEmbeddings, embeddingDim].
   * @throws {@link DTypeError} where it is not quantized by rows.
   */
  setWeight(weight: Tensor): void {
    if (weight.shape.join() !== [this.numEmbeddings, this.embeddingDim].join()) {
      throw new ShapeError({
        fn: `${this.typeName}.setWeight`,
        argument: 'weight',
        expected: formatShape([this.numEmbeddings, this.embeddingDim]),
        got: formatShape(weight.shape),
      });
    }
    this.table = packEmbedding(weight);
  }

  override extraRepr(): string {
    const { numEmbeddings, embeddingDim, table } = this;
    return `num_embeddings=${numEmbeddings}, embedding_dim=${embeddingDim}, dtype=torch.${table.dtype}, qscheme=torch.${table.qscheme()}`;
  }

  override saveToStateDict(into: StateDict, prefix: string): void {
    into.set(`${prefix}_packed_params.dtype`, this.table.dtype);
    into.set(`${prefix}_packed_params._packed_weight`, this.table);
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    loader.take(`${prefix}_packed_params.dtype`);
    const key = `${prefix}_packed_params._packed_weight`;
    const weight = loader.take(key);
    if (weight === undefined) return;
    const shape = [this.numEmbeddings, this.embeddingDim];
    if (!(weight instanceof Tensor) || !weight.isQuantized)
      loader.mismatch(`${key} is not a quantized tensor`);
    else if (weight.shape.join() !== shape.join())
      loader.mismatch(`${key} has shape ${formatShape(weight.shape)}, the module has ${formatShape(shape)}`);
    else loader.later(() => this.setWeight(weight));
  }
}

function zeroTable(rows: number, width: number, dtype: EmbeddingDType): Tensor {
  if (dtype !== 'quint8' && dtype !== 'quint4x2') {
    throw new DTypeError({
      fn: 'QuantizedEmbedding',
      argument: 'dtype',
      expected: "'quint8' or 'quint4x2'",
      got: String(dtype),
    });
  }
  return fromStorage(DTYPES[dtype].allocate(rows * width), [rows, width], dtype, {
    scheme: 'per_channel_affine_float_qparams',
    scales: new Float32Array(rows).fill(1),
    zeroPoints: new Float32Array(rows),
    axis: 0,
  });
}

/** The table of a float (or qat) embedding, quantized by the weight observer of its qconfig. */
function quantizedTable(module: AnyModule, weight: Tensor, fn: string): Tensor {
  const observer = observeWeight(module, weight, fn);
  const { dtype, qscheme } = observer;
  if (qscheme !== 'per_channel_affine_float_qparams' || (dtype !== 'quint8' && dtype !== 'quint4x2')) {
    throw new QuantizationError({
      fn,
      argument: 'qconfig.weight',
      expected: 'an observer of quint8 or quint4x2 with scheme per_channel_affine_float_qparams',
      got: `${dtype} with ${qscheme}`,
      fix: 'Set embedding.qconfig = floatQParamsWeightOnlyQConfig (or floatQParamsWeightOnlyQConfig4bit); null keeps it float.',
    });
  }
  return quantizeWeight(weight, observer, fn);
}

/**
 * Looks rows up in a quantized table: int64 indices in, float rows out. Source: `torch.ao.nn.quantized.Embedding`.
 *
 * @example
 * model.embedding.qconfig = floatQParamsWeightOnlyQConfig; // or …4bit
 * const int8 = convert(prepare(model));
 */
export class Embedding extends QuantizedTable<[Tensor]> {
  constructor(numEmbeddings: number, embeddingDim: number, options: QuantizedEmbeddingOptions = {}) {
    super(numEmbeddings, embeddingDim, options);
  }

  static fromFloat(module: FloatEmbedding): Embedding {
    const weight = quantizedTable(module, module.weight, 'QuantizedEmbedding.fromFloat');
    return new Embedding(module.numEmbeddings, module.embeddingDim, { weight });
  }

  override get typeName(): string {
    return 'QuantizedEmbedding';
  }

  forward(indices: Tensor): Tensor {
    return dispatch('embedding', indices, this.table, null);
  }
}

/** Options of {@link EmbeddingBag}. */
export interface QuantizedEmbeddingBagOptions extends QuantizedEmbeddingOptions {
  /** How a bag's rows are folded; `sum` where not given. */
  readonly mode?: 'sum' | 'mean' | 'max';
  /** `offsets` ends with the number of indices. */
  readonly includeLastOffset?: boolean;
}

/**
 * Looks rows up in a quantized table and folds them by bags; float out. Source: `torch.ao.nn.quantized.EmbeddingBag`,
 * which sums whatever `mode` says; here a layer made from a float one folds as that one did.
 */
export class EmbeddingBag extends QuantizedTable<[Tensor, (Tensor | null)?, (Tensor | null)?]> {
  readonly mode: 'sum' | 'mean' | 'max';
  readonly includeLastOffset: boolean;

  constructor(numEmbeddings: number, embeddingDim: number, options: QuantizedEmbeddingBagOptions = {}) {
    super(numEmbeddings, embeddingDim, options);
    this.mode = options.mode ?? 'sum';
    this.includeLastOffset = options.includeLastOffset ?? false;
  }

  static fromFloat(module: FloatEmbeddingBag): EmbeddingBag {
    const weight = quantizedTable(module, module.weight, 'QuantizedEmbeddingBag.fromFloat');
    const { numEmbeddings, embeddingDim, mode, includeLastOffset } = module;
    return new EmbeddingBag(numEmbeddings, embeddingDim, { weight, mode, includeLastOffset });
  }

  override get typeName(): string {
    return 'QuantizedEmbeddingBag';
  }

  forward(indices: Tensor, offsets: Tensor | null = null, perSampleWeights: Tensor | null = null): Tensor {
    const { mode, includeLastOffset } = this;
    return embeddingBag(indices, this.table, offsets, { mode, includeLastOffset, perSampleWeights });
  }
}
