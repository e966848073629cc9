import type { Module } from '../nn/module.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { GraphModule } from './graph-module.ts';
import { type LeafRule, leafRule } from './leaf.ts';
import { traceGraph } from './trace-graph.ts';

/** Options of {@link symbolicTrace}. */
export interface SymbolicTraceOptions {
  /** Modules that become one node besides the layers of the library: classes, paths, or a function of both. */
  readonly leafModules?: LeafRule;
  /** Which dimension of the inputs counts samples; 0. Recurrent layers that take [time, batch, features] need 1. */
  readonly batchDim?: number;
}

/**
 * Turns a model into a {@link GraphModule} by running it on example inputs and recording what it does: operators as
 * `call_function`, layers of the library as `call_module`, parameters, buffers and tensors made in `forward` as
 * `get_attr`. The model's own modules are traced through.
 *
 * Shapes are those of the example, so a branch on a shape takes the way the example takes. The model runs twice, at two
 * batch sizes: numbers that differ follow the batch of later inputs, and where the two runs differ in another way the
 * graph refuses other batch sizes and says why. The model and the random numbers are as before afterwards.
 *
 * Source: `torch.fx.symbolic_trace`, which needs no inputs but has no shapes.
 *
 * @throws {@link TraceError} where the model reads or changes elements of a tensor that depends on the inputs, naming
 *   the module and the line.
 * @example
 * const traced = symbolicTrace(model, [rand([1, 3, 32, 32])]);
 * traced.graph.printTabular();
 * traced(rand([8, 3, 32, 32])).shape; // [8, 10]
 */
export function symbolicTrace<Args extends unknown[] = [Tensor], Out = Tensor>(
  model: Module<Args, Out>,
  exampleInputs: NoInfer<Args>,
  options: SymbolicTraceOptions = {},
): GraphModule<Args, Out> {
  const isLeaf = leafRule(options.leafModules);
  const { graph, constants } = traceGraph(model, exampleInputs, {
    fn: 'fx.symbolicTrace',
    isLeaf,
    keepWrapped: true,
    batchDim: options.batchDim ?? 0,
  });
  return new GraphModule<Args, Out>(model, graph, { constants });
}
