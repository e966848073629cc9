import { ArgumentError, QuantizationError } from '../../core/errors.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import { Identity } from '../../nn/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import { fusionOf, PATTERNS } from '../backend/patterns.ts';

/** Options of the transformations: they copy the model unless told to change it in place. */
export interface TransformOptions {
  /** Change the model itself instead of a copy. */
  readonly inplace?: boolean;
}

/**
 * Replaces sequences of modules by one fused module: the first name gets it, the others become Identity. Batch norms
 * are folded into the weights before them, so the model must be in evaluation mode.
 * Source: `torch.ao.quantization.fuse_modules`.
 *
 * @param names One list of dotted names, or several lists. Each must run in the order given.
 * @throws {@link QuantizationError} where the classes form no known sequence, or the model is in training mode.
 * @example
 * const fused = fuseModules(model.eval(), [['conv1', 'bn1', 'relu'], ['fc', 'relu2']]);
 */
export function fuseModules<M extends AnyModule>(
  model: M,
  names: readonly string[] | readonly (readonly string[])[],
  options: TransformOptions = {},
): M {
  const lists = (typeof names[0] === 'string' ? [names] : names) as readonly (readonly string[])[];
  const target = options.inplace ? model : deepCopy(model);
  for (const list of lists) fuseSequence(target, list);
  return target;
}

function fuseSequence(model: AnyModule, names: readonly string[]): void {
  if (!Array.isArray(names) || names.length < 2) {
    throw new ArgumentError({
      fn: 'fuseModules',
      argument: 'names',
      expected: 'lists of at least two module names',
      got: JSON.stringify(names),
    });
  }
  const modules = names.map((name) => model.getSubmodule(name));
  const pattern = fusionOf(modules);
  const types = modules.map((m) => m.typeName).join(' → ');
  if (!pattern?.fuse) {
    throw new QuantizationError({
      fn: 'fuseModules',
      argument: names.join(', '),
      expected: `one of the fusable sequences (${PATTERNS.filter((p) => p.fuse)
        .map((p) => p.name)
        .join('; ')})`,
      got: types,
      fix: 'List the modules in the order they run, each sequence on its own.',
    });
  }
  if (modules.some((m) => m.training)) {
    throw new QuantizationError({
      fn: 'fuseModules',
      argument: names.join(', '),
      expected: 'modules in evaluation mode (batch statistics are folded into weights)',
      got: `${types} in training mode`,
      fix: 'Call model.eval() first.',
    });
  }
  const fused = pattern.fuse(...modules).eval();
  fused.adoptHooks(modules[modules.length - 1]);
  if (modules[0].qconfig !== undefined) fused.qconfig = modules[0].qconfig;
  names.forEach((name, i) => {
    model.setSubmodule(name, i === 0 ? fused : new Identity().eval());
  });
}
