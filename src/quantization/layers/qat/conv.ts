import {
  type ConvNd,
  type ConvOptions,
  Conv1d as FloatConv1d,
  Conv2d as FloatConv2d,
  Conv3d as FloatConv3d,
  ConvNd as FloatConvNd,
  Parameter,
  ReLU,
} from '../../../nn/index.ts';
import * as intrinsic from '../../../nn/intrinsic/index.ts';
import type { AnyModule } from '../../../nn/module.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import type { ModuleClass } from '../../backend/pattern.ts';
import type { ObserverBase } from '../../observers/observer.ts';
import {
  attachWeightFakeQuant,
  type QatOptions,
  qconfigForTraining,
  weightFakeQuantOf,
} from './weight-fake-quant.ts';

/** Options of the convolutions of quantization-aware training: a float convolution's, and the qconfig. */
export interface QatConvOptions extends ConvOptions, QatOptions {}

type Size = number | readonly number[];

/**
 * What the convolutions of quantization-aware training share: a float convolution whose weight is fake-quantized on
 * every call. Parameters are the float layer's own, so an optimizer that knows them goes on working.
 * Source: `torch.ao.nn.qat.modules.conv._ConvNd`.
 */
export abstract class QatConvNd extends FloatConvNd {
  constructor(
    rank: number,
    inChannels: number,
    outChannels: number,
    kernelSize: Size,
    options: QatConvOptions,
  ) {
    super(rank, inChannels, outChannels, kernelSize, options);
    attachWeightFakeQuant(this, options);
  }

  /** The fake-quantize of the weight. */
  get weightFakeQuant(): ObserverBase {
    return weightFakeQuantOf(this);
  }

  /** The float layer with the trained weights. Source: `to_float`. */
  abstract toFloat(): AnyModule;

  override forward(x: Tensor): Tensor {
    return this.convForward(x, this.weightFakeQuant(this.weight), this.bias);
  }
}

/** A {@link ConvNd}'s options, for another convolution like it. */
export function convOptions(conv: ConvNd): ConvOptions {
  const { stride, padding, dilation, groups, paddingMode } = conv;
  return { stride, padding, dilation, groups, paddingMode, bias: conv.bias !== null };
}

/** A float convolution with the geometry of `conv` and the given weight and bias, in its mode. */
export function floatConv<C extends ConvNd>(
  float: new (inChannels: number, outChannels: number, kernelSize: Size, options: ConvOptions) => C,
  conv: ConvNd,
  weight: Tensor = conv.weight,
  bias: Tensor | null = conv.bias,
): C {
  const options = { ...convOptions(conv), bias: bias !== null };
  const made = new float(conv.inChannels, conv.outChannels, conv.kernelSize, options);
  made.weight = new Parameter(weight);
  if (bias) made.bias = new Parameter(bias);
  return made.train(conv.training);
}

/** Makes the training form of a float convolution, or of one fused with its relu, around the same parameters. */
function adopt<Q extends QatConvNd>(
  trained: new (inChannels: number, outChannels: number, kernelSize: Size, options: QatConvOptions) => Q,
  float: ModuleClass,
  module: AnyModule,
): Q {
  const qconfig = qconfigForTraining(module, float, `qat.${trained.name}.fromFloat`);
  const conv = (module instanceof intrinsic.FusedModule ? module.children()[0] : module) as ConvNd;
  const made = new trained(conv.inChannels, conv.outChannels, conv.kernelSize, {
    ...convOptions(conv),
    qconfig,
  });
  made.weight = conv.weight;
  made.bias = conv.bias;
  return made;
}

/**
 * 1-d convolution with a fake-quantized weight: [N, C, L] float in and out. Source: `torch.ao.nn.qat.Conv1d`.
 *
 * @example
 * const conv = new Conv1d(16, 33, 3, { stride: 2, qconfig: getDefaultQatQConfig() });
 */
export class Conv1d extends QatConvNd {
  constructor(inChannels: number, outChannels: number, kernelSize: Size, options: QatConvOptions) {
    super(1, inChannels, outChannels, kernelSize, options);
  }

