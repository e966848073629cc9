import * as nn from '../nn/index.ts';
import type { AnyModule } from '../nn/module.ts';

/** A class of modules, of any constructor. */
export type ModuleClass = abstract new (...args: never[]) => AnyModule;

/** Decides which modules stay one node each: by class, by path, or by a function of both. */
export type LeafRule = readonly (ModuleClass | string)[] | ((module: AnyModule, path: string) => boolean);

/** Containers run their children, so tracing goes through them. */
const CONTAINERS: ReadonlySet<unknown> = new Set([
  nn.Sequential,
  nn.ModuleList,
  nn.ModuleDict,
  nn.ParameterList,
]);

const leaves = new Set<unknown>(
  [...Object.values(nn), ...Object.values(nn.intrinsic)].filter(
    (value) => isModuleClass(value) && !CONTAINERS.has(value),
  ),
);

/**
 * Adds classes whose modules tracing records as one `call_module` each, beside the layers of `nn`. Subclasses are not
 * included: a class derived from a layer is traced through, as in PyTorch.
 */
export function registerLeafModules(...classes: readonly ModuleClass[]): void {
  for (const type of classes) leaves.add(type);
}

/** True for modules that tracing does not go into where nothing else is said: layers of the library. */
export function isLeafModule(module: AnyModule): boolean {
  return leaves.has(module.constructor);
}

/** The rule that adds the caller's leaves to those of {@link isLeafModule}. */
export function leafRule(extra: LeafRule = []): (module: AnyModule, path: string) => boolean {
  if (typeof extra === 'function') return (module, path) => isLeafModule(module) || extra(module, path);
  return (module, path) =>
    isLeafModule(module) || extra.some((leaf) => leaf === path || leaf === module.constructor);
}

function isModuleClass(value: unknown): value is ModuleClass {
  return typeof value === 'function' && value.prototype instanceof nn.Module;
}
