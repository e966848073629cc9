import type { Graph } from '../../fx/graph.ts';
import type { GraphOwner } from '../../fx/lint.ts';
import { type Arg, mapArg, Node } from '../../fx/node.ts';
import type { Engine } from '../../kernels/engine.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Attribute } from '../attributes.ts';
import { type Bound, PlanBuilder } from './builder.ts';
import type { Constants } from './constants.ts';
import { Executor } from './executor.ts';
import { blocksOf, lowerNode } from './lower.ts';
import { placeBlocks } from './memory.ts';
import { ShapePropagation, zerosLike } from './shapes/propagation.ts';
import { pointerOf, type Step } from './step.ts';
import { isValue, metaOf, readValue, type Value, writeValue } from './value.ts';

/** What a plan is made from. */
export interface PlanSource {
  readonly graph: Graph;
  readonly owner: GraphOwner;
  readonly attributes: ReadonlyMap<string, Attribute>;
  readonly constants: Constants;
}

/**
 * A program for one set of input shapes: a list of steps over one arena, in which every intermediate result has its place
 * before anything runs. A run copies the inputs in, walks the steps and copies the results out.
 */
export class Plan {
  readonly engine: Engine;
  readonly steps: readonly Step[];
  /** Size of the memory that intermediate results share. */
  readonly arenaBytes: number;
  /** What they would take if none shared its memory with another. */
  readonly resultBytes: number;
  readonly #inputs: readonly (readonly [Node, Value])[];
  readonly #output: Arg;
  readonly #results: ReadonlyMap<Node, Bound>;
  readonly #guards: PlanBuilder['guards'];
  readonly #executor: Executor;

  constructor(source: PlanSource, inputs: ReadonlyMap<Node, Tensor>, batch: number) {
    const { graph, owner, attributes, constants } = source;
    const shapes = new ShapePropagation(graph, owner);
    shapes.run(...substituted(graph.inputs, inputs));
    const { metas } = shapes;
    for (const [node, tensor] of inputs) metas.set(node, metaOf(tensor));
    const builder = new PlanBuilder({ constants, metas, batch, attributes });
    this.engine = constants.engine;
    this.#inputs = [...inputs].map(([node, tensor]) => {
      const value = builder.allocateValue(metaOf(tensor));
      // Inputs are there before the first step.
      value.block.first = 0;
      value.block.last = 0;
      builder.bind(node, value);
      return [node, value] as const;
    });
    for (const node of graph.nodes) {
      if (node.op === 'call_function' && !builder.isBound(node)) lowerNode(node, builder);
    }
    this.#output = graph.outputNode?.args[0];
    const results = graph.outputNode?.inputNodes() ?? [];
    this.#results = new Map(results.map((node) => [node, builder.resolve(node) as Bound]));
    for (const bound of this.#results.values()) for (const block of blocksOf(bound)) builder.keepToEnd(block);
    this.arenaBytes = placeBlocks(builder.blocks);
    this.resultBytes = builder.blocks.reduce((sum, block) => sum + block.bytes, 0);
    const arena = this.engine.alloc(this.arenaBytes, 'arena');
    for (const block of builder.blocks) block.ptr += arena.ptr;
    this.steps = builder.steps;
    this.#guards = builder.guards;
    this.#executor = new Executor(this.engine, this.steps, arena);
    for (const fill of builder.afterPlacement) fill();
  }

  /** Runs every step on the tensors of the placeholders. `clock` is called as {@link Executor.run} says. */
  run(inputs: ReadonlyMap<Node, unknown>, clock?: (step: number) => void): unknown {
    const { heap } = this.engine;
    for (const [node, value] of this.#inputs) writeValue(heap, value, inputs.get(node) as Tensor);
    for (const { address } of this.#guards) heap.i32[pointerOf(address) >> 2] = 0;
    this.#executor.run(clock);
    for (const { address, error } of this.#guards) if (heap.i32[pointerOf(address) >> 2] !== 0) throw error();
    return mapArg(this.#output, (leaf) => {
      if (!(leaf instanceof Node)) return leaf;
      const bound = this.#results.get(leaf);
      if (Array.isArray(bound)) return bound.map((value: Value) => readValue(this.engine.heap, value));
      return isValue(bound) ? readValue(this.engine.heap, bound) : bound;
    });
  }

  /** Chunks that threads share of each step; 1 for steps that the calling thread runs alone. */
  chunks(): number[] {
    return this.#executor.chunks();
  }

  /** True where a thread was lost in a way that leaves the arena unsafe: the plan must be made anew. */
  get spoiled(): boolean {
    return this.#executor.spoiled;
  }

  /** Gives the arena back. */
  free(): void {
    this.#executor.free();
  }
}

/** The inputs of a run with zeros in place of tensors. */
function substituted(expected: readonly Arg[], inputs: ReadonlyMap<Node, Tensor>): unknown[] {
  return expected.map((arg) =>
    mapArg(arg, (leaf) => (leaf instanceof Node ? zerosLike(metaOf(inputs.get(leaf) as Tensor)) : leaf)),
  );
}
