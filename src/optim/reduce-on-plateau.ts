import type { Tensor } from '../tensor/tensor.ts';
import type { Optimizer } from './optimizer.ts';
import { groupsOf } from './scheduler.ts';

/** Settings of {@link ReduceLROnPlateau}. */
export interface PlateauOptions {
  /** Whether the metric should fall or rise; 'min'. */
  readonly mode?: 'min' | 'max';
  /** What the rate is multiplied by; 0.1. */
  readonly factor?: number;
  /** Epochs without improvement that are let pass; 10. */
  readonly patience?: number;
  /** By how much a metric must be better to count; 1e-4. */
  readonly threshold?: number;
  /** Whether that is relative or absolute; 'rel'. */
  readonly thresholdMode?: 'rel' | 'abs';
  /** Epochs to wait after a reduction before counting again; 0. */
  readonly cooldown?: number;
  /** Rate below which it never goes; 0. */
  readonly minLr?: number;
  /** Changes smaller than this are not made; 1e-8. */
  readonly eps?: number;
}

/**
 * Reduces the rate when a metric has stopped improving. Source: `torch.optim.lr_scheduler.ReduceLROnPlateau`.
 *
 * @example
 * const scheduler = new ReduceLROnPlateau(optimizer, { patience: 2 });
 * scheduler.step(validationLoss);
 */
export class ReduceLROnPlateau {
  readonly optimizer: Optimizer<any>;
  best: number;
  numBadEpochs = 0;
  cooldownCounter = 0;
  lastEpoch = 0;
  readonly #options: Required<PlateauOptions>;

  constructor(optimizer: Optimizer<any>, options: PlateauOptions = {}) {
    this.optimizer = optimizer;
    this.#options = {
      mode: options.mode ?? 'min',
      factor: options.factor ?? 0.1,
      patience: options.patience ?? 10,
      threshold: options.threshold ?? 1e-4,
      thresholdMode: options.thresholdMode ?? 'rel',
      cooldown: options.cooldown ?? 0,
      minLr: options.minLr ?? 0,
      eps: options.eps ?? 1e-8,
    };
    this.best = this.#options.mode === 'min' ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
  }

  /** Takes the metric of an epoch. */
  step(metric: number | Tensor): void {
    const value = typeof metric === 'number' ? metric : metric.item();
    this.lastEpoch++;
    if (this.#isBetter(value)) {
      this.best = value;
      this.numBadEpochs = 0;
    } else this.numBadEpochs++;
    if (this.cooldownCounter > 0) {
      this.cooldownCounter--;
      this.numBadEpochs = 0;
    }
    if (this.numBadEpochs <= this.#options.patience) return;
    const { factor, minLr, eps } = this.#options;
    for (const group of groupsOf(this.optimizer)) {
      const lr = Math.max(group.lr * factor, minLr);
      if (group.lr - lr > eps) group.lr = lr;
    }
    this.cooldownCounter = this.#options.cooldown;
    this.numBadEpochs = 0;
  }

  /** The learning rates now in force, one per group. */
  getLastLr(): number[] {
    return groupsOf(this.optimizer).map((group) => group.lr);
  }

  /** Where the schedule stands, under PyTorch's keys. */
  stateDict(): Map<string, unknown> {
    return new Map<string, unknown>([
      ['best', this.best],
      ['num_bad_epochs', this.numBadEpochs],
      ['cooldown_counter', this.cooldownCounter],
      ['last_epoch', this.lastEpoch],
    ]);
  }

  /** Continues from a saved place. */
  loadStateDict(state: ReadonlyMap<string, unknown>): void {
    this.best = Number(state.get('best'));
    this.numBadEpochs = Number(state.get('num_bad_epochs'));
    this.cooldownCounter = Number(state.get('cooldown_counter'));
    this.lastEpoch = Number(state.get('last_epoch'));
  }

  #isBetter(value: number): boolean {
    const { mode, threshold, thresholdMode } = this.#options;
    const sign = mode === 'min' ? -1 : 1;
    const bar = thresholdMode === 'rel' ? this.best * (1 + sign * threshold) : this.best + sign * threshold;
    return mode === 'min' ? value < bar : value > bar;
  }
}
