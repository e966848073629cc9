import { deepCopy } from '../../nn/deep-copy.ts';
import type { AnyModule } from '../../nn/module.ts';
import { patternLookup } from '../backend/patterns.ts';
import { recordNotes, refuseNotes } from '../notes.ts';
import { removeObserver, showZeroToUnobserved, swap } from '../swap.ts';
import type { TransformOptions } from './fuse-modules.ts';
import { notesOf } from './notes.ts';
import { requireQConfig } from './prepare.ts';

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
    removeObserver(module, lookup);
  }
  return swapped as M;
}
