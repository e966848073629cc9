import { product } from '../../core/math.ts';
import { type Arg, BatchSize, mapArg, Node } from '../../fx/node.ts';
import type { Engine } from '../../kernels/engine.ts';
import type { Shape } from '../../tensor/shape.ts';
import { Tensor } from '../../tensor/tensor.ts';
import type { Attribute } from '../attributes.ts';
import type { Constants } from './constants.ts';
import { type Block, SLACK, unplaced } from './memory.ts';
import type { Metas } from './shapes/propagation.ts';
import type { Address, CallArg, CallerStep, KernelCall, Step, StepCost } from './step.ts';
import { isValue, type Meta, metaOf, storedBytes, type Value, writeValue } from './value.ts';

/** What a node stands for while a plan is built: a value, the values of a list, or weights that no value holds. */
export type Bound = Value | readonly Value[] | Attribute;

/** What {@link PlanBuilder.kernels} needs besides the calls. */
export interface StepOptions {
  readonly op: string;
  /** Multiply-accumulates; 0 where not given. */
  readonly macs?: number;
  /** Blocks that calls read or write without naming them in an address. */
  readonly touches?: readonly Block[];
}

/**
 * Collects the steps of a plan. Lowering rules ask it for the values of a node's arguments, allocate values for results, and
 * add steps; which memory a block gets follows from the steps that touch it.
 */
export class PlanBuilder {
  readonly engine: Engine;
  readonly constants: Constants;
  readonly metas: Metas;
  /** The batch size of this plan. */
  readonly batch: number;
  readonly steps: Step[] = [];
  /** Blocks of the arena, in order of creation. */
  readonly blocks: Block[] = [];
  /** What to throw where a kernel has set the word of a guard; see {@link guard}. */
  readonly guards: { readonly address: Address; readonly error: () => Error }[] = [];
  /** What is written once every block has its place. */
  readonly afterPlacement: (() => void)[] = [];
  readonly #attributes: ReadonlyMap<string, Attribute>;
  readonly #bound = new Map<Node, Bound>();

  constructor(options: {
    readonly constants: Constants;
    readonly metas: Metas;
    readonly batch: number;
    readonly attributes: ReadonlyMap<string, Attribute>;
  }) {
    this.engine = options.constants.engine;
    this.constants = options.constants;
    this.metas = options.metas;
    this.batch = options.batch;
    this.#attributes = options.attributes;
  }

  /** True once a node's result was made: by its own rule, or by the rule of a node before it that fused it. */
  isBound(node: Node): boolean {
    return this.#bound.has(node);
  }

  /** Says what a node stands for. */
  bind(node: Node, bound: Bound): void {
    this.#bound.set(node, bound);
  }

  /** The single tensor that a node gives, before it exists. */
  meta(node: Node): Meta {
    return this.metas.get(node) as Meta;
  }

  /** The weights or tensor that a `get_attr` node reads; undefined for every other argument. */
  attribute(arg: Arg): Attribute | undefined {
    return arg instanceof Node && arg.op === 'get_attr' ? this.#attributes.get(arg.targetName) : undefined;
  }

  /** The value of a node that gives one tensor. Tensors among the attributes are copied into the engine's memory, once. */
  value(arg: Arg): Value {
    const node = arg as Node;
    const bound = this.#bound.get(node);
    if (bound !== undefined) return bound as Value;
    const tensor = this.attribute(node) as Tensor;
    const value = this.constant(`${node.targetName} as it is`, tensor);
    this.#bound.set(node, value);
    return value;
  }

  /** {@link value} where an argument stands for one tensor; undefined for numbers, lists and packed weights. */
  tensor(arg: Arg): Value | undefined {
    if (!(arg instanceof Node)) return undefined;
    const bound = this.#bound.get(arg) ?? this.attribute(arg);
    return isValue(bound) || bound instanceof Tensor ? this.value(arg) : undefined;
  }

  /** A constant tensor in the engine's memory, in its own layout. */
  constant(key: string, tensor: Tensor): Value {
    const meta = metaOf(tensor);
    const bytes = product(meta.shape) * storedBytes(meta.dtype);
    const block = this.constants.get(key, bytes + SLACK, (ptr) => {
      const at = { ...meta, offset: 0, flipped: false, block: { ...unplaced(bytes), ptr } };
      writeValue(this.engine.heap, at, tensor);
    });
    return { ...meta, offset: 0, block, flipped: false };
  }

  /** Floats that kernels read, made where the key is new; zeros up to a multiple of 8 follow. */
  floats(key: string, count: number, make: () => ArrayLike<number>): Address {
    const padded = Math.ceil(count / 8) * 8;
    const block = this.constants.get(key, 4 * padded + SLACK, (ptr) => {
      const { f32 } = this.engine.heap;
      f32.fill(0, ptr / 4, ptr / 4 + padded);
      f32.set(make(), ptr / 4);
    });
    return { block, offset: 0 };
  }

