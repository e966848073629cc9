import { QuantizationError } from '../../core/errors.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import type { AnyModule } from '../../nn/module.ts';
import { swap } from './convert.ts';
import type { TransformOptions } from './fuse-modules.ts';
import { attachObservers, requireQConfig, takeApart } from './prepare.ts';
import { propagateQConfig } from './propagate-qconfig.ts';

/**
 * Swaps every layer that has a `qconfig` for its training form, whose weight is fake-quantized on every call, and attaches
 * fake-quantizes to the outputs. Train the result, then `convert` it. Parameters stay the model's own when `inplace`, so an
 * optimizer may be made before or after. Source: `torch.ao.quantization.prepare_qat`.
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
export function prepareQat<M extends AnyModule>(model: M, options: TransformOptions = {}): M {
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
  propagateQConfig(target);
  const fix = 'Set model.qconfig = getDefaultQatQConfig() (or on the parts that shall be quantized).';
  requireQConfig(target, 'prepareQat', fix);
  const swapped = swap(takeApart(target), '', 'qat');
  attachObservers(swapped);
  return swapped as M;
}
