import { elementwise } from './float/elementwise.ts';
import { layer } from './float/layer.ts';
import { movement } from './float/movement.ts';
import { reduction } from './float/reduction.ts';
import { quantizeCrossing } from './quantized/crossing.ts';
import { quantizedImplementations } from './quantized/table.ts';
import type { OpName, Ops, QuantizedOps } from './signatures/index.ts';

/** Implementations on plain tensors: complete but for the operators that exist on quantized tensors alone. */
export const FLOAT: { readonly [K in Exclude<OpName, keyof QuantizedOps>]: Ops[K] } = {
  ...elementwise,
  ...reduction,
  ...movement,
  ...layer,
  ...quantizeCrossing,
};

/** Implementations that run when any tensor argument is quantized. What is missing has no quantized form. */
export const QUANTIZED: { readonly [K in OpName]?: Ops[K] } & QuantizedOps = quantizedImplementations;
