import { AutogradError } from '../core/errors.ts';
import { Tensor } from '../tensor/tensor.ts';
import { blankCopy, Module } from './module.ts';
import { Parameter } from './parameter.ts';

/** An object that is neither plain nor immutable, and copies itself inside of {@link deepCopy}. */
export interface DeepCopyable {
  deepCopy(): unknown;
}

/**
 * An independent copy of a module (or of a tensor, array, Map or plain object): parameters and buffers are copied,
 * what is shared inside stays shared inside the copy. Other objects (packed weights, generators) are immutable or
 * deliberate, and stay shared. Source: Python's `copy.deepcopy` on `torch.nn.Module`.
 *
 * @example
 * const before = deepCopy(model);
 */
export function deepCopy<T>(value: T): T {
  return copyValue(value, new Map()) as T;
}

function copyValue(value: unknown, memo: Map<unknown, unknown>): unknown {
  if (typeof value !== 'function' && (typeof value !== 'object' || value === null)) return value;
  const known = memo.get(value);
  if (known !== undefined) return known;
  if (value instanceof Module) {
    const copy = blankCopy(value);
    memo.set(value, copy);
    for (const key of Reflect.ownKeys(value)) {
      const descriptor = Object.getOwnPropertyDescriptor(value, key) as PropertyDescriptor;
      if ('value' in descriptor) descriptor.value = copyValue(descriptor.value, memo);
      Object.defineProperty(copy, key, descriptor);
    }
    return copy;
  }
  if (value instanceof Tensor) return remember(memo, value, copyTensor(value));
  if (Array.isArray(value)) {
    const copy: unknown[] = [];
    memo.set(value, copy);
    for (const item of value) copy.push(copyValue(item, memo));
    return copy;
  }
  if (value instanceof Map) {
    const copy = new Map<unknown, unknown>();
    memo.set(value, copy);
    for (const [k, v] of value) copy.set(k, copyValue(v, memo));
    return copy;
  }
  if ('deepCopy' in value) return remember(memo, value, (value as DeepCopyable).deepCopy());
  if (value instanceof Set) return remember(memo, value, new Set(value));
  if (
    typeof value === 'object' &&
    Object.getPrototypeOf(value) === Object.prototype &&
    !Object.isFrozen(value)
  ) {
    const copy: Record<string, unknown> = {};
    memo.set(value, copy);
    for (const [k, v] of Object.entries(value)) copy[k] = copyValue(v, memo);
    return copy;
  }
  return value;
}

function remember<T>(memo: Map<unknown, unknown>, original: unknown, copy: T): T {
  memo.set(original, copy);
  return copy;
}

function copyTensor(x: Tensor): Tensor {
  if (!x.isLeaf) {
    throw new AutogradError({
      fn: 'deepCopy',
      argument: 'tensor',
      expected: 'leaves (parameters and buffers)',
      got: 'a tensor that is the result of a recorded operation',
      fix: 'Store x.detach() in the module instead.',
    });
  }
  const parts = {
    storage: x.storage.slice(),
    shape: x.shape,
    strides: x.strides,
    offset: x.offset,
    dtype: x.dtype,
    qparams: x.qparams,
  };
  const copy = x instanceof Parameter ? new Parameter(new Tensor(parts), x.requiresGrad) : new Tensor(parts);
  copy.requiresGrad = x.requiresGrad;
  return copy;
}
