import type { Linear as FloatLinear } from '../../../nn/index.ts';
import type { AnyModule } from '../../../nn/module.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import { PackedWeights } from '../../../ops/quantized/packed.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { PackedLinear } from '../quantized/linear.ts';
import { firstLayer, layerParameters } from '../weights.ts';
import { multiply, type PackedParams, packFloatParams, packParams } from './packed-params.ts';

/**
 * Linear layer with int8 weights and float tensors in and out: each call finds the range of its input, quantizes it,
 * multiplies in integers and gives floats back. With float16 weights (`float16DynamicQConfig`) it multiplies in float32.
 * Source: `torch.ao.nn.quantized.dynamic.Linear`.
 *
 * @example
 * const small = quantizeDynamic(model, [Linear]);
 */
export class Linear extends PackedLinear<PackedParams> {
  override get typeName(): string {
    return 'DynamicQuantizedLinear';
  }

  /** Packs the weight of a float linear layer that has a dynamic qconfig. */
  static fromFloat(module: AnyModule): Linear {
    const float = firstLayer(module) as FloatLinear;
    const q = new this(float.inFeatures, float.outFeatures, { bias: float.bias !== null });
    const { weight, bias } = layerParameters(module);
    q.packed = packFloatParams(module, weight, bias, `${q.typeName}.fromFloat`);
    return q;
  }

  pack(weight: Tensor, bias: Tensor | null): PackedParams {
    return packParams(weight, bias);
  }

  override get takesFloatWeights(): boolean {
    return true;
  }

  forward(x: Tensor): Tensor {
    return multiply(x, this.packed);
  }

  override extraRepr(): string {
    const weight = this.weight();
    const scheme = weight.isQuantized ? `, qscheme=torch.${weight.qscheme()}` : '';
    return `in_features=${this.inFeatures}, out_features=${this.outFeatures}, dtype=torch.${weight.dtype}${scheme}`;
  }
}

/** {@link Linear} followed by a relu. Source: `torch.ao.nn.intrinsic.quantized.dynamic.LinearReLU`. */
export class LinearReLU extends Linear {
  override get typeName(): string {
    return 'DynamicQuantizedLinearReLU';
  }

  override forward(x: Tensor): Tensor {
    const { packed } = this;
    return packed instanceof PackedWeights
      ? dispatch('quantized::linear_relu_dynamic', x, packed, false)
      : dispatch('quantized::linear_relu_dynamic_fp16', x, packed);
  }
}
