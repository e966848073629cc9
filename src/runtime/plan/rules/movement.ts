import type { Arg, Node } from '../../../fx/node.ts';
import { padPlan } from '../../../ops/float/movement/copies.ts';
import { sliceRange, views } from '../../../ops/float/movement/views.ts';
import { paddingInteger } from '../../../ops/quantized/pointwise.ts';
import type { MemoryFormat, PadMode } from '../../../ops/signatures/movement.ts';
import { DTYPES, type TypedArray } from '../../../tensor/dtype.ts';
import { equalQParams, isPerChannel, type PerTensorQParams } from '../../../tensor/qparams.ts';
import {
  channelsLastStrides,
  contiguousStrides,
  normalizeDim,
  type Shape,
  viewStrides,
} from '../../../tensor/shape.ts';
import { encodeNumbers, Tensor } from '../../../tensor/tensor.ts';
import type { PlanBuilder } from '../builder.ts';
import { copyCalls, fillCalls, inLayout, rowMajor } from '../copy.ts';
import type { KernelCall } from '../step.ts';
import type { Meta, Value } from '../value.ts';
import type { LoweringRule, LoweringRules } from './rule.ts';

/** The value of an argument; undefined for what is none, and for elements that share bytes. */
function movable(arg: Arg, builder: PlanBuilder): Value | undefined {
  const value = builder.tensor(arg);
  return value?.dtype === 'quint4x2' ? undefined : value;
}

/** The arguments behind the first, with numbers in place of batch sizes. */
function settings(node: Node, builder: PlanBuilder): unknown[] {
  return node.args.slice(1).map((arg) => builder.resolve(arg));
}

/** The elements of a value seen through other strides. */
function seen(x: Value, meta: Meta, strides: Shape, offset = x.offset): Value {
  return { ...x, shape: meta.shape, qparams: meta.qparams, strides, offset };
}

/** A new shape over the same reading order: the same memory where strides can say it, a row-major copy otherwise. */
const reshape: LoweringRule = (node, builder) => {
  const x = movable(node.args[0], builder);
  if (!x) return false;
  const meta = builder.meta(node);
  const strides = viewStrides(x.shape, x.strides, meta.shape);
  const from = strides ? x : rowMajor(builder, node, x);
  builder.bind(node, seen(from, meta, strides ?? contiguousStrides(meta.shape)));
  return true;
};

/** What an operator of `views` does to shape, strides and offset: asked of the operator itself, on a tensor without elements. */
function viewThrough(x: Value, view: (ghost: Tensor) => Tensor, meta: Meta): Value {
  const { shape, strides, offset } = x;
  const ghost = view(new Tensor({ storage: new Uint8Array(0), shape, strides, offset, dtype: 'uint8' }));
  return seen(x, meta, ghost.strides, ghost.offset);
}

/** The rule of an operator that only ever looks at the same memory. */
function viewing(
  op: 'permute' | 'transpose' | 'expand' | 'squeeze' | 'unsqueeze' | 'slice' | 'select',
): LoweringRule {
  const view = views[op] as (x: Tensor, ...rest: unknown[]) => Tensor;
  return (node, builder) => {
    const x = movable(node.args[0], builder);
    if (!x) return false;
    const rest = settings(node, builder);
    builder.bind(
      node,
      viewThrough(x, (ghost) => view(ghost, ...rest), builder.meta(node)),
    );
    return true;
  };
}

/** Parts of a value along a dimension, one behind the other. */
const split: LoweringRule = (node, builder) => {
  const x = movable(node.args[0], builder);
  if (!x) return false;
  const metas = builder.metas.get(node) as readonly Meta[];
  const dim = normalizeDim(node.args[2] as number, x.shape.length, node.targetName);
  let start = 0;
  const parts = metas.map((meta) => {
    const end = start + meta.shape[dim];
    const part = viewThrough(x, (ghost) => views.slice(ghost, dim, start, end, 1), meta);
    start = end;
    return part;
  });
  builder.bind(node, parts);
  return true;
};

