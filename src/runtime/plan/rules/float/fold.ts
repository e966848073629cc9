import { product } from '../../../../core/math.ts';
import type { Node } from '../../../../fx/node.ts';
import { stridesInOrder } from '../../../../ops/float/layout.ts';
import type { Dims } from '../../../../ops/signatures/reduction.ts';
import { contiguousStrides, normalizeDim, normalizeDims } from '../../../../tensor/shape.ts';
import { addressOf, type PlanBuilder } from '../../builder.ts';
import { inLayout } from '../../copy.ts';
import type { Address, CallArg, KernelCall } from '../../step.ts';
import type { Meta, Value } from '../../value.ts';
import type { LoweringRule, LoweringRules } from '../rule.ts';
import { floatValue } from './product.ts';

/** Elements that fold into one result, next to each other. */
interface Lines {
  readonly from: Address;
  readonly count: number;
  readonly length: number;
}

/** The elements of a value with those of `dims` innermost: its own memory where they already are. */
function linesOf(node: Node, builder: PlanBuilder, x: Value, dims: readonly number[]): Lines {
  const { shape } = x;
  const kept = [...shape.keys()].filter((d) => !dims.includes(d));
  const from = inLayout(builder, node, x, stridesInOrder(shape, [...kept, ...dims]));
  const length = product(dims.map((d) => shape[d]));
  return { from: addressOf(from), count: product(shape) / length, length };
}

function rowMajorResult(builder: PlanBuilder, meta: Meta): Value {
  return builder.allocateValue({ ...meta, strides: contiguousStrides(meta.shape) });
}

/** The rule of a fold over some dimensions; `call` gives its arguments from the pointer and the number of lines. */
function folding(
  kernel: KernelCall['kernel'],
  args: (node: Node, from: CallArg, count: CallArg, length: number, out: CallArg) => readonly CallArg[],
): LoweringRule {
  return (node, builder) => {
    const x = floatValue(node.args[0], builder);
    if (!x || product(x.shape) === 0) return false;
    const dims = normalizeDims(node.args[1] as Dims, x.shape.length, node.targetName);
    const { from, count, length } = linesOf(node, builder, x, dims);
    const out = rowMajorResult(builder, builder.meta(node));
    const call: KernelCall = {
      kernel,
      args: args(node, { at: from, stride: 4 * length }, { count: 1, total: count }, length, {
        at: addressOf(out),
        stride: 4,
      }),
      units: count,
      grain: 1,
    };
    builder.kernels(node, [call], { op: node.targetName });
    builder.bind(node, out);
    return true;
  };
}

const total = (mean: boolean): LoweringRule =>
  folding('f32_row_sums', (_, from, count, length, out) => [
    from,
    4 * length,
    count,
    length,
    mean ? 1 / length : 1,
    out,
  ]);

const spread = (root: boolean): LoweringRule =>
  folding('f32_row_variances', (node, from, count, length, out) => [
    from,
    count,
    length,
    Math.max(0, length - (node.args[2] as number)),
    Number(root),
    out,
  ]);

const extreme = (largest: boolean): LoweringRule =>
  folding('f32_row_extremes', (_, from, count, length, out) => [
    from,
    count,
    length,
    Number(largest),
    out,
    0,
  ]);

/** Extremes along one dimension (of all elements without one) and where they are. */
const placed =
  (largest: boolean, withValues: boolean): LoweringRule =>
  (node, builder) => {
    const x = floatValue(node.args[0], builder);
    if (!x || x.shape.length === 0 || product(x.shape) === 0) return false;
    const rank = x.shape.length;
    const dim = node.args[1] as number | undefined;
    const dims = dim === undefined ? [...x.shape.keys()] : [normalizeDim(dim, rank, node.targetName)];
    const { from, count, length } = linesOf(node, builder, x, dims);
    const meta = builder.metas.get(node) as Meta | readonly Meta[];
    const placeMeta = withValues ? (meta as readonly Meta[])[1] : (meta as Meta);
    const places = rowMajorResult(builder, placeMeta);
    const values = rowMajorResult(builder, { ...placeMeta, dtype: 'float32' });
    const call: KernelCall = {
      kernel: 'f32_row_extremes',
      args: [
        { at: from, stride: 4 * length },
        { count: 1, total: count },
        length,
        Number(largest),
        { at: addressOf(values), stride: 4 },
        { at: addressOf(places), stride: 8 },
      ],
      units: count,
      grain: 1,
    };
    builder.kernels(node, [call], { op: node.targetName });
    builder.bind(node, withValues ? [values, places] : places);
    return true;
  };

/** Folds of the elements along dimensions into one. */
export const FOLD_RULES: LoweringRules = {
  mean: total(true),
  sum: total(false),
  var: spread(false),
  std: spread(true),
  amax: extreme(true),
  amin: extreme(false),
  maxDim: placed(true, true),
  minDim: placed(false, true),
  argmax: placed(true, false),
  argmin: placed(false, false),
};
