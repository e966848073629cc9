import { dispatch } from '../ops/dispatch.ts';
import { noGrad } from '../ops/grad-mode.ts';
import type { Parameter } from './parameter.ts';

/**
 * Scales the gradients of all parameters together, so that their joint 2-norm is at most `maxNorm`. Returns the norm
 * before. Source: `torch.nn.utils.clip_grad_norm_`; Pascanu et al. (2012).
 *
 * @example
 * backward(loss);
 * clipGradNorm_(model.parameters(), 0.25);
 * optimizer.step();
 */
export function clipGradNorm_(parameters: Iterable<Parameter>, maxNorm: number): number {
  const learned = [...parameters];
  let squares = 0;
  for (const { grad } of learned) {
    if (!grad) continue;
    const { data } = grad;
    for (let i = 0; i < data.length; i++) squares += data[i] * data[i];
  }
  const norm = Math.sqrt(squares);
  // As in PyTorch, the small number keeps a zero norm from dividing.
  const factor = maxNorm / (norm + 1e-6);
  if (factor < 1) replaceGradients(learned, (grad) => dispatch('mul', grad, factor));
  return norm;
}

/** Cuts every gradient to [−clip, clip]. Source: `torch.nn.utils.clip_grad_value_`. */
export function clipGradValue_(parameters: Iterable<Parameter>, clip: number): void {
  replaceGradients(parameters, (grad) => dispatch('clamp', grad, -clip, clip));
}

/** New tensors rather than writes: two parameters may hold one and the same gradient. */
function replaceGradients(
  parameters: Iterable<Parameter>,
  change: (grad: NonNullable<Parameter['grad']>) => NonNullable<Parameter['grad']>,
): void {
  noGrad(() => {
    for (const p of parameters) if (p.grad) p.grad = change(p.grad);
  });
}
