import { ArgumentError } from '../core/errors.ts';
import { Tensor } from '../tensor/tensor.ts';
import { checkSetting, Optimizer, type OptimizerInput, type Update } from './optimizer.ts';

/** Settings of {@link SGD}. */
export interface SGDSettings {
  /** Learning rate. */
  lr: number;
  /** Share of the last step that is kept; 0. */
  momentum: number;
  /** Share of the gradient that does not enter the momentum; 0. */
  dampening: number;
  /** L2 penalty; 0. */
  weightDecay: number;
  /** Nesterov's form of momentum; false. */
  nesterov: boolean;
  /** Climb instead of descend; false. */
  maximize: boolean;
}

/**
 * Stochastic gradient descent, with momentum. Source: `torch.optim.SGD`; Sutskever et al., "On the importance of
 * initialization and momentum in deep learning" (2013).
 *
 * @example
 * new SGD(model.parameters(), { lr: 0.1, momentum: 0.9, weightDecay: 1e-4 });
 */
export class SGD extends Optimizer<SGDSettings> {
  constructor(params: OptimizerInput<SGDSettings>, options: Partial<SGDSettings> & { lr: number }) {
    super(params, {
      momentum: 0,
      dampening: 0,
      weightDecay: 0,
      nesterov: false,
      maximize: false,
      ...options,
    });
  }

  protected override update({ values, grad, state, group, zeros }: Update<SGDSettings>): void {
    const { lr, momentum, weightDecay, nesterov } = group;
    const sign = group.maximize ? -1 : 1;
    const n = values.length;
    if (momentum === 0) {
      for (let i = 0; i < n; i++) values[i] -= lr * (sign * grad[i] + weightDecay * values[i]);
      return;
    }
    // The first gradient enters undamped, as in PyTorch.
    const first = !(state.momentumBuffer instanceof Tensor);
    const buffer = first ? zeros() : (state.momentumBuffer as Tensor);
    state.momentumBuffer = buffer;
    const velocity = buffer.storage;
    const share = first ? 1 : 1 - group.dampening;
    for (let i = 0; i < n; i++) {
      const g = sign * grad[i] + weightDecay * values[i];
      const v = momentum * velocity[i] + share * g;
      velocity[i] = v;
      values[i] -= lr * (nesterov ? g + momentum * v : v);
    }
  }

  protected override validate(group: SGDSettings): void {
    checkSetting('SGD', 'lr', group.lr);
    checkSetting('SGD', 'momentum', group.momentum);
    checkSetting('SGD', 'weightDecay', group.weightDecay);
    if (group.nesterov && (group.momentum <= 0 || group.dampening !== 0)) {
      throw new ArgumentError({
        fn: 'SGD',
        argument: 'nesterov',
        expected: 'momentum above 0 and dampening 0',
        got: `momentum ${group.momentum}, dampening ${group.dampening}`,
      });
    }
  }
}
