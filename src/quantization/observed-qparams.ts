import { QuantizationError } from '../core/errors.ts';
import type { AnyModule } from '../nn/module.ts';
import { isQuantizedDType, type QuantizedDType } from '../tensor/dtype.ts';
import { FakeQuantizeBase } from './fake-quantize/fake-quantize.ts';
import { type ObservedQParams, ObserverBase } from './observers/observer.ts';

/** Scale, zero point and dtype that calibration found for an activation. */
export interface ActivationQParams {
  readonly scale: number;
  readonly zeroPoint: number;
  readonly dtype: QuantizedDType;
}

/**
 * The parameters an attached observer (or fake-quantize) arrived at.
 *
 * @throws {@link QuantizationError} where nothing was attached, nothing was observed, or the dtype is not a quantized one.
 */
export function observedQParams(observer: AnyModule | undefined, fn: string): ActivationQParams {
  if (!(observer instanceof ObserverBase)) {
    throw new QuantizationError({
      fn,
      argument: 'activationPostProcess',
      expected: 'an observer attached by prepare or prepareQat',
      got: 'none',
      fix: 'Call prepare(model) and run calibration data through the result before convert.',
    });
  }
  if (!observer.hasObserved()) {
    throw new QuantizationError({
      fn,
      argument: 'activationPostProcess',
      expected: 'an observer that has seen data',
      got: `${observer.typeName} that never ran`,
      fix: 'Run calibration data that reaches this module, or set its qconfig to null to keep it float.',
    });
  }
  const { dtype } = observer;
  if (!isQuantizedDType(dtype)) {
    throw new QuantizationError({
      fn,
      argument: 'activationPostProcess',
      expected: 'an observer of a quantized dtype',
      got: dtype,
    });
  }
  const { scale, zeroPoint } = appliedQParams(observer);
  return { scale: scale.item(), zeroPoint: zeroPoint.item(), dtype };
}

/** What an observer suggests, or what a fake-quantize has been rounding with. */
export function appliedQParams(observer: ObserverBase): ObservedQParams {
  return observer instanceof FakeQuantizeBase ? observer.appliedQParams() : observer.calculateQParams();
}
