import { DTypeError } from '../../../core/errors.ts';
import { columnSumsF32 } from '../../../kernels/f32/normalization.ts';
import type { DType, TypedArray } from '../../../tensor/dtype.ts';
import { channelsLastStrides, type Shape } from '../../../tensor/shape.ts';
import { Tensor } from '../../../tensor/tensor.ts';
import { inLayout } from '../layout.ts';

/** The elements in the order N, spatial…, C; a window on the storage where they already lie that way. */
export function channelsLastData(x: Tensor): TypedArray {
  return inLayout(x, channelsLastStrides(x.shape));
}

/** Wraps elements that lie in the order N, spatial…, C as a tensor of the logical shape N, C, spatial…. */
export function channelsLastTensor(storage: TypedArray, shape: Shape, dtype: DType): Tensor {
  return new Tensor({ storage, shape, dtype, strides: channelsLastStrides(shape) });
}

/** A zeroed array of `n` elements, of the type of `like`. */
export function allocateLike<T extends TypedArray>(like: T, n: number): T {
  return new (like.constructor as new (n: number) => T)(n);
}

/** The dtype of the tensors, all of one: float32 or float64. Throws a {@link DTypeError} naming the argument otherwise. */
export function requireFloat(
  fn: string,
  tensors: Readonly<Record<string, Tensor | null>>,
): 'float32' | 'float64' {
  let common: 'float32' | 'float64' | undefined;
  for (const [argument, t] of Object.entries(tensors)) {
    if (t === null) continue;
    const { dtype } = t;
    if ((dtype === 'float32' || dtype === 'float64') && (common ?? dtype) === dtype) {
      common = dtype;
      continue;
    }
    throw new DTypeError({
      fn,
      argument,
      expected: common ? `${common}, like the other arguments` : 'a float32 or float64 tensor',
      got: dtype,
      fix: `Convert it with to('${common ?? 'float32'}').`,
    });
  }
  return common ?? 'float32';
}

/** Sums of every channel (dimension 1) over all other dimensions, [channels]: the gradient of a bias. */
export function channelSums(x: Tensor): Tensor {
  return columnSums(channelsLastData(x), x.shape[1], x.dtype);
}

/** Sums over all dimensions but the last. */
export function lastDimSums(x: Tensor): Tensor {
  return columnSums(x.data, x.shape[x.ndim - 1], x.dtype);
}

function columnSums(data: TypedArray, columns: number, dtype: DType): Tensor {
  const rows = columns === 0 ? 0 : data.length / columns;
  if (data instanceof Float32Array) {
    return new Tensor({ storage: columnSumsF32(data, rows, columns), shape: [columns], dtype });
  }
  const sums = allocateLike(data, columns);
  for (let at = 0; at < data.length; at += columns) {
    for (let c = 0; c < columns; c++) sums[c] += data[at + c];
  }
  return new Tensor({ storage: sums, shape: [columns], dtype });
}
