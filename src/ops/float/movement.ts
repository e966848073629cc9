import type { MovementOps } from '../signatures/index.ts';
import { copies } from './movement/copies.ts';
import { indexing } from './movement/indexing.ts';
import { views } from './movement/views.ts';

/** Implementations of the operators that rearrange elements; they work on plain and per-tensor quantized tensors. */
export const movement: MovementOps = { ...views, ...copies, ...indexing };
