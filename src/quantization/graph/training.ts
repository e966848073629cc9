import { GraphModule, Interpreter, type Node } from '../../fx/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import { noGrad } from '../../ops/grad-mode.ts';
import { integersOf } from '../../ops/integers.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { FakeQuantizeBase } from '../fake-quantize/fake-quantize.ts';
import {
  attempt,
  evaluateInFloats,
  evaluateInIntegers,
  followsIntegers,
  isRounding,
} from '../fake-quantize/integer-evaluation.ts';
import { convertTrained } from './convert.ts';
import { preparedOf } from './prepared.ts';
import type { QuantizedGraphModule } from './quantized-graph.ts';

/**
 * A graph prepared for training. Training simulates in float32; in evaluation mode the graph is converted and run in
 * integers, and every fake-quantize gives the value of what was found in its place. So what `eval()` predicts is what
 * {@link convertFx} gives, to the integer; gradients stay those of the simulation. It is plain simulation while any
 * fake-quantize is switched off or has seen no data.
 */
export class TrainingGraphModule extends GraphModule<any, any> {
  override forward(...inputs: any[]): any {
    const rounding = this.modules().filter((module) => module instanceof FakeQuantizeBase);
    if (this.training || !followsIntegers() || !rounding.every(isRounding)) return super.forward(...inputs);
    const observing = rounding.filter((module) => module.observerEnabled.storage[0] === 1);
    // Parameters must stand still from here on.
    if (observing.length > 0) noGrad(() => super.forward(...inputs));
    for (const module of observing) module.disableObserver();
    try {
      const found = this.#inIntegers(inputs);
      if (!found) return super.forward(...inputs);
      return new Evaluation(this, found).run(...inputs);
    } finally {
      for (const module of observing) module.enableObserver();
    }
  }

  /** What the nodes of the converted graph give; null where it cannot be converted or run. */
  #inIntegers(inputs: readonly unknown[]): IntegerRun | null {
    const given = preparedOf(this)?.given;
    const placeholders = this.graph.nodes.filter((node) => node.op === 'placeholder');
    const fed = inputs.map((x, i) =>
      given?.has(placeholders[i]?.name) && x instanceof Tensor && !x.isQuantized ? integersOf(x) : x,
    );
    if (fed.includes(null)) return null;
    return attempt(() => {
      const run = new IntegerRun(this, convertTrained(this));
      run.run(...fed);
      return run;
    });
  }
}

/** Runs a converted graph and keeps what it finds in the places of the trained one. */
class IntegerRun extends Interpreter {
  /** Quantized tensors, by the names of the fake-quantizes in whose places they are. */
  readonly integers: Map<string, Tensor> = new Map();
  /** What layers give that were converted and give floats, by name. */
  readonly floats: Map<string, Tensor> = new Map();
  readonly #trained: GraphModule<any, any>;

  constructor(trained: GraphModule<any, any>, converted: QuantizedGraphModule<any, any>) {
    super(converted.graph, converted, { name: trained.typeName });
    this.#trained = trained;
  }

  override runNode(node: Node): unknown {
    const result = super.runNode(node);
    if (!(result instanceof Tensor)) return result;
    if (result.isQuantized) {
      if (node.meta.origin !== undefined) this.integers.set(node.meta.origin, result);
    } else if (node.op === 'call_module' && this.#isConverted(node)) this.floats.set(node.name, result);
    return result;
  }

  #isConverted(node: Node): boolean {
    const before = this.#trained.graph.nodes.find(({ name }) => name === node.name);
    if (before?.op !== 'call_module') return false;
    return (
      this.#trained.getSubmodule(before.targetName).constructor !==
      this.owner.getSubmodule(node.targetName).constructor
    );
  }
}

/** Runs the trained graph with the values that were found in integers. */
class Evaluation extends Interpreter {
  readonly #found: IntegerRun;

  constructor(trained: GraphModule<any, any>, found: IntegerRun) {
    super(trained.graph, trained, { name: trained.typeName });
    this.#found = found;
  }

  override callModule(node: Node, args: readonly unknown[]): unknown {
    const result = super.callModule(node, args);
    const integers = this.#found.integers.get(node.name);
    const floats = this.#found.floats.get(node.name);
    if (!(result instanceof Tensor)) return result;
    if (integers) {
      const rounding = this.owner.getSubmodule(node.targetName) as AnyModule as FakeQuantizeBase;
      evaluateInIntegers(rounding, result, [], () => integers);
    } else if (floats) evaluateInFloats(result, () => floats);
    return result;
  }
}
