import type { TypedArray } from '../tensor/dtype.ts';
import { Tensor, type TensorParts, viewOf } from '../tensor/tensor.ts';
import type { Node } from './node.ts';

/** The run that a {@link TracedTensor} belongs to. */
export interface TraceGuard {
  /** True while the model's own code runs, which must not look at values; false inside of operators and leaf modules. */
  readonly watching: boolean;
  /** The error for something the model's code did to a traced tensor. */
  refuse(node: Node, what: string): Error;
}

/**
 * A tensor whose value is the result of a node. It holds the value that the example inputs gave, so shapes, dtypes and
 * scales are real; while the model's code is being traced its elements cannot be read or changed, because a graph would
 * not repeat what the code made of them.
 */
export class TracedTensor extends Tensor {
  declare readonly node: Node;
  declare readonly guard: TraceGuard;

  constructor(value: TensorParts, node: Node, guard: TraceGuard) {
    const { storage } = value;
    super(value);
    const hidden = { writable: false, enumerable: false };
    Object.defineProperties(this, {
      node: { value: node, ...hidden },
      guard: { value: guard, ...hidden },
      // Whatever reads elements starts here, views that would lose the node included.
      storage: {
        enumerable: true,
        get: () => {
          this.check('the storage');
          return storage;
        },
      },
    });
  }

  override get data(): TypedArray {
    this.check('data');
    return super.data;
  }

  override numbers(): ReturnType<Tensor['numbers']> {
    this.check('numbers()');
    return super.numbers();
  }

  override item(): number {
    this.check('item()');
    return super.item();
  }

  override toArray(): ReturnType<Tensor['toArray']> {
    this.check('toArray()');
    return super.toArray();
  }

  /** Gradients are not traced, so this is the tensor itself. */
  override detach(): Tensor {
    return this.guard.watching ? this : viewOf(this, this.shape, this.strides);
  }

  override toString(): string {
    if (!this.guard.watching) return super.toString();
    return `TracedTensor(${this.node.name}, shape=[${this.shape.join(', ')}], dtype=${this.dtype})`;
  }

  check(what: string): void {
    if (this.guard.watching) throw this.guard.refuse(this.node, what);
  }
}

/** Methods that write into the tensor: a graph has values, not places. */
for (const name of Object.getOwnPropertyNames(Tensor.prototype)) {
  const method = Object.getOwnPropertyDescriptor(Tensor.prototype, name)?.value as unknown;
  if (!name.endsWith('_') || name === 'requiresGrad_' || typeof method !== 'function') continue;
  Object.defineProperty(TracedTensor.prototype, name, {
    configurable: true,
    value(this: TracedTensor, ...args: unknown[]): unknown {
      this.check(`${name}(), which changes it in place,`);
      return method.apply(this, args);
    },
  });
}
