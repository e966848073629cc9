import { DTypeError, ShapeError } from '../../../core/errors.ts';
import { product } from '../../../core/math.ts';
import { bmmF32, gemmF32 } from '../../../kernels/f32/gemm.ts';
import { referenceGemmF32 } from '../../../kernels/reference/f32.ts';
import { DTYPES, promoteDTypes, type TypedArray } from '../../../tensor/dtype.ts';
import {
  broadcastShapes,
  broadcastStrides,
  contiguousStrides,
  formatShape,
  hasStrides,
  type Shape,
} from '../../../tensor/shape.ts';
import { Tensor } from '../../../tensor/tensor.ts';
import { requireFloat } from './channels-last.ts';

/** Matrices stacked over the leading dimensions, dense in memory. */
interface MatrixStack {
  readonly data: TypedArray;
  /** The matrices are stored transposed. */
  readonly transposed: boolean;
}

/** What a product gives, its arguments checked. */
export interface ProductResult {
  readonly shape: Shape;
  readonly dtype: Tensor['dtype'];
}

interface MatmulResult extends ProductResult {
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly leftBatch: Shape;
  readonly rightBatch: Shape;
  readonly batch: Shape;
}

/** The result of {@link matmul} without its elements. */
export function matmulResult(a: Tensor, b: Tensor): MatmulResult {
  const dtype = productDType('matmul', a, b);
  if (a.ndim === 0 || b.ndim === 0) {
    throw new ShapeError({
      fn: 'matmul',
      argument: a.ndim === 0 ? 'a' : 'b',
      expected: 'at least one dimension',
      got: 'a scalar',
      fix: 'Multiply by a scalar with mul().',
    });
  }
  const left = a.ndim === 1 ? [1, a.shape[0]] : a.shape;
  const right = b.ndim === 1 ? [b.shape[0], 1] : b.shape;
  const m = left[left.length - 2];
  const k = left[left.length - 1];
  const n = right[right.length - 1];
  if (right[right.length - 2] !== k) throw mismatch('matmul', a, b);
  const leftBatch = left.slice(0, -2);
  const rightBatch = right.slice(0, -2);
  const batch = broadcastShapes(leftBatch, rightBatch, 'matmul');
  const shape = [...batch, ...(a.ndim === 1 ? [] : [m]), ...(b.ndim === 1 ? [] : [n])];
  return { shape, dtype, m, k, n, leftBatch, rightBatch, batch };
}

/** Product of vectors, matrices or broadcast stacks of matrices. Source: `torch.matmul`. */
export function matmul(a: Tensor, b: Tensor): Tensor {
  const { shape, dtype, m, k, n, leftBatch, rightBatch, batch } = matmulResult(a, b);
  const out = DTYPES[dtype].allocate(product(shape));
  const bs = matrixStack(b);
  if (b.ndim <= 2 && a.ndim > 2) {
    // One tall product instead of many small ones: every matrix of `a` meets the same `b`.
    multiply(product(batch) * m, n, k, a.data, false, bs.data, bs.transposed, out);
    return new Tensor({ storage: out, shape, dtype });
  }
  const as = matrixStack(a);
  const count = product(batch);
  if (product(leftBatch) === count && product(rightBatch) === count) {
    multiplyStacks(count, m, n, k, as, bs, out);
  } else {
    const aStarts = stackStarts(leftBatch, batch, m * k);
    const bStarts = stackStarts(rightBatch, batch, k * n);
    for (let i = 0; i < count; i++) {
      multiply(
        m,
        n,
        k,
        as.data.subarray(aStarts[i], aStarts[i] + m * k),
        as.transposed,
        bs.data.subarray(bStarts[i], bStarts[i] + k * n),
        bs.transposed,
        out.subarray(i * m * n, (i + 1) * m * n),
      );
    }
  }
  return new Tensor({ storage: out, shape, dtype });
}

/** The result of {@link bmm} without its elements. */
export function bmmResult(a: Tensor, b: Tensor): ProductResult {
  const dtype = productDType('bmm', a, b);
  if (a.ndim !== 3 || b.ndim !== 3 || a.shape[0] !== b.shape[0] || a.shape[2] !== b.shape[1]) {
    throw mismatch('bmm', a, b);
  }
  return { shape: [a.shape[0], a.shape[1], b.shape[2]], dtype };
}

/** Products of two equally long stacks of matrices. Source: `torch.bmm`. */
export function bmm(a: Tensor, b: Tensor): Tensor {
  const { dtype } = bmmResult(a, b);
  const [count, m, k] = a.shape;
  const n = b.shape[2];
  const out = DTYPES[dtype].allocate(count * m * n);
  multiplyStacks(count, m, n, k, matrixStack(a), matrixStack(b), out);
  return new Tensor({ storage: out, shape: [count, m, n], dtype });
}

