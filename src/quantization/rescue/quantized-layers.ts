import { QuantizationError } from '../../core/errors.ts';
import type { AnyModule } from '../../nn/module.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type WeightedLayer, weightedLayer } from './weighted-layer.ts';

/** A converted layer whose weight and bias can be replaced: every static convolution and linear layer. */
export interface PackedLayer extends AnyModule {
  weight(): Tensor;
  bias(): Tensor | null;
  setWeightBias(weight: Tensor, bias: Tensor | null): void;
}

/** A converted layer beside the float layer it was made of. */
export interface LayerPair {
  readonly float: WeightedLayer;
  readonly quantized: PackedLayer;
}

/**
 * The converted convolutions and linear layers of a model by path, each with the float layer at the same path.
 *
 * @throws {@link QuantizationError} where there are none, or the float model has something else there.
 */
export function layerPairs(
  floatModel: AnyModule,
  quantizedModel: AnyModule,
  fn: string,
): Map<string, LayerPair> {
  const pairs = new Map<string, LayerPair>();
  for (const [path, module] of quantizedModel.namedModules()) {
    if (!isPackedLayer(module)) continue;
    const float = weightedLayer(floatModel, path, fn);
    const [mine, its] = [module.weight().shape.join(), float.weight.shape.join()];
    if (mine !== its) {
      throw new QuantizationError({
        fn,
        argument: path,
        expected: `a float layer with a weight of [${mine}]`,
        got: `one of [${its}]`,
        fix: 'Pass the fused float model that was prepared.',
      });
    }
    pairs.set(path, { float, quantized: module });
  }
  if (pairs.size > 0) return pairs;
  throw new QuantizationError({
    fn,
    argument: 'quantizedModel',
    expected: 'a converted model with quantized convolutions or linear layers',
    got: `${quantizedModel.typeName} without any`,
    fix: 'Call convert(prepared) first.',
  });
}

function isPackedLayer(module: AnyModule): module is PackedLayer {
  return 'setWeightBias' in module && 'scale' in module && !module.typeName.startsWith('Dynamic');
}
