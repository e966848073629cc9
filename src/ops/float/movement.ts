import type { MovementOps } from '../signatures/index.ts';

/** Implementations of the movement operators on plain tensors. */
export const movement: MovementOps = {} as MovementOps;
