import { QuantizationError } from '../../core/errors.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import type { AnyModule, ForwardHook, ForwardPreHook } from '../../nn/module.ts';
import { patternOf } from '../backend/patterns.ts';
import { POST_PROCESS } from '../module-qconfig.ts';
import type { TransformOptions } from './fuse-modules.ts';
import { propagateQConfig } from './propagate-qconfig.ts';

/** The hook that shows a module's output to its observer; what the observer returns goes on. */
export const observeOutput: ForwardHook = (module, _inputs, output) =>
  module.activationPostProcess?.(output as never);

/**
 * Attaches observers to everything that has a `qconfig` and a row in the backend table. Run representative data
 * through the result, then {@link convert} it. Source: `torch.ao.quantization.prepare`.
 *
 * @throws {@link QuantizationError} where no module has a qconfig.
 * @example
 * model.qconfig = getDefaultQConfig();
 * const prepared = prepare(fuseModules(model, [['conv', 'bn', 'relu']]));
 * noGrad(() => { for (const x of samples) prepared(x); });
 * const int8 = convert(prepared);
 */
export function prepare<M extends AnyModule>(model: M, options: TransformOptions = {}): M {
  const copy = options.inplace ? model : deepCopy(model);
  propagateQConfig(copy);
  const fix = 'Set model.qconfig = getDefaultQConfig() (or on the parts that shall be quantized).';
  requireQConfig(copy, 'prepare', fix);
  const target = takeApart(copy);
  attachObservers(target);
  return target as M;
}

/**
 * Puts modules that are observed part by part in the place of their float forms, and returns what takes the place of
 * `module` itself. Source: `float_to_observed_custom_module_class` of `prepare_custom_config_dict`.
 */
export function takeApart(module: AnyModule): AnyModule {
  const pattern = patternOf(module);
  if (pattern?.custom && module.qconfig && module.constructor === pattern.float) {
    const observed = pattern.custom.observed.fromFloat(module);
    observed.adoptHooks(module);
    propagateQConfig(observed);
    return observed;
  }
  for (const [name, child] of module.namedChildren()) {
    const replacement = takeApart(child);
    if (replacement !== child) module.addModule(name, replacement);
  }
  return module;
}

/** The hook that shows a module's input to its observer before the module sees what that returns. */
export const observeInput: ForwardPreHook = (module, inputs) => [
  module.activationPostProcess?.(inputs[0] as never) ?? inputs[0],
  ...inputs.slice(1),
];

/**
 * Throws where nothing in the model has a qconfig.
 *
 * @throws {@link QuantizationError} naming the function that was called.
 */
export function requireQConfig(model: AnyModule, fn: string, fix: string): void {
  if (model.modules().some((m) => m.qconfig)) return;
  throw new QuantizationError({
    fn,
    argument: 'model',
    expected: 'a qconfig on the model or on some of its modules',
    got: `${model.typeName} without any`,
    fix,
  });
}

/** Attaches the observers that the backend table asks for, here and below. */
export function attachObservers(module: AnyModule): void {
  const pattern = patternOf(module);
  if (!pattern || module.constructor === pattern.custom?.observed) {
    for (const child of module.children()) attachObservers(child);
    return;
  }
  if (!module.qconfig || pattern.observe === 'none') return;
  if (pattern.fixedOutput && !module.training) return;
  const factory = pattern.fixedOutput ?? module.qconfig.activation;
  module.addModule(POST_PROCESS, factory());
  if (module.constructor === pattern.qatDynamic) module.registerForwardPreHook(observeInput);
  else if (pattern.observe === 'output') module.registerForwardHook(observeOutput, { prepend: true });
}
