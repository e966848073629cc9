import { ZeropointError } from '../../core/errors.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import type { AnyModule } from '../../nn/module.ts';
import { noGrad } from '../../ops/grad-mode.ts';
import { zeros } from '../../tensor/creation.ts';
import type { Pattern, QuantizedClass } from '../backend/pattern.ts';
import { type PatternLookup, patternLookup, patternOf } from '../backend/patterns.ts';
import { WEIGHT_FAKE_QUANT } from '../layers/qat/weight-fake-quant.ts';
import { POST_PROCESS } from '../module-qconfig.ts';
import { recordNotes, refuseNotes } from '../notes.ts';
import { ObserverBase } from '../observers/observer.ts';
import { activationIsMemoryless } from '../qconfig.ts';
import { isDynamicQConfig, requireStaticQConfig } from '../qconfig-support.ts';
import type { TransformOptions } from './fuse-modules.ts';
import { notesOf } from './notes.ts';
import { observeInput, observeOutput, requireQConfig } from './prepare.ts';

/** What the conversions take. */
export interface SwapOptions extends TransformOptions {
  /**
   * Throw where a layer that a qconfig reached has no quantized form, or no QuantStub feeds the quantized layers. Without
   * it such layers stay float, and `suite.coverage` tells why.
   */
  readonly strict?: boolean;
}

/** Options of {@link convert}. */
export interface ConvertOptions extends SwapOptions {
  /**
   * Convert even where an observer never saw data, with placeholder parameters: for building the skeleton that a
   * saved quantized state dict is loaded into.
   */
  readonly allowUnobserved?: boolean;
}

/** Which form modules are swapped for: a column of the backend table. */
export type SwapForm = 'static' | 'dynamic' | 'qat';

/**
 * Swaps every prepared module for its quantized form: weights become int8, scales and zero points come from the
 * observers, which are taken off. Modules with a dynamic qconfig get their dynamic form.
 * Source: `torch.ao.quantization.convert`.
 *
 * @throws {@link QuantizationError} naming the module path where an observer never saw data, or the qconfig is not one the
 * module can be quantized with.
 * @example
 * const int8 = convert(prepared, { strict: true }); // or an error that names what would have stayed float
 * const skeleton = convert(prepare(model), { allowUnobserved: true });
 * skeleton.loadStateDict(savedInt8);
 */
export function convert<M extends AnyModule>(model: M, options: ConvertOptions = {}): M {
  const target = options.inplace ? model : deepCopy(model);
  if (options.allowUnobserved) showZeroToUnobserved(target);
  return swapModules(target, 'static', { ...options, inplace: true }, 'convert');
}

const UNREACHED: Readonly<Record<'static' | 'dynamic', string>> = {
  static: 'Call prepare(model) and calibrate first; a model that was converted has no qconfigs left.',
  dynamic: 'Name classes or paths that this model has.',
};

/** What {@link convert} and `quantizeDynamic` share: swaps for a quantized form, and takes the preparations off. */
export function swapModules<M extends AnyModule>(
  model: M,
  form: 'static' | 'dynamic',
  options: SwapOptions,
  fn: string,
): M {
  const target = options.inplace ? model : deepCopy(model);
  const lookup = patternLookup(options.patterns);
  const notes = notesOf(target, form, lookup, options.patterns);
  if (options.strict) {
    requireQConfig(target, fn, UNREACHED[form]);
    refuseNotes(fn, notes);
  }
  const swapped = swap(target, '', form, lookup);
  recordNotes(swapped, notes);
  for (const module of swapped.modules()) {
    module.qconfig = undefined;
    removeObserver(module);
  }
  return swapped as M;
}

/**
 * The walk behind every conversion: replaces the modules below that have a qconfig and the asked form in the backend
 * table, and returns what takes the place of `module` itself.
 */
export function swap(
  module: AnyModule,
  path: string,
  form: SwapForm,
  lookup: PatternLookup = patternOf,
): AnyModule {
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
  try {
    const q = into.fromFloat(module);
    q.train(module.training);
    if (pattern.observe === 'output') module.removeForwardHook(observeOutput);
    module.removeForwardPreHook(observeInput);
    q.adoptHooks(module);
    return q;
  } catch (error) {
    if (error instanceof ZeropointError) error.locate(path, module.typeName);
    throw error;
  }
}

function showZeroToUnobserved(model: AnyModule): void {
  for (const [path, module] of model.namedModules()) {
    // The fake-quantize of a weight is shown that weight when its layer is converted.
    if (path.split('.').includes(WEIGHT_FAKE_QUANT)) continue;
    if (module instanceof ObserverBase && !module.hasObserved()) noGrad(() => module(zeros([1])));
  }
}

function removeObserver(module: AnyModule): void {
  module.removeForwardHook(observeOutput);
  const fields = module as unknown as Record<string, unknown>;
  if (fields[POST_PROCESS] instanceof ObserverBase) delete fields[POST_PROCESS];
}
