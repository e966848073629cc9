import { ArgumentError } from '../core/errors.ts';
import { type AnyModule, Module } from '../nn/module.ts';
import { Parameter } from '../nn/parameter.ts';
import { Tensor } from '../tensor/tensor.ts';

/** Where the modules of a tree keep their tensors and other objects: object → dotted path, buffers under their state-dict names. */
export function indexAttributes(root: AnyModule): Map<unknown, string> {
  const found = new Map<unknown, string>();
  const add = (value: unknown, path: string): void => {
    if (!found.has(value)) found.set(value, path);
  };
  for (const [path, module] of root.namedModules()) {
    const at = (name: string): string => (path === '' ? name : `${path}.${name}`);
    for (const [name, value] of [...module.ownParameters(), ...module.ownBuffers()]) add(value, at(name));
    for (const [field, value] of Object.entries(module)) if (isHeldObject(value)) add(value, at(field));
  }
  return found;
}

/**
 * The parameter, buffer or other object at a dotted path; a buffer may go by its state-dict name.
 *
 * @throws {@link ArgumentError} where there is none.
 */
export function readAttribute(root: AnyModule, path: string): unknown {
  const cut = path.lastIndexOf('.');
  const module = root.getSubmodule(cut < 0 ? '' : path.slice(0, cut));
  const name = path.slice(cut + 1);
  if (Object.hasOwn(module, name)) return (module as unknown as Record<string, unknown>)[name];
  const named = [...module.ownParameters(), ...module.ownBuffers()].find(([own]) => own === name);
  if (named) return named[1];
  throw new ArgumentError({
    fn: 'fx.get_attr',
    argument: 'path',
    expected: `an attribute of ${root.typeName}`,
    got: `"${path}": ${module.typeName} has no "${name}"`,
  });
}

/** Stands in a traced module where the original had a module that was traced through. */
export class Scope extends Module<never[], never> {
  override get typeName(): string {
    return 'Module';
  }

  forward(): never {
    throw new ArgumentError({
      fn: 'fx.GraphModule',
      argument: 'forward',
      expected: 'a call of the whole graph module',
      got: 'a call of a part that was traced through',
    });
  }
}

/** Puts a module, parameter, buffer or other object at a path below `root`, with {@link Scope}s on the way. */
export function placeAttribute(root: AnyModule, path: string, value: unknown, persistent: boolean): void {
  const names = path.split('.');
  const last = names.pop() as string;
  let at = root;
  for (const name of names) {
    const next = Object.hasOwn(at, name) ? (at as unknown as Record<string, unknown>)[name] : undefined;
    if (next instanceof Module) {
      at = next;
      continue;
    }
    const scope = new Scope();
    scope.training = root.training;
    at.addModule(name, scope);
    at = scope;
  }
  if (value instanceof Module) at.addModule(last, value);
  else if (value instanceof Tensor && !(value instanceof Parameter))
    at.registerBuffer(last, value, persistent);
  else (at as unknown as Record<string, unknown>)[last] = value;
}

/** Tensors and instances of classes (packed weights); not modules, lists or plain records. */
function isHeldObject(value: unknown): boolean {
  if (value instanceof Tensor) return true;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.getPrototypeOf(value) !== Object.prototype;
}
