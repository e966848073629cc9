import { ArgumentError, QuantizationError } from '../../core/errors.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import type { AnyModule } from '../../nn/module.ts';
import { patternLookup } from '../backend/patterns.ts';
import { recordNotes, refuseNotes } from '../notes.ts';
import { attachObservers, takeApart } from '../observation.ts';
import { propagateQConfig, type QConfigDict } from '../propagate-qconfig.ts';
import type { QConfigMapping } from '../qconfig-mapping.ts';
import { isDynamicQConfig, requireStaticQConfig } from '../qconfig-support.ts';
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
  propagateQConfig(copy, givenQConfigs('prepare', options), options);
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
