import { ArgumentError } from '../../core/errors.ts';
import { engine as defaultEngine, type Engine } from '../engine.ts';
import {
  type ClampF32,
  checkLength,
  checkSizes,
  PACKED_ROW_BYTES,
  PANEL_COLUMNS,
  PackedF32Weights,
  panelCount,
  stageBias,
  stageRowTable,
  takesPairs,
} from './panels.ts';

/** Steps of k that one pass over a panel takes: 16 KiB of panel and 12 KiB of rows share L1. */
const K_BLOCK = 512;
/** Rows walked before the next panel: whole tiles of six and of five rows. */
const ROW_BLOCK = 120;
/** Floats of the staged left block and its output (512 KiB: half of a common L2). */
const LEFT_BLOCK_FLOATS = 128 * 1024;
/** Floats of the packed right block (1 MiB). */
const RIGHT_BLOCK_FLOATS = 256 * 1024;
/** Floats staged at a time on their way into panels (256 KiB). */
const STAGE_FLOATS = 64 * 1024;
/** Arguments of {@link gemmF32}. All matrices are row-major and dense. */
export interface GemmF32Options {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** `[m][k]`, or `[k][m]` with `transA`. */
  readonly a: Float32Array;
  /** `[k][n]`, or `[n][k]` with `transB`; or the same matrix packed once by {@link packF32Weights}. */
  readonly b: Float32Array | PackedF32Weights;
  readonly transA?: boolean;
  /** Ignored for packed weights: it was settled when packing. */
  readonly transB?: boolean;
  /** `[n]`, added to every row. Not together with `accumulate`. */
  readonly bias?: Float32Array | null;
  /** Written in place when given, `[m][n]`. */
  readonly out?: Float32Array;
  /** Add to `out` instead of overwriting it. */
  readonly accumulate?: boolean;
  /** Bounds applied to the result before it is stored (fused ReLU or ReLU6). NaN passes through. */
  readonly clamp?: ClampF32;
  readonly engine?: Engine;
}

/**
 * Single-precision matrix product, `out = clamp(a · b + bias)`, the kernel behind `torch.addmm`, `mm` and `linear`.
 *
 * The right side is packed into panels of 8 columns (per call, or once by {@link packF32Weights}). Sums run in float32 (fused multiply-add where the build has it), so results differ
 * between builds within rounding.
 *
 * @returns `[m][n]`, `out` when it was given.
 * @throws ShapeError when an array does not have the length its sizes say; ArgumentError for `bias` with `accumulate`.
 * @example
 * const y = gemmF32({ m: 64, n: 10, k: 512, a: x, b: weight, transB: true, bias }); // torch.nn.functional.linear
 */
export function gemmF32(options: GemmF32Options): Float32Array {
  const { m, n, k, a, b, bias, transA = false } = options;
  const packed = b instanceof PackedF32Weights ? b : undefined;
  checkSizes('gemmF32', { m, n, k });
  checkLength('gemmF32', 'a', a, m * k);
  if (bias) checkLength('gemmF32', 'bias', bias, n);
  if (options.out) checkLength('gemmF32', 'out', options.out, m * n);
  if (packed) {
    checkSizesEqual(packed, k, n);
  } else {
    checkLength('gemmF32', 'b', b as Float32Array, k * n);
  }
  const accumulate = options.accumulate ?? false;
  if (accumulate && (bias || !options.out)) {
    throw new ArgumentError({
      fn: 'gemmF32',
      argument: 'accumulate',
      expected: '`out` and no `bias` beside it',
      got: bias ? 'a bias' : 'no `out`',
      fix: 'Put the bias into `out` first.',
    });
  }
  const out = options.out ?? new Float32Array(m * n);
  if (out.length === 0) return out;
  const call: GemmCall = {
    m,
    n,
    k,
    a,
    b,
    transB: options.transB ?? false,
    bias: bias ?? null,
    out,
    accumulate,
    min: options.clamp?.min ?? -Infinity,
    max: options.clamp?.max ?? Infinity,
    engine: packed?.engine ?? options.engine ?? defaultEngine,
  };
  if (transA && m > 1) multiplyTransposed(call);
  else multiply(call);
  return out;
}

