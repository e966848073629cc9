import type { Tensor } from './tensor.ts';

/**
 * One value of a state dict: a tensor, or what quantized modules keep beside their tensors. Tuples such as
 * `[weight, bias]` are arrays, dtypes and schemes are their names (`'qint8'`, `'per_tensor_affine'`).
 */
export type StateValue = Tensor | string | number | boolean | null | readonly StateValue[];

/** The named state of a module in registration order. Keys are PyTorch's to the letter. */
export type StateDict = Map<string, StateValue>;
