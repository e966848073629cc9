import { Tensor } from '../../tensor/tensor.ts';

/**
 * Puts operators on every tensor as methods. They are not enumerable, so that inspecting a tensor shows its data.
 * Each call goes with a `declare module '../../tensor/tensor.ts'` block that gives the methods their types.
 */
export function installMethods(
  methods: Readonly<Record<string | symbol, (this: Tensor, ...args: any[]) => unknown>>,
): void {
  for (const name of Reflect.ownKeys(methods)) {
    const value = methods[name];
    Object.defineProperty(Tensor.prototype, name, {
      value,
      writable: true,
      configurable: true,
      enumerable: false,
    });
  }
}
