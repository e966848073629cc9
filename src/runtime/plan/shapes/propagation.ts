import { product } from '../../../core/math.ts';
import { Interpreter } from '../../../fx/interpreter.ts';
import type { Node } from '../../../fx/node.ts';
import type { OpName } from '../../../ops/signatures/index.ts';
import { DTYPES, type DType, type TypedArray } from '../../../tensor/dtype.ts';
import { Tensor } from '../../../tensor/tensor.ts';
import { type Meta, metaOf } from '../value.ts';
import { DYNAMIC_SHAPES } from './dynamic.ts';
import { FLOAT_SHAPES } from './float.ts';
import { INT8_SHAPES } from './int8.ts';
import type { ShapeRules } from './rule.ts';
import { SAMPLED_SHAPES } from './sampled.ts';

/**
 * Operators that are costly enough to be worth a rule of their own. Others run on a slice of zeros (`sampled.ts`), and the rest simply
 * on zeros, which checks their arguments and shows their result.
 */
const SHAPES: ShapeRules = { ...INT8_SHAPES, ...FLOAT_SHAPES, ...DYNAMIC_SHAPES };

/** Results of every node: one tensor, or the tensors of a list. */
export type Metas = ReadonlyMap<Node, Meta | readonly Meta[]>;

/**
 * Runs a graph on zeros to learn shape, dtype, qparams and layout of every result, before any memory is planned. Invalid
 * graphs and inputs throw what the operators throw.
 */
export class ShapePropagation extends Interpreter {
  /** Zeros of each dtype that stand for the results of rules, as many as the largest has. */
  readonly #zeros = new Map<DType, TypedArray>();
  readonly metas: Map<Node, Meta | readonly Meta[]> = new Map();

  override runNode(node: Node): unknown {
    const result = super.runNode(node);
    if (result instanceof Tensor) this.metas.set(node, metaOf(result));
    else if (Array.isArray(result) && result.every((item) => item instanceof Tensor))
      this.metas.set(node, result.map(metaOf));
    return result;
  }

  override callFunction(node: Node, args: readonly unknown[]): unknown {
    const rule = SHAPES[node.target as OpName] ?? SAMPLED_SHAPES.get(node.target);
    const meta = (rule as ((...args: readonly unknown[]) => Meta | null) | undefined)?.(...args);
    return meta ? this.#standIn(meta) : super.callFunction(node, args);
  }

  /** {@link zerosLike} in memory that all of them share: operators only read it. */
  #standIn({ shape, dtype, qparams, strides }: Meta): Tensor {
    const count = product(shape);
    let storage = this.#zeros.get(dtype);
    if (storage === undefined || storage.length < count) {
      storage = DTYPES[dtype].allocate(count);
      this.#zeros.set(dtype, storage);
    }
    return new Tensor({ storage, shape, dtype, qparams, strides });
  }
}

/** A tensor of zero bytes that looks as said. */
export function zerosLike({ shape, dtype, qparams, strides }: Meta): Tensor {
  return new Tensor({ storage: DTYPES[dtype].allocate(product(shape)), shape, dtype, qparams, strides });
}
