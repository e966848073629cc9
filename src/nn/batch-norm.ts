import { ShapeError } from '../core/errors.ts';
import { batchNorm } from '../ops/functions/layer/norm.ts';
import { ones, zeros } from '../tensor/creation.ts';
import { pythonFloat } from '../tensor/format.ts';
import { formatShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import * as init from './init.ts';
import { Module, type StateLoader } from './module.ts';
import { Parameter } from './parameter.ts';
import { pythonBool } from './python-repr.ts';

/** Options of batch and instance normalization. */
export interface NormOptions {
  /** Added to the variance; 1e-5 where not given. */
  readonly eps?: number;
  /** Weight of the newest batch in the running statistics (0.1 where not given); null for the plain average of all. */
  readonly momentum?: number | null;
  /** Learn a scale and a shift per channel. */
  readonly affine?: boolean;
  /** Keep running statistics in training and use them in evaluation. */
  readonly trackRunningStats?: boolean;
}

/** State that batch and instance normalization share. Source: `torch.nn.modules.batchnorm._NormBase`. */
export abstract class NormBase extends Module {
  static override readonly stateNames: Readonly<Record<string, string>> = {
    runningMean: 'running_mean',
    runningVar: 'running_var',
    numBatchesTracked: 'num_batches_tracked',
  };

  readonly numFeatures: number;
  eps: number;
  momentum: number | null;
  readonly affine: boolean;
  readonly trackRunningStats: boolean;
  weight: Parameter | null;
  bias: Parameter | null;
  declare runningMean: Tensor | null;
  declare runningVar: Tensor | null;
  declare numBatchesTracked: Tensor | null;

  constructor(numFeatures: number, options: NormOptions, defaults: { affine: boolean; track: boolean }) {
    super();
    this.numFeatures = numFeatures;
    this.eps = options.eps ?? 1e-5;
    this.momentum = options.momentum === undefined ? 0.1 : options.momentum;
    this.affine = options.affine ?? defaults.affine;
    this.trackRunningStats = options.trackRunningStats ?? defaults.track;
    this.weight = this.affine ? new Parameter(ones([numFeatures])) : null;
    this.bias = this.affine ? new Parameter(zeros([numFeatures])) : null;
    const track = this.trackRunningStats;
    this.registerBuffer('runningMean', track ? zeros([numFeatures]) : null);
    this.registerBuffer('runningVar', track ? ones([numFeatures]) : null);
    this.registerBuffer('numBatchesTracked', track ? zeros([], { dtype: 'int64' }) : null);
  }

  /** Running statistics of mean 0 and variance 1, no batch seen. */
  resetRunningStats(): void {
    if (this.runningMean) init.zeros_(this.runningMean);
    if (this.runningVar) init.ones_(this.runningVar);
    if (this.numBatchesTracked) init.zeros_(this.numBatchesTracked);
  }

  /** Scale 1, shift 0, fresh running statistics. */
  resetParameters(): void {
    this.resetRunningStats();
    if (this.weight) init.ones_(this.weight);
    if (this.bias) init.zeros_(this.bias);
  }

  /** Checkpoints from before PyTorch 0.4.1 have no `num_batches_tracked`; as there, its absence is not an error. */
  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    for (const [name, t] of [...this.ownParameters(), ...this.ownBuffers(true)]) {
      if (name === 'num_batches_tracked' && loader.take(prefix + name, true) === undefined) continue;
      loader.copyInto(prefix + name, t);
    }
  }

  override extraRepr(): string {
    const momentum = this.momentum === null ? 'None' : pythonFloat(this.momentum);
    return `${this.numFeatures}, eps=${pythonFloat(this.eps)}, momentum=${momentum}, affine=${pythonBool(this.affine)}, track_running_stats=${pythonBool(this.trackRunningStats)}`;
  }

  /** Throws where the input's rank or channels do not fit. */
  checkInput(x: Tensor, ranks: readonly number[], channelDim = 1): void {
    if (ranks.includes(x.ndim) && x.shape[channelDim] === this.numFeatures) return;
    throw new ShapeError({
      fn: this.typeName,
      argument: 'input',
      expected: `${ranks.join(' or ')} dimensions with ${this.numFeatures} channels`,
      got: formatShape(x.shape),
    });
  }
}

/**
 * Normalizes every channel by the batch's mean and variance while training, by running statistics in evaluation.
 * Subclasses differ in the rank they take. Source: `torch.nn.modules.batchnorm._BatchNorm`; Ioffe and Szegedy (2015).
 */
export abstract class BatchNorm extends NormBase {
  constructor(numFeatures: number, options: NormOptions) {
    super(numFeatures, options, { affine: true, track: true });
  }

  /** Ranks of the inputs taken. */
  abstract inputRanks(): readonly number[];

  forward(x: Tensor): Tensor {
    this.checkInput(x, this.inputRanks());
    const { runningMean, runningVar, weight, bias, eps, numBatchesTracked } = this;
    let momentum = this.momentum ?? 0;
    if (this.training && numBatchesTracked) {
      numBatchesTracked.storage[numBatchesTracked.offset] += 1;
      momentum = this.momentum ?? 1 / numBatchesTracked.item();
    }
    const training = this.training || !runningMean || !runningVar;
    return batchNorm(x, runningMean, runningVar, { weight, bias, training, momentum, eps });
  }
}

/**
 * Batch normalization of [batch, features] or [batch, channels, length]. Source: `torch.nn.BatchNorm1d`.
 *
 * @example
 * new BatchNorm1d(100)(randn([20, 100]));
 */
export class BatchNorm1d extends BatchNorm {
  constructor(numFeatures: number, options: NormOptions = {}) {
    super(numFeatures, options);
  }

  inputRanks(): readonly number[] {
    return [2, 3];
  }
}

/**
 * Batch normalization of [batch, channels, height, width]. Source: `torch.nn.BatchNorm2d`.
 *
 * @example
 * new BatchNorm2d(16, { momentum: 0.05 })(randn([8, 16, 32, 32]));
 */
export class BatchNorm2d extends BatchNorm {
  constructor(numFeatures: number, options: NormOptions = {}) {
    super(numFeatures, options);
  }

  inputRanks(): readonly number[] {
    return [4];
  }
}

/**
 * Batch normalization of [batch, channels, depth, height, width]. Source: `torch.nn.BatchNorm3d`.
 *
 * @example
 * new BatchNorm3d(4)(randn([2, 4, 8, 16, 16]));
 */
export class BatchNorm3d extends BatchNorm {
  constructor(numFeatures: number, options: NormOptions = {}) {
    super(numFeatures, options);
  }

  inputRanks(): readonly number[] {
    return [5];
  }
}
