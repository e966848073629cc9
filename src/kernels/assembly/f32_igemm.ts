import { TOUCH_ROWS } from "./panel";
import { clampLanes, madd, storeLanes, TILE_ROWS } from "./f32_simd";

/** Eight floats, of which the last panel of a matrix stores only `cols`. */
// @ts-ignore: decorator
@inline
function storeRow(p: usize, x0: v128, x1: v128, cols: i32): void {
  if (cols >= 8) {
    v128.store(p, x0);
    v128.store(p, x1, 16);
  } else if (cols >= 4) {
    v128.store(p, x0);
    storeLanes(p + 16, x1, cols & 3);
  } else {
    storeLanes(p, x0, cols);
  }
}

/** Panels of a single row that take no more come from L2, two at once; more come from behind it, faster as one stream. */
const CACHED_BYTES: usize = 1 << 20;

/** Steps along k between two cache lines read ahead: four tiles of rows read the whole next panel. */
const AHEAD_STEPS: i32 = 8;

/**
 * One tile of `mr` (2..6) rows by 8 columns, or by the 16 of two panels that lie `panelBytes` apart where `paired`; both are compile-time constants
 * where this is inlined. Sixteen columns of six rows fit the registers of a host that takes vectors in pairs, and no other. Where `extra` is not
 * 0, it is the distance from the output to a matrix of the same layout that is added before the bounds apply. While it goes along it reads
 * cache lines from `ahead` up to `limit`, so that a panel comes from memory while the one before is in use; all at once they would
 * have to be waited for. See TILE_ROWS for the largest tile.
 */
