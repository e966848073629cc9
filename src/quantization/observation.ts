import type { AnyModule, ForwardHook, ForwardPreHook } from '../nn/module.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Pattern } from './backend/pattern.ts';
import type { PatternLookup } from './backend/patterns.ts';
import {
  evaluateInFloats,
  evaluateInIntegers,
  isRounding,
  roundedFrom,
  staysFloat,
} from './fake-quantize/integer-evaluation.ts';
import { Embedding, EmbeddingBag } from './layers/qat/index.ts';
import { POST_PROCESS } from './module-qconfig.ts';
import { propagateQConfig } from './propagate-qconfig.ts';
import { isDynamicQConfig } from './qconfig-support.ts';
import { QuantStub } from './stubs.ts';

const outputObservers = new WeakMap<Pattern, ForwardHook>();

/**
 * The hook that shows the output of a row's modules to their observer; what the observer returns goes on. In evaluation mode
 * that is, where it is rounded, what the module's quantized form computes.
 */
export function outputObserver(pattern: Pattern): ForwardHook {
  let hook = outputObservers.get(pattern);
  if (!hook) {
    hook = (module, inputs, output) => {
      const observed = module.activationPostProcess?.(output as never) as Tensor | undefined;
      if (!observed || module.training) return observed;
      // Such a module stays as it is, and rounds where it meets integers.
      if (pattern.fixedOutput && !pattern.static && staysFloat(inputs[0])) return output;
      evaluateQuantized(module, pattern, inputs, observed);
      return observed;
    };
    outputObservers.set(pattern, hook);
  }
  return hook;
}

/** Gives a module's simulated output the values of the form that {@link convert} would put in its place. */
function evaluateQuantized(
  module: AnyModule,
  pattern: Pattern,
  inputs: readonly unknown[],
  output: Tensor,
): void {
  const rounding = module.activationPostProcess;
  const { weightFakeQuant } = module as { weightFakeQuant?: AnyModule };
  if (weightFakeQuant && !isRounding(weightFakeQuant)) return;
  const form = pattern.static;
  const compute = (...x: any[]): Tensor => (form ? form.fromFloat(module) : module).forward(...x);
  if (isRounding(rounding)) {
    if (module instanceof QuantStub) evaluateInIntegers(rounding, output, [], () => compute(...inputs));
    else evaluateInIntegers(rounding, output, inputs, form || pattern.fixedOutput ? compute : null);
  } else if (module instanceof Embedding || module instanceof EmbeddingBag)
    evaluateInFloats(output, () => compute(...inputs));
}

/**
 * Puts modules that are observed part by part in the place of their float forms, and returns what takes the place of
 * `module` itself. Source: `float_to_observed_custom_module_class` of `prepare_custom_config_dict`.
 */
export function takeApart(module: AnyModule, lookup: PatternLookup): AnyModule {
  const pattern = lookup(module);
  const { qconfig } = module;
  if (pattern?.custom && qconfig && module.constructor === pattern.float && !isDynamicQConfig(qconfig)) {
    const observed = pattern.custom.observed.fromFloat(module);
    observed.adoptHooks(module);
    observed.train(module.training);
    if (observed.qconfig === undefined) observed.qconfig = qconfig;
    propagateQConfig(observed);
    return observed;
  }
  for (const [name, child] of module.namedChildren()) {
    const replacement = takeApart(child, lookup);
    if (replacement !== child) module.addModule(name, replacement);
  }
  return module;
}

/** The hook that shows a module's input to its observer before the module sees what that returns. */
export const observeInput: ForwardPreHook = (module, inputs) => {
  const x = inputs[0] as Tensor;
  const rounded = module.activationPostProcess?.(x) as Tensor | undefined;
  return [rounded ? roundedFrom(rounded, x) : x, ...inputs.slice(1)];
};

/** Attaches the observers that the backend table asks for, here and below. */
export function attachObservers(module: AnyModule, lookup: PatternLookup): void {
  const pattern = lookup(module);
  if (!pattern || module.constructor === pattern.custom?.observed) {
    for (const child of module.children()) attachObservers(child, lookup);
    return;
  }
  if (!module.qconfig || pattern.observe === 'none') return;
  if (!pattern.dynamic && isDynamicQConfig(module.qconfig)) return;
  if (pattern.fixedOutput && !module.training) return;
  const factory = pattern.fixedOutput ?? module.qconfig.activation;
  module.addModule(POST_PROCESS, factory());
  if (module.constructor === pattern.qatDynamic) module.registerForwardPreHook(observeInput);
  else if (pattern.observe === 'output')
    module.registerForwardHook(outputObserver(pattern), { prepend: true });
}
