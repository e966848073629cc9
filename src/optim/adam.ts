import { adamStepF32 } from '../kernels/f32/optimizer.ts';
import { fromStorage, Tensor } from '../tensor/tensor.ts';
import { checkSetting, Optimizer, type OptimizerInput, type Update } from './optimizer.ts';

/** Settings of {@link Adam} and {@link AdamW}. */
export interface AdamSettings {
  /** Learning rate; 0.001. */
  lr: number;
  /** Decay of the running means of gradients and of their squares; [0.9, 0.999]. */
  betas: readonly [number, number];
  /** Added to the denominator; 1e-8. */
  eps: number;
  /** L2 penalty (Adam, 0), or share by which weights shrink (AdamW, 0.01). */
  weightDecay: number;
  /** Divide by the largest running mean so far; false. */
  amsgrad: boolean;
  /** Climb instead of descend; false. */
  maximize: boolean;
}

/**
 * Adam. Source: `torch.optim.Adam`; Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2014).
 *
 * @example
 * new Adam(model.parameters(), { lr: 1e-3 });
 */
export class Adam extends Optimizer<AdamSettings> {
  /** AdamW shrinks weights directly, Adam adds the penalty to the gradient. */
  protected readonly decoupledDecay: boolean = false;

  constructor(params: OptimizerInput<AdamSettings>, options: Partial<AdamSettings> = {}) {
    super(params, {
      lr: 1e-3,
      betas: [0.9, 0.999],
      eps: 1e-8,
      weightDecay: 0,
      amsgrad: false,
      maximize: false,
      ...options,
    });
  }

  protected override update({ values, grad, state, group, zeros }: Update<AdamSettings>): void {
    const { lr, eps, weightDecay, amsgrad } = group;
    const [beta1, beta2] = group.betas;
    const counter = stepCounter(state.step);
    state.step = counter;
    state.expAvg ??= zeros();
    state.expAvgSq ??= zeros();
    if (amsgrad) state.maxExpAvgSq ??= zeros();
    const mean = (state.expAvg as Tensor).storage;
    const square = (state.expAvgSq as Tensor).storage;
    const largest = amsgrad ? (state.maxExpAvgSq as Tensor).storage : square;
    const step = ++counter.storage[0];
    if (
      values instanceof Float32Array &&
      grad instanceof Float32Array &&
      mean instanceof Float32Array &&
      square instanceof Float32Array &&
      !amsgrad &&
      !group.maximize
    ) {
      const decoupled = this.decoupledDecay;
      const moments = { expAvg: mean, expAvgSq: square };
      adamStepF32({ param: values, grad, ...moments, step, lr, beta1, beta2, eps, weightDecay, decoupled });
      return;
    }
    const stepSize = lr / (1 - beta1 ** step);
    const correction = Math.sqrt(1 - beta2 ** step);
    const sign = group.maximize ? -1 : 1;
    const penalty = this.decoupledDecay ? 0 : weightDecay;
    const shrink = this.decoupledDecay ? 1 - lr * weightDecay : 1;
    for (let i = 0, n = values.length; i < n; i++) {
      const value = values[i] * shrink;
      const g = sign * grad[i] + penalty * value;
      const m = beta1 * mean[i] + (1 - beta1) * g;
      const v = beta2 * square[i] + (1 - beta2) * g * g;
      mean[i] = m;
      square[i] = v;
      let top = v;
      if (amsgrad) {
        top = Math.max(largest[i], v);
        largest[i] = top;
      }
      values[i] = value - (stepSize * m) / (Math.sqrt(top) / correction + eps);
    }
  }

  protected override validate(group: AdamSettings): void {
    const fn = this.constructor.name;
    checkSetting(fn, 'lr', group.lr);
    checkSetting(fn, 'betas[0]', group.betas[0], 0, 1);
    checkSetting(fn, 'betas[1]', group.betas[1], 0, 1);
    checkSetting(fn, 'eps', group.eps);
    checkSetting(fn, 'weightDecay', group.weightDecay);
  }
}

/**
 * Adam with weight decay that does not pass through the running means. Source: `torch.optim.AdamW`; Loshchilov and
 * Hutter, "Decoupled Weight Decay Regularization" (2017).
 *
 * @example
 * new AdamW(model.parameters(), { lr: 1e-3, weightDecay: 0.05 });
 */
export class AdamW extends Adam {
  protected override readonly decoupledDecay: boolean = true;

  constructor(params: OptimizerInput<AdamSettings>, options: Partial<AdamSettings> = {}) {
    super(params, { weightDecay: 1e-2, ...options });
  }
}

/** The count of steps is a float tensor in PyTorch's state; state dicts of older versions hold a plain number. */
function stepCounter(step: Tensor | number | null | undefined): Tensor {
  return step instanceof Tensor ? step : fromStorage(Float32Array.of(step ?? 0), [], 'float32');
}
