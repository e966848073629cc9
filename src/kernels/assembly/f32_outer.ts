import { madd, TILE_ROWS } from "./f32_simd";

/**
 * Adds the sum over `steps` of the outer products of `mr` floats of a row with the columns of a panel, or of two where `paired`, to a tile of
 * the output.
 */
// @ts-ignore: decorator
@inline
function tile(
  mr: i32, paired: bool, steps: i32, rowTable: usize, input: usize, panel: usize, panelBytes: usize, output: usize, outStride: usize,
): void {
  let c00 = f32x4.splat(0), c01 = f32x4.splat(0), c02 = f32x4.splat(0), c03 = f32x4.splat(0);
  let c10 = f32x4.splat(0), c11 = f32x4.splat(0), c12 = f32x4.splat(0), c13 = f32x4.splat(0);
  let c20 = f32x4.splat(0), c21 = f32x4.splat(0), c22 = f32x4.splat(0), c23 = f32x4.splat(0);
  let c30 = f32x4.splat(0), c31 = f32x4.splat(0), c32 = f32x4.splat(0), c33 = f32x4.splat(0);
  let c40 = f32x4.splat(0), c41 = f32x4.splat(0), c42 = f32x4.splat(0), c43 = f32x4.splat(0);
  let c50 = f32x4.splat(0), c51 = f32x4.splat(0), c52 = f32x4.splat(0), c53 = f32x4.splat(0);
  let b2 = f32x4.splat(0), b3 = b2;
  let next = panel + panelBytes;
  const end = rowTable + (<usize>steps << 2);
  for (; rowTable < end; rowTable += 4) {
    const a = input + <usize>load<u32>(rowTable);
    const b0 = v128.load(panel);
    const b1 = v128.load(panel, 16);
    if (paired) {
      b2 = v128.load(next);
      b3 = v128.load(next, 16);
    }
    let x = v128.load32_splat(a);
    c00 = madd(x, b0, c00);
    c01 = madd(x, b1, c01);
    if (paired) {
      c02 = madd(x, b2, c02);
      c03 = madd(x, b3, c03);
    }
    if (mr > 1) {
      x = v128.load32_splat(a, 4);
      c10 = madd(x, b0, c10);
      c11 = madd(x, b1, c11);
      if (paired) {
        c12 = madd(x, b2, c12);
        c13 = madd(x, b3, c13);
      }
    }
    if (mr > 2) {
      x = v128.load32_splat(a, 8);
      c20 = madd(x, b0, c20);
      c21 = madd(x, b1, c21);
      if (paired) {
        c22 = madd(x, b2, c22);
        c23 = madd(x, b3, c23);
      }
    }
    if (mr > 3) {
      x = v128.load32_splat(a, 12);
      c30 = madd(x, b0, c30);
      c31 = madd(x, b1, c31);
      if (paired) {
        c32 = madd(x, b2, c32);
        c33 = madd(x, b3, c33);
      }
    }
    if (mr > 4) {
      x = v128.load32_splat(a, 16);
      c40 = madd(x, b0, c40);
      c41 = madd(x, b1, c41);
      if (paired) {
        c42 = madd(x, b2, c42);
        c43 = madd(x, b3, c43);
      }
    }
    if (mr > 5) {
      x = v128.load32_splat(a, 20);
      c50 = madd(x, b0, c50);
      c51 = madd(x, b1, c51);
      if (paired) {
        c52 = madd(x, b2, c52);
        c53 = madd(x, b3, c53);
      }
    }
    panel += 32;
    if (paired) next += 32;
  }
  // The sum of a block starts at zero and joins the total once: rounding grows with the blocks, not with the steps.
  addRow(paired, output, c00, c01, c02, c03);
  if (mr > 1) addRow(paired, output + outStride, c10, c11, c12, c13);
  if (mr > 2) addRow(paired, output + 2 * outStride, c20, c21, c22, c23);
  if (mr > 3) addRow(paired, output + 3 * outStride, c30, c31, c32, c33);
  if (mr > 4) addRow(paired, output + 4 * outStride, c40, c41, c42, c43);
  if (mr > 5) addRow(paired, output + 5 * outStride, c50, c51, c52, c53);
}

/** Adds eight or sixteen floats to those at `p`. All are read before any is written, or V8 would not take them in pairs. */
// @ts-ignore: decorator
@inline
function addRow(paired: bool, p: usize, x0: v128, x1: v128, x2: v128, x3: v128): void {
  const y0 = f32x4.add(v128.load(p), x0), y1 = f32x4.add(v128.load(p, 16), x1);
  if (paired) {
    const y2 = f32x4.add(v128.load(p, 32), x2), y3 = f32x4.add(v128.load(p, 48), x3);
    v128.store(p, y0);
    v128.store(p, y1, 16);
    v128.store(p, y2, 32);
    v128.store(p, y3, 48);
  } else {
    v128.store(p, y0);
    v128.store(p, y1, 16);
  }
}

/** The output's columns of one panel, or of two. */
// @ts-ignore: decorator
@inline
function down(
  paired: bool, steps: i32, rowTable: usize, a: usize, m: i32, panel: usize, panelBytes: usize, out: usize, outStride: usize,
): void {
  let i = m;
  for (; i >= TILE_ROWS; i -= TILE_ROWS) {
    tile(TILE_ROWS, paired, steps, rowTable, a, panel, panelBytes, out, outStride);
    a += 4 * TILE_ROWS;
    out += TILE_ROWS * outStride;
  }
  if (i >= 4) {
    tile(4, paired, steps, rowTable, a, panel, panelBytes, out, outStride);
    i -= 4, a += 16, out += 4 * outStride;
  }
  if (i >= 2) {
    tile(2, paired, steps, rowTable, a, panel, panelBytes, out, outStride);
    i -= 2, a += 8, out += 2 * outStride;
  }
  if (i) tile(1, paired, steps, rowTable, a, panel, panelBytes, out, outStride);
}

/**
 * Product with a transposed left side: out[m][n] += sum over steps of in[step][m] * panel[n/8][step][n%8].
 *
 * Step `s` reads `m` contiguous floats at input + rowTable[s] (byte offsets); output rows are `outStride` bytes apart and hold a
 * multiple of 8 floats. The gradient of a convolution's weight is this over pixels; a matrix product with a transposed
 * left operand is this over k. With `paired`, for wide vectors, tiles take the columns of two panels; the results are the same.
 */
export function f32_outer(
  steps: i32, rowTable: usize, input: usize, m: i32, panels: usize, panelBytes: usize, cols: i32, output: usize, outStride: usize, paired: bool,
): void {
  let n = 0;
  if (ASC_FEATURE_RELAXED_SIMD && paired) {
    for (; n + 8 < cols; n += 16, panels += 2 * panelBytes) {
      down(true, steps, rowTable, input, m, panels, panelBytes, output + (<usize>n << 2), outStride);
    }
  }
  for (; n < cols; n += 8, panels += panelBytes) {
    down(false, steps, rowTable, input, m, panels, panelBytes, output + (<usize>n << 2), outStride);
  }
}
