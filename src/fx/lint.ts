import { ArgumentError } from '../core/errors.ts';
import type { AnyModule } from '../nn/module.ts';
import type { Graph } from './graph.ts';
import { type Node, nodesIn } from './node.ts';

/** What a graph's targets refer to. Both throw an {@link ArgumentError} where there is nothing at that path. */
export interface GraphOwner {
  /** The parameter, buffer or constant at a path. */
  attribute(path: string): unknown;
  /** The module at a path. */
  getSubmodule(path: string): AnyModule;
}

/** See `Graph.lint`. */
export function checkGraph(graph: Graph, owner?: GraphOwner): void {
  const seen = new Set<Node>();
  const names = new Set<string>();
  graph.nodes.forEach((node, at) => {
    if (names.has(node.name)) throw fault(node, 'a name of its own', 'the name of another node');
    names.add(node.name);
    for (const input of node.inputNodes()) {
      if (!graph.nodes.includes(input))
        throw fault(node, 'arguments in the graph', `${input}, which was removed`);
      if (!seen.has(input)) throw fault(node, 'a place after its arguments', `a place before ${input}`);
      if (!input.users.has(node)) throw fault(node, `to be among the users of ${input}`, 'it is not');
    }
    for (const user of node.users) {
      if (!user.inputNodes().includes(node)) throw fault(node, 'users that use it', String(user));
    }
    if (node.op === 'output' && at !== graph.nodes.length - 1)
      throw fault(node, 'the last place', `place ${at}`);
    if (owner && node.op === 'get_attr') owner.attribute(node.targetName);
    if (owner && node.op === 'call_module') owner.getSubmodule(node.targetName);
    seen.add(node);
  });
  const last = graph.nodes.at(-1);
  if (last?.op !== 'output') {
    throw new ArgumentError({
      fn: 'fx.Graph.lint',
      argument: 'graph',
      expected: 'an output',
      got: 'none',
      fix: 'Call graph.output(value).',
    });
  }
  for (const input of nodesIn(graph.inputs)) {
    if (!seen.has(input) || input.op !== 'placeholder')
      throw fault(input, 'inputs that are placeholders', 'another node');
  }
  for (const node of graph.nodes) {
    if (node.op === 'placeholder' && !nodesIn(graph.inputs).includes(node))
      throw fault(node, 'a place among the inputs', 'none');
  }
}

function fault(node: Node, expected: string, got: string): ArgumentError {
  return new ArgumentError({ fn: 'fx.Graph.lint', argument: `node ${node.name}`, expected, got });
}
