import { product } from '../../../../core/math.ts';
import { checkIndices } from '../../../../ops/float/layer/embedding.ts';
import { contiguousStrides } from '../../../../tensor/shape.ts';
import { addressOf, type PlanBuilder } from '../../builder.ts';
import { rowMajor } from '../../copy.ts';
import type { Address, KernelCall } from '../../step.ts';
import { readValue, type Value } from '../../value.ts';
import type { LoweringRule, LoweringRules } from '../rule.ts';
import { floatValue, isFloat } from './product.ts';

/** Tables of more bytes than this stay where they are: copying them would take longer than any number of runs. */
const LARGE_TABLE = 2 ** 20;

/** Rows of a large table that was loaded with the program, out of the memory it lies in. */
const fromLargeTable: LoweringRule = (node, builder) => {
  const ids = builder.tensor(node.args[0]);
  const table = builder.attribute(node.args[1]);
  if (!ids || !isFloat(table) || table.numel * 4 < LARGE_TABLE) return false;
  const meta = builder.meta(node);
  const [count, width] = table.shape;
  const out = builder.allocateValue({ ...meta, strides: contiguousStrides(meta.shape) });
  const { heap } = builder.engine;
  const { data } = table;
  const run = (): void => {
    const places = checkIndices('embedding', readValue(heap, ids), count);
    const { f32 } = heap;
    const to = out.block.ptr / 4;
    for (let i = 0; i < places.length; i++) {
      const from = places[i] * width;
      f32.set(data.subarray(from, from + width), to + i * width);
    }
  };
  builder.operator(node, run, [ids.block, out.block], 'host');
  builder.bind(node, out);
  return true;
};

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
const fromTable: LoweringRule = (node, builder) => {
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
export const EMBEDDING_RULES: LoweringRules = {
  embedding: (node, builder) => fromLargeTable(node, builder) || fromTable(node, builder),
};
