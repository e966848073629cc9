import {
  type BceOptions,
  binaryCrossEntropyWithLogits,
  type CrossEntropyOptions,
  crossEntropy,
  klDiv,
  type LossOptions,
  l1Loss,
  mseLoss,
  type NllLossOptions,
  nllLoss,
  smoothL1Loss,
} from '../ops/functions/layer/loss.ts';
import type { Reduction } from '../ops/signatures/layer.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { Module } from './module.ts';

/** What the losses share: two tensors in, a scalar out (or one number per element with reduction `none`). */
abstract class Loss extends Module<[Tensor, Tensor]> {
  readonly reduction: Reduction;

  constructor(reduction: Reduction = 'mean') {
    super();
    this.reduction = reduction;
  }
}

/**
 * Cross-entropy of logits [batch, classes, *] against class indices [batch, *] (int64) or probabilities
 * [batch, classes, *]. Class weights are a buffer `weight`. Source: `torch.nn.CrossEntropyLoss`.
 *
 * @example
 * const loss = new CrossEntropyLoss({ labelSmoothing: 0.1 })(model(x), labels);
 */
export class CrossEntropyLoss extends Loss {
  declare weight: Tensor | null;
  readonly ignoreIndex: number;
  readonly labelSmoothing: number;

  constructor(options: CrossEntropyOptions = {}) {
    super(options.reduction);
    this.registerBuffer('weight', options.weight ?? null);
    this.ignoreIndex = options.ignoreIndex ?? -100;
    this.labelSmoothing = options.labelSmoothing ?? 0;
  }

  forward(input: Tensor, target: Tensor): Tensor {
    const { weight, ignoreIndex, labelSmoothing, reduction } = this;
    return crossEntropy(input, target, { weight, ignoreIndex, labelSmoothing, reduction });
  }
}

/**
 * The negative of the log-probability [batch, classes, *] at the class index [batch, *]. Source: `torch.nn.NLLLoss`.
 */
export class NLLLoss extends Loss {
  declare weight: Tensor | null;
  readonly ignoreIndex: number;

  constructor(options: NllLossOptions = {}) {
    super(options.reduction);
    this.registerBuffer('weight', options.weight ?? null);
    this.ignoreIndex = options.ignoreIndex ?? -100;
  }

  forward(input: Tensor, target: Tensor): Tensor {
    const { weight, ignoreIndex, reduction } = this;
    return nllLoss(input, target, { weight, ignoreIndex, reduction });
  }
}

/** Squared differences. Source: `torch.nn.MSELoss`. */
export class MSELoss extends Loss {
  constructor(options: LossOptions = {}) {
    super(options.reduction);
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return mseLoss(input, target, { reduction: this.reduction });
  }
}

/** Absolute differences. Source: `torch.nn.L1Loss`. */
export class L1Loss extends Loss {
  constructor(options: LossOptions = {}) {
    super(options.reduction);
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return l1Loss(input, target, { reduction: this.reduction });
  }
}

/** Options of {@link SmoothL1Loss}. */
export interface SmoothL1LossOptions extends LossOptions {
  /** Where squares turn into absolute differences; 1 where not given. */
  readonly beta?: number;
}

/** Squared differences below `beta`, absolute ones above. Source: `torch.nn.SmoothL1Loss`. */
export class SmoothL1Loss extends Loss {
  readonly beta: number;

  constructor(options: SmoothL1LossOptions = {}) {
    super(options.reduction);
    this.beta = options.beta ?? 1;
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return smoothL1Loss(input, target, { reduction: this.reduction, beta: this.beta });
  }
}

/**
 * Binary cross-entropy of logits against targets in [0, 1], of the same shape. `weight` and `posWeight` are buffers.
 * Source: `torch.nn.BCEWithLogitsLoss`.
 */
export class BCEWithLogitsLoss extends Loss {
  static override readonly stateNames: Readonly<Record<string, string>> = { posWeight: 'pos_weight' };

  declare weight: Tensor | null;
  declare posWeight: Tensor | null;

  constructor(options: BceOptions = {}) {
    super(options.reduction);
    this.registerBuffer('weight', options.weight ?? null);
    this.registerBuffer('posWeight', options.posWeight ?? null);
  }

  forward(input: Tensor, target: Tensor): Tensor {
    const { weight, posWeight, reduction } = this;
    return binaryCrossEntropyWithLogits(input, target, { weight, posWeight, reduction });
  }
}

/** Options of {@link KLDivLoss}. */
export interface KLDivLossOptions {
  /** `batchmean` is the divergence per sample; `mean` (where not given) divides by the elements. */
  readonly reduction?: Reduction | 'batchmean';
  /** The target holds log-probabilities too. */
  readonly logTarget?: boolean;
}

/** Divergence of log-probabilities from target probabilities. Source: `torch.nn.KLDivLoss`. */
export class KLDivLoss extends Module<[Tensor, Tensor]> {
  readonly reduction: Reduction | 'batchmean';
  readonly logTarget: boolean;

  constructor(options: KLDivLossOptions = {}) {
    super();
    this.reduction = options.reduction ?? 'mean';
    this.logTarget = options.logTarget ?? false;
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return klDiv(input, target, { reduction: this.reduction, logTarget: this.logTarget });
  }
}
