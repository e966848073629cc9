import { product } from '../../../core/math.ts';
import { Interpreter } from '../../../fx/interpreter.ts';
import type { Node } from '../../../fx/node.ts';
import type { OpName } from '../../../ops/signatures/index.ts';
import { DTYPES } from '../../../tensor/dtype.ts';
import { Tensor } from '../../../tensor/tensor.ts';
import { type Meta, metaOf } from '../value.ts';
import { DYNAMIC_SHAPES } from './dynamic.ts';
import { FLOAT_SHAPES } from './float.ts';
import { INT8_SHAPES } from './int8.ts';
import type { ShapeRules } from './rule.ts';

/**
 * Operators that are costly enough to be worth a rule of their own. Every other operator is simply run on zeros, which
 * checks its arguments and shows its result.
 */
const SHAPES: ShapeRules = { ...INT8_SHAPES, ...FLOAT_SHAPES, ...DYNAMIC_SHAPES };

/** Results of every node: one tensor, or the tensors of a list. */
export type Metas = ReadonlyMap<Node, Meta | readonly Meta[]>;

/**
 * Runs a graph on zeros to learn shape, dtype, qparams and layout of every result, before any memory is planned. Invalid
 * graphs and inputs throw what the operators throw.
 */
export class ShapePropagation extends Interpreter {
  readonly metas: Map<Node, Meta | readonly Meta[]> = new Map();

  override runNode(node: Node): unknown {
    const result = super.runNode(node);
    if (result instanceof Tensor) this.metas.set(node, metaOf(result));
    else if (Array.isArray(result) && result.every((item) => item instanceof Tensor))
      this.metas.set(node, result.map(metaOf));
    return result;
  }

  override callFunction(node: Node, args: readonly unknown[]): unknown {
    const rule = SHAPES[node.target as OpName] as ((...args: readonly unknown[]) => Meta) | undefined;
    return rule ? zerosLike(rule(...args)) : super.callFunction(node, args);
  }
}

/** A tensor of zero bytes that looks as said. */
export function zerosLike({ shape, dtype, qparams, strides }: Meta): Tensor {
  return new Tensor({ storage: DTYPES[dtype].allocate(product(shape)), shape, dtype, qparams, strides });
}
