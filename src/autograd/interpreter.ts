// The interpreter that computes must be on the stack before the one that records.
import '../ops/eager.ts';

import { AutogradError } from '../core/errors.ts';
import { type Interpreter, installInterpreter, type Next, tensorArguments } from '../ops/dispatch.ts';
import { isGradEnabled, noGrad } from '../ops/grad-mode.ts';
import type { OpArgs, OpName, OpResult } from '../ops/signatures/index.ts';
import { Tensor, viewOf } from '../tensor/tensor.ts';
import { GRADIENTS } from './rules/index.ts';
import type { AnyRule } from './rules/rule.ts';
import { record } from './tape.ts';

/** Records what runs on tensors that require gradients; everything else passes straight through. */
const grad: Interpreter = {
  name: 'grad',
  call<K extends OpName>(op: K, args: OpArgs<K>, next: Next): OpResult<K> {
    const result = next(op, args);
    if (!isGradEnabled()) return result;
    const inputs = tensorArguments(args);
    if (!inputs.some((t) => t.requiresGrad)) return result;
    const rule = GRADIENTS[op] as AnyRule;
    if (rule === 'none') return result;
    if (rule === 'missing') {
      throw new AutogradError({
        fn: op,
        argument: 'input',
        expected: 'tensors that do not require gradients (quantized operators are for inference)',
        got: 'a tensor with requiresGrad',
        fix: 'Run the converted model under noGrad(), or train the fake-quantized one from prepareQat.',
      });
    }
    const single = result instanceof Tensor;
    const outputs = (single ? [result] : result) as readonly Tensor[];
    // An operator may hand back one of its inputs (a no-op view); the recorded output must be its own object.
    const fresh = outputs.map((out) => (inputs.includes(out) ? viewOf(out, out.shape, out.strides) : out));
    const backward = rule(single ? fresh[0] : fresh, ...args);
    record(`${op[0].toUpperCase()}${op.slice(1)}Backward0`, inputs, fresh, (grads) =>
      noGrad(() => backward(single ? grads[0] : grads)),
    );
    return (single ? fresh[0] : fresh) as OpResult<K>;
  },
};

installInterpreter(grad);
