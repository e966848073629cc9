import { DTypeError } from '../core/errors.ts';
import { type Interpreter, installInterpreter, type Next, tensorArguments } from './dispatch.ts';
import type { OpArgs, OpName, OpResult } from './signatures/index.ts';
import { FLOAT, QUANTIZED } from './table.ts';

type AnyImplementation = (...args: readonly unknown[]) => unknown;

/** The bottom of the stack: computes an operator with its float or its quantized implementation. */
const eager: Interpreter = {
  name: 'eager',
  call<K extends OpName>(op: K, args: OpArgs<K>, _next: Next): OpResult<K> {
    let quantized: AnyImplementation | undefined;
    const float = (FLOAT as Partial<Record<OpName, AnyImplementation>>)[op];
    for (const t of tensorArguments(args)) {
      if (t.qparams !== null) {
        quantized = QUANTIZED[op] as AnyImplementation | undefined;
        if (!quantized) throw noQuantizedForm(op, t.dtype);
        return quantized(...args) as OpResult<K>;
      }
    }
    if (!float) return (QUANTIZED[op] as AnyImplementation)(...args) as OpResult<K>;
    return float(...args) as OpResult<K>;
  },
};

function noQuantizedForm(op: OpName, dtype: string): DTypeError {
  return new DTypeError({
    fn: op,
    argument: 'input',
    expected: 'float tensors (this operator has no quantized form)',
    got: `a ${dtype} tensor`,
    fix: 'Call dequantize() on it first (a DeQuantStub before this operator), or keep the module float with qconfig = null.',
  });
}

installInterpreter(eager);
