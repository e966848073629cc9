import { GraphModule, type Node } from '../../fx/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import { quantizePerTensorDynamic } from '../../ops/functions/quantize.ts';
import { isQuantizedDType } from '../../tensor/dtype.ts';
import type { Pattern } from '../backend/pattern.ts';
import { quantizedClasses } from '../backend/patterns.ts';
import { observerOf } from './insert.ts';
import { moduleOf } from './match.ts';
import { type Prepared, preparedOf } from './prepared.ts';
import { quantizedBehind } from './reference.ts';

/** One call of a prepared or converted graph, as `suite.coverage` lists it. */
export interface CallRow {
  /** Path of the module that is called; for an operator, of the module that calls it. */
  readonly path: string;
  readonly type: string;
  readonly status: 'quantized' | 'observed' | 'float';
  /** Why it is float; empty otherwise. */
  readonly reason: string;
}

/** Nodes that move tensors between float and integers, or take parts of results: nothing to quantize. */
const CROSSINGS: ReadonlySet<unknown> = new Set([
  ...['getitem', 'dequantize', 'quantizePerTensor', 'quantizePerChannel'],
  quantizePerTensorDynamic,
]);

/**
 * What became of every call of a graph; undefined for a module that is no prepared graph. Operators that were fused into one
 * have one row.
 */
export function graphCalls(module: AnyModule, patterns: readonly Pattern[] = []): CallRow[] | undefined {
  const prepared = preparedOf(module);
  if (!(module instanceof GraphModule) || !prepared) return undefined;
  const classes = quantizedClasses(patterns);
  return module.graph.nodes.flatMap((node): CallRow[] => {
    const called = moduleOf(module, node);
    const isCall = called !== undefined || node.op === 'call_function';
    if (!isCall || CROSSINGS.has(node.target) || observerOf(module, node)) return [];
    const inner = called && graphCalls(called, patterns);
    if (inner) return inner.map((row) => ({ ...row, path: joined(node.targetName, row.path) }));
    const path = called ? node.targetName : (node.meta.modulePath ?? '');
    const type = called ? called.typeName : node.targetName;
    return [{ path, type, ...outcome(module, node, called, classes, prepared) }];
  });
}

function outcome(
  owner: GraphModule<any, any>,
  node: Node,
  called: AnyModule | undefined,
  classes: ReadonlySet<unknown>,
  prepared: Prepared,
): Pick<CallRow, 'status' | 'reason'> {
  const isInteger =
    classes.has(called?.constructor) ||
    node.targetName.startsWith('quantized::') ||
    isQuantizedDType(node.meta.dtype as never);
  if (isInteger) return { status: 'quantized', reason: '' };
  const known = prepared.float.get(node.name);
  if (known) return { status: 'float', reason: known.reason };
  const isPrepared = owner.graph.nodes.some((n) => observerOf(owner, n) !== undefined);
  if (isPrepared && prepared.quantized.has(node.name)) return { status: 'observed', reason: '' };
  const inFloat = node.inputNodes().some((input) => quantizedBehind(input) !== undefined);
  return {
    status: 'float',
    reason: inFloat ? 'reference: computed in float on rounded tensors' : 'its qconfig is null',
  };
}

function joined(path: string, below: string): string {
  return below === '' ? path : `${path}.${below}`;
}
