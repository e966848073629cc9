import { QuantizationError } from '../../core/errors.ts';
import type { AnyModule } from '../../nn/module.ts';
import { dispatch } from '../../ops/dispatch.ts';
import { noGrad } from '../../ops/grad-mode.ts';
import { isQuantizedDType, type QuantizedDType } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { ObserverBase } from '../observers/observer.ts';

/**
 * The weight observer of a module that is being converted: its fake-quantize in the qat case, otherwise a fresh one
 * from its qconfig that is shown the weight.
 */
export function observeWeight(module: AnyModule, weight: Tensor, fn: string): ObserverBase {
  const trained = (module as { weightFakeQuant?: ObserverBase }).weightFakeQuant;
  if (trained) return trained;
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
 * Source: `torch.ao.nn.quantized.modules.utils._quantize_weight`.
 */
export function quantizeWeight(weight: Tensor, observer: ObserverBase, fn: string): Tensor {
  const { dtype } = observer;
  if (!isQuantizedDType(dtype)) {
    throw new QuantizationError({
      fn,
      argument: 'weight observer',
      expected: 'a quantized dtype',
      got: dtype,
    });
  }
  const { scale, zeroPoint } = observer.calculateQParams();
  return noGrad(() => {
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
