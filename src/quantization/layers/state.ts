import type { StateLoader } from '../../nn/module.ts';
import { isFloatDType } from '../../tensor/dtype.ts';
import { Tensor } from '../../tensor/tensor.ts';

/** Takes a one-element tensor from a state dict and hands its number on once everything fits. */
export function readScalar(loader: StateLoader, key: string, assign: (value: number) => void): void {
  const value = loader.take(key);
  if (value === undefined) return;
  if (value instanceof Tensor && value.numel === 1) loader.later(() => assign(value.item()));
  else loader.mismatch(`${key} is not a tensor of one element`);
}

/**
 * Takes the (weight, bias) pair of a quantized layer and hands it on once everything fits. Layers that have a float16
 * form say so with `float`.
 */
export function readWeightAndBias(
  loader: StateLoader,
  weightKey: string,
  weight: unknown,
  bias: unknown,
  shape: readonly number[],
  assign: (weight: Tensor, bias: Tensor | null) => void,
  float = false,
): void {
  if (!(weight instanceof Tensor) || !(weight.isQuantized || (float && isFloatDType(weight.dtype))))
    loader.mismatch(`${weightKey} is not a quantized tensor`);
  else if (weight.shape.join() !== shape.join()) {
    loader.mismatch(
      `${weightKey} has shape [${weight.shape.join(', ')}], the module has [${shape.join(', ')}]`,
    );
  } else if (bias !== null && !(bias instanceof Tensor))
    loader.mismatch(`the bias beside ${weightKey} is not a tensor`);
  else loader.later(() => assign(weight, bias));
}
