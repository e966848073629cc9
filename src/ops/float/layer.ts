import type { LayerOps, Ops } from '../signatures/index.ts';

/** Layer operators on plain tensors. */
export const layer: { readonly [K in keyof LayerOps]: Ops[K] } = {} as { [K in keyof LayerOps]: Ops[K] };
