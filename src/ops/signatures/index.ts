import type { ElementwiseOps } from './elementwise.ts';
import type { LayerOps } from './layer.ts';
import type { MovementOps } from './movement.ts';
import type { QuantizeOps } from './quantize.ts';
import type { QuantizedOps } from './quantized.ts';
import type { ReductionOps } from './reduction.ts';

/** Every operator by name, with its signature. All defaults are filled in before an operator is dispatched. */
export interface Ops extends ElementwiseOps, ReductionOps, MovementOps, LayerOps, QuantizeOps, QuantizedOps {}

/** The name of an operator. */
export type OpName = keyof Ops;

/** The arguments of an operator. */
export type OpArgs<K extends OpName> = Parameters<Ops[K]>;

/** What an operator returns. */
export type OpResult<K extends OpName> = ReturnType<Ops[K]>;

export type { ElementwiseOps, LayerOps, MovementOps, QuantizedOps, QuantizeOps, ReductionOps };
