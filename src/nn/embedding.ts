import { ArgumentError, ShapeError } from '../core/errors.ts';
import { dispatch } from '../ops/dispatch.ts';
import { embeddingBag } from '../ops/functions/layer/embedding.ts';
import { zeros } from '../tensor/creation.ts';
import { formatShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import * as init from './init.ts';
import { Module } from './module.ts';
import { Parameter } from './parameter.ts';

/** Options of {@link Embedding}. */
export interface EmbeddingOptions {
  /** A row that starts at zero and gets no gradient; negative counts from the end. */
  readonly paddingIdx?: number | null;
  /** Rows to start from, instead of normal random numbers; used without copying. */
  readonly weight?: Tensor;
}

/**
 * Looks rows up in a table: int64 indices of any shape → [*, embeddingDim]. `weight` is
 * [numEmbeddings, embeddingDim]. Source: `torch.nn.Embedding`.
 *
 * @example
 * new Embedding(10, 3)(tensor([[1, 2, 4]], { dtype: 'int64' })).shape; // [1, 3, 3]
 */
export class Embedding extends Module {
  readonly numEmbeddings: number;
  readonly embeddingDim: number;
  readonly paddingIdx: number | null;
  weight: Parameter;

  constructor(numEmbeddings: number, embeddingDim: number, options: EmbeddingOptions = {}) {
    super();
    this.numEmbeddings = numEmbeddings;
    this.embeddingDim = embeddingDim;
    this.paddingIdx = rowIndex(options.paddingIdx ?? null, numEmbeddings);
    this.weight = tableOf(options.weight, numEmbeddings, embeddingDim, 'Embedding');
    if (!options.weight) this.resetParameters();
  }

  /** An embedding of given rows, frozen unless told otherwise. Source: `torch.nn.Embedding.from_pretrained`. */
  static fromPretrained(
    weight: Tensor,
    options: { readonly freeze?: boolean; readonly paddingIdx?: number | null } = {},
  ): Embedding {
    const made = new Embedding(weight.shape[0], weight.shape[1], { paddingIdx: options.paddingIdx, weight });
    made.weight.requiresGrad = !(options.freeze ?? true);
    return made;
  }

  /** Standard normal rows; the padding row zero. */
  resetParameters(): void {
    init.normal_(this.weight);
    if (this.paddingIdx !== null)
      this.weight.storage.fill(
        0,
        this.paddingIdx * this.embeddingDim,
        (this.paddingIdx + 1) * this.embeddingDim,
      );
  }

  forward(indices: Tensor): Tensor {
    return dispatch('embedding', indices, this.weight, this.paddingIdx);
  }

  override extraRepr(): string {
    const padding = this.paddingIdx === null ? '' : `, padding_idx=${this.paddingIdx}`;
    return `${this.numEmbeddings}, ${this.embeddingDim}${padding}`;
  }
}

/** Options of {@link EmbeddingBag}. */
export interface EmbeddingBagOptions {
  /** How a bag's rows are folded; `mean` where not given. */
  readonly mode?: 'sum' | 'mean' | 'max';
  /** `offsets` ends with the number of indices, instead of leaving that implied. */
  readonly includeLastOffset?: boolean;
  /** Rows to start from, instead of normal random numbers; used without copying. */
  readonly weight?: Tensor;
}

/**
 * Looks rows up and folds them by bags, without keeping the rows: indices [bags, n], or a flat list with `offsets`
 * where each bag begins → [bags, embeddingDim]. An empty bag gives zeros. `perSampleWeights` scale the rows (mode `sum`).
 * Source: `torch.nn.EmbeddingBag`.
 *
 * @example
 * new EmbeddingBag(10, 3, { mode: 'sum' })(tensor([1, 2, 4, 5], { dtype: 'int64' }), tensor([0, 3], { dtype: 'int64' }));
 */
export class EmbeddingBag extends Module<[Tensor, (Tensor | null)?, (Tensor | null)?]> {
  readonly numEmbeddings: number;
  readonly embeddingDim: number;
  readonly mode: 'sum' | 'mean' | 'max';
  readonly includeLastOffset: boolean;
  weight: Parameter;

  constructor(numEmbeddings: number, embeddingDim: number, options: EmbeddingBagOptions = {}) {
    super();
    this.numEmbeddings = numEmbeddings;
    this.embeddingDim = embeddingDim;
    this.mode = options.mode ?? 'mean';
    this.includeLastOffset = options.includeLastOffset ?? false;
    this.weight = tableOf(options.weight, numEmbeddings, embeddingDim, 'EmbeddingBag');
    if (!options.weight) this.resetParameters();
  }

  /** A bag over given rows, frozen unless told otherwise. Source: `torch.nn.EmbeddingBag.from_pretrained`. */
  static fromPretrained(
    weight: Tensor,
    options: { readonly freeze?: boolean; readonly mode?: 'sum' | 'mean' | 'max' } = {},
  ): EmbeddingBag {
    const made = new EmbeddingBag(weight.shape[0], weight.shape[1], { mode: options.mode, weight });
    made.weight.requiresGrad = !(options.freeze ?? true);
    return made;
  }

  /** Standard normal rows. */
  resetParameters(): void {
    init.normal_(this.weight);
  }

  forward(indices: Tensor, offsets: Tensor | null = null, perSampleWeights: Tensor | null = null): Tensor {
    const { mode, includeLastOffset } = this;
    return embeddingBag(indices, this.weight, offsets, { mode, includeLastOffset, perSampleWeights });
  }

  override extraRepr(): string {
    return `${this.numEmbeddings}, ${this.embeddingDim}, mode=${this.mode}`;
  }
}

function rowIndex(index: number | null, rows: number): number | null {
  if (index === null) return null;
  const at = index < 0 ? index + rows : index;
  if (Number.isInteger(at) && at >= 0 && at < rows) return at;
  throw new ArgumentError({
    fn: 'Embedding',
    argument: 'paddingIdx',
    expected: `a row from ${-rows} to ${rows - 1}`,
    got: String(index),
  });
}

function tableOf(given: Tensor | undefined, rows: number, columns: number, fn: string): Parameter {
  if (!given) return new Parameter(zeros([rows, columns]));
  if (given.ndim !== 2 || given.shape[0] !== rows || given.shape[1] !== columns) {
    throw new ShapeError({
      fn,
      argument: 'weight',
      expected: formatShape([rows, columns]),
      got: formatShape(given.shape),
    });
  }
  return given instanceof Parameter ? given : new Parameter(given);
}
