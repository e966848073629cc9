import { QuantizationError } from '../../../core/errors.ts';
import type { AnyModule, StateLoader } from '../../../nn/module.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import { PackedWeights } from '../../../ops/quantized/packed.ts';
import { PackedHalfWeights } from '../../../ops/quantized/packed-half.ts';
import { isQuantizedDType } from '../../../tensor/dtype.ts';
import type { StateValue } from '../../../tensor/state.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { readWeightAndBias } from '../state.ts';
import { observeWeight, plainBias, quantizeWeight } from '../weights.ts';

/**
 * Weights of a linear product inside a dynamic layer: int8, or float16 that is computed with in float32.
 * Source: PyTorch's `LinearPackedParamsBase`.
 */
export type PackedParams = PackedWeights | PackedHalfWeights;

/** The name TorchScript gives {@link PackedParams} in files. */
const CLASS_NAME = '__torch__.torch.classes.quantized.LinearPackedParamsBase';

/** Packs a weight [outFeatures, inFeatures]: quantized ones as they are, float ones as float16. */
export function packParams(weight: Tensor, bias: Tensor | null): PackedParams {
  return isQuantizedDType(weight.dtype)
    ? new PackedWeights(weight, bias, null)
    : new PackedHalfWeights(weight, bias);
}

/** Packs a float weight in the type its module's qconfig asks for: qint8 or float16. */
export function packFloatParams(
  module: AnyModule,
  weight: Tensor,
  bias: Tensor | null,
  fn: string,
): PackedParams {
  const observer = observeWeight(module, weight, fn);
  if (observer.dtype === 'float16') return new PackedHalfWeights(weight, plainBias(bias));
  if (observer.dtype === 'qint8') {
    return new PackedWeights(quantizeWeight(weight, observer, fn), plainBias(bias), null);
  }
  throw new QuantizationError({
    fn,
    argument: 'module.qconfig.weight',
    expected: 'an observer of qint8 or float16',
    got: observer.dtype,
    fix: 'Use defaultDynamicQConfig, perChannelDynamicQConfig or float16DynamicQConfig.',
  });
}

/** x·wᵀ + b over the last dimension, float in and out. */
export function multiply(x: Tensor, params: PackedParams): Tensor {
  return params instanceof PackedWeights
    ? dispatch('quantized::linear_dynamic', x, params, false)
    : dispatch('quantized::linear_dynamic_fp16', x, params);
}

/** The state-dict form of packed parameters: the TorchScript object around (weight, bias). */
export function scriptObject(params: PackedParams): StateValue {
  return [CLASS_NAME, [params.weight, params.bias]];
}

/** Reads what {@link scriptObject} made and hands the packed parameters on once everything fits. */
export function readScriptObject(
  loader: StateLoader,
  key: string,
  value: StateValue | undefined,
  shape: readonly number[],
  assign: (params: PackedParams) => void,
): void {
  const [name, pair] = Array.isArray(value) ? (value as readonly StateValue[]) : [];
  if (name !== CLASS_NAME || !Array.isArray(pair)) {
    loader.mismatch(`${key} does not hold packed parameters of a linear layer`);
    return;
  }
  readWeightAndBias(loader, key, pair[0], pair[1], shape, (w, b) => assign(packParams(w, b)), true);
}
