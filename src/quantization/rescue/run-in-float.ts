import { deepCopy } from '../../nn/deep-copy.ts';
import { Sequential } from '../../nn/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import { DeQuantStub, QuantStub } from '../stubs.ts';

/** Options of {@link runInFloat}. */
export interface RunInFloatOptions {
  /** Quantize the module's output again, at a range of its own; true where not given. False for the end of a model. */
  readonly requantize?: boolean;
  /** Change the model itself instead of a copy. */
  readonly inplace?: boolean;
}

/**
 * Lets one module inside of the quantized part compute on floats: puts a DeQuantStub before it and a QuantStub after it,
 * and switches its qconfig off. Worth it where the integers between two layers are too coarse: an average pool puts its
 * means on its input's grid, although they spread over a small part of its range. Call it before `prepare`.
 *
 * @example
 * // Logits that are means over a map keep their precision, and the model ends in float.
 * const model = runInFloat(fused, 'classifier.3', { requantize: false });
 */
export function runInFloat<M extends AnyModule>(model: M, path: string, options: RunInFloatOptions = {}): M {
  const target = options.inplace ? model : deepCopy(model);
  const module = target.getSubmodule(path);
  module.qconfig = null;
  const parts = [new DeQuantStub(), module, ...(options.requantize === false ? [] : [new QuantStub()])];
  target.setSubmodule(path, new Sequential(...parts).train(module.training));
  return target;
}
