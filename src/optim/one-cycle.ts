import { ArgumentError } from '../core/errors.ts';
import type { Optimizer, ParamGroup } from './optimizer.ts';
import { LRScheduler } from './scheduler.ts';

/** Settings of {@link OneCycleLR}. */
export interface OneCycleOptions {
  /** The rate at the top. */
  readonly maxLr: number;
  /** Number of `step()` calls in the cycle; or give `epochs` and `stepsPerEpoch`. */
  readonly totalSteps?: number;
  readonly epochs?: number;
  readonly stepsPerEpoch?: number;
  /** Share of the cycle on the way up; 0.3. */
  readonly pctStart?: number;
  /** Shape of the way; 'cos'. */
  readonly annealStrategy?: 'cos' | 'linear';
  /** Move momentum (SGD) or beta1 (Adam) the other way; true. */
  readonly cycleMomentum?: boolean;
  /** Momentum at the top of the rate; 0.85. */
  readonly baseMomentum?: number;
  /** Momentum at both ends; 0.95. */
  readonly maxMomentum?: number;
  /** The first rate is `maxLr / divFactor`; 25. */
  readonly divFactor?: number;
  /** The last rate is the first divided by this; 1e4. */
  readonly finalDivFactor?: number;
}

type CycledGroup = ParamGroup & {
  initialLr?: number;
  momentum?: number;
  betas?: readonly [number, number];
};

/**
 * One cycle of the learning rate: up to `maxLr`, then down far below where it began, with momentum the other way.
 * Call `step()` after every batch. Source: `torch.optim.lr_scheduler.OneCycleLR`; Smith and Topin, "Super-Convergence"
 * (2017).
 *
 * @example
 * const scheduler = new OneCycleLR(optimizer, { maxLr: 0.1, epochs: 5, stepsPerEpoch: loader.length });
 */
export class OneCycleLR extends LRScheduler {
  readonly totalSteps: number;
  readonly #options: Required<Omit<OneCycleOptions, 'totalSteps' | 'epochs' | 'stepsPerEpoch'>>;

  constructor(optimizer: Optimizer<any>, options: OneCycleOptions) {
    for (const group of optimizer.paramGroups as CycledGroup[]) {
      group.initialLr = options.maxLr / (options.divFactor ?? 25);
    }
    super(optimizer);
    this.totalSteps = options.totalSteps ?? (options.epochs ?? 0) * (options.stepsPerEpoch ?? 0);
    if (!Number.isInteger(this.totalSteps) || this.totalSteps <= 0) {
      throw new ArgumentError({
        fn: 'OneCycleLR',
        argument: 'totalSteps',
        expected: 'totalSteps, or epochs and stepsPerEpoch, as whole numbers above 0',
        got: `${options.totalSteps}, ${options.epochs} and ${options.stepsPerEpoch}`,
      });
    }
    this.#options = {
      maxLr: options.maxLr,
      pctStart: options.pctStart ?? 0.3,
      annealStrategy: options.annealStrategy ?? 'cos',
      cycleMomentum: options.cycleMomentum ?? true,
      baseMomentum: options.baseMomentum ?? 0.85,
      maxMomentum: options.maxMomentum ?? 0.95,
      divFactor: options.divFactor ?? 25,
      finalDivFactor: options.finalDivFactor ?? 1e4,
    };
    const groups = optimizer.paramGroups as CycledGroup[];
    if (
      this.#options.cycleMomentum &&
      groups.some((g) => g.momentum === undefined && g.betas === undefined)
    ) {
      throw new ArgumentError({
        fn: 'OneCycleLR',
        argument: 'cycleMomentum',
        expected: 'an optimizer with momentum or betas',
        got: optimizer.constructor.name,
        fix: 'Pass { cycleMomentum: false }.',
      });
    }
    this.apply();
  }

  protected override apply(): void {
    if (this.lastEpoch > this.totalSteps) {
      throw new ArgumentError({
        fn: 'OneCycleLR.step',
        argument: 'totalSteps',
        expected: `at most ${this.totalSteps} steps`,
        got: `step ${this.lastEpoch}`,
        fix: 'Call step() once per batch, and give the true number of batches.',
      });
    }
    super.apply();
    if (!this.#options.cycleMomentum) return;
    const { maxMomentum, baseMomentum } = this.#options;
    const { up, share } = this.#place();
    const momentum = up
      ? this.#anneal(maxMomentum, baseMomentum, share)
      : this.#anneal(baseMomentum, maxMomentum, share);
    for (const group of this.optimizer.paramGroups as CycledGroup[]) {
      if (group.betas) group.betas = [momentum, group.betas[1]];
      else group.momentum = momentum;
    }
  }

  protected override rate(_current: number, base: number): number {
    const { maxLr, finalDivFactor } = this.#options;
    const { up, share } = this.#place();
    return up ? this.#anneal(base, maxLr, share) : this.#anneal(maxLr, base / finalDivFactor, share);
  }

  /** On the way up or down, and how much of that way is done. */
  #place(): { up: boolean; share: number } {
    const top = this.#options.pctStart * this.totalSteps - 1;
    if (this.lastEpoch <= top) return { up: true, share: this.lastEpoch / top };
    return { up: false, share: (this.lastEpoch - top) / (this.totalSteps - 1 - top) };
  }

  #anneal(from: number, to: number, share: number): number {
    if (this.#options.annealStrategy === 'linear') return (to - from) * share + from;
    return to + ((from - to) / 2) * (Math.cos(Math.PI * share) + 1);
  }
}