// @ts-ignore: decorator
@inline
function tile(
  mr: i32, paired: bool, rowTable: usize, input: usize, outTable: usize, output: usize, runTable: usize, runs: i32, runLength: i32,
  panel: usize, panelBytes: usize, bias: usize, accumulate: bool, cols: i32, lo: f32, hi: f32, extra: usize, ahead: usize, limit: usize,
): void {
  const o0 = output + <usize>load<u32>(outTable);
  const o1 = output + <usize>load<u32>(outTable, 4);
  const o2 = mr > 2 ? output + <usize>load<u32>(outTable, 8) : 0;
  const o3 = mr > 3 ? output + <usize>load<u32>(outTable, 12) : 0;
  const o4 = mr > 4 ? output + <usize>load<u32>(outTable, 16) : 0;
  const o5 = mr > 5 ? output + <usize>load<u32>(outTable, 20) : 0;
  let c00 = f32x4.splat(0), c01 = f32x4.splat(0), c02 = f32x4.splat(0), c03 = f32x4.splat(0);
  let c10 = f32x4.splat(0), c11 = f32x4.splat(0), c12 = f32x4.splat(0), c13 = f32x4.splat(0);
  let c20 = f32x4.splat(0), c21 = f32x4.splat(0), c22 = f32x4.splat(0), c23 = f32x4.splat(0);
  let c30 = f32x4.splat(0), c31 = f32x4.splat(0), c32 = f32x4.splat(0), c33 = f32x4.splat(0);
  let c40 = f32x4.splat(0), c41 = f32x4.splat(0), c42 = f32x4.splat(0), c43 = f32x4.splat(0);
  let c50 = f32x4.splat(0), c51 = f32x4.splat(0), c52 = f32x4.splat(0), c53 = f32x4.splat(0);
  if (accumulate) {
    c00 = v128.load(o0);
    c01 = v128.load(o0, 16);
    if (paired) {
      c02 = v128.load(o0, 32);
      c03 = v128.load(o0, 48);
    }
    c10 = v128.load(o1);
    c11 = v128.load(o1, 16);
    if (paired) {
      c12 = v128.load(o1, 32);
      c13 = v128.load(o1, 48);
    }
    if (mr > 2) {
      c20 = v128.load(o2);
      c21 = v128.load(o2, 16);
    }
    if (mr > 2 && paired) {
      c22 = v128.load(o2, 32);
      c23 = v128.load(o2, 48);
    }
    if (mr > 3) {
      c30 = v128.load(o3);
      c31 = v128.load(o3, 16);
    }
    if (mr > 3 && paired) {
      c32 = v128.load(o3, 32);
      c33 = v128.load(o3, 48);
    }
    if (mr > 4) {
      c40 = v128.load(o4);
      c41 = v128.load(o4, 16);
    }
    if (mr > 4 && paired) {
      c42 = v128.load(o4, 32);
      c43 = v128.load(o4, 48);
    }
    if (mr > 5) {
      c50 = v128.load(o5);
      c51 = v128.load(o5, 16);
    }
    if (mr > 5 && paired) {
      c52 = v128.load(o5, 32);
      c53 = v128.load(o5, 48);
    }
  } else {
    c00 = v128.load(bias);
    c01 = v128.load(bias, 16);
    if (paired) {
      c02 = v128.load(bias, 32);
      c03 = v128.load(bias, 48);
    }
    c10 = c00, c11 = c01, c12 = c02, c13 = c03;
    c20 = c00, c21 = c01, c22 = c02, c23 = c03;
    c30 = c00, c31 = c01, c32 = c02, c33 = c03;
    c40 = c00, c41 = c01, c42 = c02, c43 = c03;
    c50 = c00, c51 = c01, c52 = c02, c53 = c03;
  }
  let next = panel + panelBytes;
  for (let run = 0; run < runs; ++run) {
    const from = input + <usize>load<i32>(runTable + (<usize>run << 2));
    let a0 = from + <usize>load<u32>(rowTable);
    let a1 = from + <usize>load<u32>(rowTable, 4);
    let a2 = mr > 2 ? from + <usize>load<u32>(rowTable, 8) : 0;
    let a3 = mr > 3 ? from + <usize>load<u32>(rowTable, 12) : 0;
    let a4 = mr > 4 ? from + <usize>load<u32>(rowTable, 16) : 0;
    let a5 = mr > 5 ? from + <usize>load<u32>(rowTable, 20) : 0;
    let b0: v128, b1: v128, b2 = f32x4.splat(0), b3 = b2, x: v128;
    for (let left = runLength; left > 0; left -= AHEAD_STEPS) {
      if (ahead < limit) {
        load<u8>(ahead);
        ahead += 64;
      }
      // Not unrolled: with six row pointers a longer body costs V8 more in spills than it saves in additions.
      for (let k = min(left, AHEAD_STEPS); k > 0; --k) {
        b0 = v128.load(panel);
        b1 = v128.load(panel, 16);
        if (paired) {
          b2 = v128.load(next);
          b3 = v128.load(next, 16);
        }
        x = v128.load32_splat(a0);
        c00 = madd(x, b0, c00);
        c01 = madd(x, b1, c01);
        if (paired) {
          c02 = madd(x, b2, c02);
          c03 = madd(x, b3, c03);
        }
        x = v128.load32_splat(a1);
        c10 = madd(x, b0, c10);
        c11 = madd(x, b1, c11);
        if (paired) {
          c12 = madd(x, b2, c12);
          c13 = madd(x, b3, c13);
        }
        if (mr > 2) {
          x = v128.load32_splat(a2);
          c20 = madd(x, b0, c20);
          c21 = madd(x, b1, c21);
          if (paired) {
            c22 = madd(x, b2, c22);
            c23 = madd(x, b3, c23);
          }
        }
        if (mr > 3) {
          x = v128.load32_splat(a3);
          c30 = madd(x, b0, c30);
          c31 = madd(x, b1, c31);
          if (paired) {
            c32 = madd(x, b2, c32);
            c33 = madd(x, b3, c33);
          }
        }
        if (mr > 4) {
          x = v128.load32_splat(a4);
          c40 = madd(x, b0, c40);
          c41 = madd(x, b1, c41);
          if (paired) {
            c42 = madd(x, b2, c42);
            c43 = madd(x, b3, c43);
          }
        }
        if (mr > 5) {
          x = v128.load32_splat(a5);
          c50 = madd(x, b0, c50);
          c51 = madd(x, b1, c51);
          if (paired) {
            c52 = madd(x, b2, c52);
            c53 = madd(x, b3, c53);
          }
        }
        panel += 32;
        if (paired) next += 32;
        a0 += 4;
        a1 += 4;
        if (mr > 2) a2 += 4;
        if (mr > 3) a3 += 4;
        if (mr > 4) a4 += 4;
        if (mr > 5) a5 += 4;
      }
    }
  }
  if (extra) {
    c00 = f32x4.add(c00, v128.load(o0 + extra));
    c01 = f32x4.add(c01, v128.load(o0 + extra, 16));
    if (paired) {
      c02 = f32x4.add(c02, v128.load(o0 + extra, 32));
      c03 = f32x4.add(c03, v128.load(o0 + extra, 48));
    }
    c10 = f32x4.add(c10, v128.load(o1 + extra));
    c11 = f32x4.add(c11, v128.load(o1 + extra, 16));
    if (paired) {
      c12 = f32x4.add(c12, v128.load(o1 + extra, 32));
      c13 = f32x4.add(c13, v128.load(o1 + extra, 48));
    }
    if (mr > 2) {
      c20 = f32x4.add(c20, v128.load(o2 + extra));
      c21 = f32x4.add(c21, v128.load(o2 + extra, 16));
    }
    if (mr > 2 && paired) {
      c22 = f32x4.add(c22, v128.load(o2 + extra, 32));
      c23 = f32x4.add(c23, v128.load(o2 + extra, 48));
    }
    if (mr > 3) {
      c30 = f32x4.add(c30, v128.load(o3 + extra));
      c31 = f32x4.add(c31, v128.load(o3 + extra, 16));
    }
    if (mr > 3 && paired) {
      c32 = f32x4.add(c32, v128.load(o3 + extra, 32));
      c33 = f32x4.add(c33, v128.load(o3 + extra, 48));
    }
    if (mr > 4) {
      c40 = f32x4.add(c40, v128.load(o4 + extra));
      c41 = f32x4.add(c41, v128.load(o4 + extra, 16));
    }
    if (mr > 4 && paired) {
      c42 = f32x4.add(c42, v128.load(o4 + extra, 32));
      c43 = f32x4.add(c43, v128.load(o4 + extra, 48));
    }
    if (mr > 5) {
      c50 = f32x4.add(c50, v128.load(o5 + extra));
      c51 = f32x4.add(c51, v128.load(o5 + extra, 16));
    }
    if (mr > 5 && paired) {
      c52 = f32x4.add(c52, v128.load(o5 + extra, 32));
      c53 = f32x4.add(c53, v128.load(o5 + extra, 48));
    }
  }
  const lower = f32x4.splat(lo);
  const upper = f32x4.splat(hi);
  storeRow(o0, clampLanes(c00, lower, upper), clampLanes(c01, lower, upper), cols);
  storeRow(o1, clampLanes(c10, lower, upper), clampLanes(c11, lower, upper), cols);
  if (mr > 2) storeRow(o2, clampLanes(c20, lower, upper), clampLanes(c21, lower, upper), cols);
  if (mr > 3) storeRow(o3, clampLanes(c30, lower, upper), clampLanes(c31, lower, upper), cols);
  if (mr > 4) storeRow(o4, clampLanes(c40, lower, upper), clampLanes(c41, lower, upper), cols);
  if (mr > 5) storeRow(o5, clampLanes(c50, lower, upper), clampLanes(c51, lower, upper), cols);
  if (paired) {
    const rest = cols - 8;
    storeRow(o0 + 32, clampLanes(c02, lower, upper), clampLanes(c03, lower, upper), rest);
    storeRow(o1 + 32, clampLanes(c12, lower, upper), clampLanes(c13, lower, upper), rest);
    if (mr > 2) storeRow(o2 + 32, clampLanes(c22, lower, upper), clampLanes(c23, lower, upper), rest);
    if (mr > 3) storeRow(o3 + 32, clampLanes(c32, lower, upper), clampLanes(c33, lower, upper), rest);
    if (mr > 4) storeRow(o4 + 32, clampLanes(c42, lower, upper), clampLanes(c43, lower, upper), rest);
    if (mr > 5) storeRow(o5 + 32, clampLanes(c52, lower, upper), clampLanes(c53, lower, upper), rest);
  }
}

