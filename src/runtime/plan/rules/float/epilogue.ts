import type { Node } from '../../../../fx/node.ts';
import { hasStrides, type Shape } from '../../../../tensor/shape.ts';
import { Tensor } from '../../../../tensor/tensor.ts';
import type { PlanBuilder } from '../../builder.ts';
import type { Value } from '../../value.ts';

/** The statistics of a batch normalization that goes into the weights before it. */
interface Norm {
  readonly mean: Tensor;
  readonly variance: Tensor;
  readonly weight: Tensor | null;
  readonly bias: Tensor | null;
  readonly eps: number;
}

/** What a product does besides: normalization, an addition and bounds that followed it in the graph. */
export interface Epilogue {
  /** The nodes that went into it, the last one giving the result. */
  readonly nodes: readonly Node[];
  readonly norm: Norm | null;
  /** Laid out as the result. */
  readonly residual: Value | null;
  readonly lo: number;
  readonly hi: number;
  /** Says which normalization, for keys of constants. */
  readonly key: string;
}

/** Nothing follows. */
export const NO_EPILOGUE: Epilogue = {
  nodes: [],
  norm: null,
  residual: null,
  lo: -Infinity,
  hi: Infinity,
  key: '',
};

/** The operators behind a product that its kernel takes up; each the only user of the one before. */
export function epilogueOf(
  node: Node,
  builder: PlanBuilder,
  strides: Shape,
  norms = true,
  residuals = true,
): Epilogue {
  const nodes: Node[] = [];
  let last = node;
  const take = (user: Node): void => {
    nodes.push(user);
    last = user;
  };
  let user = onlyUser(last, builder);
  const norm = user && norms ? normOf(user, last, builder) : null;
  const key = norm ? (user as Node).args.slice(1).join() : '';
  if (user && norm) {
    take(user);
    user = onlyUser(last, builder);
  }
  const residual = user && residuals ? residualOf(user, last, builder, strides) : null;
  if (user && residual) {
    take(user);
    user = onlyUser(last, builder);
  }
  const bounds = user ? boundsOf(user, builder) : null;
  if (user && bounds) take(user);
  const [lo, hi] = bounds ?? [-Infinity, Infinity];
  return { nodes, norm, residual, lo, hi, key };
}

/** Says that the nodes of an epilogue stand for the result. */
export function bindEpilogue(node: Node, builder: PlanBuilder, { nodes }: Epilogue, out: Value): void {
  for (const each of [node, ...nodes]) builder.bind(each, out);
}

/** The single node that uses another, if nothing has made it yet. */
export function onlyUser(node: Node, builder: PlanBuilder): Node | null {
  const [user] = node.users;
  return node.users.size === 1 && user.op === 'call_function' && !builder.isBound(user) ? user : null;
}

function normOf(user: Node, last: Node, builder: PlanBuilder): Norm | null {
  if (user.target !== 'batchNormEval' || user.args[0] !== last) return null;
  const tensors = user.args.slice(1, 5).map((arg) => (arg === null ? null : builder.attribute(arg)));
  if (!tensors.every((t) => t === null || (t instanceof Tensor && t.dtype === 'float32'))) return null;
  const [mean, variance, weight, bias] = tensors as [Tensor, Tensor, Tensor | null, Tensor | null];
  return { mean, variance, weight, bias, eps: user.args[5] as number };
}

function residualOf(user: Node, last: Node, builder: PlanBuilder, strides: Shape): Value | null {
  const [a, b, alpha] = user.args;
  if (user.target !== 'add' || a === b || alpha !== 1 || (a !== last && b !== last)) return null;
  const other = builder.tensor(a === last ? b : a);
  const { shape } = builder.meta(last);
  const fits =
    other?.dtype === 'float32' &&
    other.shape.length === shape.length &&
    other.shape.every((size, d) => size === shape[d]) &&
    hasStrides(shape, other.strides, strides);
  return fits ? (other as Value) : null;
}

/** Bounds that an operator applies to float32 tensors; null for operators that do something else. */
export function boundsOf(user: Node, builder: PlanBuilder): readonly [number, number] | null {
  if (builder.meta(user)?.dtype !== 'float32') return null;
  switch (user.target) {
    case 'relu':
      return [0, Infinity];
    case 'relu6':
      return [0, 6];
    case 'hardtanh':
    case 'clamp': {
      const [, min, max] = user.args as [Node, number | null, number | null];
      const bounds = [min ?? -Infinity, max ?? Infinity] as const;
      return bounds[0] <= bounds[1] ? bounds : null;
    }
    default:
      return null;
  }
}

/** What a fused normalization multiplies every column by, and adds to it. */
export function normScale(
  { norm }: Pick<Epilogue, 'norm'>,
  columns: number,
): { readonly factor: Float64Array; readonly shift: Float64Array } {
  const factor = new Float64Array(columns).fill(1);
  const shift = new Float64Array(columns);
  if (norm) {
    const [mean, variance] = [norm.mean.data, norm.variance.data];
    const [weight, bias] = [norm.weight?.data, norm.bias?.data];
    for (let c = 0; c < columns; c++) {
      factor[c] = (weight ? weight[c] : 1) / Math.sqrt(variance[c] + norm.eps);
      shift[c] = (bias ? bias[c] : 0) - mean[c] * factor[c];
    }
  }
  return { factor, shift };
}
