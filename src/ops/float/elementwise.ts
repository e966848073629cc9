import type { ElementwiseOps } from '../signatures/index.ts';

/** Implementations of the elementwise operators on plain tensors. */
export const elementwise: ElementwiseOps = {} as ElementwiseOps;
