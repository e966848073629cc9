import { Linear as FloatLinear, type LinearOptions, Parameter, ReLU } from '../../../nn/index.ts';
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

/** Options of the linear layers of quantization-aware training: a float layer's, and the qconfig. */
export interface QatLinearOptions extends LinearOptions, QatOptions {}

/**
 * Linear layer with a fake-quantized weight: [*, inFeatures] → [*, outFeatures], float in and out.
 * Source: `torch.ao.nn.qat.Linear`.
 *
 * @example
 * const fc = new Linear(784, 10, { qconfig: getDefaultQatQConfig() });
 */
export class Linear extends FloatLinear {
  constructor(inFeatures: number, outFeatures: number, options: QatLinearOptions) {
    super(inFeatures, outFeatures, options);
    attachWeightFakeQuant(this, options);
  }

  /** Trains on with the parameters of a float module that has a qconfig. */
  static fromFloat(module: AnyModule): Linear {
    return adopt(Linear, FloatLinear, module);
  }

  /** The fake-quantize of the weight. */
  get weightFakeQuant(): ObserverBase {
    return weightFakeQuantOf(this);
  }

  override forward(x: Tensor): Tensor {
    return dispatch('linear', x, this.weightFakeQuant(this.weight), this.bias);
  }

  /** The float layer with the trained weights. Source: `to_float`. */
  toFloat(): AnyModule {
    return floatLinear(this);
  }
}

/** {@link Linear} followed by a relu. Source: `torch.ao.nn.intrinsic.qat.LinearReLU`. */
export class LinearReLU extends Linear {
  /** Trains on with the parameters of a fused float module that has a qconfig. */
  static override fromFloat(module: AnyModule): LinearReLU {
    return adopt(LinearReLU, intrinsic.LinearReLU, module);
  }

  override forward(x: Tensor): Tensor {
    return dispatch('relu', super.forward(x));
  }

  override toFloat(): AnyModule {
    return new intrinsic.LinearReLU(floatLinear(this), new ReLU()).train(this.training);
  }
}

/** A float linear layer of the size of `layer` with the given weight and bias, in its mode. */
export function floatLinear(
  layer: FloatLinear,
  weight: Tensor = layer.weight,
  bias: Tensor | null = layer.bias,
): FloatLinear {
  const made = new FloatLinear(layer.inFeatures, layer.outFeatures, { bias: bias !== null });
  made.weight = new Parameter(weight);
  if (bias) made.bias = new Parameter(bias);
  return made.train(layer.training);
}

/** Makes a training form of a float linear layer, or of one fused with its relu, around the same parameters. */
export function adopt<Q extends Linear>(
  trained: new (inFeatures: number, outFeatures: number, options: QatLinearOptions) => Q,
  float: ModuleClass,
  module: AnyModule,
): Q {
  const qconfig = qconfigForTraining(module, float, `qat.${trained.name}.fromFloat`);
  const linear = (module instanceof intrinsic.FusedModule ? module.children()[0] : module) as FloatLinear;
  const { inFeatures, outFeatures, weight, bias } = linear;
  const made = new trained(inFeatures, outFeatures, { bias: bias !== null, qconfig });
  made.weight = weight;
  made.bias = bias;
  return made;
}
