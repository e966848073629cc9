import { ArgumentError, TraceError } from '../core/errors.ts';
import { readAttribute } from '../fx/attributes.ts';
import { foldConstantsOf } from '../fx/passes.ts';
import { traceGraph } from '../fx/trace-graph.ts';
import { BatchNorm } from '../nn/index.ts';
import type { AnyModule } from '../nn/module.ts';
import { type Attribute, attributeKind } from './attributes.ts';
import { Program } from './program.ts';
import { TRAINING_OPS } from './schema.ts';

/** Options of {@link trace}. */
export interface TraceOptions {
  /** Which dimension of the inputs counts samples; 0. Recurrent layers that take [time, batch, features] need 1. */
  readonly batchDim?: number;
}

/**
 * Turns a model into a {@link Program} by running it on example inputs: float models and converted (int8) ones alike.
 * Layers are opened down to operators, and what depends on weights alone is computed here. The weights are shared with
 * the model, not copied. How shapes and batch sizes are treated is as in `fx.symbolicTrace`.
 *
 * Source: `torch.jit.trace` followed by `torch.jit.freeze`.
 *
 * @throws {@link TraceError} where the model reads elements of a tensor that depends on the inputs.
 * @throws {@link ArgumentError} for a model in training mode whose layers behave differently there.
 * @example
 * const program = trace(converted, [rand([1, 3, 224, 224])]);
 * program.run(image);
 */
export function trace(
  model: AnyModule,
  exampleInputs: readonly unknown[],
  options: TraceOptions = {},
): Program {
  for (const [path, module] of model.namedModules()) {
    if (module instanceof BatchNorm && module.training)
      throw inTraining(`${path || module.typeName} in training mode`);
  }
  const { graph, constants } = traceGraph(model, exampleInputs, {
    fn: 'jit.trace',
    isLeaf: () => false,
    keepWrapped: false,
    batchDim: options.batchDim ?? 0,
  });
  const stored = new Map<string, unknown>(constants);
  for (const node of graph.nodes) {
    if (node.op === 'call_function' && TRAINING_OPS.has(node.targetName))
      throw inTraining(`a call of ${node.targetName}`);
    if (node.op !== 'get_attr' || stored.has(node.targetName)) continue;
    stored.set(node.targetName, readAttribute(model, node.targetName));
  }
  const owner = {
    attribute: (path: string): unknown => stored.get(path),
    getSubmodule: (path: string): AnyModule => model.getSubmodule(path),
  };
  foldConstantsOf(graph, owner, (base, value) => {
    let name = base;
    for (let n = 1; stored.has(name); n++) name = `${base}_${n}`;
    stored.set(name, value);
    return name;
  });
  graph.eliminateDeadCode();
  const attributes = new Map<string, Attribute>();
  for (const node of graph.nodes) {
    if (node.op !== 'get_attr') continue;
    const value = stored.get(node.targetName);
    if (attributeKind(value) === undefined) throw foreign(node.targetName, value);
    attributes.set(node.targetName, value as Attribute);
  }
  return new Program(graph, attributes);
}

function inTraining(got: string): ArgumentError {
  return new ArgumentError({
    fn: 'jit.trace',
    argument: 'model',
    expected: 'a model in evaluation mode',
    got,
    fix: 'Call model.eval() first.',
  });
}

function foreign(path: string, value: unknown): TraceError {
  return new TraceError({
    fn: 'jit.trace',
    argument: `attribute ${path}`,
    expected: 'tensors and packed weights',
    got: (value as object | undefined)?.constructor.name ?? String(value),
    location: null,
  });
}
