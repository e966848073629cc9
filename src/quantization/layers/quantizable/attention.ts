import {
  MultiheadAttention as FloatMultiheadAttention,
  Linear,
  type MultiheadAttentionOptions,
} from '../../../nn/index.ts';
import type { AnyModule, Module, StateLoader } from '../../../nn/module.ts';
import { Parameter } from '../../../nn/parameter.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import { dropout } from '../../../ops/functions/layer/dropout.ts';
import { noGrad } from '../../../ops/grad-mode.ts';
import { zeros } from '../../../tensor/creation.ts';
import type { QuantizedDType } from '../../../tensor/dtype.ts';
import type { StateDict } from '../../../tensor/state.ts';
import { Tensor } from '../../../tensor/tensor.ts';
import { standAlong } from '../../fake-quantize/integer-evaluation.ts';
import { FloatFunctional } from '../../float-functional.ts';
import { MinMaxObserver } from '../../observers/min-max.ts';
import { DeQuantStub, QuantStub } from '../../stubs.ts';
import { quantizeWeight } from '../weights.ts';

/**
 * Attention of several heads for static quantization: the projections are linear layers of their own that are observed
 * one by one; scores, softmax and the weighted sum stay float between stubs. `prepare` puts it in the place of every
 * MultiheadAttention with a qconfig, `convert` makes an `nn.quantized.MultiheadAttention` of it. Takes and gives what the
 * float layer does; the packed projection of the float layer stays in the state dict unused, as in PyTorch.
 * Source: `torch.ao.nn.quantizable.MultiheadAttention`, whose mistakes with `batch_first` are not copied.
 *
 * @example
 * const attention = new nn.quantizable.MultiheadAttention(64, 8);
 * const [out, weights] = attention(x, x, x);
 */
export class MultiheadAttention extends FloatMultiheadAttention {
  linear_Q: Module;
  linear_K: Module;
  linear_V: Module;
  q_scaling_product: FloatFunctional;
  quant_attn_output: Module;
  quant_attn_output_weights: Module;
  dequant_q: Module;
  dequant_k: Module;
  dequant_v: Module;

  constructor(embedDim: number, numHeads: number, options: MultiheadAttentionOptions = {}) {
    super(embedDim, numHeads, options);
    const bias = options.bias ?? true;
    this.linear_Q = new Linear(embedDim, embedDim, { bias });
    this.linear_K = new Linear(this.kdim, embedDim, { bias });
    this.linear_V = new Linear(this.vdim, embedDim, { bias });
    this.out_proj = new Linear(embedDim, embedDim, { bias });
    this.q_scaling_product = new FloatFunctional();
    this.quant_attn_output = new QuantStub();
    this.quant_attn_output_weights = new QuantStub();
    this.dequant_q = new DeQuantStub();
    this.dequant_k = new DeQuantStub();
    this.dequant_v = new DeQuantStub();
  }

  override get typeName(): string {
    return 'QuantizableMultiheadAttention';
  }

  /** The observable form of a float attention, with its weights and qconfig, in evaluation mode. */
  static fromFloat(module: FloatMultiheadAttention): MultiheadAttention {
    const { embedDim, numHeads, kdim, vdim, batchFirst, addZeroAttn, inProjBias } = module;
    const attention = new MultiheadAttention(embedDim, numHeads, {
      dropout: module.dropout,
      bias: inProjBias !== null,
      addBiasKv: module.biasK !== null,
      addZeroAttn,
      kdim,
      vdim,
      batchFirst,
    });
    attention.biasK = module.biasK;
    attention.biasV = module.biasV;
    attention.qconfig = module.qconfig;
    const slices = (packed: Tensor): Parameter[] =>
      noGrad(() => dispatch('chunk', packed, 3, 0).map((part) => new Parameter(dispatch('clone', part))));
    const weights = module.inProjWeight
      ? slices(module.inProjWeight)
      : ([module.qProjWeight, module.kProjWeight, module.vProjWeight] as Parameter[]);
    const biases = inProjBias ? slices(inProjBias) : [null, null, null];
    const linears = [attention.linear_Q, attention.linear_K, attention.linear_V] as Linear[];
    for (const [i, linear] of linears.entries()) {
      linear.weight = weights[i];
      linear.bias = biases[i];
    }
    const out = attention.out_proj;
    out.weight = module.out_proj.weight;
    out.bias = module.out_proj.bias;
    return attention.eval();
  }

  override projectSame(x: Tensor): Tensor[] {
    return this.projectEach([x, x, x]);
  }

  override projectEach([query, key, value]: readonly Tensor[]): Tensor[] {
    const q = this.q_scaling_product.mulScalar(this.linear_Q(query), 1 / Math.sqrt(this.headDim));
    return [q, this.linear_K(key), this.linear_V(value)];
  }