const unbind: LoweringRule = (node, builder) => {
  const x = movable(node.args[0], builder);
  if (!x) return false;
  const metas = builder.metas.get(node) as readonly Meta[];
  const dim = node.args[1] as number;
  builder.bind(
    node,
    metas.map((meta, i) => viewThrough(x, (ghost) => views.select(ghost, dim, i), meta)),
  );
  return true;
};

const contiguous: LoweringRule = (node, builder) => {
  const x = movable(node.args[0], builder);
  if (!x) return false;
  const format = node.args[1] as MemoryFormat;
  const strides = format === 'channelsLast' ? channelsLastStrides(x.shape) : contiguousStrides(x.shape);
  builder.bind(node, inLayout(builder, node, x, strides));
  return true;
};

/** Nothing in a plan writes to a value that exists: a copy may be the same memory. */
const same: LoweringRule = (node, builder) => {
  const x = movable(node.args[0], builder);
  if (!x || x.dtype !== builder.meta(node).dtype) return false;
  builder.bind(node, x);
  return true;
};

/** A new value with parts of other values written into it. */
function assemble(
  node: Node,
  builder: PlanBuilder,
  result: Value,
  parts: readonly { readonly from: Value; readonly to: Value }[],
): true {
  const calls = parts.flatMap(({ from, to }): KernelCall[] => copyCalls(builder, from, to));
  if (calls.length > 0) builder.kernels(node, calls, { op: node.targetName });
  builder.bind(node, result);
  return true;
}

/** The window [start, start + count) of a value along one dimension. */
function windowOf(value: Value, dim: number, start: number, count: number): Value {
  const shape = value.shape.map((size, d) => (d === dim ? count : size));
  return { ...value, shape, offset: value.offset + start * value.strides[dim] };
}

const cat: LoweringRule = (node, builder) => {
  const meta = builder.meta(node);
  const parts = listed(node, builder)?.filter((x) => x.shape.length !== 1 || x.shape[0] > 0);
  if (!parts || parts.length === 0 || !parts.every((x) => sameElements(x, meta))) return false;
  const dim = normalizeDim(node.args[1] as number, meta.shape.length, 'cat');
  const result = builder.allocateValue(meta, parts[0].flipped);
  let start = 0;
  const copies = parts.map((from) => {
    const to = windowOf(result, dim, start, from.shape[dim]);
    start += from.shape[dim];
    return { from, to };
  });
  return assemble(node, builder, result, copies);
};

const stack: LoweringRule = (node, builder) => {
  const meta = builder.meta(node);
  const parts = listed(node, builder);
  if (!parts?.every((x) => sameElements(x, meta))) return false;
  const dim = normalizeDim(node.args[1] as number, meta.shape.length, 'stack');
  const result = builder.allocateValue(meta, parts[0].flipped);
  const copies = parts.map((x, i) => ({
    from: viewThrough(x, (ghost) => views.unsqueeze(ghost, dim), {
      ...meta,
      shape: meta.shape.map((size, d) => (d === dim ? 1 : size)),
    }),
    to: windowOf(result, dim, i, 1),
  }));
  return assemble(node, builder, result, copies);
};

/** The values of a list of tensors, if they can all be moved. */
function listed(node: Node, builder: PlanBuilder): Value[] | undefined {
  const values = (node.args[0] as readonly Arg[]).map((arg) => movable(arg, builder));
  return values.every((value) => value !== undefined) ? values : undefined;
}

/** Whether elements can be copied as they are. */
function sameElements({ dtype, qparams }: Value, meta: Meta): boolean {
  if (dtype !== meta.dtype) return false;
  return qparams === meta.qparams || (!!qparams && !!meta.qparams && equalQParams(qparams, meta.qparams));
}