/** Arguments of {@link bmmF32}: those of {@link gemmF32} for every one of `batch` matrices, stored one after the other. */
export interface BmmF32Options
  extends Omit<GemmF32Options, 'b' | 'bias' | 'a' | 'transA' | 'transB' | 'clamp'> {
  readonly batch: number;
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly transA?: boolean;
  readonly transB?: boolean;
}

/**
 * Batched {@link gemmF32} over dense `[batch][…]` operands, as `torch.bmm`.
 *
 * @returns `[batch][m][n]`.
 * @throws ShapeError when an array does not have the length its sizes say.
 * @example
 * const scores = bmmF32({ batch: 12, m: 128, n: 128, k: 64, a: q, b: key, transB: true });
 */
export function bmmF32(options: BmmF32Options): Float32Array {
  const { batch, m, n, k, a, b } = options;
  checkSizes('bmmF32', { batch, m, n, k });
  checkLength('bmmF32', 'a', a, batch * m * k);
  checkLength('bmmF32', 'b', b, batch * k * n);
  const out = options.out ?? new Float32Array(batch * m * n);
  checkLength('bmmF32', 'out', out, batch * m * n);
  for (let i = 0; i < batch; i++) {
    gemmF32({
      ...options,
      a: a.subarray(i * m * k, (i + 1) * m * k),
      b: b.subarray(i * k * n, (i + 1) * k * n),
      out: out.subarray(i * m * n, (i + 1) * m * n),
    });
  }
  return out;
}

/**
 * Packs the right side of {@link gemmF32} once, for weights that are multiplied many times.
 *
 * @param weights `[k][n]`, or `[n][k]` (PyTorch's linear weight) with `transposed`.
 * @returns panels that live in the engine's memory until freed.
 * @throws ShapeError when `weights` does not hold k·n floats; KernelError when memory runs out.
 * @example
 * using packed = packF32Weights({ weights, k: 512, n: 1000, transposed: true });
 * const y = gemmF32({ m: 1, n: 1000, k: 512, a: x, b: packed });
 */
export function packF32Weights(options: {
  readonly weights: Float32Array;
  readonly k: number;
  readonly n: number;
  readonly transposed?: boolean;
  readonly engine?: Engine;
}): PackedF32Weights {
  const { weights, k, n, transposed = false, engine = defaultEngine } = options;
  checkSizes('packF32Weights', { k, n });
  checkLength('packF32Weights', 'weights', weights, k * n);
  const packed = new PackedF32Weights(engine, k, n);
  engine.scratch((take) => packBlock(engine, take, weights, transposed, k, n, 0, n, packed.ptr));
  return packed;
}

interface GemmCall {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: Float32Array;
  readonly b: Float32Array | PackedF32Weights;
  readonly transB: boolean;
  readonly bias: Float32Array | null;
  readonly out: Float32Array;
  readonly accumulate: boolean;
  readonly min: number;
  readonly max: number;
  readonly engine: Engine;
}

function checkSizesEqual(packed: PackedF32Weights, k: number, n: number): void {
  if (packed.k === k && packed.n === n) return;
  throw new ArgumentError({
    fn: 'gemmF32',
    argument: 'b',
    expected: `weights packed as ${k}×${n}`,
    got: `${packed.k}×${packed.n}`,
  });
}

/** Copies rows [row0, row0 + rows) and columns [col0, col0 + cols) of a dense matrix to a dense block in wasm memory. */
function stageBlock(
  engine: Engine,
  ptr: number,
  matrix: Float32Array,
  stride: number,
  row0: number,
  rows: number,
  col0: number,
  cols: number,
): void {
  const f32 = engine.heap.f32;
  const at = ptr >> 2;
  if (cols === stride) {
    f32.set(matrix.subarray(row0 * stride, (row0 + rows) * stride), at);
    return;
  }
  for (let r = 0; r < rows; r++) {
    const from = (row0 + r) * stride + col0;
    f32.set(matrix.subarray(from, from + cols), at + r * cols);
  }
}