  /** Trains on with the parameters of a float module that has a qconfig. */
  static fromFloat(module: AnyModule): Conv1d {
    return adopt(Conv1d, FloatConv1d, module);
  }

  convForward(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
    return FloatConv1d.prototype.convForward.call(this, x, weight, bias);
  }

  toFloat(): AnyModule {
    return floatConv(FloatConv1d, this);
  }
}

/**
 * 2-d convolution with a fake-quantized weight: [N, C, H, W] float in and out. Source: `torch.ao.nn.qat.Conv2d`.
 *
 * @example
 * const conv = new Conv2d(3, 16, 3, { padding: 1, qconfig: getDefaultQatQConfig() });
 */
export class Conv2d extends QatConvNd {
  constructor(inChannels: number, outChannels: number, kernelSize: Size, options: QatConvOptions) {
    super(2, inChannels, outChannels, kernelSize, options);
  }

  /** Trains on with the parameters of a float module that has a qconfig. */
  static fromFloat(module: AnyModule): Conv2d {
    return adopt(Conv2d, FloatConv2d, module);
  }

  convForward(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
    return FloatConv2d.prototype.convForward.call(this, x, weight, bias);
  }

  toFloat(): AnyModule {
    return floatConv(FloatConv2d, this);
  }
}

/**
 * 3-d convolution with a fake-quantized weight: [N, C, D, H, W] float in and out. Source: `torch.ao.nn.qat.Conv3d`.
 *
 * @example
 * const conv = new Conv3d(3, 8, 3, { qconfig: getDefaultQatQConfig() });
 */
export class Conv3d extends QatConvNd {
  constructor(inChannels: number, outChannels: number, kernelSize: Size, options: QatConvOptions) {
    super(3, inChannels, outChannels, kernelSize, options);
  }

  /** Trains on with the parameters of a float module that has a qconfig. */
  static fromFloat(module: AnyModule): Conv3d {
    return adopt(Conv3d, FloatConv3d, module);
  }

  convForward(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
    return FloatConv3d.prototype.convForward.call(this, x, weight, bias);
  }

  toFloat(): AnyModule {
    return floatConv(FloatConv3d, this);
  }
}

/** {@link Conv1d} followed by a relu. Source: `torch.ao.nn.intrinsic.qat.ConvReLU1d`. */
export class ConvReLU1d extends Conv1d {
  /** Trains on with the parameters of a fused float module that has a qconfig. */
  static override fromFloat(module: AnyModule): ConvReLU1d {
    return adopt(ConvReLU1d, intrinsic.ConvReLU1d, module);
  }

  override forward(x: Tensor): Tensor {
    return dispatch('relu', super.forward(x));
  }

  override toFloat(): AnyModule {
    return new intrinsic.ConvReLU1d(floatConv(FloatConv1d, this), new ReLU()).train(this.training);
  }
}

/** {@link Conv2d} followed by a relu. Source: `torch.ao.nn.intrinsic.qat.ConvReLU2d`. */
export class ConvReLU2d extends Conv2d {
  /** Trains on with the parameters of a fused float module that has a qconfig. */
  static override fromFloat(module: AnyModule): ConvReLU2d {
    return adopt(ConvReLU2d, intrinsic.ConvReLU2d, module);
  }

  override forward(x: Tensor): Tensor {
    return dispatch('relu', super.forward(x));
  }

  override toFloat(): AnyModule {
    return new intrinsic.ConvReLU2d(floatConv(FloatConv2d, this), new ReLU()).train(this.training);
  }
}

/** {@link Conv3d} followed by a relu. Source: `torch.ao.nn.intrinsic.qat.ConvReLU3d`. */
export class ConvReLU3d extends Conv3d {
  /** Trains on with the parameters of a fused float module that has a qconfig. */
  static override fromFloat(module: AnyModule): ConvReLU3d {
    return adopt(ConvReLU3d, intrinsic.ConvReLU3d, module);
  }

  override forward(x: Tensor): Tensor {
    return dispatch('relu', super.forward(x));
  }

  override toFloat(): AnyModule {
    return new intrinsic.ConvReLU3d(floatConv(FloatConv3d, this), new ReLU()).train(this.training);
  }
}
