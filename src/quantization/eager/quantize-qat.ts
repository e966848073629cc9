import { deepCopy } from '../../nn/deep-copy.ts';
import type { AnyModule } from '../../nn/module.ts';
import { getDefaultQatQConfig } from '../qconfig.ts';
import { convert } from './convert.ts';
import { givenQConfigs, type PrepareOptions } from './prepare.ts';
import { prepareQat } from './prepare-qat.ts';

/**
 * Quantization-aware training in one call: prepares a copy in training mode, hands it to `train`, converts it and returns
 * it in evaluation mode. A model without any qconfig gets the default one for training.
 * Source: `torch.ao.quantization.quantize_qat`.
 *
 * @param train Trains the prepared model. Where it returns a promise, so does this function.
 * @example
 * const int8 = quantizeQat(model, (m) => {
 *   const sgd = new SGD(m.parameters(), { lr: 0.01 });
 *   for (const [x, y] of batches) { sgd.zeroGrad(); crossEntropy(m(x), y).backward(); sgd.step(); }
 * });
 */
export function quantizeQat<M extends AnyModule>(
  model: M,
  train: (prepared: M) => Promise<void>,
  options?: PrepareOptions,
): Promise<M>;
export function quantizeQat<M extends AnyModule>(
  model: M,
  train: (prepared: M) => void,
  options?: PrepareOptions,
): M;
export function quantizeQat<M extends AnyModule>(
  model: M,
  train: (prepared: M) => void | Promise<void>,
  options: PrepareOptions = {},
): M | Promise<M> {
  const target = options.inplace ? model : deepCopy(model);
  target.train();
  if (!givenQConfigs('quantizeQat', options) && !target.modules().some((m) => m.qconfig !== undefined))
    target.qconfig = getDefaultQatQConfig();
  const prepared = prepareQat(target, { ...options, inplace: true });
  const finish = (): M => convert(prepared.eval(), { ...options, inplace: true });
  const trained = train(prepared);
  return trained instanceof Promise ? trained.then(finish) : finish();
}