/** Constant padding; negative pads crop. */
const pad: LoweringRule = (node, builder) => {
  const x = movable(node.args[0], builder);
  const [pads, mode, number] = settings(node, builder) as [readonly number[], PadMode, number];
  if (!x || mode !== 'constant') return false;
  const meta = builder.meta(node);
  const result = builder.allocateValue(meta, x.flipped);
  let from = x;
  let to = result;
  for (const { dim, before, after } of padPlan(ghostOf(x), pads)) {
    const [start, count] = sliceRange(
      x.shape[dim],
      Math.max(-before, 0),
      x.shape[dim] - Math.max(-after, 0),
      1,
    );
    from = windowOf(from, dim, start, count);
    to = windowOf(to, dim, Math.max(before, 0), count);
  }
  const { buffer, byteOffset, byteLength } = filling(meta, number);
  const fill = fillCalls(result, new Uint8Array(buffer, byteOffset, byteLength));
  if (fill.length > 0) builder.kernels(node, fill, { op: 'fill' });
  return assemble(node, builder, result, [{ from, to }]);
};

/** One element that stands for a number. */
function filling({ dtype, qparams }: Meta, number: number): TypedArray {
  if (!qparams) return encodeNumbers([number], dtype);
  const element = DTYPES[dtype].allocate(1);
  element[0] = paddingInteger(number, qparams as PerTensorQParams, dtype);
  return element;
}

function ghostOf({ shape }: Value): Tensor {
  return new Tensor({ storage: new Uint8Array(0), shape, dtype: 'uint8' });
}

/** Copies side by side: one copy of a value that is repeated by strides of zero. */
const repeat: LoweringRule = (node, builder) => {
  const x = movable(node.args[0], builder);
  const [times] = settings(node, builder) as [Shape];
  if (!x || (x.qparams && isPerChannel(x.qparams))) return false;
  const meta = builder.meta(node);
  const result = builder.allocateValue({ ...meta, strides: contiguousStrides(meta.shape) }, x.flipped);
  const lead = times.length - x.shape.length;
  const sizes = [...new Array<number>(lead).fill(1), ...x.shape];
  const steps = [...new Array<number>(lead).fill(0), ...x.strides];
  const shape = sizes.flatMap((size, d) => [times[d], size]);
  const from = { ...x, shape, strides: steps.flatMap((step) => [0, step]) };
  const to = { ...result, shape, strides: contiguousStrides(shape) };
  return assemble(node, builder, result, [{ from, to }]);
};

/** A copy that walks some dimensions backwards. */
const flip: LoweringRule = (node, builder) => {
  const x = movable(node.args[0], builder);
  const [dims] = settings(node, builder) as [readonly number[]];
  if (!x || (x.qparams && isPerChannel(x.qparams))) return false;
  const { shape } = x;
  const turned = new Set(dims.map((d) => normalizeDim(d, shape.length, 'flip')));
  const strides = x.strides.map((step, d) => (turned.has(d) ? -step : step));
  const offset = [...turned].reduce((at, d) => at + Math.max(0, shape[d] - 1) * x.strides[d], x.offset);
  const result = builder.allocateValue(builder.meta(node), x.flipped);
  return assemble(node, builder, result, [{ from: { ...x, strides, offset }, to: result }]);
};

/** Views and copies, for elements of any type. */
export const MOVEMENT_RULES: LoweringRules = {
  view: reshape,
  reshape,
  flatten: reshape,
  unflatten: reshape,
  permute: viewing('permute'),
  transpose: viewing('transpose'),
  expand: viewing('expand'),
  squeeze: viewing('squeeze'),
  unsqueeze: viewing('unsqueeze'),
  slice: viewing('slice'),
  select: viewing('select'),
  split,
  chunk: split,
  unbind,
  contiguous,
  clone: same,
  dequantize: same,
  to: same,
  cat,
  stack,
  pad,
  repeat,
  flip,
};
