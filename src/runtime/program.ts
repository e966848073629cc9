import { noGrad } from '../autograd/index.ts';
import { ArgumentError } from '../core/errors.ts';
import { bindInputs } from '../fx/bind-inputs.ts';
import type { Graph } from '../fx/graph.ts';
import { Interpreter } from '../fx/interpreter.ts';
import type { GraphOwner } from '../fx/lint.ts';
import type { Node } from '../fx/node.ts';
import { TracedTensor } from '../fx/traced-tensor.ts';
import { engine } from '../kernels/engine.ts';
import type { AnyModule } from '../nn/module.ts';
import type { StateDict } from '../tensor/state.ts';
import { Tensor } from '../tensor/tensor.ts';
import { type Attribute, describeAttributes } from './attributes.ts';
import { encodeGraph } from './encode.ts';
import { Constants } from './plan/constants.ts';
import { describePlan, type ProgramDescription } from './plan/description.ts';
import { Plan } from './plan/plan.ts';
import { type Profile, profilePlan } from './plan/profile.ts';
import { getNumThreads, whyOneThread } from './threads/num-threads.ts';

/** Where `runAsync` runs a program. */
export interface Background {
  run(inputs: readonly unknown[]): Promise<unknown>;
  stop(): void;
}

let startBackground: (program: Program) => Background;

/**
 * Says what {@link Program.runAsync} runs in. It is not imported here because the worker itself runs programs: bundlers do
 * not follow a worker whose script starts it again.
 */
export function provideBackground(start: (program: Program) => Background): void {
  startBackground = start;
}

/**
 * A model as a list of operators with its weights: what runs where the model's classes are not at hand. Made by
 * `jit.trace` or `jit.load`. int8 programs give bit for bit what the traced model gives; float ones differ by at most 1e-5 of
 * the largest number of a result, because products and normalizations are fused. Source: `torch.jit.ScriptModule`.
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
  #background: Background | null = null;
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

  /**
   * {@link run} in a worker, so that a page stays responsive and a server answers meanwhile. The worker starts with the
   * first call and gets the program once; inputs are copied, results handed over. Calls are worked off in order, on as
   * many threads as {@link getNumThreads} says. {@link free} ends the worker; it does not keep a process alive between calls.
   *
   * @throws what {@link run} throws, as a rejection; {@link KernelError} where the worker is lost.
   * @example
   * const logits = await program.runAsync(image);
   */
  async runAsync(...inputs: readonly unknown[]): Promise<any> {
    this.#background ??= startBackground(this);
    return this.#background.run(inputs);
  }

  /**
   * Runs the program several times and says where the time goes: for every step its time, multiply-accumulates, bytes, both
   * per second, how near it comes to what the best kernel reaches on this machine, and why it does not come nearer.
   *
   * @param inputs what {@link run} takes, as a list.
   * @param options `runs` of which medians are taken; 10.
   * @throws {@link ArgumentError} for a program that has no plan, because results have sizes that depend on the data.
   * @example
   * console.log(String(program.profile([x])));
   */
  profile(inputs: readonly unknown[], options: { readonly runs?: number } = {}): Profile {
    const runs = options.runs ?? 10;
    if (!Number.isInteger(runs) || runs < 1) {
      throw new ArgumentError({
        fn: 'jit.Program.profile',
        argument: 'runs',
        expected: 'a whole number of at least 1',
        got: String(runs),
      });
    }
    const { plan, values } = this.#planned('jit.Program.profile', inputs);
    return noGrad(() => profilePlan(plan, (clock) => plan.run(values, clock), runs, getNumThreads()));
  }

  /**
   * How the program runs on such inputs: its steps and their kernels, the memory they take, and on how many threads, with
   * the reason where that is one although more were asked for.
   *
   * @param inputs what {@link run} takes, as a list.
   * @throws {@link ArgumentError} for a program that has no plan, because results have sizes that depend on the data.
   * @example
   * const { steps, arenaBytes, threads, whyOneThread } = program.describe([x]);
   */
  describe(inputs: readonly unknown[]): ProgramDescription {
    const { plan } = this.#planned('jit.Program.describe', inputs);
    return describePlan(plan, this.#constants.bytes, getNumThreads(), whyOneThread());
  }

  /**
   * Gives back the memory that running took: arenas, and weights in the layout of the kernels; ends the worker of
   * {@link runAsync}. It can run again.
   */
  free(): void {
    this.#background?.stop();
    this.#background = null;
    for (const plan of this.#plans.values()) plan.free();
    this.#plans.clear();
    this.#constants.free();
    this.#constants = new Constants(engine);
  }

  [Symbol.dispose](): void {
    this.free();
  }

  /** The plan for inputs that are tensors. */
  #planned(fn: string, inputs: readonly unknown[]): { plan: Plan; values: ReadonlyMap<Node, Tensor> } {
    const { values, batch } = bindInputs(this.graph, inputs, fn);
    if (this.#unplanned) {
      throw new ArgumentError({
        fn,
        argument: 'program',
        expected: 'results whose sizes follow from the sizes of the inputs',
        got: 'a call of maskedSelect, for which the program runs operator by operator',
      });
    }
    const other = [...values.values()].find((x) => !(x instanceof Tensor) || x instanceof TracedTensor);
    if (other !== undefined)
      throw new ArgumentError({ fn, argument: 'inputs', expected: 'tensors', got: typeof other });
    const tensors = values as ReadonlyMap<Node, Tensor>;
    return { plan: noGrad(() => this.#planFor(tensors, batch)), values: tensors };
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
