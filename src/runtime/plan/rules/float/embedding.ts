import { product } from '../../../../core/math.ts';
import { checkIndices } from '../../../../ops/float/layer/embedding.ts';
import { contiguousStrides } from '../../../../tensor/shape.ts';
import { addressOf, type PlanBuilder } from '../../builder.ts';
import { rowMajor } from '../../copy.ts';
import type { Address, KernelCall } from '../../step.ts';
import { readValue, type Value } from '../../value.ts';
import type { LoweringRule, LoweringRules } from '../rule.ts';
import { floatValue } from './product.ts';

/** The word that a kernel sets where one of the numbers names no row of a table, and the error that says which. */
export function unknownRowGuard(builder: PlanBuilder, places: Value, rows: number): Address {
  // Kept for the message that names the number at fault.
  builder.keepToEnd(places.block);
  return builder.guard(() => {
    try {
      checkIndices('embedding', readValue(builder.engine.heap, places), rows);
    } catch (error) {
      return error as Error;
    }
    throw new Error('a row outside of a table was asked for, but every number names a row');
  });
}

/** Rows of a table by number. Numbers outside of it are found while the plan runs. */
const embedding: LoweringRule = (node, builder) => {
  const ids = builder.tensor(node.args[0]);
  const table = floatValue(node.args[1], builder);
  if (!ids || !table) return false;
  const idBytes = ids.dtype === 'int64' || ids.dtype === 'float64' ? 8 : ids.dtype === 'int32' ? 4 : 0;
  const meta = builder.meta(node);
  if (idBytes === 0 || product(meta.shape) === 0) return false;
  const places = rowMajor(builder, node, ids);
  const rows = rowMajor(builder, node, table);
  const [count, width] = rows.shape;
  const out = builder.allocateValue({ ...meta, strides: contiguousStrides(meta.shape) });
  const total = product(ids.shape);
  const status = unknownRowGuard(builder, places, count);
  const call: KernelCall = {
    kernel: 'f32_pick_rows',
    args: [
      { at: addressOf(places), stride: idBytes },
      idBytes,
      { count: 1, total },
      addressOf(rows),
      count,
      4 * width,
      { at: addressOf(out), stride: 4 * width },
      status,
    ],
    units: total,
    grain: 4,
  };
  builder.kernels(node, [call], { op: 'embedding' });
  builder.bind(node, out);
  return true;
};

/** Tables. */
export const EMBEDDING_RULES: LoweringRules = { embedding };
