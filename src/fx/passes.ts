import * as nn from '../nn/index.ts';
import { noGrad } from '../ops/grad-mode.ts';
import { Tensor } from '../tensor/tensor.ts';
import type { Graph } from './graph.ts';
import type { GraphModule } from './graph-module.ts';
import { Interpreter } from './interpreter.ts';
import type { GraphOwner } from './lint.ts';
import { followsBatch, type Node } from './node.ts';
import { chain, type Rewrite, replacePattern } from './pattern.ts';

/**
 * Computes once what depends on parameters, buffers and constants alone, and keeps the results as constants. From then on
 * a change of those parameters does not reach the graph. Returns how many operators went.
 *
 * @param store Keeps a constant under a free name made of the one given, and returns it.
 */
export function foldConstantsOf(
  graph: Graph,
  owner: GraphOwner,
  store: (base: string, value: Tensor) => string,
): number {
  const interpreter = new Interpreter(graph, owner);
  const { env } = interpreter;
  let folded = 0;
  for (const node of [...graph.nodes]) {
    const inputs = node.inputNodes();
    const foldable =
      node.op === 'call_function' &&
      typeof node.target === 'string' &&
      node.target !== 'dropout' &&
      inputs.length > 0 &&
      inputs.every((input) => env.has(input)) &&
      !node.args.some(followsBatch);
    if (foldable || node.op === 'get_attr')
      env.set(
        node,
        noGrad(() => interpreter.runNode(node)),
      );
    if (foldable) folded++;
  }
  for (const [node, value] of env) {
    if (node.op === 'get_attr' || !(value instanceof Tensor)) continue;
    const users = [...node.users].filter((user) => !env.has(user));
    if (users.length === 0) continue;
    const constant = graph.insertingBefore(node, () => graph.getAttr(store(`_folded_${node.name}`, value)));
    Object.assign(constant.meta, node.meta);
    for (const user of users) user.replaceInputWith(node, constant);
  }
  const kept = [...env.keys()].reverse().filter((node) => !eraseUnused(graph, node));
  return folded - kept.filter((node) => node.op !== 'get_attr').length;
}

/**
 * {@link foldConstantsOf} for a graph module.
 *
 * @example
 * foldConstants(traced); // weights that forward computes from others are computed now
 */
export function foldConstants(module: GraphModule<any, any>): number {
  const folded = foldConstantsOf(module.graph, module, (base, value) => module.addConstant(base, value));
  module.graph.lint(module);
  return folded;
}

/**
 * Folds batch normalizations in evaluation mode into the convolution or linear layer before them, where nothing else
 * reads what is between. The original model keeps its layers. Returns how many were folded.
 * Source: `torch.fx.experimental.optimization.fuse`.
 */
export function foldBatchNorms(module: GraphModule<any, any>): number {
  const fold: Rewrite = ({ inputs, modules: [first, second] }, graph) => {
    const layer = first.module as nn.ConvNd | nn.Linear;
    const norm = second.module as nn.BatchNorm;
    const calls = graph.nodes.filter((n) => n.op === 'call_module' && n.target === first.node.target);
    if (layer.training || norm.training || !norm.runningMean || calls.length > 1) return null;
    const fused = layer instanceof nn.Linear ? nn.fuseLinearBn(layer, norm) : nn.fuseConvBn(layer, norm);
    module.setSubmodule(first.node.targetName, fused);
    const node = graph.callModule(first.node.targetName, inputs);
    Object.assign(node.meta, second.node.meta);
    return node;
  };
  let folded = 0;
  for (const [layer, norm] of [
    [nn.Conv1d, nn.BatchNorm1d],
    [nn.Conv2d, nn.BatchNorm2d],
    [nn.Conv3d, nn.BatchNorm3d],
    [nn.ConvTranspose1d, nn.BatchNorm1d],
    [nn.ConvTranspose2d, nn.BatchNorm2d],
    [nn.Linear, nn.BatchNorm1d],
  ]) {
    folded += replacePattern(module, chain(layer, norm), fold).length;
  }
  module.deleteUnusedSubmodules();
  return folded;
}

function eraseUnused(graph: Graph, node: Node): boolean {
  if (node.users.size > 0) return false;
  graph.eraseNode(node);
  return true;
}
