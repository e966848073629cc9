import { product } from '../../../../core/math.ts';
import type { Arg, Node } from '../../../../fx/node.ts';
import { PACKED_ROW_BYTES, PANEL_COLUMNS, panelCount, takesPairs } from '../../../../kernels/f32/panels.ts';
import { stridesInOrder } from '../../../../ops/float/layout.ts';
import { PackedHalfWeights } from '../../../../ops/quantized/packed-half.ts';
import {
  broadcastStrides,
  contiguousStrides,
  normalizeDim,
  type Shape,
  viewStrides,
} from '../../../../tensor/shape.ts';
import { fromStorage, Tensor } from '../../../../tensor/tensor.ts';
import { addressOf, type PlanBuilder } from '../../builder.ts';
import { rowMajor } from '../../copy.ts';
import { SLACK } from '../../memory.ts';
import type { Address, CallArg, KernelCall } from '../../step.ts';
import type { Value } from '../../value.ts';
import type { LoweringRule, LoweringRules } from '../rule.ts';
import { bindEpilogue, type Epilogue, epilogueOf, NO_EPILOGUE, normScale, onlyUser } from './epilogue.ts';

/** Rows that threads share are multiples of the tiles of both builds, 6 and 5. */
const ROW_GRAIN = 30;

/** With fewer rows than this, threads share the columns. */
const LEAST_ROWS = 8 * ROW_GRAIN;

/** Window rows walked before the next panel. */
const ROW_BLOCK = 120;

/** One product of rows with panels: out = clamp(bias + rows · panels + residual). */
export interface ProductOptions {
  readonly rows: number;
  readonly columns: number;
  /** Offsets of the rows from `input` and of the results from `output`. */
  readonly rowTable: Address;
  readonly outTable: Address;
  readonly input: Address;
  readonly output: Address;
  /** A row is `runs` stretches of `runLength` floats; their offsets from the row. */
  readonly runTable: Address;
  readonly runs: number;
  readonly runLength: number;
  readonly panels: Address;
  readonly bias: Address;
  /** Laid out as the output. */
  readonly residual: Address | null;
  readonly lo: number;
  readonly hi: number;
}

/** The call of a product. Threads share its rows, or its columns where rows are few. */
export function productCall({ engine }: PlanBuilder, options: ProductOptions): KernelCall {
  const { rows, columns, rowTable, outTable, input, output, panels, bias, residual } = options;
  const panelBytes = options.runs * options.runLength * PACKED_ROW_BYTES;
  const byRows = rows >= LEAST_ROWS;
  const pairs = takesPairs(engine);
  const across = (at: Address, stride: number): CallArg => (byRows ? at : { at, stride });
  const along = (at: Address): CallArg => (byRows ? { at, stride: 4 } : at);
  const step = 4 * PANEL_COLUMNS;
  return {
    kernel: 'f32_product',
    args: [
      byRows ? { count: 1, total: rows } : rows,
      along(rowTable),
      input,
      along(outTable),
      across(output, step),
      options.runTable,
      options.runs,
      options.runLength,
      across(panels, panelBytes),
      panelBytes,
      byRows ? columns : { count: PANEL_COLUMNS, total: columns },
      across(bias, step),
      residual ? across(residual, step) : 0,
      options.lo,
      options.hi,
      ROW_BLOCK,
      Number(pairs),
    ],
    units: byRows ? rows : panelCount(columns),
    grain: byRows ? ROW_GRAIN : pairs ? 2 : 1,
  };
}

/** Offsets 0, step, 2·step, … */
export function steps(builder: PlanBuilder, count: number, bytes: number): Address {
  return builder.offsets(`steps ${count} ${bytes}`, count, () =>
    Int32Array.from({ length: count }, (_, i) => i * bytes),
  );
}

/** The name of the attribute that an argument reads, for keys of constants. */
export function attributeName(arg: Arg): string {
  return (arg as Node | null)?.targetName ?? '';
}

