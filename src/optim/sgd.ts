import { ArgumentError } from '../core/errors.ts';
import { sgdStepF32 } from '../kernels/f32/optimizer.ts';
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
    // The first gradient enters undamped, as in PyTorch.
    const dampening = state.momentumBuffer instanceof Tensor ? group.dampening : 0;
    if (momentum !== 0) state.momentumBuffer ??= zeros();
    const velocity = momentum === 0 ? values : (state.momentumBuffer as Tensor).storage;
    if (
      values instanceof Float32Array &&
      grad instanceof Float32Array &&
      velocity instanceof Float32Array &&
      !group.maximize
    ) {
      sgdStepF32({
        param: values,
        grad,
        momentumBuffer: velocity,
        lr,
        momentum,
        dampening,
        weightDecay,
        nesterov,
      });
      return;
    }
    const sign = group.maximize ? -1 : 1;
    for (let i = 0, n = values.length; i < n; i++) {
      const g = sign * grad[i] + weightDecay * values[i];
      let move = g;
      if (momentum !== 0) {
        const v = momentum * velocity[i] + (1 - dampening) * g;
        velocity[i] = v;
        move = nesterov ? g + momentum * v : v;
      }
      values[i] -= lr * move;
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
