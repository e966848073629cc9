import type { Tensor } from './tensor.ts';

/** What a state dict may hold: tensors, and for quantized modules the tuples and names PyTorch keeps beside them. */
export type StateValue = Tensor | string | number | boolean | null | readonly StateValue[];

/** A module's state by PyTorch's keys, in PyTorch's order. */
export type StateDict = Map<string, StateValue>;
