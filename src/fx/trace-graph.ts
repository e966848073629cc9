import { ZeropointError } from '../core/errors.ts';
import { defaultGenerator } from '../core/random.ts';
import type { AnyModule } from '../nn/module.ts';
import { Parameter } from '../nn/parameter.ts';
import { Tensor } from '../tensor/tensor.ts';
import { batchOf, mergeBatchSizes, withBatch } from './batch.ts';
import { type Trace, Tracer, type TracerOptions } from './tracer.ts';

/**
 * Traces a model on example inputs, and once before at another batch size to tell numbers that follow the batch from
 * those that do not. The model's fields and buffers and the default generator
 * are as before afterwards.
 */
export function traceGraph(
  model: AnyModule,
  inputs: readonly unknown[],
  options: TracerOptions & { readonly batchDim: number },
): Trace {
  const { batchDim: dim } = options;
  const run = (values: readonly unknown[]): Trace =>
    keepingState(model, () => new Tracer(model, options).trace(values));
  const example = batchOf(inputs, dim);
  // Two samples are cheapest; one would hide sizes behind broadcasting.
  const other = example === 2 ? 3 : 2;
  const probe = example ? attempt(() => run(withBatch(inputs, dim, example, other))) : null;
  const trace = run(inputs);
  if (example === undefined) return trace;
  let fixed: string | null = 'it was traced on an empty batch';
  if (typeof probe === 'string') fixed = `at batch ${other} the model throws "${probe}"`;
  else if (probe) fixed = mergeBatchSizes(trace, probe, example, other);
  trace.graph.batch = { dim, example, fixed };
  return trace;
}

/** What `body` returns, or the message of the error it throws. */
function attempt<T>(body: () => T): T | string {
  try {
    return body();
  } catch (error) {
    if (error instanceof ZeropointError) return error.message;
    throw error;
  }
}

/**
 * Runs `body` and puts back what a forward pass changes: fields of modules, elements of buffers (running statistics,
 * observed ranges) and the place in the random numbers.
 */
function keepingState<T>(model: AnyModule, body: () => T): T {
  const generator = defaultGenerator.getState();
  const kept = model.modules().map((module) => {
    const fields = Object.entries(module);
    const elements = fields.flatMap(([, value]) =>
      value instanceof Tensor && !(value instanceof Parameter)
        ? [[value, value.storage.slice()] as const]
        : [],
    );
    return { module: module as unknown as Record<string, unknown>, fields, elements };
  });
  try {
    return body();
  } finally {
    for (const { module, fields, elements } of kept) {
      const names = new Set(fields.map(([name]) => name));
      for (const name of Object.keys(module)) if (!names.has(name)) Reflect.deleteProperty(module, name);
      for (const [name, value] of fields) if (module[name] !== value) module[name] = value;
      for (const [tensor, values] of elements) tensor.storage.set(values);
    }
    defaultGenerator.setState(generator);
  }
}