/**
 * One row by 8 columns, or by the 16 of two panels where `paired`. Four sums per column run side by side, because a single one would wait for its
 * own latency.
 */
// @ts-ignore: decorator
@inline
function rowOf(
  paired: bool, rowTable: usize, input: usize, outTable: usize, output: usize, runTable: usize, runs: i32, runLength: i32,
  panel: usize, panelBytes: usize, bias: usize, accumulate: bool, cols: i32, lo: f32, hi: f32, extra: usize,
): void {
  const out = output + <usize>load<u32>(outTable);
  const start = accumulate ? out : bias;
  const from = input + <usize>load<u32>(rowTable);
  const zero = f32x4.splat(0);
  let c00 = v128.load(start), c01 = v128.load(start, 16);
  let c10 = zero, c11 = zero, c20 = zero, c21 = zero, c30 = zero, c31 = zero;
  let d00 = zero, d01 = zero, d10 = zero, d11 = zero, d20 = zero, d21 = zero, d30 = zero, d31 = zero;
  if (paired) {
    d00 = v128.load(start, 32);
    d01 = v128.load(start, 48);
  }
  let next = panel + panelBytes;
  for (let run = 0; run < runs; ++run) {
    let a = from + <usize>load<i32>(runTable + (<usize>run << 2));
    let k = runLength;
    for (; k >= 4; k -= 4, a += 16, panel += 128) {
      let x = v128.load32_splat(a);
      c00 = madd(x, v128.load(panel), c00);
      c01 = madd(x, v128.load(panel, 16), c01);
      if (paired) {
        d00 = madd(x, v128.load(next), d00);
        d01 = madd(x, v128.load(next, 16), d01);
      }
      x = v128.load32_splat(a, 4);
      c10 = madd(x, v128.load(panel, 32), c10);
      c11 = madd(x, v128.load(panel, 48), c11);
      if (paired) {
        d10 = madd(x, v128.load(next, 32), d10);
        d11 = madd(x, v128.load(next, 48), d11);
      }
      x = v128.load32_splat(a, 8);
      c20 = madd(x, v128.load(panel, 64), c20);
      c21 = madd(x, v128.load(panel, 80), c21);
      if (paired) {
        d20 = madd(x, v128.load(next, 64), d20);
        d21 = madd(x, v128.load(next, 80), d21);
      }
      x = v128.load32_splat(a, 12);
      c30 = madd(x, v128.load(panel, 96), c30);
      c31 = madd(x, v128.load(panel, 112), c31);
      if (paired) {
        d30 = madd(x, v128.load(next, 96), d30);
        d31 = madd(x, v128.load(next, 112), d31);
      }
      if (paired) next += 128;
    }
    for (; k > 0; --k, a += 4, panel += 32) {
      const x = v128.load32_splat(a);
      c00 = madd(x, v128.load(panel), c00);
      c01 = madd(x, v128.load(panel, 16), c01);
      if (paired) {
        d00 = madd(x, v128.load(next), d00);
        d01 = madd(x, v128.load(next, 16), d01);
        next += 32;
      }
    }
  }
  c00 = f32x4.add(f32x4.add(c00, c10), f32x4.add(c20, c30));
  c01 = f32x4.add(f32x4.add(c01, c11), f32x4.add(c21, c31));
  if (paired) {
    d00 = f32x4.add(f32x4.add(d00, d10), f32x4.add(d20, d30));
    d01 = f32x4.add(f32x4.add(d01, d11), f32x4.add(d21, d31));
  }
  if (extra) {
    c00 = f32x4.add(c00, v128.load(out + extra));
    c01 = f32x4.add(c01, v128.load(out + extra, 16));
    if (paired) {
      d00 = f32x4.add(d00, v128.load(out + extra, 32));
      d01 = f32x4.add(d01, v128.load(out + extra, 48));
    }
  }
  const lower = f32x4.splat(lo);
  const upper = f32x4.splat(hi);
  storeRow(out, clampLanes(c00, lower, upper), clampLanes(c01, lower, upper), cols);
  if (paired) storeRow(out + 32, clampLanes(d00, lower, upper), clampLanes(d01, lower, upper), cols - 8);
}

