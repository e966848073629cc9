import { deepCopy } from '../../nn/deep-copy.ts';
import type { AnyModule } from '../../nn/module.ts';
import { dispatch } from '../../ops/dispatch.ts';
import { fromStorage, type Tensor } from '../../tensor/tensor.ts';
import { type InputStatistics, observeInputs } from './layer-inputs.ts';
import { layerPairs } from './quantized-layers.ts';
import { channelLayout, forEachKernel, type WeightedLayer } from './weighted-layer.ts';

/** Options of {@link biasCorrection}. */
export interface BiasCorrectionOptions {
  /**
   * What a layer's mean output is held against. `layer` (where not given): the float layer on the same inputs, which takes
   * back the error of its own weights, as PyTorch. `model`: the float layer on the inputs it has in the float model, which
   * takes back what the layers before it did as well, clipped outliers included.
   */
  readonly reference?: 'layer' | 'model';
  /** Change the quantized model itself instead of a copy. */
  readonly inplace?: boolean;
}

/**
 * Takes back the mean error that rounding leaves on every channel: a layer's bias is moved by the difference between the
 * float layer's mean output and its own, before the ReLU, layer by layer in the order they run. Outputs are computed from
 * the means of the inputs, so the error is that of weights and inputs without the rounding and clipping of the output itself, and
 * layers fused with a ReLU are corrected like any other.
 * Source: `torch.ao.quantization._correct_bias.bias_correction`; Nagel et al. (2019), section 4.2.
 *
 * @param floatModel The fused float model that was prepared, with the same paths.
 * @param quantizedModel What `convert` made of it.
 * @param batches Representative inputs; iterated once per layer, so an array rather than a generator.
 * @throws {@link QuantizationError} where the models do not have the same layers.
 * @example
 * const corrected = biasCorrection(fused, convert(prepared), batches);
 */
export function biasCorrection<M extends AnyModule>(
  floatModel: AnyModule,
  quantizedModel: M,
  batches: readonly Tensor[],
  options: BiasCorrectionOptions = {},
): M {
  const fn = 'biasCorrection';
  const target = options.inplace ? quantizedModel : deepCopy(quantizedModel);
  const pairs = layerPairs(floatModel, target, fn);
  const floatLayers = new Map([...pairs].map(([path, { float }]) => [path, float]));
  const inFloat = options.reference === 'model' ? observeInputs(floatModel, floatLayers, batches, fn) : null;
  for (const [path, { float, quantized }] of inOrder(pairs, target, batches)) {
    const own = observeInputs(target, new Map([[path, float]]), batches, fn, { until: path }).get(
      path,
    ) as InputStatistics;
    const weight = quantized.weight();
    const bias = (quantized.bias()?.numbers() ?? new Float32Array(weight.shape[0])) as Float32Array;
    const wanted = meanOutput(float, float.weight.numbers(), (inFloat?.get(path) ?? own).mean);
    const got = meanOutput(float, dispatch('dequantize', weight).numbers(), own.mean);
    const floatBias = float.bias?.numbers();
    const corrected = Float32Array.from(
      wanted,
      (mean, o) => bias[o] + (mean + (floatBias?.[o] ?? 0)) - (got[o] + bias[o]),
    );
    quantized.setWeightBias(weight, fromStorage(corrected, [corrected.length], 'float32'));
  }
  return target;
}

/** The entries of `layers` in the order in which their modules run first. */
export function inOrder<T>(
  layers: ReadonlyMap<string, T>,
  model: AnyModule,
  batches: readonly Tensor[],
): [string, T][] {
  const order: string[] = [];
  const handles = [...layers.keys()].map((path) =>
    model.getSubmodule(path).registerForwardPreHook(() => {
      if (!order.includes(path)) order.push(path);
      return undefined;
    }),
  );
  try {
    model(batches[0].narrow(0, 0, 1));
  } finally {
    for (const handle of handles) handle.remove();
  }
  for (const path of layers.keys()) if (!order.includes(path)) order.push(path);
  return order.map((path) => [path, layers.get(path) as T]);
}

/** Weights times the mean of their inputs, per output channel. */
function meanOutput(layer: WeightedLayer, weight: ArrayLike<number>, mean: Float64Array): Float64Array {
  const layout = channelLayout(layer);
  const out = new Float64Array(layout.outChannels);
  forEachKernel(layout, (start, output, input) => {
    for (let t = 0; t < layout.taps; t++) out[output] += weight[start + t] * mean[input * layout.taps + t];
  });
  return out;
}
