import type { AnyModule } from '../../../nn/module.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { linearOf, PackedLinear } from '../quantized/linear.ts';
import { observeWeight, plainBias, quantizeWeight } from '../weights.ts';

/**
 * Linear layer with int8 weights and float tensors in and out: each call finds the range of its input, quantizes it,
 * multiplies in integers and gives floats back. Source: `torch.ao.nn.quantized.dynamic.Linear`.
 *
 * @example
 * const small = quantizeDynamic(model, [Linear]);
 */
export class Linear extends PackedLinear {
  override get typeName(): string {
    return 'DynamicQuantizedLinear';
  }

  /** Quantizes the weight of a float linear layer that has a dynamic qconfig. */
  static fromFloat(module: AnyModule): Linear {
    const float = linearOf(module);
    const q = new this(float.inFeatures, float.outFeatures, { bias: float.bias !== null });
    const fn = `${q.typeName}.fromFloat`;
    q.setWeightBias(
      quantizeWeight(float.weight, observeWeight(module, float.weight, fn), fn),
      plainBias(float.bias),
    );
    return q;
  }

  forward(x: Tensor): Tensor {
    return dispatch('quantized::linear_dynamic', x, this.packed, false);
  }

  override extraRepr(): string {
    const weight = this.weight();
    return `in_features=${this.inFeatures}, out_features=${this.outFeatures}, dtype=torch.${weight.dtype}, qscheme=torch.${weight.qscheme()}`;
  }
}

/** {@link Linear} followed by a relu. Source: `torch.ao.nn.intrinsic.quantized.dynamic.LinearReLU`. */
export class LinearReLU extends Linear {
  override get typeName(): string {
    return 'DynamicQuantizedLinearReLU';
  }

  override forward(x: Tensor): Tensor {
    return dispatch('quantized::linear_relu_dynamic', x, this.packed, false);
  }
}
