import { ZeropointError } from '../core/errors.ts';
import { defaultGenerator } from '../core/random.ts';
import type { AnyModule } from '../nn/module.ts';
import { Parameter } from '../nn/parameter.ts';
import { Tensor } from '../tensor/tensor.ts';
import { batchOf, mergeBatchSizes, withBatch } from './batch.ts';
import { type Trace, Tracer, type TracerOptions } from './tracer.ts';

/**
 * Traces a model on example inputs, and once more at another batch size to tell numbers that follow the batch from those
 * that do not. The model's buffers and the default generator are as before afterwards.
 */
export function traceGraph(model: AnyModule, inputs: readonly unknown[], options: TracerOptions): Trace {
  const run = (values: readonly unknown[]): Trace =>
    keepingState(model, () => new Tracer(model, options).trace(values));
  const trace = run(inputs);
  const example = batchOf(inputs);
  if (example === undefined) return trace;
  trace.graph.batch = { example, fixed: fixedReason(run, trace, inputs, example) };
  return trace;
}

function fixedReason(
  run: (inputs: readonly unknown[]) => Trace,
  trace: Trace,
  inputs: readonly unknown[],
  example: number,
): string | null {
  if (example === 0) return 'it was traced on an empty batch';
  // Two samples are cheapest; one would hide sizes behind broadcasting.
  const other = example === 2 ? 3 : 2;
  try {
    return mergeBatchSizes(trace, run(withBatch(inputs, example, other)), example, other);
  } catch (error) {
    if (error instanceof ZeropointError) return `at batch ${other} the model throws "${error.message}"`;
    throw error;
  }
}

/** Runs `body` and puts back what a forward pass changes: buffers (running statistics, observed ranges) and random numbers. */
function keepingState<T>(model: AnyModule, body: () => T): T {
  const generator = defaultGenerator.getState();
  const kept: (() => void)[] = [];
  for (const module of model.modules()) {
    for (const [field, value] of Object.entries(module)) {
      if (!(value instanceof Tensor) || value instanceof Parameter) continue;
      const elements = value.storage.slice();
      kept.push(() => {
        value.storage.set(elements);
        (module as unknown as Record<string, unknown>)[field] = value;
      });
    }
  }
  try {
    return body();
  } finally {
    for (const restore of kept) restore();
    defaultGenerator.setState(generator);
  }
}
