import { type Interpreter, type Next, tensorArguments, withInterpreter } from '../../src/ops/dispatch.ts';
import { elementwise } from '../../src/ops/float/elementwise.ts';
import { layer } from '../../src/ops/float/layer.ts';
import { reduction } from '../../src/ops/float/reduction.ts';
import type { OpArgs, OpName, OpResult } from '../../src/ops/signatures/index.ts';
import type { DType } from '../../src/tensor/dtype.ts';
import { Tensor } from '../../src/tensor/tensor.ts';

const COMPUTES = new Set<OpName>(
  [elementwise, layer, reduction].flatMap((table) => Object.keys(table) as OpName[]),
);
COMPUTES.delete('to');
COMPUTES.delete('clone');

/** The value with its tensors of dtype `from` converted, lists opened. */
function converted(value: unknown, from: DType, to: DType, next: Next): unknown {
  if (value instanceof Tensor) return value.dtype === from ? next('to', [value, to]) : value;
  return Array.isArray(value) ? value.map((item) => converted(item, from, to, next)) : value;
}

const doubles: Interpreter = {
  name: 'doubles',
  call<K extends OpName>(op: K, args: OpArgs<K>, next: Next): OpResult<K> {
    const tensors = tensorArguments(args);
    const takesFloats = tensors.some((t) => t.dtype === 'float32') && !tensors.some((t) => t.isQuantized);
    if (!COMPUTES.has(op) || !takesFloats) return next(op, args);
    const wide = next(op, converted(args, 'float32', 'float64', next) as OpArgs<K>);
    return converted(wide, 'float64', 'float32', next) as OpResult<K>;
  },
};

/**
 * Runs `body` with every float32 operator computed in double and rounded once, in plain TypeScript: float32 sums differ in
 * their last bits with the order of their terms, these do not. Twin of test/golden/double_arithmetic.py.
 */
export function inDoubles<T>(body: () => T): T {
  return withInterpreter(doubles, body);
}
