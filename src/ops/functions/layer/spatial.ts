import { ArgumentError } from '../../../core/errors.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { dispatch } from '../../dispatch.ts';

/** One number for every spatial dimension, or one each. */
export type Sizes = number | readonly number[];

/** One number per spatial dimension; a list of one counts for all. */
export function perDimension(fn: string, argument: string, value: Sizes, rank: number): readonly number[] {
  if (typeof value === 'number') return new Array<number>(rank).fill(value);
  if (value.length === rank) return value;
  if (value.length === 1) return new Array<number>(rank).fill(value[0]);
  throw new ArgumentError({
    fn,
    argument,
    expected: `a number, or a list of ${rank}`,
    got: `[${value.join(', ')}]`,
  });
}

/** Runs `body` on a batch: an input without the batch dimension becomes a batch of one, and so does the result again. */
export function batched(x: Tensor, rank: number, body: (x: Tensor) => Tensor): Tensor {
  if (x.ndim !== rank + 1) return body(x);
  return dispatch('squeeze', body(dispatch('unsqueeze', x, 0)), 0);
}
