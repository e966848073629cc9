import type { Tensor } from '../tensor/tensor.ts';

/** Finds the quantized tensor that a float tensor stands for; null where there is none after all. */
export type FindIntegers = () => Tensor | null;

const found = new WeakMap<Tensor, FindIntegers>();

/**
 * While a fake-quantized model is evaluated, the float tensors on their way stand for integers: these are kept beside
 * them, and are computed when somebody asks.
 */
export function standsFor(x: Tensor, integers: FindIntegers): void {
  let known: Tensor | null | undefined;
  found.set(x, () => {
    if (known === undefined) known = integers();
    return known;
  });
}

/** The quantized tensor that `x` stands for; null where it is a float tensor and nothing more. */
export function integersOf(x: Tensor): Tensor | null {
  return found.get(x)?.() ?? null;
}

/** How to find the integers of `x`, for later; undefined where it stands for none. */
export function integersLater(x: Tensor): FindIntegers | undefined {
  return found.get(x);
}

/** Tells that the elements of `source` were written over those of `target`; null stands for a number's. */
export function integersOverwritten(target: Tensor, source: Tensor | null): void {
  const integers = source && found.get(source);
  if (integers) found.set(target, integers);
  else found.delete(target);
}