/** The way back of {@link stageBlock}; rows in wasm memory are `ldBlock` floats apart. */
function unstageBlock(
  engine: Engine,
  ptr: number,
  ldBlock: number,
  matrix: Float32Array,
  stride: number,
  row0: number,
  rows: number,
  col0: number,
  cols: number,
): void {
  const f32 = engine.heap.f32;
  const at = ptr >> 2;
  if (cols === stride && ldBlock === cols) {
    matrix.set(f32.subarray(at, at + rows * cols), row0 * stride);
    return;
  }
  for (let r = 0; r < rows; r++) {
    matrix.set(f32.subarray(at + r * ldBlock, at + r * ldBlock + cols), (row0 + r) * stride + col0);
  }
}

/** Packs columns [n0, n0 + cols) of b into panels at `dst`, staging a bounded piece at a time. */
function packBlock(
  engine: Engine,
  take: (bytes: number) => number,
  b: Float32Array,
  transB: boolean,
  k: number,
  n: number,
  n0: number,
  cols: number,
  dst: number,
): void {
  const panelBytes = k * PACKED_ROW_BYTES;
  if (transB) {
    const step = Math.max(PANEL_COLUMNS, Math.floor(STAGE_FLOATS / k / PANEL_COLUMNS) * PANEL_COLUMNS);
    const stage = take(Math.min(step, cols) * k * 4);
    for (let c = 0; c < cols; c += step) {
      const count = Math.min(step, cols - c);
      stageBlock(engine, stage, b, k, n0 + c, count, 0, k);
      engine.kernels.f32_pack_columns(
        stage,
        k * 4,
        k,
        count,
        dst + (c / PANEL_COLUMNS) * panelBytes,
        panelBytes,
      );
    }
    return;
  }
  const step = Math.max(1, Math.floor(STAGE_FLOATS / cols));
  const stage = take(Math.min(step, k) * cols * 4);
  for (let r = 0; r < k; r += step) {
    const count = Math.min(step, k - r);
    stageBlock(engine, stage, b, n, r, count, n0, cols);
    engine.kernels.f32_pack_rows(stage, cols * 4, count, cols, dst + r * PACKED_ROW_BYTES, panelBytes);
  }
}

function multiply(call: GemmCall): void {
  const { engine, m, n, k, a, b, out } = call;
  const packed = b instanceof PackedF32Weights ? b : undefined;
  const wanted = Math.floor(RIGHT_BLOCK_FLOATS / Math.max(1, k) / PANEL_COLUMNS) * PANEL_COLUMNS;
  const nBlock = Math.min(n, Math.max(32 * PANEL_COLUMNS, wanted));
  const mBlock = Math.min(m, Math.max(30, Math.floor(LEFT_BLOCK_FLOATS / (k + nBlock) / 30) * 30));
  engine.scratch((take) => {
    const panels = packed ? 0 : take(panelCount(nBlock) * k * PACKED_ROW_BYTES);
    const left = take(mBlock * k * 4);
    // The kernel reads old values 8 at a time, past the end of the last row.
    const block = take((mBlock * nBlock + PANEL_COLUMNS) * 4);
    const biasPtr = stageBias(engine, take, call.bias, n);
    const leftTable = stageRowTable(engine, take, mBlock, k * 4);
    const outTable = stageRowTable(engine, take, mBlock, nBlock * 4);
    const tailTable = n % nBlock ? stageRowTable(engine, take, mBlock, (n % nBlock) * 4) : outTable;
    const oneRun = stageRowTable(engine, take, 1, 0);
    for (let n0 = 0; n0 < n; n0 += nBlock) {
      const cols = Math.min(nBlock, n - n0);
      if (!packed) {
        engine.scratch((inner) =>
          packBlock(engine, inner, b as Float32Array, call.transB, k, n, n0, cols, panels),
        );
      }
      const first = packed ? packed.ptr + (n0 / PANEL_COLUMNS) * k * PACKED_ROW_BYTES : panels;
      for (let m0 = 0; m0 < m; m0 += mBlock) {
        const rows = Math.min(mBlock, m - m0);
        stageBlock(engine, left, a, k, m0, rows, 0, k);
        if (call.accumulate) stageBlock(engine, block, out, n, m0, rows, n0, cols);
        let k0 = 0;
        do {
          const steps = Math.min(K_BLOCK, k - k0);
          const last = k0 + steps >= k;
          engine.kernels.f32_igemm(
            rows,
            leftTable,
            left + k0 * 4,
            cols === nBlock ? outTable : tailTable,
            block,
            oneRun,
            1,
            steps,
            first + k0 * PACKED_ROW_BYTES,
            k * PACKED_ROW_BYTES,
            cols,
            biasPtr + n0 * 4,
            call.accumulate || k0 > 0,
            last ? call.min : -Infinity,
            last ? call.max : Infinity,
            ROW_BLOCK,
            takesPairs(engine),
          );
          k0 += steps;
        } while (k0 < k);
        unstageBlock(engine, block, cols, out, n, m0, rows, n0, cols);
      }
    }
  });
}

