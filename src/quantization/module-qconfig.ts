import { Module } from '../nn/module.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { ObserverBase } from './observers/observer.ts';
import type { QConfig } from './qconfig.ts';

declare module '../nn/module.ts' {
  interface Module<Args extends unknown[] = [Tensor], Out = Tensor> {
    /**
     * How this module and all below shall be quantized; null keeps them float; undefined means the parent decides.
     */
    qconfig?: QConfig | null;
    /** The observer or fake-quantize that `prepare` attached to this module's output. */
    activationPostProcess?: ObserverBase;
  }
}

/** The name under which PyTorch registers the observer of a module's output. */
export const POST_PROCESS = 'activation_post_process';

// Set without becoming an enumerable field, so that a qconfig never shows up among a module's children.
Object.defineProperty(Module.prototype, 'qconfig', {
  configurable: true,
  get(): undefined {
    return undefined;
  },
  set(this: object, value: QConfig | null | undefined) {
    Object.defineProperty(this, 'qconfig', { value, writable: true, configurable: true, enumerable: false });
  },
});

Object.defineProperty(Module.prototype, 'activationPostProcess', {
  configurable: true,
  get(this: Record<string, unknown>): unknown {
    return this[POST_PROCESS];
  },
});
