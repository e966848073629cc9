import { QuantizationError } from '../../core/errors.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import type { AnyModule } from '../../nn/module.ts';
import { patternLookup } from '../backend/patterns.ts';
import { FakeQuantizeBase } from '../fake-quantize/fake-quantize.ts';
import { type Note, recordNotes, refuseNotes } from '../notes.ts';
import { attachObservers, takeApart } from '../observation.ts';
import { propagateQConfig } from '../propagate-qconfig.ts';
import { isDynamicQConfig, requireStaticQConfig } from '../qconfig-support.ts';
import { swap } from '../swap.ts';
import { notesOf } from './notes.ts';
import { givenQConfigs, type PrepareOptions, requireQConfig } from './prepare.ts';

/**
 * Swaps every layer that has a `qconfig` for its training form, whose weight is fake-quantized on every call, and attaches
 * fake-quantizes to the outputs. Train the result, then `convert` it. Parameters stay the model's own when `inplace`, so an
 * optimizer may be made before or after. Source: `torch.ao.quantization.prepare_qat`.
 *
 * In evaluation mode the model predicts what `convert` will make of it, to the integer, as long as its observers rest (or each
 * layer runs once a call).
 *
 * @throws {@link QuantizationError} where the model is in evaluation mode, or no module has a qconfig.
 * @example
 * model.train().qconfig = getDefaultQatQConfig();
 * const prepared = prepareQat(fuseModulesQat(model, [['conv', 'bn', 'relu']]));
 * for (let epoch = 0; epoch < 8; epoch++) {
 *   if (epoch > 3) prepared.apply(disableObserver);
 *   if (epoch > 2) prepared.apply(nn.intrinsic.qat.freezeBnStats);
 *   trainOneEpoch(prepared);
 * }
 * const int8 = convert(prepared.eval());
 */
export function prepareQat<M extends AnyModule>(model: M, options: PrepareOptions = {}): M {
  if (!model.training) {
    throw new QuantizationError({
      fn: 'prepareQat',
      argument: 'model',
      expected: 'a model in training mode',
      got: `${model.typeName} in evaluation mode`,
      fix: 'Call model.train() first, or use prepare for quantization without training.',
    });
  }
  const target = options.inplace ? model : deepCopy(model);
  const lookup = patternLookup(options.patterns);
  propagateQConfig(target, givenQConfigs('prepareQat', options), options);
  const fix = 'Set model.qconfig = getDefaultQatQConfig() (or on the parts that shall be quantized).';
  requireQConfig(target, 'prepareQat', fix);
  const parts = takeApart(target, lookup);
  const notes = [
    ...notesOf(parts, 'static', lookup, options.patterns),
    ...parts.namedModules().flatMap(([path, m]) => (lookup(m)?.qat ? unsimulated(path, m) : [])),
  ];
  if (options.strict) refuseNotes('prepareQat', notes);
  for (const [path, module] of parts.namedModules()) {
    const pattern = lookup(module);
    if (pattern?.static && !pattern.qat && !isDynamicQConfig(module.qconfig))
      requireStaticQConfig('prepareQat', module, path, pattern);
  }
  const swapped = swap(parts, '', 'qat', lookup);
  recordNotes(swapped, notes);
  attachObservers(swapped, lookup);
  return swapped as M;
}

/** A note on a layer whose qconfig rounds nothing in training, neither activations nor weights. */
function unsimulated(path: string, module: AnyModule): Note[] {
  const { qconfig } = module;
  if (!qconfig || [qconfig.activation(), qconfig.weight()].some((o) => o instanceof FakeQuantizeBase))
    return [];
  return [
    {
      path,
      type: module.typeName,
      reason: 'its qconfig observes but simulates no rounding',
      fix: 'Give it getDefaultQatQConfig().',
    },
  ];
}
