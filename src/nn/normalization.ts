import { ArgumentError } from '../core/errors.ts';
import { dispatch } from '../ops/dispatch.ts';
import { instanceNorm } from '../ops/functions/layer/norm.ts';
import { ones, zeros } from '../tensor/creation.ts';
import { pythonFloat } from '../tensor/format.ts';
import type { Shape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { NormBase, type NormOptions } from './batch-norm.ts';
import { Module } from './module.ts';
import { Parameter } from './parameter.ts';
import { pythonBool, pythonTuple } from './python-repr.ts';

/** Options of {@link LayerNorm}. */
export interface LayerNormOptions {
  /** Added to the variance; 1e-5 where not given. */
  readonly eps?: number;
  /** Learn a scale and a shift per element; true where not given. */
  readonly elementwiseAffine?: boolean;
}

/**
 * Normalizes every sample over its trailing dimensions `normalizedShape`. Source: `torch.nn.LayerNorm`; Ba, Kiros and
 * Hinton (2016).
 *
 * @example
 * new LayerNorm(768)(randn([2, 128, 768]));
 */
export class LayerNorm extends Module {
  readonly normalizedShape: Shape;
  eps: number;
  readonly elementwiseAffine: boolean;
  weight: Parameter | null;
  bias: Parameter | null;

  constructor(normalizedShape: number | Shape, options: LayerNormOptions = {}) {
    super();
    this.normalizedShape = typeof normalizedShape === 'number' ? [normalizedShape] : normalizedShape;
    this.eps = options.eps ?? 1e-5;
    this.elementwiseAffine = options.elementwiseAffine ?? true;
    this.weight = this.elementwiseAffine ? new Parameter(ones(this.normalizedShape)) : null;
    this.bias = this.elementwiseAffine ? new Parameter(zeros(this.normalizedShape)) : null;
  }

  forward(x: Tensor): Tensor {
    return dispatch('layerNorm', x, this.normalizedShape, this.weight, this.bias, this.eps);
  }

  override extraRepr(): string {
    return `${pythonTuple(this.normalizedShape)}, eps=${pythonFloat(this.eps)}, elementwise_affine=${pythonBool(this.elementwiseAffine)}`;
  }
}

/** Options of {@link GroupNorm}. */
export interface GroupNormOptions {
  /** Added to the variance; 1e-5 where not given. */
  readonly eps?: number;
  /** Learn a scale and a shift per channel; true where not given. */
  readonly affine?: boolean;
}

/**
 * Normalizes every sample over groups of its channels: [batch, channels, *]. Source: `torch.nn.GroupNorm`; Wu and He
 * (2018).
 *
 * @example
 * new GroupNorm(3, 6)(randn([20, 6, 10, 10]));
 */
export class GroupNorm extends Module {
  readonly numGroups: number;
  readonly numChannels: number;
  eps: number;
  readonly affine: boolean;
  weight: Parameter | null;
  bias: Parameter | null;

  constructor(numGroups: number, numChannels: number, options: GroupNormOptions = {}) {
    super();
    if (numChannels % numGroups !== 0) {
      throw new ArgumentError({
        fn: 'GroupNorm',
        argument: 'numChannels',
        expected: `a multiple of numGroups = ${numGroups}`,
        got: String(numChannels),
      });
    }
    this.numGroups = numGroups;
    this.numChannels = numChannels;
    this.eps = options.eps ?? 1e-5;
    this.affine = options.affine ?? true;
    this.weight = this.affine ? new Parameter(ones([numChannels])) : null;
    this.bias = this.affine ? new Parameter(zeros([numChannels])) : null;
  }

  forward(x: Tensor): Tensor {
    return dispatch('groupNorm', x, this.numGroups, this.weight, this.bias, this.eps);
  }

  override extraRepr(): string {
    return `${this.numGroups}, ${this.numChannels}, eps=${pythonFloat(this.eps)}, affine=${pythonBool(this.affine)}`;
  }
}

/**
 * Normalizes every channel of every sample by its own mean and variance, or in evaluation by running statistics where
 * `trackRunningStats` is on. Scale and shift are off unless `affine: true`. Subclasses differ in the rank they take.
 * Source: `torch.nn.modules.instancenorm._InstanceNorm`; Ulyanov et al. (2016).
 */
export abstract class InstanceNorm extends NormBase {
  constructor(numFeatures: number, options: NormOptions) {
    super(numFeatures, options, { affine: false, track: false });
  }

  /** Spatial dimensions of the inputs taken. */
  abstract spatialRank(): number;

  forward(x: Tensor): Tensor {
    const rank = this.spatialRank();
    const batched = x.ndim === rank + 2;
    this.checkInput(x, [rank + 1, rank + 2], batched ? 1 : 0);
    if (!batched) return dispatch('squeeze', this.normalize(dispatch('unsqueeze', x, 0)), 0);
    return this.normalize(x);
  }

  /** The computation on [batch, channels, *]. */
  normalize(x: Tensor): Tensor {
    const { runningMean, runningVar, weight, bias, eps } = this;
    const useInputStats = this.training || !this.trackRunningStats;
    const momentum = this.momentum ?? 0;
    return instanceNorm(x, { runningMean, runningVar, weight, bias, eps, useInputStats, momentum });
  }
}

/** {@link InstanceNorm} of [batch, channels, length], or without batch. Source: `torch.nn.InstanceNorm1d`. */
export class InstanceNorm1d extends InstanceNorm {
  constructor(numFeatures: number, options: NormOptions = {}) {
    super(numFeatures, options);
  }

  spatialRank(): number {
    return 1;
  }
}

/** {@link InstanceNorm} of [batch, channels, height, width], or without batch. Source: `torch.nn.InstanceNorm2d`. */
export class InstanceNorm2d extends InstanceNorm {
  constructor(numFeatures: number, options: NormOptions = {}) {
    super(numFeatures, options);
  }

  spatialRank(): number {
    return 2;
  }
}

/** {@link InstanceNorm} of [batch, channels, depth, height, width], or without batch. Source: `torch.nn.InstanceNorm3d`. */
export class InstanceNorm3d extends InstanceNorm {
  constructor(numFeatures: number, options: NormOptions = {}) {
    super(numFeatures, options);
  }

  spatialRank(): number {
    return 3;
  }
}
