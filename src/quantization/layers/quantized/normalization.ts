import {
  BatchNorm2d as FloatBatchNorm2d,
  BatchNorm3d as FloatBatchNorm3d,
  GroupNorm as FloatGroupNorm,
  InstanceNorm as FloatInstanceNorm,
  LayerNorm as FloatLayerNorm,
  type GroupNormOptions,
  type LayerNormOptions,
  type NormOptions,
} from '../../../nn/index.ts';
import type { AnyModule, StateLoader } from '../../../nn/module.ts';
import { Parameter } from '../../../nn/parameter.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import type { Shape } from '../../../tensor/shape.ts';
import type { StateDict } from '../../../tensor/state.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { observedQParams } from '../../observed-qparams.ts';
import { loadOutputQParams, saveOutputQParams } from '../state.ts';
import { firstLayer, plainBias } from '../weights.ts';

/** Options of the quantized batch normalizations. */
export type QuantizedBatchNormOptions = Pick<NormOptions, 'eps' | 'momentum'>;

/** A float gain or shift that takes no part in training. */
function frozen(t: Tensor | null): Parameter | null {
  const plain = plainBias(t);
  return plain && new Parameter(plain, false);
}

/** Gives a quantized batch norm the statistics, gains and output parameters of an observed one (or of BNReLU). */
function adopt<Q extends BatchNorm2d | BatchNorm3d>(
  create: (features: number, options: QuantizedBatchNormOptions) => Q,
  module: AnyModule,
): Q {
  const float = firstLayer(module) as FloatBatchNorm2d | FloatBatchNorm3d;
  const q = create(float.numFeatures, { eps: float.eps, momentum: float.momentum });
  const { scale, zeroPoint } = observedQParams(module.activationPostProcess, `${q.typeName}.fromFloat`);
  q.scale = scale;
  q.zeroPoint = zeroPoint;
  q.weight = frozen(float.weight) ?? q.weight;
  q.bias = frozen(float.bias) ?? q.bias;
  q.runningMean = plainBias(float.runningMean) ?? q.runningMean;
  q.runningVar = plainBias(float.runningVar) ?? q.runningVar;
  return q;
}

/** Runs a batch norm of the given kind on a quantized input. */
function normalize(
  op: `quantized::batch_norm${2 | 3}d${'' | '_relu'}`,
  m: BatchNorm2d | BatchNorm3d,
  x: Tensor,
): Tensor {
  m.checkInput(x, m.inputRanks());
  const { weight, bias, runningMean, runningVar, eps, scale, zeroPoint } = m;
  // Both statistics exist: these layers are made with trackRunningStats.
  return dispatch(op, x, weight, bias, runningMean as Tensor, runningVar as Tensor, eps, scale, zeroPoint);
}

/**
 * Batch normalization of quantized [N, C, H, W] with running statistics, in training, too.
 * Source: `torch.ao.nn.quantized.BatchNorm2d`.
 *
 * @example
 * convert(prepared); // every BatchNorm2d that no convolution took in becomes one of these
 */
export class BatchNorm2d extends FloatBatchNorm2d {
  scale = 1;
  zeroPoint = 0;

  constructor(numFeatures: number, options: QuantizedBatchNormOptions = {}) {
    super(numFeatures, { eps: options.eps, momentum: options.momentum });
    this.weight = frozen(this.weight);
    this.bias = frozen(this.bias);
  }

  static fromFloat(module: AnyModule): BatchNorm2d {
    return adopt((features, options) => new this(features, options), module);
  }

  override get typeName(): string {
    return 'QuantizedBatchNorm2d';
  }

  override forward(x: Tensor): Tensor {
    return normalize('quantized::batch_norm2d', this, x);
  }

  override saveToStateDict(into: StateDict, prefix: string): void {
    super.saveToStateDict(into, prefix);
    saveOutputQParams(this, into, prefix);
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    super.loadFromStateDict(loader, prefix);
    loadOutputQParams(this, loader, prefix);
  }
}