/** A bias (or zeros) behind the scales of a fused normalization, as whole panels. */
export function biasFloats(
  builder: PlanBuilder,
  key: string,
  columns: number,
  bias: Tensor | null,
  epilogue: Epilogue,
): Address {
  return builder.floats(`bias ${key}`, columns, () => {
    const scale = normScale(epilogue, columns);
    const numbers = bias?.data ?? new Float32Array(columns);
    return Float32Array.from({ length: columns }, (_, c) => numbers[c] * scale.factor[c] + scale.shift[c]);
  });
}

/** The panels of a matrix that is stored transposed, [columns][k], times one factor per column. */
function weightPanels(
  builder: PlanBuilder,
  key: string,
  read: () => Tensor,
  columns: number,
  k: number,
  epilogue: Epilogue,
): Address {
  const { engine } = builder;
  const bytes = panelCount(columns) * k * PACKED_ROW_BYTES;
  const block = builder.constants.get(`panels ${key}`, bytes + SLACK, (ptr) => {
    const { factor } = normScale(epilogue, columns);
    const weight = read();
    engine.scratch((take) => {
      const raw = take(weight.numel * 4 + SLACK);
      const f32 = engine.heap.f32;
      f32.set(weight.data, raw / 4);
      if (epilogue.norm) {
        for (let n = 0, at = raw / 4; n < columns; n++) for (let i = 0; i < k; i++) f32[at++] *= factor[n];
      }
      engine.kernels.f32_pack_columns(raw, k * 4, k, columns, ptr, k * PACKED_ROW_BYTES);
    });
  });
  return { block, offset: 0 };
}

/** A value as rows of `k` neighbouring floats, equally far apart: its own memory where strides allow, a copy otherwise. */
function asRows(
  builder: PlanBuilder,
  node: Node,
  x: Value,
  k: number,
): { readonly value: Value; readonly stride: number } {
  const rows = product(x.shape) / k;
  const strides = viewStrides(x.shape, x.strides, [rows, k]);
  if (strides && (k === 1 || strides[1] === 1)) return { value: x, stride: rows === 1 ? k : strides[0] };
  return { value: rowMajor(builder, node, x), stride: k };
}

/** Weights of a linear layer, [columns][k], and the name that says which they are. */
interface LinearWeights {
  readonly name: string;
  readonly shape: Shape;
  /** The weights in float32; asked for once. */
  readonly read: () => Tensor;
  readonly bias: Tensor | null;
  /** Least value of the result. */
  readonly floor?: number;
}

/** A product with constant weights, with what follows it in the graph. */
function linearProduct(node: Node, builder: PlanBuilder, x: Value, weights: LinearWeights): boolean {
  const { name, bias, floor = -Infinity } = weights;
  const [columns, k] = weights.shape;
  const rows = product(x.shape.slice(0, -1));
  if (rows * columns * k === 0) return false;
  const strides = contiguousStrides(builder.meta(node).shape);
  const epilogue =
    floor === -Infinity ? epilogueOf(node, builder, strides, x.shape.length === 2) : NO_EPILOGUE;
  const { value, stride } = asRows(builder, node, x, k);
  const out = builder.allocateValue({ ...builder.meta(node), strides });
  const key = `linear ${name} ${epilogue.key}`;
  const call = productCall(builder, {
    rows,
    columns,
    rowTable: steps(builder, rows, stride * 4),
    outTable: steps(builder, rows, columns * 4),
    input: addressOf(value),
    output: addressOf(out),
    runTable: steps(builder, 1, 0),
    runs: 1,
    runLength: k,
    panels: weightPanels(builder, key, weights.read, columns, k, epilogue),
    bias: biasFloats(builder, key, columns, bias, epilogue),
    residual: epilogue.residual && addressOf(epilogue.residual),
    lo: Math.max(epilogue.lo, floor),
    hi: epilogue.hi,
  });
  builder.kernels(node, [call], { op: node.targetName, macs: rows * columns * k });
  bindEpilogue(node, builder, epilogue, out);
  return true;
}

const linear: LoweringRule = (node, builder) => {
  const [xArg, weightArg, biasArg] = node.args;
  const x = floatValue(xArg, builder);
  const weight = builder.attribute(weightArg);
  const bias = biasArg === null ? null : builder.attribute(biasArg);
  if (!x || !isFloat(weight) || (bias !== null && !isFloat(bias))) return false;
  const name = `${attributeName(weightArg)} ${attributeName(biasArg)}`;
  return linearProduct(node, builder, x, { name, shape: weight.shape, read: () => weight, bias });
};

