import type { AnyModule } from '../../../nn/module.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import * as quantized from '../quantized/conv.ts';

/**
 * 1-d convolution with int8 weights, float tensors [N, C, L] in and out: each call finds the range of its input and
 * quantizes it; the result is not rounded. (PyTorch's is, with the scale of the input, which cuts off whatever exceeds
 * the input's range; it advises against its use. Rounded likewise, ours is the same to the integer.)
 * Not among the defaults of `quantizeDynamic`: name the class to have it.
 * Source: `torch.ao.nn.quantized.dynamic.Conv1d`.
 *
 * @example
 * const small = quantizeDynamic(model, [nn.Conv1d, nn.Linear]);
 */
export class Conv1d extends quantized.Conv1d {
  /** Packs the weight of a float convolution that has a dynamic qconfig. */
  static override fromFloat(module: AnyModule): Conv1d {
    return quantized.adoptWeights((f, o) => new Conv1d(f.inChannels, f.outChannels, f.kernelSize, o), module);
  }

  override get typeName(): string {
    return 'DynamicQuantizedConv1d';
  }

  override forward(x: Tensor): Tensor {
    return dispatch('quantized::conv1d_dynamic', this.padded(x), this.packed, false);
  }
}

/**
 * 2-d convolution with int8 weights, float tensors [N, C, H, W] in and out; see {@link Conv1d}.
 * Source: `torch.ao.nn.quantized.dynamic.Conv2d`.
 */
export class Conv2d extends quantized.Conv2d {
  /** Packs the weight of a float convolution that has a dynamic qconfig. */
  static override fromFloat(module: AnyModule): Conv2d {
    return quantized.adoptWeights((f, o) => new Conv2d(f.inChannels, f.outChannels, f.kernelSize, o), module);
  }

  override get typeName(): string {
    return 'DynamicQuantizedConv2d';
  }

  override forward(x: Tensor): Tensor {
    return dispatch('quantized::conv2d_dynamic', this.padded(x), this.packed, false);
  }
}

/**
 * 3-d convolution with int8 weights, float tensors [N, C, D, H, W] in and out; see {@link Conv1d}.
 * Source: `torch.ao.nn.quantized.dynamic.Conv3d`.
 */
export class Conv3d extends quantized.Conv3d {
  /** Packs the weight of a float convolution that has a dynamic qconfig. */
  static override fromFloat(module: AnyModule): Conv3d {
    return quantized.adoptWeights((f, o) => new Conv3d(f.inChannels, f.outChannels, f.kernelSize, o), module);
  }

  override get typeName(): string {
    return 'DynamicQuantizedConv3d';
  }

  override forward(x: Tensor): Tensor {
    return dispatch('quantized::conv3d_dynamic', this.padded(x), this.packed, false);
  }
}
