import { QuantizationError, ZeropointError } from '../../core/errors.ts';
import type { AnyModule } from '../../nn/module.ts';
import { isQuantizedDType } from '../../tensor/dtype.ts';
import { assertValidQConfig, type QConfig } from '../qconfig.ts';

/** True where activations are to be quantized call by call: `convert` then takes the dynamic form. */
export function isDynamicQConfig(qconfig: QConfig | null | undefined): boolean {
  // Anything but a factory is refused by prepare; it must not be called here.
  return !!qconfig && 'observerClass' in qconfig.activation && qconfig.activation().isDynamic;
}

/**
 * Throws unless a module that is to be quantized statically can be with its qconfig. Activations need a quantized type,
 * save where only the rows of an embedding are quantized.
 *
 * @throws {@link QuantizationError} naming the module path and the qconfig to use instead.
 */
export function requireStaticQConfig(fn: string, module: AnyModule, path: string): void {
  const { qconfig } = module;
  if (!qconfig) return;
  try {
    assertValidQConfig(qconfig, module);
    const { dtype } = qconfig.activation();
    if (isQuantizedDType(dtype) || qconfig.weight().qscheme === 'per_channel_affine_float_qparams') return;
    throw new QuantizationError({
      fn,
      argument: 'qconfig',
      expected: 'activations of a quantized dtype (quint8, qint8), or a dynamic qconfig',
      got: `activations in ${dtype}`,
      fix:
        dtype === 'float16'
          ? 'Use getDefaultQConfig() for int8, or float16DynamicQConfig for float16 weights where the layer has a dynamic form.'
          : 'Use getDefaultQConfig(), or set the qconfig of this module to null to keep it float.',
    });
  } catch (error) {
    if (error instanceof ZeropointError) error.locate(path, module.typeName);
    throw error;
  }
}
