import { FusedModule } from '../../nn/intrinsic/index.ts';
import { type AnyModule, Module } from '../../nn/module.ts';

/**
 * Puts a module in another's place, under every name that a model knows that one by; fused modules keep their parts where
 * `inFused` is false.
 */
export function replaceModule(root: AnyModule, before: AnyModule, after: AnyModule, inFused = true): void {
  for (const module of root.modules()) {
    if (!inFused && module instanceof FusedModule) continue;
    for (const [name, value] of Object.entries(module))
      if (value instanceof Module && value === before) module.addModule(name, after);
  }
}
