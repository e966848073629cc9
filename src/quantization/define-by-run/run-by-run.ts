import { QuantizationError } from '../../core/errors.ts';
import { traceError } from '../../fx/trace-error.ts';
import { activeTracer } from '../../fx/tracer.ts';
import type { AnyModule } from '../../nn/module.ts';
import { IntegerRun } from './integers.ts';
import { Observation } from './observe.ts';
import type { AutoQuantizationState } from './state.ts';

/** A call of a model that is prepared (its observers watch) or converted (it computes in int8). */
export function runByRun(root: AnyModule, state: AutoQuantizationState, body: () => unknown): unknown {
  // Layers and wrapped functions that become one node would take stand-ins for constants.
  if (activeTracer()?.keepsWrapped) {
    throw traceError({
      fn: 'fx.symbolicTrace',
      argument: 'model',
      expected: 'a model that was not quantized define-by-run',
      got: `${root.typeName} ${state.phase} by ${state.phase === 'converted' ? 'convertDbr' : 'prepareDbr'}`,
      fix: 'Trace the float model and use graph mode, or make a program with jit.trace.',
    });
  }
  if (root.training) {
    throw new QuantizationError({
      fn: 'define-by-run',
      argument: 'mode',
      expected: `${root.typeName} in evaluation mode`,
      got: 'training mode',
      fix: 'Call model.eval() first; to train through quantization, use prepareQat.',
    });
  }
  const run = state.phase === 'converted' ? new IntegerRun(root, state) : new Observation(root, state);
  return run.run(body);
}
