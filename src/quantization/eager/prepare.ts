import { QuantizationError } from '../../core/errors.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import type { AnyModule, ForwardHook } from '../../nn/module.ts';
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
  const target = options.inplace ? model : deepCopy(model);
  propagateQConfig(target);
  if (!target.modules().some((m) => m.qconfig)) {
    throw new QuantizationError({
      fn: 'prepare',
      argument: 'model',
      expected: 'a qconfig on the model or on some of its modules',
      got: `${target.typeName} without any`,
      fix: 'Set model.qconfig = getDefaultQConfig() (or on the parts that shall be quantized).',
    });
  }
  attachObservers(target);
  return target;
}

/** Attaches the observers that the backend table asks for, here and below. */
function attachObservers(module: AnyModule): void {
  const pattern = patternOf(module);
  if (!pattern) {
    for (const child of module.children()) attachObservers(child);
    return;
  }
  if (!module.qconfig || pattern.observe === 'none') return;
  module.addModule(POST_PROCESS, module.qconfig.activation());
  if (pattern.observe === 'output') module.registerForwardHook(observeOutput, { prepend: true });
}
