import { ArgumentError } from '../core/errors.ts';
import { bindInputs } from '../fx/bind-inputs.ts';
import type { Graph } from '../fx/graph.ts';
import { Interpreter } from '../fx/interpreter.ts';
import type { GraphOwner } from '../fx/lint.ts';
import type { Node } from '../fx/node.ts';
import { TracedTensor } from '../fx/traced-tensor.ts';
import { engine } from '../kernels/engine.ts';
import type { AnyModule } from '../nn/module.ts';
import { noGrad } from '../ops/grad-mode.ts';
import type { StateDict } from '../tensor/state.ts';
import { Tensor } from '../tensor/tensor.ts';
import { type Attribute, describeAttributes } from './attributes.ts';
import { encodeGraph } from './encode.ts';
import { Constants } from './plan/constants.ts';
import { Plan } from './plan/plan.ts';

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

  readonly #plans = new Map<string, Plan>();
  #constants = new Constants(engine);
  /** Operators whose results have sizes that no plan can know. */
  readonly #unplanned: boolean;

  constructor(graph: Graph, attributes: ReadonlyMap<string, Attribute>) {
    this.graph = graph;
    this.attributes = attributes;
    graph.lint(this);
    this.#unplanned = graph.nodes.some((n) => n.target === 'maskedSelect');
  }

  /**
   * Runs the program on inputs of the structure it was traced with, without recording gradients.
   *
   * @returns What the model returns: a tensor, or lists and dicts of tensors.
   * @throws {@link ShapeError} for a batch size that the traced graph does not run at, saying why.
   */
  run(...inputs: readonly unknown[]): any {
    return noGrad(() => {
      const { values, batch } = bindInputs(this.graph, inputs, 'jit.Program');
      const tensors = [...values.values()];
      // A program inside of a model that is being traced becomes part of that trace.
      if (!tensors.every((x) => x instanceof Tensor && !(x instanceof TracedTensor)) || this.#unplanned)
        return new Interpreter(this.graph, this, { name: 'jit.Program' }).run(...inputs);
      return this.#planFor(values as Map<Node, Tensor>, batch).run(values);
    });
  }

  /** Gives back the memory that running took: arenas, and weights in the layout of the kernels. It can run again. */
  free(): void {
    for (const plan of this.#plans.values()) plan.free();
    this.#plans.clear();
    this.#constants.free();
    this.#constants = new Constants(engine);
  }

  [Symbol.dispose](): void {
    this.free();
  }

  #planFor(inputs: ReadonlyMap<Node, Tensor>, batch: number): Plan {
    const key = [...inputs.values()].map(signature).join(';');
    let plan = this.#plans.get(key);
    if (plan && !plan.spoiled) return plan;
    plan?.free();
    if (this.#plans.size >= MOST_PLANS) {
      const [oldest, unused] = this.#plans.entries().next().value as [string, Plan];
      unused.free();
      this.#plans.delete(oldest);
    }
    const { graph, attributes } = this;
    plan = new Plan({ graph, owner: this, attributes, constants: this.#constants }, inputs, batch);
    this.#plans.set(key, plan);
    return plan;
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

/** Plans are kept for this many sets of input shapes, the oldest goes first. */
const MOST_PLANS = 8;

function signature({ shape, dtype, qparams }: Tensor): string {
  return `${dtype}[${shape.join()}]${qparams ? JSON.stringify(qparams) : ''}`;
}