/** Weights that are kept in half precision are multiplied in single. */
const linearHalf =
  (relu: boolean): LoweringRule =>
  (node, builder) => {
    const x = floatValue(node.args[0], builder);
    const packed = builder.attribute(node.args[1]);
    if (!x || !(packed instanceof PackedHalfWeights)) return false;
    const { weight, bias } = packed;
    const { shape } = weight;
    const read = (): Tensor => fromStorage(weight.numbers() as Float32Array, shape, 'float32');
    const floor = relu ? 0 : -Infinity;
    return linearProduct(node, builder, x, { name: attributeName(node.args[1]), shape, read, bias, floor });
  };

/** Where every matrix of a stack that is broadcast to `batch` starts, in elements from the value's first. */
function matrixStarts(x: Value, batch: Shape): number[] {
  const own = x.shape.slice(0, -2);
  const strides = broadcastStrides(own, x.strides.slice(0, -2), batch);
  return Array.from({ length: product(batch) }, (_, i) => {
    let rest = i;
    let at = 0;
    for (let d = batch.length - 1; d >= 0; d--) {
      at += (rest % batch[d]) * strides[d];
      rest = Math.floor(rest / batch[d]);
    }
    return at;
  });
}

/** Packs the right sides of products whose numbers are known only while the plan runs; one matrix behind the other. */
function packedRight(builder: PlanBuilder, node: Node, b: Value, starts: readonly number[]): Address {
  const [k, columns] = b.shape.slice(-2);
  const [rowStep, columnStep] = b.strides.slice(-2);
  const panelBytes = k * PACKED_ROW_BYTES;
  const matrixBytes = panelCount(columns) * panelBytes;
  const block = builder.allocate(starts.length * matrixBytes);
  const turned = columnStep !== 1 && columns > 1;
  const calls = starts.map((start, i): KernelCall => {
    const from = addressOf(b, 4 * start);
    const dst = { at: { block, offset: i * matrixBytes }, stride: panelBytes };
    const count = { count: PANEL_COLUMNS, total: columns };
    const step = 4 * (turned ? columnStep : rowStep);
    const src = { at: from, stride: PANEL_COLUMNS * 4 * (turned ? columnStep : 1) };
    return {
      kernel: turned ? 'f32_pack_columns' : 'f32_pack_rows',
      args: [src, step, k, count, dst, panelBytes],
      units: panelCount(columns),
      grain: 1,
    };
  });
  builder.kernels(node, calls, { op: 'pack' });
  return { block, offset: 0 };
}

/** Operators that want their input in row-major order, so that a copy goes before them where it is not. */
const WANT_ROWS: readonly unknown[] = ['reshape', 'view', 'flatten', 'contiguous'];

/**
 * Strides of a stack of products: those that make it row-major once its only user has moved dimensions, where that is what the
 * next one wants (heads of attention that come together again); row-major otherwise. Rows stay rows.
 */
function stackStrides(node: Node, builder: PlanBuilder, shape: Shape): Shape {
  const user = onlyUser(node, builder);
  const next = user && onlyUser(user, builder);
  if (!next || !WANT_ROWS.includes(next.target)) return contiguousStrides(shape);
  const dims = [...shape.keys()];
  if (user.target === 'transpose') {
    const [from, to] = user.args.slice(1).map((d) => normalizeDim(d as number, shape.length, 'transpose'));
    [dims[from], dims[to]] = [dims[to], dims[from]];
  } else if (user.target === 'permute') {
    const order = user.args[1] as readonly number[];
    order.forEach((d, i) => {
      dims[i] = normalizeDim(d, shape.length, 'permute');
    });
  }
  if (dims[shape.length - 1] !== shape.length - 1) return contiguousStrides(shape);
  return stridesInOrder(shape, dims);
}

