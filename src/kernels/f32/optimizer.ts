import { engine as defaultEngine, type Engine } from '../engine.ts';
import { inBlocks } from './blocks.ts';
import { checkLength } from './panels.ts';

/**
 * One step of stochastic gradient descent on a flat parameter, in place, with `torch.optim.SGD`'s arithmetic in float32:
 * `g += weightDecay·p`, `v = momentum·v + (1 − dampening)·g`, `g = nesterov ? g + momentum·v : v`, `p −= lr·g`.
 *
 * PyTorch's first step sets the momentum buffer to the gradient itself, undampened: pass zeros with `dampening: 0` for it.
 *
 * @param options `momentumBuffer` is needed (and updated) unless `momentum` is 0. For maximization pass a negated gradient.
 * @throws ShapeError when the lengths differ.
 * @example
 * sgdStepF32({ param, grad, momentumBuffer, lr: 0.1, momentum: 0.9, weightDecay: 1e-4 });
 */
export function sgdStepF32(options: {
  readonly param: Float32Array;
  readonly grad: Float32Array;
  readonly momentumBuffer?: Float32Array | null;
  readonly lr: number;
  readonly momentum?: number;
  readonly dampening?: number;
  readonly weightDecay?: number;
  readonly nesterov?: boolean;
  readonly engine?: Engine;
}): void {
  const { param, grad, lr, momentum = 0, dampening = 0, weightDecay = 0, engine = defaultEngine } = options;
  const nesterov = options.nesterov ?? false;
  checkLength('sgdStepF32', 'grad', grad, param.length);
  if (momentum === 0) {
    inBlocks(engine, [param, grad], [param], ([p, g], _, n) =>
      engine.kernels.f32_sgd(p, g, 0, n, lr, weightDecay, 0, 0, false),
    );
    return;
  }
  const buffer = options.momentumBuffer ?? new Float32Array(0);
  checkLength('sgdStepF32', 'momentumBuffer', buffer, param.length);
  inBlocks(engine, [param, grad, buffer], [param, buffer], ([p, g, v], _, n) =>
    engine.kernels.f32_sgd(p, g, v, n, lr, weightDecay, momentum, 1 - dampening, nesterov),
  );
}

/**
 * One step of Adam (Kingma & Ba 2015) or AdamW (Loshchilov & Hutter 2019) on a flat parameter, in place, with the arithmetic of
 * `torch.optim.Adam` / `AdamW` in float32.
 *
 * @param options `step` counts from 1. `weightDecay` is added to the gradient, or with `decoupled` shrinks the parameter (AdamW).
 * @throws ShapeError when the lengths differ.
 * @example
 * adamStepF32({ param, grad, expAvg, expAvgSq, step: 1, lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8 });
 */
export function adamStepF32(options: {
  readonly param: Float32Array;
  readonly grad: Float32Array;
  readonly expAvg: Float32Array;
  readonly expAvgSq: Float32Array;
  readonly step: number;
  readonly lr: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay?: number;
  readonly decoupled?: boolean;
  readonly engine?: Engine;
}): void {
  const { param, grad, expAvg, expAvgSq, step, lr, beta1, beta2, eps, weightDecay = 0 } = options;
  const engine = options.engine ?? defaultEngine;
  const decoupled = options.decoupled ?? false;
  checkLength('adamStepF32', 'grad', grad, param.length);
  checkLength('adamStepF32', 'expAvg', expAvg, param.length);
  checkLength('adamStepF32', 'expAvgSq', expAvgSq, param.length);
  const shrink = decoupled ? 1 - lr * weightDecay : 1;
  const stepSize = lr / (1 - beta1 ** step);
  const rootCorrection = Math.sqrt(1 - beta2 ** step);
  inBlocks(engine, [param, grad, expAvg, expAvgSq], [param, expAvg, expAvgSq], ([p, g, m, v], _, n) =>
    engine.kernels.f32_adam(
      p,
      g,
      m,
      v,
      n,
      shrink,
      decoupled ? 0 : weightDecay,
      beta1,
      1 - beta1,
      beta2,
      1 - beta2,
      stepSize,
      rootCorrection,
      eps,
    ),
  );
}
