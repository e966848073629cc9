import { product } from '../../core/math.ts';
import type { Node } from '../../fx/node.ts';
import { nest } from '../../ops/float/layout.ts';
import { contiguousStrides, hasStrides, type Shape } from '../../tensor/shape.ts';
import { addressOf, type PlanBuilder } from './builder.ts';
import type { KernelCall } from './step.ts';
import { storedBytes, type Value } from './value.ts';

/** Elements that one unit of a copy moves at least, where there are as many. */
const UNIT_ELEMENTS = 4096;

/** Bytes that one unit of a fill writes. */
const FILL_BYTES = 4096;

/** The call that copies the elements of a value into another of the same shape and element size; none where there are no elements. */
export function copyCalls(builder: PlanBuilder, from: Value, to: Value): KernelCall[] {
  if (product(to.shape) === 0) return [];
  const bytes = storedBytes(to.dtype);
  const loops = copyLoops(to.shape, from.strides, to.strides);
  const rowsPerUnit = Math.min(loops.rows.size, Math.max(1, Math.ceil(UNIT_ELEMENTS / loops.cols.size)));
  const blocks = Math.ceil(loops.rows.size / rowsPerUnit);
  const plan = builder.table([
    loops.levels.length,
    blocks,
    rowsPerUnit,
    loops.rows.size,
    loops.cols.size,
    loops.rows.from * bytes,
    loops.rows.to * bytes,
    loops.cols.from * bytes,
    loops.cols.to * bytes,
    ...loops.levels.flatMap((level) => [level.size, level.from * bytes, level.to * bytes]),
  ]);
  const units = blocks * product(loops.levels.map((level) => level.size));
  const flip = from.flipped === to.flipped ? 0 : 128;
  return [
    {
      kernel: 'copy_strided',
      args: ['begin', 'end', addressOf(from), addressOf(to), plan, bytes, flip],
      units,
      grain: Math.max(1, Math.floor(UNIT_ELEMENTS / (rowsPerUnit * loops.cols.size))),
    },
  ];
}

/** The call that writes one element, given by its bits, all over a value without gaps. */
export function fillCalls(to: Value, element: Uint8Array): KernelCall[] {
  const bytes = product(to.shape) * storedBytes(to.dtype);
  if (bytes === 0) return [];
  const pattern = new DataView(
    Uint8Array.from({ length: 8 }, (_, i) => element[i % element.length] ^ (to.flipped ? 128 : 0)).buffer,
  );
  const at = { at: addressOf(to), stride: FILL_BYTES };
  const args = [
    at,
    { count: FILL_BYTES, total: bytes },
    pattern.getInt32(0, true),
    pattern.getInt32(4, true),
  ];
  return [{ kernel: 'fill_pattern', args, units: Math.ceil(bytes / FILL_BYTES), grain: 1 }];
}

/** The elements of a value laid out with other strides: the value itself where they already are, a copy made by a step otherwise. */
export function inLayout(builder: PlanBuilder, node: Node, value: Value, strides: Shape): Value {
  if (hasStrides(value.shape, value.strides, strides)) return value;
  const { shape, dtype, qparams, flipped } = value;
  const copy = builder.allocateValue({ shape, dtype, qparams, strides }, flipped);
  const calls = copyCalls(builder, value, copy);
  if (calls.length > 0) builder.kernels(node, calls, { op: 'copy' });
  return copy;
}

/** {@link inLayout} in row-major order. */
export function rowMajor(builder: PlanBuilder, node: Node, value: Value): Value {
  return inLayout(builder, node, value, contiguousStrides(value.shape));
}

interface Loop {
  readonly size: number;
  /** Strides in elements. */
  readonly from: number;
  readonly to: number;
}

/**
 * Loops of a copy in the memory order of what it writes: columns innermost, rows along which the source runs fastest among the others,
 * and the levels around them, innermost first.
 */
function copyLoops(
  shape: Shape,
  from: Shape,
  to: Shape,
): { readonly cols: Loop; readonly rows: Loop; readonly levels: readonly Loop[] } {
  const plan = nest(shape, to, [from, to]);
  const loops = plan.shape.map(
    (size, i): Loop => ({ size, from: plan.strides[0][i], to: plan.strides[1][i] }),
  );
  const one: Loop = { size: 1, from: 0, to: 0 };
  const cols = loops.pop() ?? one;
  if (loops.length === 0) return { cols, rows: one, levels: [] };
  let at = loops.length - 1;
  if (cols.from !== 1) {
    const unit = loops.findIndex((loop) => loop.from === 1);
    if (unit >= 0) at = unit;
  }
  const [rows] = loops.splice(at, 1);
  return { cols, rows, levels: loops.reverse() };
}
