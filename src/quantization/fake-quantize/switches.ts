import type { AnyModule } from '../../nn/module.ts';
import { FakeQuantizeBase } from './fake-quantize.ts';

/**
 * Starts rounding in a fake-quantize; other modules are left alone. Source: `torch.ao.quantization.enable_fake_quant`.
 *
 * @example
 * model.apply(enableFakeQuant);
 */
export function enableFakeQuant(module: AnyModule): void {
  if (module instanceof FakeQuantizeBase) module.enableFakeQuant();
}

/** Stops rounding: `model.apply(disableFakeQuant)`. Source: `torch.ao.quantization.disable_fake_quant`. */
export function disableFakeQuant(module: AnyModule): void {
  if (module instanceof FakeQuantizeBase) module.disableFakeQuant();
}

/** Starts updating statistics: `model.apply(enableObserver)`. Source: `torch.ao.quantization.enable_observer`. */
export function enableObserver(module: AnyModule): void {
  if (module instanceof FakeQuantizeBase) module.enableObserver();
}

/**
 * Freezes scales and zero points: `model.apply(disableObserver)`, after the first epochs of training.
 * Source: `torch.ao.quantization.disable_observer`.
 */
export function disableObserver(module: AnyModule): void {
  if (module instanceof FakeQuantizeBase) module.disableObserver();
}