/** The left side is stored [k][m]: sums of outer products, so neither side is turned. */
function multiplyTransposed(call: GemmCall): void {
  const { engine, m, n, k, a, b, out } = call;
  const packed = b instanceof PackedF32Weights ? b : undefined;
  const kBlock = Math.min(k, 256);
  const nBlock = Math.min(n, 512);
  const mBlock = Math.min(m, 384);
  const ld = panelCount(nBlock) * PANEL_COLUMNS;
  engine.scratch((take) => {
    const panels = packed ? 0 : take(panelCount(nBlock) * k * PACKED_ROW_BYTES);
    const left = take(kBlock * mBlock * 4);
    const block = take(mBlock * ld * 4);
    const fullTable = stageRowTable(engine, take, kBlock, mBlock * 4);
    const tailTable = stageRowTable(engine, take, kBlock, (m % mBlock) * 4);
    for (let n0 = 0; n0 < n; n0 += nBlock) {
      const cols = Math.min(nBlock, n - n0);
      if (!packed) {
        engine.scratch((inner) =>
          packBlock(engine, inner, b as Float32Array, call.transB, k, n, n0, cols, panels),
        );
      }
      const first = packed ? packed.ptr + (n0 / PANEL_COLUMNS) * k * PACKED_ROW_BYTES : panels;
      for (let m0 = 0; m0 < m; m0 += mBlock) {
        const rows = Math.min(mBlock, m - m0);
        const table = rows === mBlock ? fullTable : tailTable;
        startBlock(call, block, ld, m0, rows, n0, cols);
        for (let k0 = 0; k0 < k; k0 += kBlock) {
          const steps = Math.min(kBlock, k - k0);
          stageBlock(engine, left, a, m, k0, steps, m0, rows);
          engine.kernels.f32_outer(
            steps,
            table,
            left,
            rows,
            first + k0 * PACKED_ROW_BYTES,
            k * PACKED_ROW_BYTES,
            cols,
            block,
            ld * 4,
            takesPairs(engine),
          );
        }
        unstageBlock(engine, block, ld, out, n, m0, rows, n0, cols);
      }
    }
  });
  if (call.min === -Infinity && call.max === Infinity) return;
  for (let i = 0; i < out.length; i++) {
    const x = out[i];
    if (x < call.min) out[i] = call.min;
    else if (x > call.max) out[i] = call.max;
  }
}

/** What the outer products are added to: the old output, the bias in every row, or zero. */
function startBlock(
  call: GemmCall,
  block: number,
  ld: number,
  m0: number,
  rows: number,
  n0: number,
  cols: number,
): void {
  const f32 = call.engine.heap.f32;
  const at = block >> 2;
  f32.fill(0, at, at + rows * ld);
  if (!call.accumulate && !call.bias) return;
  for (let r = 0; r < rows; r++) {
    const from = (m0 + r) * call.n + n0;
    const row = call.bias ? call.bias.subarray(n0, n0 + cols) : call.out.subarray(from, from + cols);
    f32.set(row, at + r * ld);
  }
}
