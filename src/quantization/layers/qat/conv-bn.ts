import {
  type BatchNorm,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  type ConvNd,
  Conv1d as FloatConv1d,
  Conv2d as FloatConv2d,
  Conv3d as FloatConv3d,
  ConvNd as FloatConvNd,
  fuseConvBnWeights,
  Parameter,
  ReLU,
} from '../../../nn/index.ts';
import * as init from '../../../nn/init.ts';
import * as intrinsic from '../../../nn/intrinsic/index.ts';
import type { AnyModule } from '../../../nn/module.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import { noGrad } from '../../../ops/grad-mode.ts';
import { zeros } from '../../../tensor/creation.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import type { ModuleClass } from '../../backend/pattern.ts';
import type { ObserverBase } from '../../observers/observer.ts';
import {
  adoptBatchNorm,
  type FoldedBatchNorm,
  foldable,
  forwardFolded,
  resetBnParameters,
  scaledWeight,
  stateOf,
  trainFolded,
} from './batch-norm.ts';
import { convOptions, floatConv, type QatConvOptions } from './conv.ts';
import { attachWeightFakeQuant, qconfigForTraining, weightFakeQuantOf } from './weight-fake-quant.ts';

/** Options of a convolution with its batch normalization folded in. */
export interface QatConvBnOptions extends QatConvOptions {
  /** Learn the convolution's own bias; false where not given, for the normalization takes it out again. */
  readonly bias?: boolean;
  /** Added to the variance; 1e-5 where not given. */
  readonly eps?: number;
  /** Weight of the newest batch in the running statistics; 0.1 where not given. */
  readonly momentum?: number | null;
  /** Begin with frozen statistics. */
  readonly freezeBn?: boolean;
}

type Size = number | readonly number[];

const BATCH_NORM = { 1: BatchNorm1d, 2: BatchNorm2d, 3: BatchNorm3d } as const;

/**
 * What the convolutions with folded batch normalization share. The weight is multiplied by γ/√(σ²+ε) of the running
 * statistics and fake-quantized, as it will be when deployed; the result is divided by the same factor and normalized,
 * so that training still sees batch statistics. Source: `torch.ao.nn.intrinsic.qat.modules.conv_fused._ConvBnNd`;
 * Krishnamoorthi, arXiv:1806.08342.
 */
export abstract class ConvBnNd extends FloatConvNd implements FoldedBatchNorm {
  bn: BatchNorm;
  freezeBn = false;

  constructor(
    rank: 1 | 2 | 3,
    inChannels: number,
    outChannels: number,
    kernelSize: Size,
    options: QatConvBnOptions,
  ) {
    super(rank, inChannels, outChannels, kernelSize, { ...options, bias: false });
    const { eps, momentum } = options;
    this.bn = new BATCH_NORM[rank](outChannels, { eps, momentum });
    attachWeightFakeQuant(this, options);
    resetBnParameters(this.bn);
    if (options.bias) {
      this.bias = new Parameter(zeros([outChannels]));
      const bound = 1 / Math.sqrt(init.calculateFanInAndFanOut(this.weight).fanIn);
      init.uniform_(this.bias, -bound, bound);
    }
    if (options.freezeBn) this.freezeBnStats();
  }

  /** The fake-quantize of the scaled weight. */
  get weightFakeQuant(): ObserverBase {
    return weightFakeQuantOf(this);
  }

  /** The float layer with the trained weights, the normalization folded in. Source: `to_float`. */
  abstract toFloat(): AnyModule;

  freezeBnStats(): this {
    this.freezeBn = true;
    this.bn.training = false;
    return this;
  }

  updateBnStats(): this {
    this.freezeBn = false;
    this.bn.training = true;
    return this;
  }

  override train(mode = true): this {
    trainFolded(this, mode);
    return this;
  }

  override forward(x: Tensor): Tensor {
    return forwardFolded(this, (weight) => this.convForward(x, weight, null));
  }

  /** The weight exactly as training rounds it, and the bias of PyTorch's folding. */
  foldedParameters(): { readonly weight: Tensor; readonly bias: Tensor } {
    return noGrad(() => {
      const weight = scaledWeight(this, `${this.typeName}.foldedParameters`);
      return { weight, bias: fuseConvBnWeights(this.weight, this.bias, stateOf(this.bn)).bias };
    });
  }
}

/** Makes the training form of a float convolution and its batch normalization, around the same parameters. */
function adopt<Q extends ConvBnNd>(
  trained: new (inChannels: number, outChannels: number, kernelSize: Size, options: QatConvBnOptions) => Q,
  float: ModuleClass,
  module: AnyModule,
): Q {
  const fn = `qat.${trained.name}.fromFloat`;
  const qconfig = qconfigForTraining(module, float, fn);
  const [conv, norm] = module.children() as [ConvNd, BatchNorm];
  const { eps, momentum } = foldable(norm, conv.outChannels, fn);
  const made = new trained(conv.inChannels, conv.outChannels, conv.kernelSize, {
    ...convOptions(conv),
    eps,
    momentum,
    qconfig,
  });
  made.weight = conv.weight;
  made.bias = conv.bias;
  adoptBatchNorm(made.bn, norm);
  return made;
}