/** {@link BatchNorm2d} of quantized [N, C, D, H, W]. Source: `torch.ao.nn.quantized.BatchNorm3d`. */
export class BatchNorm3d extends FloatBatchNorm3d {
  scale = 1;
  zeroPoint = 0;

  constructor(numFeatures: number, options: QuantizedBatchNormOptions = {}) {
    super(numFeatures, { eps: options.eps, momentum: options.momentum });
    this.weight = frozen(this.weight);
    this.bias = frozen(this.bias);
  }

  static fromFloat(module: AnyModule): BatchNorm3d {
    return adopt((features, options) => new this(features, options), module);
  }

  override get typeName(): string {
    return 'QuantizedBatchNorm3d';
  }

  override forward(x: Tensor): Tensor {
    return normalize('quantized::batch_norm3d', this, x);
  }

  override saveToStateDict(into: StateDict, prefix: string): void {
    super.saveToStateDict(into, prefix);
    saveOutputQParams(this, into, prefix);
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    super.loadFromStateDict(loader, prefix);
    loadOutputQParams(this, loader, prefix);
  }
}

/** {@link BatchNorm2d} whose result is clamped at zero. Source: `torch.ao.nn.intrinsic.quantized.BNReLU2d`. */
export class BNReLU2d extends BatchNorm2d {
  override get typeName(): string {
    return 'QuantizedBNReLU2d';
  }

  override forward(x: Tensor): Tensor {
    return normalize('quantized::batch_norm2d_relu', this, x);
  }
}

/** {@link BatchNorm3d} whose result is clamped at zero. Source: `torch.ao.nn.intrinsic.quantized.BNReLU3d`. */
export class BNReLU3d extends BatchNorm3d {
  override get typeName(): string {
    return 'QuantizedBNReLU3d';
  }

  override forward(x: Tensor): Tensor {
    return normalize('quantized::batch_norm3d_relu', this, x);
  }
}

/**
 * Layer normalization of quantized tensors: statistics from sums of integers, float gains.
 * Source: `torch.ao.nn.quantized.LayerNorm`.
 */
export class LayerNorm extends FloatLayerNorm {
  scale: number;
  zeroPoint: number;

  constructor(
    normalizedShape: number | Shape,
    weight: Tensor | null,
    bias: Tensor | null,
    scale: number,
    zeroPoint: number,
    options: LayerNormOptions = {},
  ) {
    super(normalizedShape, options);
    this.weight = frozen(weight);
    this.bias = frozen(bias);
    this.scale = scale;
    this.zeroPoint = zeroPoint;
  }

  static fromFloat(module: FloatLayerNorm): LayerNorm {
    const { scale, zeroPoint } = observedQParams(
      module.activationPostProcess,
      'QuantizedLayerNorm.fromFloat',
    );
    const { normalizedShape, weight, bias, eps, elementwiseAffine } = module;
    return new LayerNorm(normalizedShape, weight, bias, scale, zeroPoint, { eps, elementwiseAffine });
  }

  override get typeName(): string {
    return 'QuantizedLayerNorm';
  }

  override forward(x: Tensor): Tensor {
    const { normalizedShape, weight, bias, eps, scale, zeroPoint } = this;
    return dispatch('quantized::layer_norm', x, normalizedShape, weight, bias, eps, scale, zeroPoint);
  }

  override saveToStateDict(into: StateDict, prefix: string): void {
    super.saveToStateDict(into, prefix);
    saveOutputQParams(this, into, prefix);
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    super.loadFromStateDict(loader, prefix);
    loadOutputQParams(this, loader, prefix);
  }
}

/** Group normalization of quantized [N, C, *]. Source: `torch.ao.nn.quantized.GroupNorm`. */
export class GroupNorm extends FloatGroupNorm {
  scale: number;
  zeroPoint: number;

  constructor(
    numGroups: number,
    numChannels: number,
    weight: Tensor | null,
    bias: Tensor | null,
    scale: number,
    zeroPoint: number,
    options: GroupNormOptions = {},
  ) {
    super(numGroups, numChannels, options);
    this.weight = frozen(weight);
    this.bias = frozen(bias);
    this.scale = scale;
    this.zeroPoint = zeroPoint;
  }

