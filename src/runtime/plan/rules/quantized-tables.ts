import { product } from '../../../core/math.ts';
import type { Node } from '../../../fx/node.ts';
import { tableQParams } from '../../../ops/quantized/embedding.ts';
import { contiguousStrides } from '../../../tensor/shape.ts';
import { Tensor } from '../../../tensor/tensor.ts';
import { addressOf } from '../builder.ts';
import { rowMajor } from '../copy.ts';
import type { KernelCall } from '../step.ts';
import { unknownRowGuard } from './float/embedding.ts';
import type { LoweringRule, LoweringRules } from './rule.ts';

/** Rows of a table of 8 or 4 bits by number, as floats. */
const embedding: LoweringRule = (node, builder) => {
  const ids = builder.tensor(node.args[0]);
  const table = builder.attribute(node.args[1]);
  if (!ids || !(table instanceof Tensor) || table.qparams === null) return false;
  const idBytes = ids.dtype === 'int64' || ids.dtype === 'float64' ? 8 : ids.dtype === 'int32' ? 4 : 0;
  const meta = builder.meta(node);
  if (idBytes === 0 || product(meta.shape) === 0) return false;
  const { scales, zeroPoints } = tableQParams(table, 'quantized::embedding');
  const places = rowMajor(builder, node, ids);
  const [rows, width] = table.shape;
  const name = (node.args[1] as Node).targetName;
  const { data } = table;
  const bytes = builder.constants.get(`table ${name}`, data.length + 64, (ptr) => {
    builder.engine.heap.u8.set(new Uint8Array(data.buffer, data.byteOffset, data.length), ptr);
    if (table.dtype === 'qint8') builder.engine.kernels.u8_flip_sign(ptr, data.length, ptr);
  });
  const scaleFloats = builder.floats(`scales ${name}`, rows, () => Float32Array.from(scales));
  const offsets = builder.floats(`offsets ${name}`, rows, () =>
    Float32Array.from({ length: rows }, (_, i) => -zeroPoints[i] * Math.fround(scales[i])),
  );
  const output = builder.allocateValue({ ...meta, strides: contiguousStrides(meta.shape) });
  const status = unknownRowGuard(builder, places, rows);
  const source = [
    'begin',
    'end',
    addressOf(places),
    idBytes,
    { block: bytes, offset: 0 },
    rows,
    width,
  ] as const;
  const target = [scaleFloats, offsets, addressOf(output), status] as const;
  const units = product(ids.shape);
  const call: KernelCall =
    table.dtype === 'quint4x2'
      ? { kernel: 'qu4_pick_rows', args: [...source, ...target], units, grain: 4 }
      : {
          kernel: 'qu8_pick_rows',
          args: [...source, table.dtype === 'qint8' ? 128 : 0, ...target],
          units,
          grain: 4,
        };
  builder.kernels(node, [call], { op: 'embedding' });
  builder.bind(node, output);
  return true;
};

/** Look-ups in quantized tables. */
export const QUANTIZED_TABLE_RULES: LoweringRules = { embedding };