/** The result of {@link linear} without its elements. */
export function linearResult(x: Tensor, weight: Tensor, bias: Tensor | null): ProductResult {
  const dtype = requireFloat('linear', { input: x, weight, bias });
  const features = weight.shape[weight.ndim - 1];
  if (weight.ndim !== 2 || x.ndim === 0 || x.shape[x.ndim - 1] !== features) {
    throw new ShapeError({
      fn: 'linear',
      argument: 'input',
      expected: `a last dimension of ${features} for a weight of ${formatShape(weight.shape)}`,
      got: formatShape(x.shape),
      fix: 'The weight is [outFeatures, inFeatures]; flatten or transpose the input.',
    });
  }
  const n = weight.shape[0];
  if (bias && (bias.ndim !== 1 || bias.shape[0] !== n)) {
    throw new ShapeError({
      fn: 'linear',
      argument: 'bias',
      expected: `shape [${n}]`,
      got: formatShape(bias.shape),
    });
  }
  return { shape: [...x.shape.slice(0, -1), n], dtype };
}

/** x·wᵀ + b over the last dimension. Source: `torch.nn.functional.linear`. */
export function linear(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
  const { shape, dtype } = linearResult(x, weight, bias);
  const [n, features] = weight.shape;
  const out = DTYPES[dtype].allocate(product(shape));
  const rows = product(x.shape.slice(0, -1));
  const w = matrixStack(weight);
  multiply(rows, n, features, x.data, false, w.data, !w.transposed, out, bias?.data ?? null);
  return new Tensor({ storage: out, shape, dtype });
}

/**
 * aᵀ·b summed over every leading dimension: the gradient of a weight [n, k] of {@link linear} from the output's gradient
 * [..., n] and the input [..., k].
 */
export function linearWeightGrad(gradOut: Tensor, x: Tensor): Tensor {
  const n = gradOut.shape[gradOut.ndim - 1];
  const k = x.shape[x.ndim - 1];
  const rows = product(x.shape.slice(0, -1));
  const out = DTYPES[x.dtype].allocate(n * k);
  multiply(n, k, rows, gradOut.data, true, x.data, false, out);
  return new Tensor({ storage: out, shape: [n, k], dtype: x.dtype });
}

function multiply(
  m: number,
  n: number,
  k: number,
  a: TypedArray,
  transA: boolean,
  b: TypedArray,
  transB: boolean,
  out: TypedArray,
  bias: TypedArray | null = null,
): void {
  if (out instanceof Float32Array) {
    gemmF32({
      m,
      n,
      k,
      a: a as Float32Array,
      b: b as Float32Array,
      transA,
      transB,
      bias: bias as Float32Array | null,
      out,
    });
  } else out.set(referenceGemmF32({ m, n, k, a, b, transA, transB, bias }));
}

function multiplyStacks(
  batch: number,
  m: number,
  n: number,
  k: number,
  a: MatrixStack,
  b: MatrixStack,
  out: TypedArray,
): void {
  if (out instanceof Float32Array) {
    bmmF32({
      batch,
      m,
      n,
      k,
      a: a.data as Float32Array,
      b: b.data as Float32Array,
      transA: a.transposed,
      transB: b.transposed,
      out,
    });
    return;
  }
  for (let i = 0; i < batch; i++) {
    const left = a.data.subarray(i * m * k, (i + 1) * m * k);
    const right = b.data.subarray(i * k * n, (i + 1) * k * n);
    multiply(m, n, k, left, a.transposed, right, b.transposed, out.subarray(i * m * n, (i + 1) * m * n));
  }
}

/** The matrices of a tensor without copying where they are dense, row-major or transposed. */
function matrixStack(x: Tensor): MatrixStack {
  if (x.ndim >= 2 && !x.isContiguous()) {
    const shape = swapLast(x.shape);
    if (hasStrides(shape, swapLast(x.strides), contiguousStrides(shape))) {
      return { data: x.storage.subarray(x.offset, x.offset + x.numel), transposed: true };
    }
  }
  return { data: x.data, transposed: false };
}

function swapLast(list: Shape): number[] {
  return [...list.slice(0, -2), list[list.length - 1], list[list.length - 2]];
}

/** Where each matrix of the broadcast stack starts in a dense stack of shape `own`. */
function stackStarts(own: Shape, batch: Shape, matrix: number): Int32Array {
  const strides = broadcastStrides(own, contiguousStrides(own), batch);
  const starts = new Int32Array(product(batch));
  for (let i = 0; i < starts.length; i++) {
    let rest = i;
    let at = 0;
    for (let d = batch.length - 1; d >= 0; d--) {
      at += (rest % batch[d]) * strides[d];
      rest = Math.floor(rest / batch[d]);
    }
    starts[i] = at * matrix;
  }
  return starts;
}

function productDType(fn: string, a: Tensor, b: Tensor): Tensor['dtype'] {
  const dtype = promoteDTypes(a.dtype, b.dtype, fn);
  if (a.dtype !== b.dtype || DTYPES[dtype].encoded || dtype === 'bool') {
    throw new DTypeError({
      fn,
      argument: 'dtypes',
      expected: 'two tensors of one dtype: float32, float64 or an integer type',
      got: `${a.dtype} and ${b.dtype}`,
      fix: 'Convert with to().',
    });
  }
  return dtype;
}

function mismatch(fn: string, a: Tensor, b: Tensor): ShapeError {
  return new ShapeError({
    fn,
    argument: 'shapes',
    expected: fn === 'bmm' ? '[b, m, k] and [b, k, n]' : 'inner sizes that agree ([…, m, k] and […, k, n])',
    got: `${formatShape(a.shape)} and ${formatShape(b.shape)}`,
  });
}