// Not inlined into the walk over tiles, which is long enough.
function oneRow(
  rowTable: usize, input: usize, outTable: usize, output: usize, runTable: usize, runs: i32, runLength: i32,
  panel: usize, bias: usize, accumulate: bool, cols: i32, lo: f32, hi: f32, extra: usize,
): void {
  rowOf(false, rowTable, input, outTable, output, runTable, runs, runLength, panel, 0, bias, accumulate, cols, lo, hi, extra);
}

function oneRowOfPair(
  rowTable: usize, input: usize, outTable: usize, output: usize, runTable: usize, runs: i32, runLength: i32,
  panel: usize, panelBytes: usize, bias: usize, accumulate: bool, cols: i32, lo: f32, hi: f32, extra: usize,
): void {
  rowOf(true, rowTable, input, outTable, output, runTable, runs, runLength, panel, panelBytes, bias, accumulate, cols, lo, hi, extra);
}

/**
 * Indirect matrix product: out[r][n] = clamp(bias[n] + sum over runs and k of in[r, run][k] * panel[n/8][run][k][n%8]).
 *
 * Row `r` reads `runLength` contiguous floats at input + rowTable[r] + runTable[run] for each run and writes `cols` floats at
 * output + outTable[r]; all tables hold byte offsets. A matrix has one run per row, a convolution one per window row.
 * With `accumulate` the output's old value takes the place of the bias (old values are read 8 at a time, so memory
 * behind the last row must be readable). Rows are walked in blocks of `rowBlock` so that they stay in L1 over the panels. With `paired`, for wide
 * vectors, tiles take the columns of two panels; the results are the same.
 */
