import { QuantizationError } from '../../../core/errors.ts';
import type { AnyModule } from '../../../nn/module.ts';
import type { ModuleClass } from '../../backend/pattern.ts';
import type { ObserverBase } from '../../observers/observer.ts';
import { assertValidQConfig, type QConfig } from '../../qconfig.ts';

/** What every layer of quantization-aware training is made with. */
export interface QatOptions {
  /** Makes the fake-quantize of the weight, and later that of the output. */
  readonly qconfig: QConfig;
}

/** The name under which PyTorch registers the fake-quantize of a weight. */
export const WEIGHT_FAKE_QUANT = 'weight_fake_quant';

/** Gives a layer its qconfig and, as a child, the fake-quantize of its weight. */
export function attachWeightFakeQuant(layer: AnyModule, { qconfig }: QatOptions): void {
  if (!qconfig) {
    throw new QuantizationError({
      fn: `qat.${layer.typeName}`,
      argument: 'qconfig',
      expected: 'a QConfig',
      got: String(qconfig),
      fix: 'Pass { qconfig: getDefaultQatQConfig() }, or let prepareQat make the layer.',
    });
  }
  assertValidQConfig(qconfig, layer);
  layer.qconfig = qconfig;
  layer.addModule(WEIGHT_FAKE_QUANT, qconfig.weight());
}

/** The fake-quantize that {@link attachWeightFakeQuant} put there. */
export function weightFakeQuantOf(layer: AnyModule): ObserverBase {
  return (layer as unknown as Record<string, ObserverBase>)[WEIGHT_FAKE_QUANT];
}

/**
 * The qconfig of a float module that shall be trained.
 *
 * @throws {@link QuantizationError} where the module is not exactly of class `float`, or has no qconfig.
 */
export function qconfigForTraining(module: AnyModule, float: ModuleClass, fn: string): QConfig {
  if (module.constructor !== float) {
    throw new QuantizationError({
      fn,
      argument: 'module',
      expected: `a float ${float.name}`,
      got: module.typeName,
    });
  }
  if (!module.qconfig) {
    throw new QuantizationError({
      fn,
      argument: 'module.qconfig',
      expected: 'a QConfig',
      got: String(module.qconfig),
      fix: 'Set module.qconfig = getDefaultQatQConfig().',
    });
  }
  return module.qconfig;
}
