import type { OpArgs, OpName } from '../../../ops/signatures/index.ts';
import type { Meta } from '../value.ts';

/**
 * Computes what an operator's result looks like, checking its arguments as the operator itself does. Its tensors have the
 * right shapes, dtypes and qparams, and zeros for elements.
 */
export type ShapeRules = { readonly [K in OpName]?: (...args: OpArgs<K>) => Meta };