export function f32_igemm(
  rows: i32, rowTable: usize, input: usize, outTable: usize, output: usize, runTable: usize, runs: i32, runLength: i32,
  panels: usize, panelBytes: usize, cols: i32, bias: usize, accumulate: bool, lo: f32, hi: f32, rowBlock: i32, paired: bool,
): void {
  multiply(
    rows, rowTable, input, outTable, output, runTable, runs, runLength, panels, panelBytes, cols, bias, accumulate, lo, hi, rowBlock, 0, paired,
  );
}

/**
 * {@link f32_igemm} without accumulation. Where `residual` is not 0, it is a matrix laid out as the output, which is added before the bounds apply:
 * out = clamp(bias + a·b + residual).
 */
export function f32_product(
  rows: i32, rowTable: usize, input: usize, outTable: usize, output: usize, runTable: usize, runs: i32, runLength: i32,
  panels: usize, panelBytes: usize, cols: i32, bias: usize, residual: usize, lo: f32, hi: f32, rowBlock: i32, paired: bool,
): void {
  multiply(
    rows, rowTable, input, outTable, output, runTable, runs, runLength, panels, panelBytes, cols, bias, false, lo, hi, rowBlock,
    residual ? residual - output : 0, paired,
  );
}

function multiply(
  rows: i32, rowTable: usize, input: usize, outTable: usize, output: usize, runTable: usize, runs: i32, runLength: i32,
  panels: usize, panelBytes: usize, cols: i32, bias: usize, accumulate: bool, lo: f32, hi: f32, rowBlock: i32, extra: usize, paired: bool,
): void {
  for (let start = 0, end = 0; start < rows; start = end) {
    // The last block takes up to half as many more: a few rows by themselves would cost a walk over all panels.
    end = start + rowBlock + rowBlock / 2 < rows ? start + rowBlock : rows;
    const at = <usize>start << 2;
    let n = 0;
    if (ASC_FEATURE_RELAXED_SIMD && paired && (rows > 1 || <usize>cols * panelBytes < 8 * CACHED_BYTES)) {
      for (; n + 8 < cols; n += 16) {
        down(
          true, end - start, rowTable + at, input, outTable + at, output + (<usize>n << 2), runTable, runs, runLength,
          panels + <usize>(n >> 3) * panelBytes, panelBytes, bias + (<usize>n << 2), accumulate, cols - n, lo, hi, extra,
        );
      }
    }
    for (; n < cols; n += 8) {
      down(
        false, end - start, rowTable + at, input, outTable + at, output + (<usize>n << 2), runTable, runs, runLength,
        panels + <usize>(n >> 3) * panelBytes, panelBytes, bias + (<usize>n << 2), accumulate, cols - n, lo, hi, extra,
      );
    }
  }
}

