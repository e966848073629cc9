import { ArgumentError, QuantizationError } from '../../core/errors.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import { Identity } from '../../nn/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import type { Pattern } from '../backend/pattern.ts';
import { fusionOf, PATTERNS } from '../backend/patterns.ts';

/** Options of the transformations: they copy the model unless told to change it in place. */
export interface TransformOptions {
  /** Change the model itself instead of a copy. */
  readonly inplace?: boolean;
  /**
   * Rows of your own that come before the backend table's: module classes the library does not know, or knows otherwise.
   * Give the same ones to every step. Source: the custom module classes of `prepare_custom_config_dict`.
   */
  readonly patterns?: readonly Pattern[];
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
  return fuseLists(model, names, FUSE, options);
}

/**
 * {@link fuseModules} for quantization-aware training: a batch norm stays a layer of its own inside the fused module, so
 * that it goes on learning. The model must be in training mode. Source: `torch.ao.quantization.fuse_modules_qat`.
 *
 * @param names One list of dotted names, or several lists. Each must run in the order given.
 * @throws {@link QuantizationError} where the classes form no known sequence, the model is in evaluation mode, or a batch
 * norm has no scale or no running statistics.
 * @example
 * const fused = fuseModulesQat(model.train(), [['conv1', 'bn1', 'relu'], ['fc', 'relu2']]);
 * fused.qconfig = getDefaultQatQConfig();
 * const prepared = prepareQat(fused);
 */
export function fuseModulesQat<M extends AnyModule>(
  model: M,
  names: readonly string[] | readonly (readonly string[])[],
  options: TransformOptions = {},
): M {
  return fuseLists(model, names, FUSE_QAT, options);
}

/** What sets the two fusions apart. */
interface Fusion {
  readonly fn: string;
  /** The mode that all modules must be in, and that the fused one is left in. */
  readonly training: boolean;
  readonly mode: string;
  readonly fix: string;
  readonly fuseOf: (pattern: Pattern) => Pattern['fuse'];
}

const FUSE: Fusion = {
  fn: 'fuseModules',
  training: false,
  mode: 'modules in evaluation mode (batch statistics are folded into weights)',
  fix: 'Call model.eval() first, or fuse for training with fuseModulesQat.',
  fuseOf: (pattern) => pattern.fuse,
};

const FUSE_QAT: Fusion = {
  fn: 'fuseModulesQat',
  training: true,
  mode: 'modules in training mode',
  fix: 'Call model.train() first, or fuse for deployment with fuseModules.',
  fuseOf: (pattern) => pattern.fuseQat ?? pattern.fuse,
};

function fuseLists<M extends AnyModule>(
  model: M,
  names: readonly string[] | readonly (readonly string[])[],
  fusion: Fusion,
  options: TransformOptions,
): M {
  const lists = (typeof names[0] === 'string' ? [names] : names) as readonly (readonly string[])[];
  const target = options.inplace ? model : deepCopy(model);
  for (const list of lists) fuseSequence(target, list, fusion, options.patterns);
  return target;
}

function fuseSequence(
  model: AnyModule,
  names: readonly string[],
  fusion: Fusion,
  patterns: readonly Pattern[] = [],
): void {
  const { fn, training } = fusion;
  if (!Array.isArray(names) || names.length < 2) {
    throw new ArgumentError({
      fn,
      argument: 'names',
      expected: 'lists of at least two module names',
      got: JSON.stringify(names),
    });
  }
  const modules = names.map((name) => model.getSubmodule(name));
  const pattern = fusionOf(modules, patterns);
  const types = modules.map((m) => m.typeName).join(' → ');
  const fuse = pattern && fusion.fuseOf(pattern);
  if (!fuse) {
    throw new QuantizationError({
      fn,
      argument: names.join(', '),
      expected: `one of the fusable sequences (${[...patterns, ...PATTERNS]
        .filter((p) => p.fuse)
        .map((p) => p.name)
        .join('; ')})`,
      got: types,
      fix: 'List the modules in the order they run, each sequence on its own.',
    });
  }
  const wrong = modules.findIndex((m) => m.training !== training);
  if (wrong >= 0) {
    const error = new QuantizationError({
      fn,
      argument: names.join(', '),
      expected: fusion.mode,
      got: `${types} in ${training ? 'evaluation' : 'training'} mode`,
      fix: fusion.fix,
    });
    error.locate(names[wrong], modules[wrong].typeName);
    throw error;
  }
  const fused = fuse(...modules).train(training);
  fused.adoptHooks(modules[modules.length - 1]);
  if (modules[0].qconfig !== undefined) fused.qconfig = modules[0].qconfig;
  names.forEach((name, i) => {
    model.setSubmodule(name, i === 0 ? fused : new Identity().train(training));
  });
}
