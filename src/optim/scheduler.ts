import { ArgumentError } from '../core/errors.ts';
import type { LearningRate, Optimizer, ParamGroup } from './optimizer.ts';

/** A group as schedulers see it; {@link initialLr} is the learning rate schedules start from. */
export type ScheduledGroup = ParamGroup & { initialLr?: number };

/**
 * Base class of learning-rate schedules. Making one sets the rate of epoch 0; `step()` after every epoch (or every
 * batch, where the schedule counts those) sets the next. Rates follow from the one before, as in PyTorch, so several
 * schedules on one optimizer multiply. Source: `torch.optim.lr_scheduler._LRScheduler`.
 */
export abstract class LRScheduler {
  readonly optimizer: Optimizer<any>;
  /** Learning rate of each group before any schedule. */
  baseLrs: number[];
  /** Number of `step()` calls so far. */
  lastEpoch = 0;

  constructor(optimizer: Optimizer<any>) {
    this.optimizer = optimizer;
    this.baseLrs = groupsOf(optimizer).map((group) => {
      group.initialLr ??= group.lr;
      return group.initialLr;
    });
  }

  /** Moves on to the next epoch. Source: `_LRScheduler.step`. */
  step(): void {
    this.lastEpoch++;
    this.apply();
  }

  /** The learning rates now in force, one per group. Source: `get_last_lr`. */
  getLastLr(): number[] {
    return groupsOf(this.optimizer).map((group) => group.lr);
  }

  /** Where the schedule stands, under PyTorch's keys. */
  stateDict(): Map<string, unknown> {
    return new Map<string, unknown>([
      ['base_lrs', [...this.baseLrs]],
      ['last_epoch', this.lastEpoch],
      ['_last_lr', this.getLastLr()],
    ]);
  }

  /** Continues from a saved place. The optimizer's own state dict holds the rates themselves. */
  loadStateDict(state: ReadonlyMap<string, unknown>): void {
    const baseLrs = state.get('base_lrs');
    const lastEpoch = state.get('last_epoch');
    if (!Array.isArray(baseLrs) || baseLrs.length !== this.baseLrs.length || typeof lastEpoch !== 'number') {
      throw new ArgumentError({
        fn: `${this.constructor.name}.loadStateDict`,
        argument: 'state',
        expected: `last_epoch and ${this.baseLrs.length} base_lrs`,
        got: [...state.keys()].join(', '),
      });
    }
    this.baseLrs = baseLrs.map(Number);
    this.lastEpoch = lastEpoch;
  }

  /** Sets the rates of the current epoch. Subclasses call it once at the end of their constructor. */
  protected apply(): void {
    const rates = groupsOf(this.optimizer).map((group, i) => this.rate(group.lr, this.baseLrs[i]));
    groupsOf(this.optimizer).forEach((group, i) => {
      group.lr = rates[i];
    });
  }

  /** The rate at {@link lastEpoch}, from the one before and the one before any schedule. */
  protected abstract rate(current: number, base: number): number;
}

/** Multiplies the rate by `gamma` every `stepSize` epochs. Source: `torch.optim.lr_scheduler.StepLR`. */
export class StepLR extends LRScheduler {
  readonly stepSize: number;
  readonly gamma: number;

  constructor(optimizer: Optimizer<any>, stepSize: number, options: { readonly gamma?: number } = {}) {
    super(optimizer);
    this.stepSize = stepSize;
    this.gamma = options.gamma ?? 0.1;
    this.apply();
  }

  protected override rate(current: number): number {
    return this.lastEpoch === 0 || this.lastEpoch % this.stepSize !== 0 ? current : current * this.gamma;
  }
}

/** Multiplies the rate by `gamma` at each of the epochs listed. Source: `torch.optim.lr_scheduler.MultiStepLR`. */
export class MultiStepLR extends LRScheduler {
  readonly milestones: readonly number[];
  readonly gamma: number;

  constructor(
    optimizer: Optimizer<any>,
    milestones: readonly number[],
    options: { readonly gamma?: number } = {},
  ) {
    super(optimizer);
    this.milestones = [...milestones];
    this.gamma = options.gamma ?? 0.1;
    this.apply();
  }

