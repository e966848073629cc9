import { ArgumentError, QuantizationError } from '../../core/errors.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import type { AnyModule, ForwardHook, ForwardPreHook } from '../../nn/module.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type PatternLookup, patternLookup, patternOf } from '../backend/patterns.ts';
import { evaluateInIntegers, evaluateWeightOnly, isRounding } from '../fake-quantize/integer-evaluation.ts';
import { Embedding, EmbeddingBag } from '../layers/qat/index.ts';
import { POST_PROCESS } from '../module-qconfig.ts';
import { recordNotes, refuseNotes } from '../notes.ts';
import { propagateQConfig, type QConfigDict } from '../propagate-qconfig.ts';
import type { QConfigMapping } from '../qconfig-mapping.ts';
import { isDynamicQConfig, requireStaticQConfig } from '../qconfig-support.ts';
import { QuantStub } from '../stubs.ts';
import type { TransformOptions } from './fuse-modules.ts';
import { notesOf } from './notes.ts';

/** Options of {@link prepare}. */
export interface PrepareOptions extends TransformOptions {
  /**
   * QConfigs by name and class, for modules that have none of their own; `''` stands for the whole model.
   * Source: the `qconfig_dict` of `propagate_qconfig_`.
   */
  readonly qconfigDict?: QConfigDict;
  /** The same as a mapping, in place of `qconfigDict`. Source: the `qconfig_mapping` of `prepare_fx`. */
  readonly qconfigMapping?: QConfigMapping;
  /**
   * Throw where a layer that a qconfig reached has no quantized form, or no QuantStub feeds the quantized layers. Without
   * it such layers stay float, and `suite.coverage` tells why.
   */
  readonly strict?: boolean;
}

/**
 * The hook that shows a module's output to its observer; what the observer returns goes on. In evaluation mode that is, where
 * it is rounded, what the module's quantized form computes.
 */
export const observeOutput: ForwardHook = (module, inputs, output) => {
  const observed = module.activationPostProcess?.(output as never) as Tensor | undefined;
  if (observed && !module.training) evaluateQuantized(module, inputs, observed);
  return observed;
};

/** Gives a module's simulated output the values of the form that {@link convert} would put in its place. */
function evaluateQuantized(module: AnyModule, inputs: readonly unknown[], output: Tensor): void {
  const rounding = module.activationPostProcess;
  const { weightFakeQuant } = module as { weightFakeQuant?: AnyModule };
  if (weightFakeQuant && !isRounding(weightFakeQuant)) return;
  const pattern = patternOf(module);
  const form = pattern?.static;
  const compute = (...x: any[]): Tensor => (form ? form.fromFloat(module) : module).forward(...x);
  if (isRounding(rounding)) {
    if (module instanceof QuantStub) evaluateInIntegers(rounding, output, [], () => compute(...inputs));
    else evaluateInIntegers(rounding, output, inputs, form || pattern?.fixedOutput ? compute : null);
  } else if (module instanceof Embedding || module instanceof EmbeddingBag)
    evaluateWeightOnly(output, () => compute(...inputs));
}

/**
 * Attaches observers to everything that has a `qconfig` and a row in the backend table. Run representative data
 * through the result, then {@link convert} it. What has a dynamic qconfig is not observed: `convert` makes its dynamic form,
 * beside static ones in the same model. Source: `torch.ao.quantization.prepare`.
 *
 * @throws {@link QuantizationError} where no module has a qconfig, or one has a qconfig that it cannot be quantized with.
 * @example
 * model.qconfig = getDefaultQConfig();
 * const prepared = prepare(fuseModules(model, [['conv', 'bn', 'relu']]));
 * noGrad(() => { for (const x of samples) prepared(x); });
 * const int8 = convert(prepared);
 */
export function prepare<M extends AnyModule>(model: M, options: PrepareOptions = {}): M {
  const copy = options.inplace ? model : deepCopy(model);
  const lookup = patternLookup(options.patterns);
  propagateQConfig(copy, givenQConfigs('prepare', options));
  const fix = 'Set model.qconfig = getDefaultQConfig() (or on the parts that shall be quantized).';
  requireQConfig(copy, 'prepare', fix);
  const target = takeApart(copy, lookup);
  const notes = notesOf(target, 'static', lookup, options.patterns);
  if (options.strict) refuseNotes('prepare', notes);
  recordNotes(target, notes);
  for (const [path, module] of target.namedModules()) {
    const pattern = lookup(module);
    if (pattern?.static && !isDynamicQConfig(module.qconfig))
      requireStaticQConfig('prepare', module, path, pattern);
  }
  attachObservers(target, lookup);
  return target as M;
}

/**
 * The qconfigs that options bring, as a dictionary or a mapping.
 *
 * @throws {@link ArgumentError} where they bring both.
 */
export function givenQConfigs(fn: string, options: PrepareOptions): QConfigDict | QConfigMapping | undefined {
  const { qconfigDict, qconfigMapping } = options;
  if (qconfigDict && qconfigMapping) {
    throw new ArgumentError({
      fn,
      argument: 'qconfigMapping',
      expected: 'one of qconfigDict and qconfigMapping',
      got: 'both',
    });
  }
  return qconfigMapping ?? qconfigDict;
}

/**
 * Puts modules that are observed part by part in the place of their float forms, and returns what takes the place of
 * `module` itself. Source: `float_to_observed_custom_module_class` of `prepare_custom_config_dict`.
 */
export function takeApart(module: AnyModule, lookup: PatternLookup = patternOf): AnyModule {
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
export function attachObservers(module: AnyModule, lookup: PatternLookup = patternOf): void {
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
  else if (pattern.observe === 'output') module.registerForwardHook(observeOutput, { prepend: true });
}