/** The convolution that computes what `layer` computes in evaluation mode, folded as PyTorch folds. */
function foldedConv<C extends ConvNd>(float: Parameters<typeof floatConv<C>>[0], layer: ConvBnNd): C {
  const { weight, bias } = fuseConvBnWeights(layer.weight, layer.bias, stateOf(layer.bn));
  return floatConv(float, layer, weight, bias);
}

/** 1-d convolution and batch normalization, trained as one layer. Source: `torch.ao.nn.intrinsic.qat.ConvBn1d`. */
export class ConvBn1d extends ConvBnNd {
  constructor(inChannels: number, outChannels: number, kernelSize: Size, options: QatConvBnOptions) {
    super(1, inChannels, outChannels, kernelSize, options);
  }

  /** Trains on with the parameters of a fused float module that has a qconfig. */
  static fromFloat(module: AnyModule): ConvBn1d {
    return adopt(ConvBn1d, intrinsic.ConvBn1d, module);
  }

  convForward(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
    return FloatConv1d.prototype.convForward.call(this, x, weight, bias);
  }

  toFloat(): AnyModule {
    return foldedConv(FloatConv1d, this);
  }
}

/**
 * 2-d convolution and batch normalization, trained as one layer. Source: `torch.ao.nn.intrinsic.qat.ConvBn2d`.
 *
 * @example
 * const layer = new ConvBn2d(3, 16, 3, { padding: 1, qconfig: getDefaultQatQConfig() });
 * layer(x);              // normalizes by the batch's statistics
 * layer.freezeBnStats(); // from now on by the running ones
 */
export class ConvBn2d extends ConvBnNd {
  constructor(inChannels: number, outChannels: number, kernelSize: Size, options: QatConvBnOptions) {
    super(2, inChannels, outChannels, kernelSize, options);
  }

  /** Trains on with the parameters of a fused float module that has a qconfig. */
  static fromFloat(module: AnyModule): ConvBn2d {
    return adopt(ConvBn2d, intrinsic.ConvBn2d, module);
  }

  convForward(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
    return FloatConv2d.prototype.convForward.call(this, x, weight, bias);
  }

  toFloat(): AnyModule {
    return foldedConv(FloatConv2d, this);
  }
}

/** 3-d convolution and batch normalization, trained as one layer. Source: `torch.ao.nn.intrinsic.qat.ConvBn3d`. */
export class ConvBn3d extends ConvBnNd {
  constructor(inChannels: number, outChannels: number, kernelSize: Size, options: QatConvBnOptions) {
    super(3, inChannels, outChannels, kernelSize, options);
  }

  /** Trains on with the parameters of a fused float module that has a qconfig. */
  static fromFloat(module: AnyModule): ConvBn3d {
    return adopt(ConvBn3d, intrinsic.ConvBn3d, module);
  }

  convForward(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
    return FloatConv3d.prototype.convForward.call(this, x, weight, bias);
  }

  toFloat(): AnyModule {
    return foldedConv(FloatConv3d, this);
  }
}

/** {@link ConvBn1d} followed by a relu. Source: `torch.ao.nn.intrinsic.qat.ConvBnReLU1d`. */
export class ConvBnReLU1d extends ConvBn1d {
  /** Trains on with the parameters of a fused float module that has a qconfig. */
  static override fromFloat(module: AnyModule): ConvBnReLU1d {
    return adopt(ConvBnReLU1d, intrinsic.ConvBnReLU1d, module);
  }

  override forward(x: Tensor): Tensor {
    return dispatch('relu', super.forward(x));
  }

  override toFloat(): AnyModule {
    return new intrinsic.ConvReLU1d(foldedConv(FloatConv1d, this), new ReLU()).train(this.training);
  }
}

/** {@link ConvBn2d} followed by a relu. Source: `torch.ao.nn.intrinsic.qat.ConvBnReLU2d`. */
export class ConvBnReLU2d extends ConvBn2d {
  /** Trains on with the parameters of a fused float module that has a qconfig. */
  static override fromFloat(module: AnyModule): ConvBnReLU2d {
    return adopt(ConvBnReLU2d, intrinsic.ConvBnReLU2d, module);
  }

  override forward(x: Tensor): Tensor {
    return dispatch('relu', super.forward(x));
  }

  override toFloat(): AnyModule {
    return new intrinsic.ConvReLU2d(foldedConv(FloatConv2d, this), new ReLU()).train(this.training);
  }
}

/** {@link ConvBn3d} followed by a relu. Source: `torch.ao.nn.intrinsic.qat.ConvBnReLU3d`. */
export class ConvBnReLU3d extends ConvBn3d {
  /** Trains on with the parameters of a fused float module that has a qconfig. */
  static override fromFloat(module: AnyModule): ConvBnReLU3d {
    return adopt(ConvBnReLU3d, intrinsic.ConvBnReLU3d, module);
  }

  override forward(x: Tensor): Tensor {
    return dispatch('relu', super.forward(x));
  }

  override toFloat(): AnyModule {
    return new intrinsic.ConvReLU3d(foldedConv(FloatConv3d, this), new ReLU()).train(this.training);
  }
}
