import { isPlainObject } from '../core/plain-object.ts';
import { dispatch } from '../ops/dispatch.ts';
import { noGrad } from '../ops/grad-mode.ts';
import { tensor } from '../tensor/creation.ts';
import { equalQParams } from '../tensor/qparams.ts';
import { Tensor } from '../tensor/tensor.ts';
import { type Arg, BatchSize, isDict, Node } from './node.ts';
import type { Trace } from './tracer.ts';

/** The batch: size of dimension `dim` of the first tensor among the inputs that has one; undefined where none has. */
export function batchOf(inputs: unknown, dim: number): number | undefined {
  if (inputs instanceof Tensor) return inputs.shape[dim];
  const items = Array.isArray(inputs) ? inputs : isPlainObject(inputs) ? Object.values(inputs) : [];
  for (const item of items) {
    const batch = batchOf(item, dim);
    if (batch !== undefined) return batch;
  }
  return undefined;
}

/** The same inputs with `to` samples instead of `from`: rows are repeated or left out. */
export function withBatch<T>(inputs: T, dim: number, from: number, to: number): T {
  if (inputs instanceof Tensor) {
    if (inputs.shape[dim] !== from) return inputs;
    const rows = tensor(
      Array.from({ length: to }, (_, i) => i % from),
      { dtype: 'int64' },
    );
    return noGrad(() => dispatch('indexSelect', inputs, dim, rows)) as T;
  }
  if (Array.isArray(inputs)) return inputs.map((item) => withBatch(item, dim, from, to)) as T;
  if (!isPlainObject(inputs)) return inputs;
  return Object.fromEntries(
    Object.entries(inputs).map(([key, item]) => [key, withBatch(item, dim, from, to)]),
  ) as T;
}

/** Why two runs cannot be one graph. */
class Difference {
  readonly reason: string;

  constructor(reason: string) {
    this.reason = reason;
  }
}

/**
 * Compares the traces of one model at two batch sizes. Numbers that differ become {@link BatchSize}s in the first, and
 * tensors that repeat one sample for the whole batch are kept once and expanded. What differs in another way ties the
 * graph to its batch size: the reason is returned, and the first trace stays as it was. Null where all is well.
 */
export function mergeBatchSizes(first: Trace, second: Trace, a: number, b: number): string | null {
  const work: Changes = { args: [], tensors: [] };
  try {
    compareTraces(first, second, a, b, work);
  } catch (difference) {
    if (difference instanceof Difference) return difference.reason;
    throw difference;
  }
  // Expanding a tensor rewrites the arguments of its users, so those come first.
  for (const change of [...work.args, ...work.tensors]) change();
  return null;
}

/** What is to be done to the first trace once the two were found to agree. */
interface Changes {
  readonly args: (() => void)[];
  readonly tensors: (() => void)[];
}

function compareTraces(first: Trace, second: Trace, a: number, b: number, work: Changes): void {
  const nodes = first.graph.nodes;
  const others = second.graph.nodes;
  const index = new Map(
    [...nodes, ...others].map((node, i) => [node, i < nodes.length ? i : i - nodes.length]),
  );

  const merge = (x: Arg, y: Arg, where: string): Arg => {
    if (x instanceof Node && y instanceof Node && index.get(x) === index.get(y)) return x;
    if (Object.is(x, y)) return x;
    if (typeof x === 'number' && typeof y === 'number') return mergeNumbers(x, y, a, b, where);
    if (Array.isArray(x) && Array.isArray(y)) {
      if (x.length === y.length) return x.map((item: Arg, i) => merge(item, y[i], where));
      throw new Difference(`${where} lists ${x.length} items at batch ${a} and ${y.length} at batch ${b}`);
    }
    if (isDict(x) && isDict(y) && Object.keys(x).join() === Object.keys(y).join()) {
      return Object.fromEntries(Object.entries(x).map(([key, item]) => [key, merge(item, y[key], where)]));
    }
    throw new Difference(`${where} is another one at batch ${a} than at batch ${b}`);
  };

  nodes.forEach((node, i) => {
    const other = others[i];
    if (other?.op !== node.op || other.target !== node.target) {
      throw new Difference(
        `at batch ${a} the model runs ${describe(node)} where at batch ${b} it runs ${other ? describe(other) : 'nothing'}`,
      );
    }
    const args = node.args.map((arg, n) => merge(arg, other.args[n], `argument ${n} of ${node.name}`));
    if (node.args.length !== other.args.length) {
      throw new Difference(`${node.name} has other arguments at batch ${a} than at batch ${b}`);
    }
    work.args.push(() => {
      node.args = args;
    });
    const name = node.targetName;
    if (node.op !== 'get_attr' || !first.constants.has(name)) return;
    const [constant, otherConstant] = [first.constants.get(name), second.constants.get(name)];
    if (constant === otherConstant) return;
    if (constant instanceof Tensor && otherConstant instanceof Tensor) {
      work.tensors.push(mergeTensors(first, node, constant, otherConstant, a, b));
    }
  });
  if (others.length !== nodes.length) {
    throw new Difference(
      `the model runs ${nodes.length} steps at batch ${a} and ${others.length} at batch ${b}`,
    );
  }
}

