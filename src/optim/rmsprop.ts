import type { Tensor } from '../tensor/tensor.ts';
import { checkSetting, Optimizer, type OptimizerInput, type Update } from './optimizer.ts';

/** Settings of {@link RMSprop}. */
export interface RMSpropSettings {
  /** Learning rate; 0.01. */
  lr: number;
  /** Decay of the running mean of squares; 0.99. */
  alpha: number;
  /** Added to the denominator; 1e-8. */
  eps: number;
  /** L2 penalty; 0. */
  weightDecay: number;
  /** Share of the last step that is kept; 0. */
  momentum: number;
  /** Divide by the standard deviation rather than the root mean square; false. */
  centered: boolean;
  /** Climb instead of descend; false. */
  maximize: boolean;
}

/**
 * RMSprop. Source: `torch.optim.RMSprop`; Hinton, "Neural Networks for Machine Learning", lecture 6 (2012).
 *
 * @example
 * new RMSprop(model.parameters(), { lr: 1e-3 });
 */
export class RMSprop extends Optimizer<RMSpropSettings> {
  constructor(params: OptimizerInput<RMSpropSettings>, options: Partial<RMSpropSettings> = {}) {
    super(params, {
      lr: 1e-2,
      alpha: 0.99,
      eps: 1e-8,
      weightDecay: 0,
      momentum: 0,
      centered: false,
      maximize: false,
      ...options,
    });
  }

  protected override update({ values, grad, state, group, zeros }: Update<RMSpropSettings>): void {
    const { lr, alpha, eps, weightDecay, momentum, centered } = group;
    state.step = ((state.step as number | undefined) ?? 0) + 1;
    state.squareAvg ??= zeros();
    if (momentum > 0) state.momentumBuffer ??= zeros();
    if (centered) state.gradAvg ??= zeros();
    const square = (state.squareAvg as Tensor).storage;
    const velocity = momentum > 0 ? (state.momentumBuffer as Tensor).storage : square;
    const mean = centered ? (state.gradAvg as Tensor).storage : square;
    const sign = group.maximize ? -1 : 1;
    for (let i = 0, n = values.length; i < n; i++) {
      const g = sign * grad[i] + weightDecay * values[i];
      const s = alpha * square[i] + (1 - alpha) * g * g;
      square[i] = s;
      let spread = s;
      if (centered) {
        const m = alpha * mean[i] + (1 - alpha) * g;
        mean[i] = m;
        spread = s - m * m;
      }
      let move = g / (Math.sqrt(spread) + eps);
      if (momentum > 0) {
        move += momentum * velocity[i];
        velocity[i] = move;
      }
      values[i] -= lr * move;
    }
  }

  protected override validate(group: RMSpropSettings): void {
    for (const name of ['lr', 'alpha', 'eps', 'weightDecay', 'momentum'] as const) {
      checkSetting('RMSprop', name, group[name]);
    }
  }
}