  static fromFloat(module: FloatGroupNorm): GroupNorm {
    const { scale, zeroPoint } = observedQParams(
      module.activationPostProcess,
      'QuantizedGroupNorm.fromFloat',
    );
    const { numGroups, numChannels, weight, bias, eps, affine } = module;
    return new GroupNorm(numGroups, numChannels, weight, bias, scale, zeroPoint, { eps, affine });
  }

  override get typeName(): string {
    return 'QuantizedGroupNorm';
  }

  override forward(x: Tensor): Tensor {
    const { numGroups, weight, bias, eps, scale, zeroPoint } = this;
    return dispatch('quantized::group_norm', x, numGroups, weight, bias, eps, scale, zeroPoint);
  }

  override saveToStateDict(into: StateDict, prefix: string): void {
    super.saveToStateDict(into, prefix);
    saveOutputQParams(this, into, prefix);
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    super.loadFromStateDict(loader, prefix);
    loadOutputQParams(this, loader, prefix);
  }
}

/**
 * What the quantized instance normalizations share: gain and shift stay float, statistics are those of the input.
 * Source: `torch.ao.nn.quantized.InstanceNorm2d` and its siblings.
 */
abstract class QuantizedInstanceNorm extends FloatInstanceNorm {
  scale: number;
  zeroPoint: number;

  constructor(
    numFeatures: number,
    weight: Tensor | null,
    bias: Tensor | null,
    scale: number,
    zeroPoint: number,
    options: NormOptions = {},
  ) {
    super(numFeatures, options);
    this.weight = frozen(weight);
    this.bias = frozen(bias);
    this.scale = scale;
    this.zeroPoint = zeroPoint;
  }

  override get typeName(): string {
    return `QuantizedInstanceNorm${this.spatialRank()}d`;
  }

  override normalize(x: Tensor): Tensor {
    const { weight, bias, eps, scale, zeroPoint } = this;
    return dispatch('quantized::instance_norm', x, weight, bias, eps, scale, zeroPoint);
  }

  override saveToStateDict(into: StateDict, prefix: string): void {
    super.saveToStateDict(into, prefix);
    saveOutputQParams(this, into, prefix);
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    super.loadFromStateDict(loader, prefix);
    loadOutputQParams(this, loader, prefix);
  }
}

function adoptInstance<Q extends QuantizedInstanceNorm>(
  create: new (...args: ConstructorParameters<typeof QuantizedInstanceNorm>) => Q,
  module: FloatInstanceNorm,
): Q {
  const fn = `Quantized${create.name}.fromFloat`;
  const { scale, zeroPoint } = observedQParams(module.activationPostProcess, fn);
  const { numFeatures, weight, bias, eps, momentum, affine } = module;
  return new create(numFeatures, weight, bias, scale, zeroPoint, { eps, momentum, affine });
}

/** Instance normalization of quantized [N, C, L], or without batch. Source: `torch.ao.nn.quantized.InstanceNorm1d`. */
export class InstanceNorm1d extends QuantizedInstanceNorm {
  static fromFloat(module: FloatInstanceNorm): InstanceNorm1d {
    return adoptInstance(InstanceNorm1d, module);
  }

  spatialRank(): number {
    return 1;
  }
}

/** Instance normalization of quantized [N, C, H, W], or without batch. Source: `torch.ao.nn.quantized.InstanceNorm2d`. */
export class InstanceNorm2d extends QuantizedInstanceNorm {
  static fromFloat(module: FloatInstanceNorm): InstanceNorm2d {
    return adoptInstance(InstanceNorm2d, module);
  }

  spatialRank(): number {
    return 2;
  }
}

/** Instance normalization of quantized [N, C, D, H, W], or without batch. Source: `torch.ao.nn.quantized.InstanceNorm3d`. */
export class InstanceNorm3d extends QuantizedInstanceNorm {
  static fromFloat(module: FloatInstanceNorm): InstanceNorm3d {
    return adoptInstance(InstanceNorm3d, module);
  }

  spatialRank(): number {
    return 3;
  }
}
