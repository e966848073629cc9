import { QuantizationError } from '../../core/errors.ts';
import { BatchNorm, fuseConvBnWeights, fuseLinearBnWeights, Linear } from '../../nn/index.ts';
import { FusedModule } from '../../nn/intrinsic/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import { dispatch } from '../../ops/dispatch.ts';
import { noGrad } from '../../ops/grad-mode.ts';
import { DTYPES, isQuantizedDType, type QuantizedDType } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { FakeQuantizeBase } from '../fake-quantize/fake-quantize.ts';
import { appliedQParams } from '../observed-qparams.ts';
import type { ObserverBase } from '../observers/observer.ts';
import { hasFoldedBatchNorm, stateOf } from './qat/batch-norm.ts';

/** Weight and bias of a layer. */
export interface LayerParameters {
  readonly weight: Tensor;
  readonly bias: Tensor | null;
}

/** The layer that others may have been fused behind: the first part of a fused module, or the module itself. */
export function firstLayer(module: AnyModule): AnyModule {
  return '0' in module ? (module as unknown as Record<string, AnyModule>)['0'] : module;
}

/**
 * The weight and bias that a module is quantized with: those of its (first) layer, a batch normalization that was
 * fused behind it folded in.
 */
export function layerParameters(module: AnyModule): LayerParameters {
  if (hasFoldedBatchNorm(module)) return module.foldedParameters();
  if (!(module instanceof FusedModule)) return module as unknown as LayerParameters;
  const [layer, next] = module.children();
  const { weight, bias } = layer as unknown as LayerParameters;
  if (!(next instanceof BatchNorm)) return { weight, bias };
  return layer instanceof Linear
    ? fuseLinearBnWeights(weight, bias, stateOf(next))
    : fuseConvBnWeights(weight, bias, stateOf(next));
}

/**
 * The weight observer of a module that is being converted: its fake-quantize in the qat case, otherwise a fresh one
 * from its qconfig that is shown the weight. Where PyTorch shows a trained fake-quantize the weight once more, which moves
 * its average, it is taken here as the last call left it: the integers are those that call computed with.
 */
export function observeWeight(module: AnyModule, weight: Tensor, fn: string): ObserverBase {
  const trained = (module as { weightFakeQuant?: ObserverBase }).weightFakeQuant;
  if (trained) {
    if (!trained.hasObserved()) noGrad(() => trained(weight));
    return trained;
  }
  if (!module.qconfig) {
    throw new QuantizationError({
      fn,
      argument: 'module.qconfig',
      expected: 'a QConfig with a weight observer',
      got: String(module.qconfig),
      fix: 'Set model.qconfig = getDefaultQConfig() and call prepare before convert.',
    });
  }
  const observer = module.qconfig.weight();
  noGrad(() => observer(weight));
  return observer;
}

/**
 * A weight quantized with the parameters its observer found: per tensor or per channel, as the observer's scheme says.
 * After training those are the ones its fake-quantize rounds with.
 * Source: `torch.ao.nn.quantized.modules.utils._quantize_weight`.
 */
export function quantizeWeight(given: Tensor, observer: ObserverBase, fn: string): Tensor {
  const { dtype } = observer;
  if (!isQuantizedDType(dtype)) {
    throw new QuantizationError({
      fn,
      argument: 'weight observer',
      expected: 'a quantized dtype',
      got: dtype,
      fix: 'Use getDefaultQConfig() or defaultDynamicQConfig, or set the qconfig of this module to null to keep it float.',
    });
  }
  const { scale, zeroPoint } = appliedQParams(observer);
  return noGrad(() => {
    const weight = observer instanceof FakeQuantizeBase ? clampToRange(given, observer) : given;
    if (observer.qscheme.startsWith('per_channel')) {
      return dispatch(
        'quantizePerChannel',
        weight,
        scale,
        zeroPoint,
        observer.chAxis,
        dtype as QuantizedDType,
      );
    }
    return dispatch('quantizePerTensor', weight, scale.item(), zeroPoint.item(), dtype as QuantizedDType);
  });
}

/** A bias as plain data of its own: no gradient, not shared with the float layer. */
export function plainBias(bias: Tensor | null): Tensor | null {
  return bias && noGrad(() => dispatch('clone', bias));
}

/** Weights that training clamped to fewer integers than the dtype has (−127…127), rounded within that range. */
function clampToRange(weight: Tensor, trained: FakeQuantizeBase): Tensor {
  const { quantMin, quantMax, dtype, qscheme, chAxis } = trained;
  if (quantMin <= DTYPES[dtype].min && quantMax >= DTYPES[dtype].max) return weight;
  const { scale, zeroPoint } = trained.appliedQParams();
  return qscheme.startsWith('per_channel')
    ? dispatch('fakeQuantizePerChannel', weight, scale, zeroPoint, chAxis, quantMin, quantMax)
    : dispatch('fakeQuantizePerTensor', weight, scale.item(), zeroPoint.item(), quantMin, quantMax);
}
