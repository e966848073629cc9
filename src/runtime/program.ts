import { ArgumentError } from '../core/errors.ts';
import type { Graph } from '../fx/graph.ts';
import { Interpreter } from '../fx/interpreter.ts';
import type { GraphOwner } from '../fx/lint.ts';
import type { AnyModule } from '../nn/module.ts';
import { noGrad } from '../ops/grad-mode.ts';
import type { StateDict } from '../tensor/state.ts';
import { type Attribute, describeAttributes } from './attributes.ts';
import { encodeGraph } from './encode.ts';

/**
 * A model as a list of operators with its weights: what runs where the model's classes are not at hand. Made by
 * `jit.trace` or `jit.load`; gives bit for bit what the traced model gives. Source: `torch.jit.ScriptModule`.
 *
 * @example
 * const program = jit.trace(model.eval(), [x]);
 * program.run(x);
 * await jit.save(program, 'model.safetensors');
 */
export class Program implements GraphOwner {
  /** The operators. Every node is a placeholder, `get_attr`, `call_function` or the output. */
  readonly graph: Graph;
  /** Weights, buffers and constants by the paths that `get_attr` nodes name. */
  readonly attributes: ReadonlyMap<string, Attribute>;

  constructor(graph: Graph, attributes: ReadonlyMap<string, Attribute>) {
    this.graph = graph;
    this.attributes = attributes;
    graph.lint(this);
  }

  /**
   * Runs the program on inputs of the structure it was traced with, without recording gradients.
   *
   * @returns What the model returns: a tensor, or lists and dicts of tensors.
   * @throws {@link ShapeError} for a batch size that the traced graph does not run at, saying why.
   */
  run(...inputs: readonly unknown[]): any {
    return noGrad(() => new Interpreter(this.graph, this, { name: 'jit.Program' }).run(...inputs));
  }

  /** The weights as a state dict: tensors by path; packed weights as `path.weight` and `path.bias`. */
  toStateDict(): StateDict {
    const dict: StateDict = new Map();
    describeAttributes(this.attributes, dict);
    return dict;
  }

  /** The graph as JSON, to be kept beside {@link toStateDict}. */
  toJson(): string {
    return encodeGraph(this.graph, this.attributes);
  }

  attribute(path: string): Attribute {
    const value = this.attributes.get(path);
    if (value !== undefined) return value;
    throw new ArgumentError({
      fn: 'jit.Program',
      argument: 'attribute',
      expected: 'a name among its attributes',
      got: path,
    });
  }

  getSubmodule(path: string): AnyModule {
    throw new ArgumentError({
      fn: 'jit.Program',
      argument: 'graph',
      expected: 'operators only',
      got: `a call of module ${path}`,
      fix: 'Make it with jit.trace, which traces through every module.',
    });
  }

  /** The operators as code, to be read. */
  toString(): string {
    return this.graph.code;
  }
}
