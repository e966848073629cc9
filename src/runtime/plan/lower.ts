import { type Node, nodesIn } from '../../fx/node.ts';
import { dispatch } from '../../ops/dispatch.ts';
import type { OpName } from '../../ops/signatures/index.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Bound, PlanBuilder } from './builder.ts';
import type { Block } from './memory.ts';
import { rulesFor } from './rules/index.ts';
import { isValue, type Meta, readValue, type Value, writeValue } from './value.ts';

/** Adds what computes a node to the plan. */
export function lowerNode(node: Node, builder: PlanBuilder): void {
  if (node.target === 'getitem') {
    const [from, index] = node.args as [Node, number];
    builder.bind(node, (builder.resolve(from) as Value[])[index]);
    return;
  }
  if (rulesFor(node.target).some((rule) => rule(node, builder))) return;
  runAsOperator(node, builder);
}

/** An operator step: the eager implementation on copies of the arguments, its result copied back. */
function runAsOperator(node: Node, builder: PlanBuilder): void {
  const meta = builder.metas.get(node) as Meta | readonly Meta[];
  const isList = Array.isArray(meta);
  const results = ((isList ? meta : [meta]) as readonly Meta[]).map((m) => builder.allocateValue(m));
  const args = node.args.map((arg) => builder.resolve(arg));
  const { engine } = builder;
  const run = (): void => {
    const values = args.map((arg) => tensorsOf(arg, engine.heap));
    const output = (dispatch as (op: OpName, ...args: readonly unknown[]) => unknown)(
      node.target as OpName,
      ...values,
    );
    const tensors = (isList ? output : [output]) as readonly Tensor[];
    for (const [i, result] of results.entries()) writeValue(engine.heap, result, tensors[i]);
  };
  const inputs = node.args.flatMap(nodesIn).flatMap((input) => blocksOf(builder.resolve(input) as Bound));
  builder.operator(node, run, [...inputs, ...results.map((r) => r.block)]);
  builder.bind(node, isList ? results : results[0]);
}

function tensorsOf(arg: unknown, heap: PlanBuilder['engine']['heap']): unknown {
  if (Array.isArray(arg)) return arg.map((item) => tensorsOf(item, heap));
  return isValue(arg) ? readValue(heap, arg) : arg;
}

/** The blocks that what a node stands for lies in. */
export function blocksOf(bound: Bound | undefined): Block[] {
  if (Array.isArray(bound)) return bound.map((value: Value) => value.block);
  return isValue(bound) ? [bound.block] : [];
}
