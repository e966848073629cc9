import type { Linear as FloatLinear } from '../../../nn/index.ts';
import type { AnyModule, StateLoader } from '../../../nn/module.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import { noGrad } from '../../../ops/grad-mode.ts';
import { PackedWeights } from '../../../ops/quantized/packed.ts';
import { zeros } from '../../../tensor/creation.ts';
import { pythonFloat } from '../../../tensor/format.ts';
import type { StateDict } from '../../../tensor/state.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { observedQParams } from '../../observed-qparams.ts';
import { loadOutputQParams, readWeightAndBias, saveOutputQParams } from '../state.ts';
import { firstLayer, layerParameters, observeWeight, plainBias, quantizeWeight } from '../weights.ts';
import { PackedLayer } from './packed-layer.ts';

/** State that the static and the dynamic linear layer have in common; `P` is the form their weights are packed in. */
export abstract class PackedLinear<
  P extends { readonly weight: Tensor; readonly bias: Tensor | null },
> extends PackedLayer<P> {
  readonly inFeatures: number;
  readonly outFeatures: number;

  constructor(inFeatures: number, outFeatures: number, options: { readonly bias?: boolean } = {}) {
    super();
    this.inFeatures = inFeatures;
    this.outFeatures = outFeatures;
    const weight = noGrad(() =>
      dispatch('quantizePerTensor', zeros([outFeatures, inFeatures]), 1, 0, 'qint8'),
    );
    this.packed = this.pack(weight, options.bias === false ? null : zeros([outFeatures]));
  }

  /** Whether weights may be float (and become float16). */
  get takesFloatWeights(): boolean {
    return false;
  }

  override saveToStateDict(into: StateDict, prefix: string): void {
    saveOutputQParams(this, into, prefix);
    into.set(`${prefix}_packed_params.dtype`, this.packed.weight.dtype);
    into.set(`${prefix}_packed_params._packed_params`, [this.packed.weight, this.packed.bias]);
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    loadOutputQParams(this, loader, prefix);
    loader.take(`${prefix}_packed_params.dtype`);
    const key = `${prefix}_packed_params._packed_params`;
    const pair = loader.take(key);
    if (pair === undefined) return;
    if (!Array.isArray(pair)) loader.mismatch(`${key} is not a (weight, bias) pair`);
    else {
      readWeightAndBias(
        loader,
        key,
        pair[0],
        pair[1],
        [this.outFeatures, this.inFeatures],
        (w, b) => this.setWeightBias(w, b),
        this.takesFloatWeights,
      );
    }
  }
}

/**
 * Linear layer on quantized tensors: quint8 (or qint8) in and out, qint8 weights. Input [..., inFeatures], output
 * [..., outFeatures]. Source: `torch.ao.nn.quantized.Linear`.
 */
export class Linear extends PackedLinear<PackedWeights> {
  override get typeName(): string {
    return 'QuantizedLinear';
  }

  /** Quantizes an observed float (or qat) linear layer. */
  static fromFloat(module: AnyModule): Linear {
    const float = firstLayer(module) as FloatLinear;
    const q = new this(float.inFeatures, float.outFeatures, { bias: float.bias !== null });
    const fn = `${q.typeName}.fromFloat`;
    const { scale, zeroPoint } = observedQParams(module.activationPostProcess, fn);
    q.scale = scale;
    q.zeroPoint = zeroPoint;
    const { weight, bias } = layerParameters(module);
    q.setWeightBias(quantizeWeight(weight, observeWeight(module, weight, fn), fn), plainBias(bias));
    return q;
  }

  pack(weight: Tensor, bias: Tensor | null): PackedWeights {
    return new PackedWeights(weight, bias, null);
  }

  forward(x: Tensor): Tensor {
    return dispatch('quantized::linear', x, this.packed, this.scale, this.zeroPoint);
  }

  override extraRepr(): string {
    const { inFeatures, outFeatures, scale, zeroPoint } = this;
    return `in_features=${inFeatures}, out_features=${outFeatures}, scale=${pythonFloat(scale)}, zero_point=${zeroPoint}, qscheme=torch.${this.weight().qscheme()}`;
  }
}

/** {@link Linear} whose result is clamped at zero. Source: `torch.ao.nn.intrinsic.quantized.LinearReLU`. */
export class LinearReLU extends Linear {
  override get typeName(): string {
    return 'QuantizedLinearReLU';
  }

  override forward(x: Tensor): Tensor {
    return dispatch('quantized::linear_relu', x, this.packed, this.scale, this.zeroPoint);
  }
}