/** All rows of a block by the columns of one panel, or of two. */
// @ts-ignore: decorator
@inline
function down(
  paired: bool, rows: i32, rowTable: usize, input: usize, outTable: usize, output: usize, runTable: usize, runs: i32, runLength: i32,
  panel: usize, panelBytes: usize, bias: usize, accumulate: bool, cols: i32, lo: f32, hi: f32, extra: usize,
): void {
  const panels: i32 = paired ? 2 : 1;
  // What one tile reads ahead.
  const aheadBytes = <usize>(runs * ((runLength + AHEAD_STEPS - 1) / AHEAD_STEPS)) << 6;
  let ahead = panel + <usize>panels * panelBytes;
  const limit = cols > 8 * panels && rows > TOUCH_ROWS ? ahead + <usize>(cols > 8 * panels + 8 ? panels : 1) * panelBytes : 0;
  let r = rows;
  for (; r >= TILE_ROWS; r -= TILE_ROWS) {
    tile(TILE_ROWS, paired, rowTable, input, outTable, output, runTable, runs, runLength, panel, panelBytes, bias, accumulate, cols, lo, hi, extra, ahead, limit);
    ahead += aheadBytes;
    rowTable += 4 * TILE_ROWS;
    outTable += 4 * TILE_ROWS;
  }
  // The rest as one tile; a single row has one of its own.
  switch (r) {
    case 5:
      tile(5, paired, rowTable, input, outTable, output, runTable, runs, runLength, panel, panelBytes, bias, accumulate, cols, lo, hi, extra, ahead, limit);
      break;
    case 4:
      tile(4, paired, rowTable, input, outTable, output, runTable, runs, runLength, panel, panelBytes, bias, accumulate, cols, lo, hi, extra, ahead, limit);
      break;
    case 3:
      tile(3, paired, rowTable, input, outTable, output, runTable, runs, runLength, panel, panelBytes, bias, accumulate, cols, lo, hi, extra, ahead, limit);
      break;
    case 2:
      tile(2, paired, rowTable, input, outTable, output, runTable, runs, runLength, panel, panelBytes, bias, accumulate, cols, lo, hi, extra, ahead, limit);
      break;
    case 1:
      if (paired) {
        oneRowOfPair(rowTable, input, outTable, output, runTable, runs, runLength, panel, panelBytes, bias, accumulate, cols, lo, hi, extra);
      } else {
        oneRow(rowTable, input, outTable, output, runTable, runs, runLength, panel, bias, accumulate, cols, lo, hi, extra);
      }
  }
}