  override attend(
    [q, key, value]: readonly Tensor[],
    keyPadding: Tensor | null,
    attnMask: Tensor | null,
  ): [Tensor, Tensor] {
    const { numHeads, headDim, embedDim, biasK, biasV } = this;
    const [target, batch] = q.shape;
    const source = key.shape[0];
    const extend = (x: Tensor, bias: Tensor | null): Tensor => {
      const row = (b: Tensor): Tensor => dispatch('expand', b, [1, batch, embedDim]);
      const wide = bias
        ? dispatch('cat', [x, standAlong(row(bias), x, () => row(quantizeBias(bias)))], 0)
        : x;
      return this.addZeroAttn ? dispatch('cat', [wide, zerosLikeRow(wide)], 0) : wide;
    };
    const heads = (x: Tensor): Tensor => {
      const rows = dispatch('contiguous', x, 'contiguous');
      return dispatch('transpose', dispatch('reshape', rows, [x.shape[0], batch * numHeads, headDim]), 0, 1);
    };
    const k = extend(key, biasK);
    const v = extend(value, biasV);
    const [queries, keys, values] = [
      this.dequant_q(heads(q)),
      this.dequant_k(heads(k)),
      this.dequant_v(heads(v)),
    ];
    let scores = dispatch('bmm', queries, dispatch('transpose', keys, 1, 2));
    const extra = k.shape[0] - source;
    const mask = this.additiveMask(keyPadding, attnMask, batch, source, extra, 'float32');
    if (mask) scores = dispatch('add', scores, mask, 1);
    const weights = dropout(dispatch('softmax', scores, 2), this.dropout, this.training);
    const mixed = dispatch('transpose', dispatch('bmm', weights, values), 0, 1);
    const out = this.quant_attn_output(dispatch('reshape', mixed, [target, batch, embedDim]));
    return [this.out_proj(out), this.quant_attn_output_weights(weights)];
  }
}

/** One time step of zeros on the grid of `x`. */
function zerosLikeRow(x: Tensor): Tensor {
  const row = zeros([1, ...x.shape.slice(1)]);
  const quantized = (q: Tensor): Tensor =>
    dispatch('quantizePerTensor', row, q.qScale(), q.qZeroPoint(), q.dtype as QuantizedDType);
  return x.isQuantized ? quantized(x) : standAlong(row, x, quantized);
}

/**
 * {@link MultiheadAttention} with its parts converted: quantized tensors in and out, the returned weights quantized too.
 * Learned extra keys and values become quint8 and join on the grid of the projected ones.
 * Source: `torch.ao.nn.quantized.MultiheadAttention`, which takes the grid of `bias_v` from `bias_k` by mistake and leaves
 * both out of the state dict; here each has its own, and both are saved.
 */
export class QuantizedMultiheadAttention extends MultiheadAttention {
  override get typeName(): string {
    return 'QuantizedMultiheadAttention';
  }

  /** Makes an observed attention whose parts were converted already a quantized one: the same object under this class. */
  static fromObserved(module: AnyModule): QuantizedMultiheadAttention {
    const attention: QuantizedMultiheadAttention = Object.setPrototypeOf(
      module,
      QuantizedMultiheadAttention.prototype,
    );
    attention.biasK &&= quantizeBias(attention.biasK);
    attention.biasV &&= quantizeBias(attention.biasV);
    return attention;
  }

  override saveToStateDict(into: StateDict, prefix: string): void {
    super.saveToStateDict(into, prefix);
    if (this.biasK) into.set(`${prefix}bias_k`, this.biasK);
    if (this.biasV) into.set(`${prefix}bias_v`, this.biasV);
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    super.loadFromStateDict(loader, prefix);
    for (const [field, name] of [
      ['biasK', 'bias_k'],
      ['biasV', 'bias_v'],
    ] as const) {
      if (!this[field]) continue;
      const key = prefix + name;
      const value = loader.take(key);
      if (value === undefined) continue;
      if (!(value instanceof Tensor) || value.dtype !== 'quint8' || value.numel !== this.embedDim)
        loader.mismatch(`${key} is not a quint8 tensor of ${this.embedDim} elements`);
      else
        loader.later(() => {
          this[field] = value as Parameter;
        });
    }
  }
}

/** A learned key or value as quint8. It takes a parameter's place, but is none. */
function quantizeBias(bias: Tensor): Parameter {
  const observer = new MinMaxObserver({ dtype: 'quint8' });
  return noGrad(() => {
    observer(bias);
    return quantizeWeight(bias, observer, 'QuantizedMultiheadAttention.fromObserved');
  }) as Parameter;
}