  protected override rate(current: number): number {
    return current * this.gamma ** this.milestones.filter((m) => m === this.lastEpoch).length;
  }
}

/** Multiplies the rate by `gamma` every epoch. Source: `torch.optim.lr_scheduler.ExponentialLR`. */
export class ExponentialLR extends LRScheduler {
  readonly gamma: number;

  constructor(optimizer: Optimizer<any>, gamma: number) {
    super(optimizer);
    this.gamma = gamma;
    this.apply();
  }

  protected override rate(current: number): number {
    return this.lastEpoch === 0 ? current : current * this.gamma;
  }
}

/**
 * Half a cosine from the base rate down to `etaMin` in `tMax` epochs, and back up after that.
 * Source: `torch.optim.lr_scheduler.CosineAnnealingLR`; Loshchilov and Hutter, "SGDR" (2016).
 */
export class CosineAnnealingLR extends LRScheduler {
  readonly tMax: number;
  readonly etaMin: number;

  constructor(optimizer: Optimizer<any>, tMax: number, options: { readonly etaMin?: number } = {}) {
    super(optimizer);
    this.tMax = tMax;
    this.etaMin = options.etaMin ?? 0;
    this.apply();
  }

  protected override rate(current: number, base: number): number {
    const { lastEpoch, tMax, etaMin } = this;
    if (lastEpoch === 0) return current;
    // From the very bottom the ratio below would be 0 / 0.
    if ((lastEpoch - 1 - tMax) % (2 * tMax) === 0) {
      return current + ((base - etaMin) * (1 - Math.cos(Math.PI / tMax))) / 2;
    }
    const ratio =
      (1 + Math.cos((Math.PI * lastEpoch) / tMax)) / (1 + Math.cos((Math.PI * (lastEpoch - 1)) / tMax));
    return ratio * (current - etaMin) + etaMin;
  }
}

/** The base rate times a function of the epoch. Source: `torch.optim.lr_scheduler.LambdaLR`. */
export class LambdaLR extends LRScheduler {
  readonly lrLambda: (epoch: number) => number;

  constructor(optimizer: Optimizer<any>, lrLambda: (epoch: number) => number) {
    super(optimizer);
    this.lrLambda = lrLambda;
    this.apply();
  }

  protected override rate(_current: number, base: number): number {
    return base * this.lrLambda(this.lastEpoch);
  }
}

/** Settings of {@link LinearLR}. */
export interface LinearLROptions {
  /** Share of the base rate in epoch 0; 1/3. */
  readonly startFactor?: number;
  /** Share of the base rate from epoch `totalIters` on; 1. */
  readonly endFactor?: number;
  /** Epochs from one to the other; 5. */
  readonly totalIters?: number;
}

/** Warms the rate up (or cools it down) along a line. Source: `torch.optim.lr_scheduler.LinearLR`. */
export class LinearLR extends LRScheduler {
  readonly startFactor: number;
  readonly endFactor: number;
  readonly totalIters: number;

  constructor(optimizer: Optimizer<any>, options: LinearLROptions = {}) {
    super(optimizer);
    this.startFactor = options.startFactor ?? 1 / 3;
    this.endFactor = options.endFactor ?? 1;
    this.totalIters = options.totalIters ?? 5;
    if (!(this.startFactor > 0 && this.startFactor <= 1)) {
      throw new ArgumentError({
        fn: 'LinearLR',
        argument: 'startFactor',
        expected: 'a number above 0 and up to 1',
        got: String(this.startFactor),
      });
    }
    this.apply();
  }

  protected override rate(current: number): number {
    const { lastEpoch, startFactor, endFactor, totalIters } = this;
    if (lastEpoch === 0) return current * startFactor;
    if (lastEpoch > totalIters) return current;
    const slope = endFactor - startFactor;
    return current * (1 + slope / (totalIters * startFactor + (lastEpoch - 1) * slope));
  }
}

/** The parameter groups of an optimizer, as schedules use them. */
export function groupsOf(optimizer: Optimizer<any>): (ScheduledGroup & LearningRate)[] {
  return optimizer.paramGroups;
}
