import { madd, TILE_ROWS } from "./f32_simd";

/** Adds the sum over `steps` of the outer products of `mr` floats of a row with 8 panel columns to a tile of the output. */
// @ts-ignore: decorator
@inline
function tile(mr: i32, steps: i32, rowTable: usize, input: usize, panel: usize, output: usize, outStride: usize): void {
  let c00 = f32x4.splat(0), c01 = f32x4.splat(0);
  let c10 = f32x4.splat(0), c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0), c21 = f32x4.splat(0);
  let c30 = f32x4.splat(0), c31 = f32x4.splat(0);
  let c40 = f32x4.splat(0), c41 = f32x4.splat(0);
  let c50 = f32x4.splat(0), c51 = f32x4.splat(0);
  const end = rowTable + (<usize>steps << 2);
  for (; rowTable < end; rowTable += 4) {
    const a = input + <usize>load<u32>(rowTable);
    const b0 = v128.load(panel);
    const b1 = v128.load(panel, 16);
    let x = v128.load32_splat(a);
    c00 = madd(x, b0, c00);
    c01 = madd(x, b1, c01);
    if (mr > 1) {
      x = v128.load32_splat(a, 4);
      c10 = madd(x, b0, c10);
      c11 = madd(x, b1, c11);
    }
    if (mr > 2) {
      x = v128.load32_splat(a, 8);
      c20 = madd(x, b0, c20);
      c21 = madd(x, b1, c21);
    }
    if (mr > 3) {
      x = v128.load32_splat(a, 12);
      c30 = madd(x, b0, c30);
      c31 = madd(x, b1, c31);
    }
    if (mr > 4) {
      x = v128.load32_splat(a, 16);
      c40 = madd(x, b0, c40);
      c41 = madd(x, b1, c41);
    }
    if (mr > 5) {
      x = v128.load32_splat(a, 20);
      c50 = madd(x, b0, c50);
      c51 = madd(x, b1, c51);
    }
    panel += 32;
  }
  // The sum of a block starts at zero and joins the total once: rounding grows with the blocks, not with the steps.
  v128.store(output, f32x4.add(v128.load(output), c00));
  v128.store(output, f32x4.add(v128.load(output, 16), c01), 16);
  if (mr > 1) {
    output += outStride;
    v128.store(output, f32x4.add(v128.load(output), c10));
    v128.store(output, f32x4.add(v128.load(output, 16), c11), 16);
  }
  if (mr > 2) {
    output += outStride;
    v128.store(output, f32x4.add(v128.load(output), c20));
    v128.store(output, f32x4.add(v128.load(output, 16), c21), 16);
  }
  if (mr > 3) {
    output += outStride;
    v128.store(output, f32x4.add(v128.load(output), c30));
    v128.store(output, f32x4.add(v128.load(output, 16), c31), 16);
  }
  if (mr > 4) {
    output += outStride;
    v128.store(output, f32x4.add(v128.load(output), c40));
    v128.store(output, f32x4.add(v128.load(output, 16), c41), 16);
  }
  if (mr > 5) {
    output += outStride;
    v128.store(output, f32x4.add(v128.load(output), c50));
    v128.store(output, f32x4.add(v128.load(output, 16), c51), 16);
  }
}

/**
 * Product with a transposed left side: out[m][n] += sum over steps of in[step][m] * panel[n/8][step][n%8].
 *
 * Step `s` reads `m` contiguous floats at input + rowTable[s] (byte offsets); output rows are `outStride` bytes apart and hold a
 * multiple of 8 floats. The gradient of a convolution's weight is this over pixels; a matrix product with a transposed
 * left operand is this over k.
 */
export function f32_outer(
  steps: i32, rowTable: usize, input: usize, m: i32, panels: usize, panelBytes: usize, cols: i32, output: usize, outStride: usize,
): void {
  let panel = panels;
  for (let n = 0; n < cols; n += 8, panel += panelBytes) {
    let a = input;
    let out = output + (<usize>n << 2);
    let i = m;
    for (; i >= TILE_ROWS; i -= TILE_ROWS, a += 4 * TILE_ROWS, out += TILE_ROWS * outStride) tile(TILE_ROWS, steps, rowTable, a, panel, out, outStride);
    if (i >= 4) {
      tile(4, steps, rowTable, a, panel, out, outStride);
      i -= 4, a += 16, out += 4 * outStride;
    }
    if (i >= 2) {
      tile(2, steps, rowTable, a, panel, out, outStride);
      i -= 2, a += 8, out += 2 * outStride;
    }
    if (i) tile(1, steps, rowTable, a, panel, out, outStride);
  }
}
