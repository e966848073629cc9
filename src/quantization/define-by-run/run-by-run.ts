import { QuantizationError } from '../../core/errors.ts';
import { traceError } from '../../fx/trace-error.ts';
import { activeTracer } from '../../fx/tracer.ts';
import type { AnyModule } from '../../nn/module.ts';
import { isGradEnabled } from '../../ops/grad-mode.ts';
import { FakeQuantizeBase } from '../fake-quantize/fake-quantize.ts';
import { attempt, followsIntegers, isRounding } from '../fake-quantize/integer-evaluation.ts';
import { convertDbr } from './convert.ts';
import { IntegerRun } from './integers.ts';
import { Observation } from './observe.ts';
import type { AutoQuantizationState } from './state.ts';

/** A call of a model that is prepared (its observers watch) or converted (it computes in int8). */
export function runByRun(
  root: AnyModule,
  state: AutoQuantizationState,
  inputs: readonly unknown[],
  body: () => unknown,
): unknown {
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
  if (root.training && !(state.isTrained && state.phase === 'prepared')) {
    throw new QuantizationError({
      fn: 'define-by-run',
      argument: 'mode',
      expected: `${root.typeName} in evaluation mode`,
      got: 'training mode',
      fix: 'Call model.eval() first; to train through quantization, use prepareQatDbr.',
    });
  }
  if (state.phase === 'converted') return new IntegerRun(root, state).run(body);
  const simulated = new Observation(root, state).run(body);
  if (root.training || !predicts(root, state)) return simulated;
  const converted = attempt(() => convertDbr(root));
  return converted ? converted(...inputs) : simulated;
}

/** True where an evaluated model in training can say what its conversion gives: every rounding is on and found its range. */
function predicts(root: AnyModule, state: AutoQuantizationState): boolean {
  if (!state.isTrained || isGradEnabled() || !followsIntegers()) return false;
  const watching = [...state.observers.values(), ...root.modules()].filter(
    (m) => m instanceof FakeQuantizeBase,
  );
  return watching.every((m) => isRounding(m) && m.hasObserved());
}
