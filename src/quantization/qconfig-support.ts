import { locating, QuantizationError } from '../core/errors.ts';
import { Embedding, EmbeddingBag } from '../nn/index.ts';
import type { AnyModule } from '../nn/module.ts';
import { isQuantizedDType } from '../tensor/dtype.ts';
import type { Pattern } from './backend/pattern.ts';
import type { ObserverBase } from './observers/observer.ts';
import {
  IdentityObserver,
  NoopObserver,
  PlaceholderObserver,
  RecordingObserver,
  ReuseInputObserver,
} from './observers/passive.ts';
import { isPerChannelScheme } from './observers/uniform.ts';
import { assertValidQConfig, type QConfig } from './qconfig.ts';

const MEASURE_NOTHING = [
  IdentityObserver,
  NoopObserver,
  PlaceholderObserver,
  RecordingObserver,
  ReuseInputObserver,
] as const;

/** True where activations are to be quantized call by call: `convert` then takes the dynamic form. */
export function isDynamicQConfig(qconfig: QConfig | null | undefined): boolean {
  // Anything but a factory is refused by prepare; it must not be called here.
  return !!qconfig && 'observerClass' in qconfig.activation && qconfig.activation().isDynamic;
}

/**
 * Throws unless a module that is to be quantized statically can be with its qconfig. Embeddings bring their own rules, since
 * their activations stay float. Observers that measure nothing are let through by `prepare`, where they serve debugging.
 *
 * @throws {@link QuantizationError} naming the module path and the qconfig to use instead.
 */
export function requireStaticQConfig(fn: string, module: AnyModule, path: string, pattern: Pattern): void {
  const { qconfig } = module;
  if (!qconfig || pattern.observe === 'none') return;
  if (module instanceof Embedding || module instanceof EmbeddingBag) return;
  locating(path, module.typeName, () => {
    assertValidQConfig(qconfig, module);
    const observer = qconfig.activation();
    const fault = activationFault(observer, fn);
    if (fault) throw new QuantizationError({ fn, argument: 'qconfig', ...fault });
  });
}

/**
 * Why an observer cannot say how an activation is quantized statically; null where it can. Conversions also refuse those that
 * measure nothing.
 */
export function activationFault(
  observer: ObserverBase,
  fn: string,
): { readonly expected: string; readonly got: string; readonly fix: string } | null {
  const fix = 'Use getDefaultQConfig(), or set the qconfig of this module to null to keep it float.';
  const { dtype } = observer;
  if (!isQuantizedDType(dtype)) {
    return {
      expected: 'activations of a quantized dtype (quint8, qint8), or a dynamic qconfig',
      got: `activations in ${dtype}`,
      fix:
        dtype === 'float16'
          ? 'Use getDefaultQConfig() for int8, or float16DynamicQConfig for float16 weights where the layer has a dynamic form.'
          : fix,
    };
  }
  if (isPerChannelScheme(observer.qscheme)) {
    return { expected: 'one scale for all of an activation', got: `activations ${observer.qscheme}`, fix };
  }
  if (fn.startsWith('convert') && MEASURE_NOTHING.some((c) => observer instanceof c)) {
    return { expected: 'an observer that measures activations', got: observer.typeName, fix };
  }
  return null;
}
