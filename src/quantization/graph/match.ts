import { type GraphModule, Node } from '../../fx/index.ts';
import { ReLU } from '../../nn/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import type { BackendConfig } from '../backend/backend-config.ts';
import type { Pattern } from '../backend/pattern.ts';

/** A row of the backend table, found in a graph. */
export interface RowMatch {
  readonly row: Pattern;
  /** The nodes in the order they run: the first takes the inputs, the last gives the result. */
  readonly nodes: readonly Node[];
}

/** The module that a node calls. */
export function moduleOf(owner: GraphModule<any, any>, node: Node): AnyModule | undefined {
  return node.op === 'call_module' ? owner.getSubmodule(node.targetName) : undefined;
}

/** True for calls of `relu`, as a module or as an operator. */
export function isRelu(owner: GraphModule<any, any>, node: Node): boolean {
  if (node.op === 'call_function') return node.target === 'relu';
  return moduleOf(owner, node)?.constructor === ReLU;
}

/** The row of one node on its own. */
export function rowOf(owner: GraphModule<any, any>, node: Node, backend: BackendConfig): Pattern | undefined {
  if (node.op === 'call_function' && typeof node.target === 'string')
    return backend.operatorPatternOf(node.target);
  const module = moduleOf(owner, node);
  return module && backend.patternOf(module);
}

/**
 * The row of which a node is the last: of an operator and its relu where there is one and nothing else reads what is
 * between, otherwise of the node itself.
 */
export function rowEndingAt(
  owner: GraphModule<any, any>,
  node: Node,
  backend: BackendConfig,
): RowMatch | undefined {
  const [before] = node.args;
  if (isRelu(owner, node) && before instanceof Node && before.users.size === 1) {
    const pair = before.op === 'call_function' && backend.operatorPatternOf(before.targetName, 'relu');
    if (pair) return { row: pair, nodes: [before, node] };
  }
  const row = rowOf(owner, node, backend);
  return row && { row, nodes: [node] };
}

/**
 * The rows of a graph, longer ones first, each node in one row at most: from the end to the beginning.
 * Source: `torch.ao.quantization.fx.match_utils.find_matches`.
 */
export function matchRows(owner: GraphModule<any, any>, backend: BackendConfig): Map<Node, RowMatch> {
  const found = new Map<Node, RowMatch>();
  for (const node of [...owner.graph.nodes].reverse()) {
    if (found.has(node)) continue;
    const match = rowEndingAt(owner, node, backend);
    if (match) for (const member of match.nodes) found.set(member, match);
  }
  return found;
}