function mergeNumbers(x: number, y: number, a: number, b: number, where: string): BatchSize {
  const times = (y - x) / (b - a);
  if (Number.isSafeInteger(times)) return new BatchSize(times, x - times * a);
  throw new Difference(`${where} is ${x} at batch ${a} and ${y} at batch ${b}`);
}

/** A tensor made in `forward`: the same at both sizes, or one sample repeated along the dimensions that differ. */
function mergeTensors(trace: Trace, node: Node, x: Tensor, y: Tensor, a: number, b: number): () => void {
  const where = `a tensor made in forward (${node.targetName})`;
  const alike = x.dtype === y.dtype && sameGrid(x, y);
  if (alike && x.shape.join() === y.shape.join() && sameElements(x, y)) return () => {};
  const grown = x.shape.flatMap((size, d) => (size === y.shape[d] ? [] : [d]));
  if (!alike || x.ndim !== y.ndim || grown.length === 0 || !isMovable(x)) {
    throw new Difference(`${where} has other elements at batch ${a} than at batch ${b}`);
  }
  const shape = x.shape.map((size, d) =>
    size === y.shape[d] ? size : mergeNumbers(size, y.shape[d], a, b, where),
  );
  const sample = noGrad(() => grown.reduce<Tensor>((t, d) => dispatch('slice', t, d, 0, 1, 1), x));
  for (const whole of [x, y]) {
    if (
      whole.numel > 0 &&
      sameElements(
        noGrad(() => dispatch('expand', sample, whole.shape)),
        whole,
      )
    )
      continue;
    throw new Difference(`${where} depends on the batch, and is not one sample repeated`);
  }
  return () => {
    trace.constants.set(
      node.targetName,
      noGrad(() => dispatch('clone', sample)),
    );
    const { graph } = trace;
    const users = [...node.users];
    const whole = graph.insertingAfter(node, () => graph.callFunction('expand', [node, shape]));
    Object.assign(whole.meta, node.meta);
    node.meta.shape = sample.shape;
    for (const user of users) user.replaceInputWith(node, whole);
  };
}

function sameGrid({ qparams: a }: Tensor, { qparams: b }: Tensor): boolean {
  return a === b || (a !== null && b !== null && equalQParams(a, b));
}

/** Whether a sample can be cut out of a tensor, and repeated. */
function isMovable({ qparams, dtype }: Tensor): boolean {
  return qparams === null || (qparams.scheme === 'per_tensor_affine' && dtype !== 'quint4x2');
}

function sameElements(x: Tensor, y: Tensor): boolean {
  const [p, q] = [x.data, y.data];
  return p.length === q.length && p.every((v: number, i: number) => Object.is(v, q[i]));
}

function describe(node: Node): string {
  return node.op === 'output'
    ? 'to its end'
    : `${node.op === 'call_module' ? 'module ' : ''}${node.targetName}`;
}
