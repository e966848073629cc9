import { locating } from '../core/errors.ts';
import type { AnyModule } from '../nn/module.ts';
import { noGrad } from '../ops/grad-mode.ts';
import { zeros } from '../tensor/creation.ts';
import type { Pattern, QuantizedClass } from './backend/pattern.ts';
import type { PatternLookup } from './backend/patterns.ts';
import { FakeQuantizeBase } from './fake-quantize/fake-quantize.ts';
import { WEIGHT_FAKE_QUANT } from './layers/qat/weight-fake-quant.ts';
import { POST_PROCESS } from './module-qconfig.ts';
import { observeInput, outputObserver } from './observation.ts';
import { ObserverBase } from './observers/observer.ts';
import { activationIsMemoryless } from './qconfig.ts';
import { isDynamicQConfig, requireStaticQConfig } from './qconfig-support.ts';

/** Which form modules are swapped for: a column of the backend table. */
export type SwapForm = 'static' | 'dynamic' | 'qat';

/**
 * The walk behind every conversion: replaces the modules below that have a qconfig and the asked form in the backend
 * table, and returns what takes the place of `module` itself.
 */
export function swap(module: AnyModule, path: string, form: SwapForm, lookup: PatternLookup): AnyModule {
  const pattern = lookup(module);
  const own = form === 'static' && isDynamicQConfig(module.qconfig) ? 'dynamic' : form;
  const into = pattern && formOf(module, pattern, own);
  if (pattern && into && module.qconfig) {
    if (own === 'static' && into === pattern.static) requireStaticQConfig('convert', module, path, pattern);
    return swapOne(module, path, into, pattern);
  }
  if (!pattern || pattern.sequence.length === 1) {
    for (const [name, child] of module.namedChildren()) {
      const replacement = swap(child, path === '' ? name : `${path}.${name}`, form, lookup);
      if (replacement !== child) module.addModule(name, replacement);
    }
  }
  const custom = pattern?.custom;
  const isObserved = form === 'static' && custom && module.constructor === custom.observed && module.qconfig;
  return isObserved ? custom.quantized.fromObserved(module) : module;
}

/** Layers for dynamic quantization are trained and converted to forms of their own; observed parts convert one by one. */
function formOf(module: AnyModule, pattern: Pattern, form: SwapForm): QuantizedClass | undefined {
  if (module.constructor === pattern.custom?.observed) return undefined;
  if (form === 'qat') {
    if (module.constructor !== pattern.float) return undefined;
    const memoryless = pattern.qatDynamic && module.qconfig && activationIsMemoryless(module.qconfig);
    return memoryless ? pattern.qatDynamic : pattern.qat;
  }
  return module.constructor === pattern.qatDynamic ? pattern.dynamic : pattern[form];
}

function swapOne(module: AnyModule, path: string, into: QuantizedClass, pattern: Pattern): AnyModule {
  return locating(path, module.typeName, () => {
    const q = into.fromFloat(module);
    q.train(module.training);
    if (pattern.observe === 'output') module.removeForwardHook(outputObserver(pattern));
    module.removeForwardPreHook(observeInput);
    q.adoptHooks(module);
    return q;
  });
}

/** Shows a zero to every observer that never saw data, so that a skeleton can be converted. */
export function showZeroToUnobserved(model: AnyModule): void {
  for (const [path, module] of model.namedModules()) {
    // The fake-quantize of a weight is shown that weight when its layer is converted.
    if (path.split('.').includes(WEIGHT_FAKE_QUANT)) continue;
    if (!(module instanceof ObserverBase) || module.hasObserved()) continue;
    // One that is switched off would pass the zero by.
    const observer = module instanceof FakeQuantizeBase ? module.activationPostProcess : module;
    noGrad(() => observer(zeros([1])));
  }
}

/** Takes a module's observer and the hook that called it off again. */
export function removeObserver(module: AnyModule, lookup: PatternLookup): void {
  const pattern = lookup(module);
  if (pattern) module.removeForwardHook(outputObserver(pattern));
  const fields = module as unknown as Record<string, unknown>;
  if (fields[POST_PROCESS] instanceof ObserverBase) delete fields[POST_PROCESS];
}
