import { ArgumentError } from '../core/errors.ts';
import type { Graph } from '../fx/graph.ts';
import { type Arg, BatchSize, isDict, Node } from '../fx/node.ts';
import { type Attribute, describeAttributes } from './attributes.ts';

/** The version of the format below. Readers refuse others. */
export const PROGRAM_VERSION = 1;

/**
 * A graph as JSON:
 *
 *     { "version": 1,
 *       "batch": { "dim": 0, "example": 1, "fixed": null },
 *       "attributes": [ { "name": "fc.weight", "kind": "tensor", "tensor": "fc.weight" },
 *                       { "name": "conv.packed", "kind": "packed", "weight": "conv.packed.weight",
 *                         "bias": null, "geometry": { "stride": [1, 1], … } } ],
 *       "inputs": [ { "node": 0 } ],
 *       "nodes": [ { "op": "placeholder", "name": "x", "shape": [1, 784] },
 *                  { "op": "get_attr", "name": "fc_weight", "target": "fc.weight" },
 *                  { "op": "call_function", "name": "linear", "target": "linear",
 *                    "args": [ { "node": 0 }, { "node": 1 }, null ] },
 *                  { "op": "output", "args": [ { "node": 2 } ] } ] }
 *
 * An argument is a plain value, a list, or an object of one entry: `node` (a place in `nodes`, always an earlier one),
 * `batch` ([times, plus]: a number that follows the batch size), `dict`, `number` (one that JSON lacks), `undefined`.
 */
export function encodeGraph(graph: Graph, attributes: ReadonlyMap<string, Attribute>): string {
  const places = new Map(graph.nodes.map((node, i) => [node, i]));
  const encode = (arg: Arg): unknown => encodeArg(arg, places);
  return JSON.stringify({
    version: PROGRAM_VERSION,
    batch: graph.batch,
    attributes: describeAttributes(attributes, new Map()),
    inputs: graph.inputs.map(encode),
    nodes: graph.nodes.map((node) => {
      const { op, name } = node;
      if (op === 'placeholder') return { op, name, shape: node.meta.shape };
      if (op === 'get_attr') return { op, name, target: node.target };
      if (op === 'output') return { op, args: node.args.map(encode) };
      if (op === 'call_function' && typeof node.target === 'string') {
        return { op, name, target: node.target, args: node.args.map(encode) };
      }
      throw new ArgumentError({
        fn: 'jit.Program',
        argument: `node ${name}`,
        expected: 'an operator of the library',
        got: `${op} ${node.targetName}`,
        fix: 'Make the program with jit.trace.',
      });
    }),
  });
}

function encodeArg(arg: Arg, places: ReadonlyMap<Node, number>): unknown {
  if (arg instanceof Node) return { node: places.get(arg) };
  if (arg instanceof BatchSize) return { batch: [arg.times, arg.plus] };
  if (Array.isArray(arg)) return arg.map((item: Arg) => encodeArg(item, places));
  if (isDict(arg)) {
    return {
      dict: Object.fromEntries(Object.entries(arg).map(([key, item]) => [key, encodeArg(item, places)])),
    };
  }
  if (arg === undefined) return { undefined: true };
  if (typeof arg !== 'number' || (Number.isFinite(arg) && !Object.is(arg, -0))) return arg;
  return { number: Object.is(arg, -0) ? '-0' : String(arg) };
}
