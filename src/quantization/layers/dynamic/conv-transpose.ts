import type { AnyModule } from '../../../nn/module.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import * as quantized from '../quantized/conv-transpose.ts';

/**
 * 1-d transposed convolution with int8 weights, float tensors [N, C, L] in and out: each call finds the range of its
 * input and quantizes it; the result is not rounded (PyTorch's is, as of its other dynamic convolutions).
 * Not among the defaults of `quantizeDynamic`: name the class to have it.
 * Source: `torch.ao.nn.quantized.dynamic.ConvTranspose1d`.
 */
export class ConvTranspose1d extends quantized.ConvTranspose1d {
  /** Packs the weight of a float transposed convolution that has a dynamic qconfig. */
  static override fromFloat(module: AnyModule): ConvTranspose1d {
    return quantized.adoptTransposedWeights(ConvTranspose1d, module);
  }

  /** PyTorch's own spelling. */
  override get typeName(): string {
    return 'DynamicQuantizedConvTranpose1d';
  }

  override forward(x: Tensor): Tensor {
    return dispatch('quantized::conv_transpose1d_dynamic', x, this.packed, false);
  }
}

/**
 * 2-d transposed convolution with int8 weights, float tensors [N, C, H, W] in and out: each call finds the range of its
 * input and quantizes it; the result is not rounded (PyTorch's is, as of its other dynamic convolutions).
 * Not among the defaults of `quantizeDynamic`: name the class to have it.
 * Source: `torch.ao.nn.quantized.dynamic.ConvTranspose2d`.
 */
export class ConvTranspose2d extends quantized.ConvTranspose2d {
  /** Packs the weight of a float transposed convolution that has a dynamic qconfig. */
  static override fromFloat(module: AnyModule): ConvTranspose2d {
    return quantized.adoptTransposedWeights(ConvTranspose2d, module);
  }

  /** PyTorch's own spelling. */
  override get typeName(): string {
    return 'DynamicQuantizedConvTranpose2d';
  }

  override forward(x: Tensor): Tensor {
    return dispatch('quantized::conv_transpose2d_dynamic', x, this.packed, false);
  }
}

/**
 * 3-d transposed convolution with int8 weights, float tensors [N, C, D, H, W] in and out: each call finds the range of its
 * input and quantizes it; the result is not rounded (PyTorch's is, as of its other dynamic convolutions).
 * Not among the defaults of `quantizeDynamic`: name the class to have it.
 * Source: `torch.ao.nn.quantized.dynamic.ConvTranspose3d`.
 */
export class ConvTranspose3d extends quantized.ConvTranspose3d {
  /** Packs the weight of a float transposed convolution that has a dynamic qconfig. */
  static override fromFloat(module: AnyModule): ConvTranspose3d {
    return quantized.adoptTransposedWeights(ConvTranspose3d, module);
  }

  /** PyTorch's own spelling. */
  override get typeName(): string {
    return 'DynamicQuantizedConvTranpose3d';
  }

  override forward(x: Tensor): Tensor {
    return dispatch('quantized::conv_transpose3d_dynamic', x, this.packed, false);
  }
}