  /** Byte offsets that kernels read, made where the key is new. */
  offsets(key: string, count: number, make: () => ArrayLike<number>): Address {
    const block = this.constants.get(key, 4 * count, (ptr) => this.engine.heap.i32.set(make(), ptr / 4));
    return { block, offset: 0 };
  }

  /** Whole numbers of 32 bits that kernels read. */
  table(numbers: readonly number[]): Address {
    const block = this.constants.get(`table ${numbers.join()}`, 4 * numbers.length, (ptr) =>
      this.engine.heap.i32.set(numbers, ptr / 4),
    );
    return { block, offset: 0 };
  }

  /** An argument with numbers in place of batch sizes, and what nodes stand for in their place. */
  resolve(arg: Arg): unknown {
    return mapArg(arg, (leaf) => {
      if (leaf instanceof BatchSize) return leaf.at(this.batch);
      if (!(leaf instanceof Node)) return leaf;
      return this.#bound.get(leaf) ?? this.attribute(leaf);
    });
  }

  /** Memory that lives from the first step that touches it to the last. */
  allocate(bytes: number): Block {
    const block = unplaced(bytes);
    this.blocks.push(block);
    return block;
  }

  /**
   * Memory of the plan whose contents depend on where blocks lie, such as tables of addresses: `fill` writes it once, when
   * all of them have their places.
   */
  placed(bytes: number, fill: (ptr: number) => void): Block {
    const block = this.allocate(bytes);
    block.first = 0;
    this.keepToEnd(block);
    this.afterPlacement.push(() => fill(block.ptr));
    return block;
  }

  /** A new value of its own block, laid out as its meta says. */
  allocateValue(meta: Meta, flipped = false): Value {
    const block = this.allocate(product(meta.shape) * storedBytes(meta.dtype));
    return { ...meta, offset: 0, block, flipped };
  }

  /** Adds a step of kernel calls that may run at the same time. */
  kernels(node: Node, calls: readonly KernelCall[], options: StepOptions): void {
    const addresses = calls.flatMap((call) => call.args.flatMap(addressesIn));
    const blocks = new Set([...addresses.map((a) => a.block), ...(options.touches ?? [])]);
    const bytes = [...blocks].reduce((sum, block) => sum + block.bytes, 0);
    const cost: StepCost = { macs: options.macs ?? 0, bytes };
    const shape = this.#shapeOf(node);
    this.#add({ kind: 'kernels', name: node.name, op: options.op, shape, calls, cost }, blocks);
  }

  /** Adds a step that runs on the calling thread alone, outside of the kernels: the operator itself, or a rule's own code. */
  operator(
    node: Node,
    run: () => void,
    blocks: readonly Block[],
    kind: CallerStep['kind'] = 'operator',
  ): void {
    const bytes = blocks.reduce((sum, block) => sum + block.bytes, 0);
    const cost: StepCost = { macs: 0, bytes };
    const shape = this.#shapeOf(node);
    this.#add({ kind, name: node.name, op: node.targetName, shape, run, cost }, new Set(blocks));
  }

  /**
   * A word that is 0 at the start of every run. Where a kernel sets it, the run throws the error at its end: for faults of
   * the data, which show only then.
   */
  guard(error: () => Error): Address {
    const block = this.allocate(4);
    block.first = 0;
    this.keepToEnd(block);
    const address = { block, offset: 0 };
    this.guards.push({ address, error });
    return address;
  }

  /** Says that a node's result is used by nobody but a node that was made before it. */
  absorb(node: Node): void {
    this.#bound.set(node, []);
  }

  /** Keeps a block from the first step to the last that touches it, the end of the plan included. */
  keepToEnd(block: Block): void {
    block.last = Number.MAX_SAFE_INTEGER;
  }

  #shapeOf(node: Node): Shape {
    const meta = this.metas.get(node);
    return (Array.isArray(meta) ? meta[0]?.shape : (meta as Meta | undefined)?.shape) ?? [];
  }

  #add(step: Step, blocks: ReadonlySet<Block>): void {
    const at = this.steps.length;
    for (const block of blocks) {
      if (block.first < 0) block.first = at;
      block.last = Math.max(block.last, at);
    }
    this.steps.push(step);
  }
}

/** The address of the first element of a value, or of a place some bytes behind it. */
export function addressOf(value: Value, bytes = 0): Address {
  return { block: value.block, offset: value.offset * storedBytes(value.dtype) + bytes };
}

function addressesIn(arg: CallArg): Address[] {
  if (typeof arg !== 'object' || 'count' in arg) return [];
  return ['at' in arg ? arg.at : arg];
}