/** Products of matrices that are both made while the plan runs, of stacks of them too. */
const matmul: LoweringRule = (node, builder) => {
  let a = floatValue(node.args[0], builder);
  let b = floatValue(node.args[1], builder);
  if (!a || !b) return false;
  const { shape } = builder.meta(node);
  if (a.shape.length === 1) a = { ...a, shape: [1, ...a.shape], strides: [0, ...a.strides] };
  if (b.shape.length === 1) b = { ...b, shape: [...b.shape, 1], strides: [...b.strides, 1] };
  const [m, k] = a.shape.slice(-2);
  const columns = b.shape[b.shape.length - 1];
  if (product(shape) * k === 0) return false;
  if (k > 1 && a.strides[a.strides.length - 1] !== 1) a = rowMajor(builder, node, a);
  const [bRow, bColumn] = b.strides.slice(-2);
  if (columns > 1 && bColumn !== 1 && k > 1 && bRow !== 1) b = rowMajor(builder, node, b);
  const [left, right] = [a, b];
  const batch = product(shape) / (m * columns);
  const own = product(right.shape.slice(0, -2));
  const rowStep = left.strides[left.strides.length - 2];
  const merged = own === 1 ? viewStrides(left.shape, left.strides, [batch * m, k]) : null;
  const isStack = !merged && left.shape.length > 2 && right.shape.length > 2;
  const strides = isStack ? stackStrides(node, builder, shape) : contiguousStrides(shape);
  const out = builder.allocateValue({ ...builder.meta(node), strides });
  const matrixBytes = panelCount(columns) * k * PACKED_ROW_BYTES;
  const bias = builder.floats(`zeros ${columns}`, columns, () => []);
  const panels = packedRight(builder, node, right, matrixStarts(right, right.shape.slice(0, -2)));
  const common = {
    columns,
    runTable: steps(builder, 1, 0),
    runs: 1,
    runLength: k,
    bias,
    residual: null,
    lo: -Infinity,
    hi: Infinity,
  };
  const options = { op: node.targetName, macs: batch * m * columns * k };
  if (merged) {
    // Every matrix of the left side meets the same one on the right: one tall product.
    const call = productCall(builder, {
      ...common,
      rows: batch * m,
      rowTable: steps(builder, batch * m, merged[0] * 4),
      outTable: steps(builder, batch * m, columns * 4),
      input: addressOf(left),
      output: addressOf(out),
      panels,
    });
    builder.kernels(node, [call], options);
  } else {
    const leading = shape.slice(
      0,
      shape.length -
        Number(node.args[0] !== null && rankOf(node.args[0], builder) > 1) -
        Number(rankOf(node.args[1], builder) > 1),
    );
    const lefts = matrixStarts(left, leading);
    const order = matrixStarts(
      { ...right, strides: [...contiguousStrides(right.shape.slice(0, -2)), 0, 0] },
      leading,
    );
    const outs = isStack ? matrixStarts(out, leading) : lefts.map((_, i) => i * m * columns);
    const outStep = isStack ? strides[strides.length - 2] : columns;
    const calls = lefts.map((start, i) =>
      productCall(builder, {
        ...common,
        rows: m,
        rowTable: steps(builder, m, rowStep * 4),
        outTable: steps(builder, m, outStep * 4),
        input: addressOf(left, 4 * start),
        output: addressOf(out, 4 * outs[i]),
        panels: { block: panels.block, offset: order[i] * matrixBytes },
      }),
    );
    builder.kernels(node, calls, options);
  }
  builder.bind(node, out);
  return true;
};

function rankOf(arg: Arg, builder: PlanBuilder): number {
  return (builder.tensor(arg) as Value).shape.length;
}

/** The value of an argument that is a float32 tensor. */
export function floatValue(arg: Arg, builder: PlanBuilder): Value | undefined {
  const value = builder.tensor(arg);
  return value?.dtype === 'float32' ? value : undefined;
}

/** True for float32 tensors. */
export function isFloat(x: unknown): x is Tensor {
  return x instanceof Tensor && x.dtype === 'float32';
}

/** Matrix products. */
export const PRODUCT_RULES: LoweringRules = {
  linear,
  'quantized::linear_dynamic_fp16': linearHalf(false),
  'quantized::linear_relu_dynamic_fp16': linearHalf(true),
  matmul,
  bmm: matmul,
};
