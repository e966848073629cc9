import { ArgumentError, ShapeError } from '../core/errors.ts';
import { Tensor } from '../tensor/tensor.ts';
import { batchSource, formatArg } from './code.ts';
import type { Graph } from './graph.ts';
import { type Arg, isDict, Node } from './node.ts';

/** The inputs of one run. */
export interface BoundInputs {
  /** What each placeholder stands for. */
  readonly values: Map<Node, unknown>;
  /** The batch size; 0 for graphs that do not follow one. */
  readonly batch: number;
}

/**
 * Matches the inputs of a run with the placeholders of a graph.
 *
 * @throws {@link ArgumentError} for inputs of another structure than the traced ones, {@link ShapeError} for a batch size
 *   that the graph does not run at.
 */
export function bindInputs(graph: Graph, inputs: readonly unknown[], fn: string): BoundInputs {
  const { inputs: expected, batch } = graph;
  const values = new Map<Node, unknown>();
  if (inputs.length > expected.length) {
    throw inputError(fn, 'inputs', `${expected.length} of them`, String(inputs.length));
  }
  for (const [i, input] of expected.entries()) bind(values, fn, input, inputs[i], `input ${i}`);
  const source = batch && batchSource(graph);
  const first = source && values.get(source);
  if (!batch || !(first instanceof Tensor)) return { values, batch: 0 };
  const size = first.shape[batch.dim];
  if (batch.fixed !== null && size !== batch.example) {
    throw new ShapeError({
      fn,
      argument: `input ${source?.name}`,
      expected: `batch size ${batch.example}, the one that was traced`,
      got: String(size),
      fix: `The graph does not run at other sizes: ${batch.fixed}. Trace the model again at the size you need.`,
    });
  }
  return { values, batch: size };
}

function bind(values: Map<Node, unknown>, fn: string, expected: Arg, value: unknown, where: string): void {
  if (expected instanceof Node) {
    const { shape } = expected.meta;
    if (shape && !(value instanceof Tensor)) throw inputError(fn, where, 'a tensor', describe(value));
    if (shape && (value as Tensor).ndim !== shape.length) {
      throw inputError(fn, where, `${shape.length} dimensions`, `${(value as Tensor).ndim}`);
    }
    values.set(expected, value);
  } else if (Array.isArray(expected)) {
    if (!Array.isArray(value) || value.length !== expected.length) {
      throw inputError(fn, where, `a list of ${expected.length}`, describe(value));
    }
    for (const [i, item] of expected.entries()) bind(values, fn, item, value[i], `${where}[${i}]`);
  } else if (isDict(expected)) {
    if (
      typeof value !== 'object' ||
      value === null ||
      Object.keys(value).length !== Object.keys(expected).length
    ) {
      throw inputError(fn, where, `an object with ${Object.keys(expected).join(', ')}`, describe(value));
    }
    for (const [key, item] of Object.entries(expected)) {
      bind(values, fn, item, (value as Record<string, unknown>)[key], `${where}.${key}`);
    }
  } else if (!Object.is(expected, value) && (expected ?? null) !== (value ?? null)) {
    throw inputError(fn, where, `${formatArg(expected)}, as it was traced`, describe(value));
  }
}

function inputError(fn: string, argument: string, expected: string, got: string): ArgumentError {
  return new ArgumentError({ fn, argument, expected, got });
}

/** A value as messages about inputs and results name it. */
export function describe(value: unknown): string {
  if (value instanceof Tensor) return `a tensor of shape [${value.shape.join(', ')}]`;
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}
