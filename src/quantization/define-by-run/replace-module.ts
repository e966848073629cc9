import { type AnyModule, Module } from '../../nn/module.ts';

/** Puts a module in another's place, under every name that a model knows that one by. */
export function replaceModule(root: AnyModule, before: AnyModule, after: AnyModule): void {
  for (const module of root.modules()) {
    for (const [name, value] of Object.entries(module))
      if (value instanceof Module && value === before) module.addModule(name, after);
  }
}
