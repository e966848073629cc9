import type { StateLoader } from '../../nn/module.ts';
import { tensor } from '../../tensor/creation.ts';
import { isFloatDType } from '../../tensor/dtype.ts';
import type { StateDict } from '../../tensor/state.ts';
import { Tensor } from '../../tensor/tensor.ts';

/** Takes a one-element tensor from a state dict and hands its number on once everything fits. */
function readScalar(loader: StateLoader, key: string, assign: (value: number) => void): void {
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

/** A layer with the scale and zero point of its output. */
interface OutputQParams {
  scale: number;
  zeroPoint: number;
}

/** Writes a layer's output parameters under PyTorch's keys. */
export function saveOutputQParams(layer: OutputQParams, into: StateDict, prefix: string): void {
  into.set(`${prefix}scale`, tensor(layer.scale));
  into.set(`${prefix}zero_point`, tensor(layer.zeroPoint, { dtype: 'int64' }));
}

/** Reads what {@link saveOutputQParams} wrote; with `optional`, a state dict without them leaves the layer as it is. */
export function loadOutputQParams(
  layer: OutputQParams,
  loader: StateLoader,
  prefix: string,
  options: { readonly optional?: boolean } = {},
): void {
  if (options.optional && loader.take(`${prefix}scale`, true) === undefined) return;
  readScalar(loader, `${prefix}scale`, (v) => {
    layer.scale = v;
  });
  readScalar(loader, `${prefix}zero_point`, (v) => {
    layer.zeroPoint = v;
  });
}
