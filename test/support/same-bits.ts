import { Tensor } from '../../src/tensor/tensor.ts';

/** The tensors inside lists and dicts, in order. */
export function tensorsIn(value: unknown): Tensor[] {
  if (value instanceof Tensor) return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(tensorsIn) : [];
}

/** Shape, dtype, scale and the bits of every tensor: equal where two results are the same to the last bit. */
export function bits(value: unknown): unknown[] {
  return tensorsIn(value).map((t) => {
    const { buffer, byteOffset, byteLength } = t.data;
    const bytes = Buffer.from(buffer, byteOffset, byteLength);
    return [t.dtype, [...t.shape], t.qparams, bytes.toString('base64')];
  });
}
