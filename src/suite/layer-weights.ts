import { type Linear, MultiheadAttention, RNNBase, RNNCellBase } from '../nn/index.ts';
import type { AnyModule } from '../nn/module.ts';
import { dispatch } from '../ops/dispatch.ts';
import { noGrad } from '../ops/grad-mode.ts';
import { DynamicCell } from '../quantization/layers/dynamic/cells.ts';
import * as quantizable from '../quantization/layers/quantizable/index.ts';
import { layerParameters } from '../quantization/layers/weights.ts';
import { Tensor } from '../tensor/tensor.ts';

/** A layer's weights by the names they have in state dicts of float models. */
export type NamedWeights = ReadonlyMap<string, Tensor>;

/**
 * The weights that a layer multiplies with, float or quantized, without biases: of convolutions, linear layers and
 * embeddings their `weight`, a batch normalization that was fused behind it folded in; of recurrent layers those of all
 * gates; of attention those of its projections. Empty for modules without.
 */
export function layerWeights(module: AnyModule): NamedWeights {
  if (module instanceof RNNBase) return recurrentWeights(module);
  if (module instanceof DynamicCell) {
    const { ih, hh } = module.packed;
    return new Map(Object.entries({ weight_ih: ih.weight, weight_hh: hh.weight }));
  }
  if (module instanceof RNNCellBase) {
    const { weightIh, weightHh } = module as unknown as { weightIh: Tensor; weightHh: Tensor };
    return new Map(Object.entries({ weight_ih: weightIh, weight_hh: weightHh }));
  }
  if (module instanceof quantizable.LSTM) return takenApartWeights(module);
  if (module instanceof MultiheadAttention) return attentionWeights(module);
  const weight = ownWeight(module);
  return new Map(weight ? [['weight', weight]] : []);
}

/** The weight of a layer that has one: a field of float layers, a method of quantized ones. */
function ownWeight(module: AnyModule): Tensor | null {
  const { weight } = noGrad(() => layerParameters(module)) as { weight: unknown };
  const value = typeof weight === 'function' ? weight.call(module) : weight;
  return value instanceof Tensor && value.ndim >= 2 ? value : null;
}

function recurrentWeights(module: RNNBase<unknown>): NamedWeights {
  const found = new Map<string, Tensor>();
  for (let layer = 0; layer < module.numLayers; layer++) {
    for (let direction = 0; direction < module.numDirections; direction++) {
      const { weightIh, weightHh } = module.weights(layer, direction);
      found.set(`weight_ih${suffix(layer, direction)}`, weightIh);
      found.set(`weight_hh${suffix(layer, direction)}`, weightHh);
    }
  }
  return found;
}

/** The same weights of an LSTM that was taken apart to be quantized statically: two linear layers per cell. */
function takenApartWeights(module: quantizable.LSTM): NamedWeights {
  const found = new Map<string, Tensor>();
  [...module.layers].forEach((layer, l) => {
    layer.children().forEach((one, direction) => {
      const { cell } = one as unknown as { cell: Record<'igates' | 'hgates', AnyModule> };
      found.set(`weight_ih${suffix(l, direction)}`, ownWeight(cell.igates) as Tensor);
      found.set(`weight_hh${suffix(l, direction)}`, ownWeight(cell.hgates) as Tensor);
    });
  });
  return found;
}

function suffix(layer: number, direction: number): string {
  return `_l${layer}${direction === 1 ? '_reverse' : ''}`;
}

/** The projections of an attention: one packed weight or three, or the linear layers of its static form. */
function attentionWeights(module: MultiheadAttention): NamedWeights {
  const { inProjWeight, qProjWeight, kProjWeight, vProjWeight } = module;
  const parts =
    module instanceof quantizable.MultiheadAttention
      ? [module.linear_Q, module.linear_K, module.linear_V].map(ownWeight)
      : inProjWeight
        ? noGrad(() => dispatch('chunk', inProjWeight, 3, 0))
        : [qProjWeight, kProjWeight, vProjWeight];
  const out = ownWeight((module as unknown as { out_proj: Linear }).out_proj);
  const names = ['linear_Q.weight', 'linear_K.weight', 'linear_V.weight', 'out_proj.weight'];
  return new Map([...parts, out].map((weight, i) => [names[i], weight as Tensor]));
}
