import type { WrappedFunction } from './node.ts';
import { activeTracer } from './tracer.ts';

/**
 * A function that tracing does not look into: its calls become one node each, and it may read values. What it returns
 * must be tensors, plain values, or lists and plain objects of these. A program of `jit.trace` holds operators only, so
 * there it is traced through. Source: `torch.fx.wrap`.
 *
 * @example
 * const nms = wrap(function nonMaximumSuppression(boxes: Tensor, scores: Tensor): Tensor { … });
 */
export function wrap<F extends WrappedFunction>(fn: F): F {
  const wrapped = (...args: unknown[]): unknown => {
    const tracer = activeTracer();
    return tracer?.keepsWrapped ? tracer.callWrapped(fn, args) : fn(...args);
  };
  return Object.defineProperty(wrapped, 'name', { value: fn.name }) as unknown as F;
}
