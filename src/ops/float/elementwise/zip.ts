import { product } from '../../../core/math.ts';
import { DTYPES, type DType, isFloatDType, promoteDTypes, type TypedArray } from '../../../tensor/dtype.ts';
import { broadcastShapes, broadcastStrides, contiguousStrides, type Shape } from '../../../tensor/shape.ts';
import { encodeNumbers, Tensor } from '../../../tensor/tensor.ts';
import { isDense, memoryOrder, nest, stridesInOrder } from '../layout.ts';
import { computeDType, convert, convertNumbers } from './map.ts';

/**
 * One operator over an m × n block of two strided operands; the result is written to consecutive places from `yo`.
 * `alpha` is the operator's parameter. Every operator has its own loop (see {@link MapLoop} for why).
 */
export type ZipLoop = (
  a: TypedArray,
  ao: number,
  am: number,
  an: number,
  b: TypedArray,
  bo: number,
  bm: number,
  bn: number,
  y: TypedArray,
  yo: number,
  m: number,
  n: number,
  alpha: number,
) => void;

/**
 * The dtype of a binary operation. As in PyTorch, numbers and tensors without dimensions change the dtype only where they
 * are of a higher kind (bool < integer < float) than the other operand. Source: `at::result_type`.
 */
export function resultDType(a: Tensor, b: Tensor | number, fn: string): DType {
  if (typeof b === 'number') {
    if (isFloatDType(a.dtype)) return a.dtype;
    if (!Number.isInteger(b)) return 'float32';
    return a.dtype === 'bool' ? 'int64' : a.dtype;
  }
  if (a.dtype === b.dtype) return a.dtype;
  if ((a.ndim === 0) !== (b.ndim === 0)) {
    const [wide, point] = a.ndim === 0 ? [b, a] : [a, b];
    if (KIND_RANK[DTYPES[point.dtype].kind] <= KIND_RANK[DTYPES[wide.dtype].kind]) return wide.dtype;
  }
  return promoteDTypes(a.dtype, b.dtype, fn);
}

const KIND_RANK = { bool: 0, integer: 1, float: 2, quantized: 3 };

/** Applies a loop to two broadcast operands, computing in `dtype`; the result has dtype `outDType`. */
export function zip(
  a: Tensor,
  b: Tensor | number,
  fn: string,
  loop: ZipLoop,
  dtype: DType = resultDType(a, b, fn),
  outDType: DType = dtype,
  alpha = 1,
): Tensor {
  const compute = computeDType(dtype);
  const other =
    typeof b === 'number'
      ? new Tensor({ storage: encodeNumbers([b], compute), shape: [], dtype: compute })
      : b;
  const shape = broadcastShapes(a.shape, other.shape, fn);
  const strides = resultStrides(a, other, shape);
  const x = convert(a, compute);
  const z = convert(other, compute);
  const out = DTYPES[computeDType(outDType)].allocate(product(shape));
  walk(x, z, shape, strides, out, loop, alpha);
  return new Tensor({
    storage: convertNumbers(out, computeDType(outDType), outDType),
    shape,
    strides,
    dtype: outDType,
  });
}

/** The layout of the result: that of the operand which has the full shape and no gaps, else row-major. */
function resultStrides(a: Tensor, b: Tensor, shape: Shape): Shape {
  for (const x of [a, b]) {
    const full = x.ndim === shape.length && x.shape.every((size, d) => size === shape[d]);
    if (full && isDense(x)) return stridesInOrder(shape, memoryOrder(x.shape, x.strides));
  }
  return contiguousStrides(shape);
}

function walk(
  a: Tensor,
  b: Tensor,
  shape: Shape,
  strides: Shape,
  y: TypedArray,
  loop: ZipLoop,
  alpha: number,
): void {
  if (y.length === 0) return;
  const as = broadcastStrides(a.shape, a.strides, shape);
  const bs = broadcastStrides(b.shape, b.strides, shape);
  const plan = nest(shape, strides, [as, bs]);
  const [pa, pb] = plan.strides;
  const rank = plan.shape.length;
  const n = rank > 0 ? plan.shape[rank - 1] : 1;
  const m = rank > 1 ? plan.shape[rank - 2] : 1;
  const an = rank > 0 ? pa[rank - 1] : 0;
  const bn = rank > 0 ? pb[rank - 1] : 0;
  const am = rank > 1 ? pa[rank - 2] : 0;
  const bm = rank > 1 ? pb[rank - 2] : 0;
  const index = new Array<number>(Math.max(rank - 2, 0)).fill(0);
  let ao = a.offset;
  let bo = b.offset;
  for (let yo = 0; yo < y.length; yo += m * n) {
    loop(a.storage, ao, am, an, b.storage, bo, bm, bn, y, yo, m, n, alpha);
    for (let d = rank - 3; d >= 0; d--) {
      ao += pa[d];
      bo += pb[d];
      if (++index[d] < plan.shape[d]) break;
      ao -= pa[d] * plan.shape[d];
      bo -= pb[d] * plan.shape[d];
      index[d] = 0;
    }
  }
}
