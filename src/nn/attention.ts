import { ArgumentError, ShapeError } from '../core/errors.ts';
import { dispatch } from '../ops/dispatch.ts';
import { dropout } from '../ops/functions/layer/dropout.ts';
import { zeros } from '../tensor/creation.ts';
import type { PlainDType } from '../tensor/dtype.ts';
import { formatShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import * as init from './init.ts';
import { NonDynamicallyQuantizableLinear } from './linear.ts';
import { Module } from './module.ts';
import { Parameter } from './parameter.ts';

/** Options of {@link MultiheadAttention}. */
export interface MultiheadAttentionOptions {
  /** Probability of dropping attention weights while training; 0 where not given. */
  readonly dropout?: number;
  /** Learn additive biases of the projections; true where not given. */
  readonly bias?: boolean;
  /** Add a learned key and value to the sequence. */
  readonly addBiasKv?: boolean;
  /** Add a key and value of zeros to the sequence. */
  readonly addZeroAttn?: boolean;
  /** Features of the keys; `embedDim` where not given. */
  readonly kdim?: number;
  /** Features of the values; `embedDim` where not given. */
  readonly vdim?: number;
  /** Inputs and outputs are [batch, time, features] rather than [time, batch, features]. */
  readonly batchFirst?: boolean;
}

/** Options of a call of {@link MultiheadAttention}. A boolean mask is true where attention is forbidden; a float one is added. */
export interface AttentionOptions {
  /** [batch, source] (or [source]): keys to leave out. */
  readonly keyPaddingMask?: Tensor | null;
  /** [target, source], or [batch · heads, target, source]. */
  readonly attnMask?: Tensor | null;
  /** Return the attention weights as well; true where not given. */
  readonly needWeights?: boolean;
  /** Average the returned weights over heads; true where not given. */
  readonly averageAttnWeights?: boolean;
}

/**
 * Attention of several heads: softmax(q·kᵀ / √headDim)·v on projections of query, key and value, projected back.
 * Query [target, batch, embedDim], key and value [source, batch, *] (or without batch) → output like the query, and the
 * weights [batch, target, source] or null. Source: `torch.nn.MultiheadAttention`; Vaswani et al. (2017).
 *
 * @example
 * const attention = new MultiheadAttention(64, 8, { batchFirst: true });
 * const [out, weights] = attention(x, x, x); // [2, 10, 64] and [2, 10, 10]
 */
export class MultiheadAttention extends Module<
  [Tensor, Tensor, Tensor, AttentionOptions?],
  [Tensor, Tensor | null]
> {
  static override readonly stateNames: Readonly<Record<string, string>> = {
    qProjWeight: 'q_proj_weight',
    kProjWeight: 'k_proj_weight',
    vProjWeight: 'v_proj_weight',
    inProjWeight: 'in_proj_weight',
    inProjBias: 'in_proj_bias',
    biasK: 'bias_k',
    biasV: 'bias_v',
  };

  readonly embedDim: number;
  readonly numHeads: number;
  readonly headDim: number;
  readonly kdim: number;
  readonly vdim: number;
  dropout: number;
  readonly batchFirst: boolean;
  readonly addZeroAttn: boolean;
  qProjWeight: Parameter | null = null;
  kProjWeight: Parameter | null = null;
  vProjWeight: Parameter | null = null;
  inProjWeight: Parameter | null = null;
  inProjBias: Parameter | null;
  biasK: Parameter | null;
  biasV: Parameter | null;
  out_proj: NonDynamicallyQuantizableLinear;

  constructor(embedDim: number, numHeads: number, options: MultiheadAttentionOptions = {}) {
    super();
    if (embedDim % numHeads !== 0) {
      throw new ArgumentError({
        fn: 'MultiheadAttention',
        argument: 'embedDim',
        expected: `a multiple of numHeads = ${numHeads}`,
        got: String(embedDim),
      });
    }
    const bias = options.bias ?? true;
    this.embedDim = embedDim;
    this.numHeads = numHeads;
    this.headDim = embedDim / numHeads;
    this.kdim = options.kdim ?? embedDim;
    this.vdim = options.vdim ?? embedDim;
    this.dropout = options.dropout ?? 0;
    this.batchFirst = options.batchFirst ?? false;
    this.addZeroAttn = options.addZeroAttn ?? false;
    if (this.kdim === embedDim && this.vdim === embedDim) {
      this.inProjWeight = new Parameter(zeros([3 * embedDim, embedDim]));
    } else {
      this.qProjWeight = new Parameter(zeros([embedDim, embedDim]));
      this.kProjWeight = new Parameter(zeros([embedDim, this.kdim]));
      this.vProjWeight = new Parameter(zeros([embedDim, this.vdim]));
    }
    this.inProjBias = bias ? new Parameter(zeros([3 * embedDim])) : null;
    this.out_proj = new NonDynamicallyQuantizableLinear(embedDim, embedDim, { bias });
    this.biasK = options.addBiasKv ? new Parameter(zeros([1, 1, embedDim])) : null;
    this.biasV = options.addBiasKv ? new Parameter(zeros([1, 1, embedDim])) : null;
    this.resetParameters();
  }

  /** Draws the projections anew (Glorot), biases zero. */
  resetParameters(): void {
    for (const weight of [this.inProjWeight, this.qProjWeight, this.kProjWeight, this.vProjWeight]) {
      if (weight) init.xavierUniform_(weight);
    }
    if (this.inProjBias) init.zeros_(this.inProjBias);
    if (this.out_proj.bias) init.zeros_(this.out_proj.bias);
    if (this.biasK) init.xavierNormal_(this.biasK);
    if (this.biasV) init.xavierNormal_(this.biasV);
  }

  forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    options: AttentionOptions = {},
  ): [Tensor, Tensor | null] {
    const batched = query.ndim === 3;
    this.checkInputs(query, key, value);
    const same = query === key && key === value;
    const timeFirst = (x: Tensor): Tensor => {
      if (!batched) return dispatch('unsqueeze', x, 1);
      return this.batchFirst ? dispatch('transpose', x, 0, 1) : x;
    };
    const q0 = timeFirst(query);
    const projected = same ? this.projectSame(q0) : this.projectEach([q0, timeFirst(key), timeFirst(value)]);
    const padding = options.keyPaddingMask ?? null;
    const [out, weights] = this.attend(
      projected,
      !batched && padding ? dispatch('unsqueeze', padding, 0) : padding,
      options.attnMask ?? null,
    );
    const shown = options.needWeights === false ? null : this.shownWeights(weights, q0.shape[1], options);
    if (!batched) return [dispatch('squeeze', out, 1), shown && dispatch('squeeze', shown, 0)];
    return [this.batchFirst ? dispatch('transpose', out, 0, 1) : out, shown];
  }

  checkInputs(query: Tensor, key: Tensor, value: Tensor): void {
    const { embedDim, kdim, vdim } = this;
    const fits =
      (query.ndim === 2 || query.ndim === 3) &&
      [key, value].every((x) => x.ndim === query.ndim) &&
      query.size(-1) === embedDim &&
      key.size(-1) === kdim &&
      value.size(-1) === vdim &&
      key.shape.slice(0, -1).join() === value.shape.slice(0, -1).join();
    if (fits) return;
    throw new ShapeError({
      fn: 'MultiheadAttention',
      argument: 'query, key, value',
      expected: `2 or 3 dimensions ending in ${embedDim}, ${kdim} and ${vdim}, key and value of the same length`,
      got: [query, key, value].map((x) => formatShape(x.shape)).join(', '),
    });
  }

  /** Query, key and value of self-attention, by one product. */
  projectSame(x: Tensor): Tensor[] {
    if (!this.inProjWeight) return this.projectEach([x, x, x]);
    return dispatch('chunk', dispatch('linear', x, this.inProjWeight, this.inProjBias), 3, 2);
  }

  projectEach(inputs: readonly Tensor[]): Tensor[] {
    const { inProjWeight, inProjBias } = this;
    const weights = inProjWeight
      ? dispatch('chunk', inProjWeight, 3, 0)
      : ([this.qProjWeight, this.kProjWeight, this.vProjWeight] as Tensor[]);
    const biases = inProjBias ? dispatch('chunk', inProjBias, 3, 0) : [null, null, null];
    return inputs.map((x, i) => dispatch('linear', x, weights[i], biases[i]));
  }

  /** Projected q, k, v [time, batch, embedDim] → output [target, batch, embedDim] and weights [batch · heads, target, source]. */
  attend(projected: readonly Tensor[], keyPadding: Tensor | null, attnMask: Tensor | null): [Tensor, Tensor] {
    const { numHeads, headDim, embedDim } = this;
    const [q] = projected;
    let [, k, v] = projected;
    const [target, batch] = q.shape;
    let extra = 0;
    if (this.biasK && this.biasV) {
      k = dispatch('cat', [k, dispatch('expand', this.biasK, [1, batch, embedDim])], 0);
      v = dispatch('cat', [v, dispatch('expand', this.biasV, [1, batch, embedDim])], 0);
      extra++;
    }
    if (this.addZeroAttn) {
      const nothing = zeros([1, batch, embedDim], { dtype: q.dtype as PlainDType });
      k = dispatch('cat', [k, nothing], 0);
      v = dispatch('cat', [v, nothing], 0);
      extra++;
    }
    const heads = (x: Tensor): Tensor =>
      dispatch('transpose', dispatch('reshape', x, [x.shape[0], batch * numHeads, headDim]), 0, 1);
    const scaled = dispatch('div', heads(q), Math.sqrt(headDim));
    let scores = dispatch('bmm', scaled, dispatch('transpose', heads(k), 1, 2));
    const mask = this.additiveMask(
      keyPadding,
      attnMask,
      batch,
      k.shape[0] - extra,
      extra,
      q.dtype as PlainDType,
    );
    if (mask) scores = dispatch('add', scores, mask, 1);
    const weights = dropout(dispatch('softmax', scores, 2), this.dropout, this.training);
    const mixed = dispatch('transpose', dispatch('bmm', weights, heads(v)), 0, 1);
    const out = dispatch('reshape', mixed, [target, batch, embedDim]);
    return [this.out_proj(out), weights];
  }

  /** Both masks as one tensor to add to the scores, broadcastable to [batch · heads, target, source]. */
  additiveMask(
    keyPadding: Tensor | null,
    attnMask: Tensor | null,
    batch: number,
    source: number,
    extra: number,
    dtype: PlainDType,
  ): Tensor | null {
    const additive = (mask: Tensor): Tensor => {
      const wide = extra > 0 ? dispatch('pad', mask, [0, extra], 'constant', 0) : mask;
      if (wide.dtype !== 'bool') return wide;
      return dispatch('maskedFill', zeros(wide.shape, { dtype }), wide, Number.NEGATIVE_INFINITY);
    };
    let mask = attnMask && additive(attnMask.ndim === 2 ? dispatch('unsqueeze', attnMask, 0) : attnMask);
    if (keyPadding) {
      if (keyPadding.shape.join() !== [batch, source].join()) {
        throw new ShapeError({
          fn: 'MultiheadAttention',
          argument: 'keyPaddingMask',
          expected: formatShape([batch, source]),
          got: formatShape(keyPadding.shape),
        });
      }
      const total = source + extra;
      const perHead = dispatch('expand', dispatch('reshape', additive(keyPadding), [batch, 1, 1, total]), [
        batch,
        this.numHeads,
        1,
        total,
      ]);
      const flat = dispatch('reshape', perHead, [batch * this.numHeads, 1, total]);
      mask = mask ? dispatch('add', mask, flat, 1) : flat;
    }
    return mask;
  }

  /** The weights as the caller asked for them. */
  shownWeights(weights: Tensor, batch: number, options: AttentionOptions): Tensor {
    const [, target, source] = weights.shape;
    const perHead = dispatch('reshape', weights, [batch, this.numHeads, target, source]);
    return options.averageAttnWeights === false ? perHead : dispatch('mean', perHead, 1, false);
  }
}
