import { dispatch } from '../../ops/dispatch.ts';
import type { OpArgs, OpName, OpResult } from '../../ops/signatures/index.ts';
import type { Shape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/** Gradient of a result: a tensor, or one per output (null where none flowed back). */
export type GradOf<R> = R extends Tensor ? Tensor : readonly (Tensor | null)[];

/**
 * A gradient rule: called with the output and the arguments when the operator runs, it returns the function that
 * maps the output's gradient to one gradient per tensor argument, in argument order (lists opened).
 * `none` marks operators without a derivative (comparisons, indices), `missing` those that refuse to be trained through.
 */
export type Rule<K extends OpName> =
  | ((
      out: OpResult<K>,
      ...args: OpArgs<K>
    ) => (grad: GradOf<OpResult<K>>) => readonly (Tensor | null | undefined)[])
  | 'none'
  | 'missing';

/** A rule with its types erased, as the interpreter calls it. */
export type AnyRule =
  | ((out: unknown, ...args: unknown[]) => (grad: unknown) => readonly (Tensor | null | undefined)[])
  | 'none'
  | 'missing';

/** Rules for the operators of one family. */
export type RulesOf<Family> = { readonly [K in keyof Family & OpName]: Rule<K> };

/** Sums a gradient over the dimensions that broadcasting had repeated, back to `shape`. */
export function sumTo(grad: Tensor, shape: Shape): Tensor {
  const lead = grad.ndim - shape.length;
  const dims = grad.shape.flatMap((size, d) =>
    d < lead || (shape[d - lead] === 1 && size !== 1) ? [d] : [],
  );
  if (dims.length === 0) return grad;
  const summed = dispatch('sum', grad, dims, true);
  return lead > 0 ? dispatch('reshape', summed, shape) : summed;
}
