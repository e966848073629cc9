import { DTypeError } from '../../core/errors.ts';
import { float16Bits, fromFloat16Bits } from '../../core/float16.ts';
import { product } from '../../core/math.ts';
import { isPerChannel, type PerChannelQParams } from '../../tensor/qparams.ts';
import { formatShape } from '../../tensor/shape.ts';
import { fromStorage, Tensor } from '../../tensor/tensor.ts';
import * as float from '../float/layer/embedding.ts';
import type { Ops } from '../signatures/index.ts';

/** The table's qparams; a typed error unless it is [rows, width], quantized per row. */
export function tableQParams(weight: Tensor, fn: string): PerChannelQParams {
  const q = weight.qparams;
  const { dtype } = weight;
  const known = dtype === 'quint8' || dtype === 'qint8' || dtype === 'quint4x2';
  if (q && known && weight.ndim === 2 && isPerChannel(q) && q.axis === 0) return q;
  throw new DTypeError({
    fn,
    argument: 'weight',
    expected: 'a quint8 or quint4x2 table of [rows, width], quantized per channel along axis 0',
    got: `${dtype} ${q?.scheme ?? ''} ${formatShape(weight.shape)}`,
    fix: 'Quantize it with quantizePerChannel, or give the layer floatQParamsWeightOnlyQConfig.',
  });
}

/**
 * Prepares a table for look-ups. Rows of 8 bits stay as they are; PyTorch keeps the scale and the offset of a 4-bit row
 * as half floats, so they are rounded to those. Source: `qembeddingbag_prepack`.
 */
export function packEmbedding(weight: Tensor): Tensor {
  const q = tableQParams(weight, 'quantized::embedding_bag_prepack');
  if (weight.dtype !== 'quint4x2') return weight;
  const half = (v: number): number => fromFloat16Bits(float16Bits(v));
  const scales = Float32Array.from(q.scales, half);
  const zeroPoints = Float32Array.from(q.zeroPoints, (z, i) => -half(-z * q.scales[i]) / scales[i]);
  const qparams: PerChannelQParams = {
    scheme: 'per_channel_affine_float_qparams',
    scales,
    zeroPoints,
    axis: 0,
  };
  return fromStorage(weight.data, weight.shape, 'quint4x2', qparams);
}

/**
 * The rows that are looked up, as floats `q · scale − zeroPoint · scale`, and the indices into them: every row is decoded
 * once, however often it is used, and the table itself never becomes float.
 */
function decodeRows(indices: Tensor, weight: Tensor, fn: string): { indices: Tensor; rows: Tensor } {
  const { scales, zeroPoints } = tableQParams(weight, fn);
  if (indices.isQuantized) {
    throw new DTypeError({
      fn,
      argument: 'indices',
      expected: 'whole numbers (int64)',
      got: `a ${indices.dtype} tensor`,
      fix: 'Look rows up before the QuantStub.',
    });
  }
  const [count, width] = weight.shape;
  const packed = weight.dtype === 'quint4x2';
  const table = weight.data;
  const places = indices.data;
  const found = new Map<number, number>();
  const mapped = new Float64Array(places.length);
  for (let i = 0; i < places.length; i++) {
    const row = places[i];
    // Indices that do not exist pass through, for the float operator to refuse them by value.
    if (!(Number.isInteger(row) && row >= 0 && row < count)) return { indices, rows: emptyTable(weight) };
    let at = found.get(row);
    if (at === undefined) {
      at = found.size;
      found.set(row, at);
    }
    mapped[i] = at;
  }
  const rows = new Float32Array(found.size * width);
  for (const [row, at] of found) {
    const scale = Math.fround(scales[row]);
    const offset = Math.fround(-zeroPoints[row] * scale);
    for (let j = 0, from = row * width, to = at * width; j < width; j++, from++, to++) {
      const q = packed ? (table[from >> 1] >> (4 * (from & 1))) & 15 : table[from];
      rows[to] = q * scale + offset;
    }
  }
  return {
    indices: fromStorage(mapped, indices.shape, 'int64'),
    rows: fromStorage(rows, [found.size, width], 'float32'),
  };
}

/** A table of the same shape without memory behind it: good for nothing but checking indices. */
function emptyTable(weight: Tensor): Tensor {
  return new Tensor({
    storage: new Float32Array(1),
    shape: weight.shape,
    strides: [0, 0],
    dtype: 'float32',
  });
}

const embedding: Ops['embedding'] = (indices, weight) => {
  const decoded = decodeRows(indices, weight, 'quantized::embedding');
  if (product(indices.shape) === 0)
    return fromStorage(new Float32Array(0), [...indices.shape, weight.shape[1]], 'float32');
  return float.embedding(decoded.indices, decoded.rows, null);
};

const embeddingBag: Ops['embeddingBag'] = (indices, weight, offsets, mode, perSampleWeights) => {
  const decoded = decodeRows(indices, weight, 'quantized::embedding_bag');
  return float.embeddingBag(decoded.indices, decoded.rows, offsets, mode, perSampleWeights);
};

/** Look-ups in quantized tables; the result is float. */
export const embeddings: Partial<Ops> = { embedding, embeddingBag };
