import { clampLanes, madd, storeLanes } from "./f32_simd";

/**
 * Depthwise convolution (one filter per channel), vectorized over channels: out[r][c] = clamp(bias[c] + sum over taps of
 * in[r, tap][c] * weight[tap][c]).
 *
 * Row `r` reads input + rowTable[r] + tapTable[tap] and writes output + outTable[r] (byte offsets). Weight and bias rows hold
 * `weightBytes`, a multiple of 16; input rows may be read up to 12 bytes past their end.
 */
export function f32_depthwise(
  rows: i32, rowTable: usize, input: usize, outTable: usize, output: usize, tapTable: usize, taps: i32,
  weight: usize, weightBytes: usize, channels: i32, bias: usize, lo: f32, hi: f32,
): void {
  const lower = f32x4.splat(lo);
  const upper = f32x4.splat(hi);
  const tapEnd = tapTable + (<usize>taps << 2);
  let r = 0;
  for (; r + 4 <= rows; r += 4) {
    const at = <usize>r << 2;
    const i0 = input + <usize>load<u32>(rowTable + at);
    const i1 = input + <usize>load<u32>(rowTable + at, 4);
    const i2 = input + <usize>load<u32>(rowTable + at, 8);
    const i3 = input + <usize>load<u32>(rowTable + at, 12);
    const o0 = output + <usize>load<u32>(outTable + at);
    const o1 = output + <usize>load<u32>(outTable + at, 4);
    const o2 = output + <usize>load<u32>(outTable + at, 8);
    const o3 = output + <usize>load<u32>(outTable + at, 12);
    let c = 0;
    for (; c + 8 <= channels; c += 8) {
      const off = <usize>c << 2;
      let a0 = v128.load(bias + off), b0 = v128.load(bias + off, 16);
      let a1 = a0, a2 = a0, a3 = a0, b1 = b0, b2 = b0, b3 = b0;
      let w = weight + off;
      for (let tap = tapTable; tap < tapEnd; tap += 4, w += weightBytes) {
        const d = off + <usize>load<u32>(tap);
        const w0 = v128.load(w);
        const w1 = v128.load(w, 16);
        a0 = madd(v128.load(i0 + d), w0, a0);
        b0 = madd(v128.load(i0 + d, 16), w1, b0);
        a1 = madd(v128.load(i1 + d), w0, a1);
        b1 = madd(v128.load(i1 + d, 16), w1, b1);
        a2 = madd(v128.load(i2 + d), w0, a2);
        b2 = madd(v128.load(i2 + d, 16), w1, b2);
        a3 = madd(v128.load(i3 + d), w0, a3);
        b3 = madd(v128.load(i3 + d, 16), w1, b3);
      }
      v128.store(o0 + off, clampLanes(a0, lower, upper));
      v128.store(o0 + off, clampLanes(b0, lower, upper), 16);
      v128.store(o1 + off, clampLanes(a1, lower, upper));
      v128.store(o1 + off, clampLanes(b1, lower, upper), 16);
      v128.store(o2 + off, clampLanes(a2, lower, upper));
      v128.store(o2 + off, clampLanes(b2, lower, upper), 16);
      v128.store(o3 + off, clampLanes(a3, lower, upper));
      v128.store(o3 + off, clampLanes(b3, lower, upper), 16);
    }
    for (; c < channels; c += 4) {
      const off = <usize>c << 2;
      const left = channels - c;
      let a0 = v128.load(bias + off);
      let a1 = a0, a2 = a0, a3 = a0;
      let w = weight + off;
      for (let tap = tapTable; tap < tapEnd; tap += 4, w += weightBytes) {
        const d = off + <usize>load<u32>(tap);
        const w0 = v128.load(w);
        a0 = madd(v128.load(i0 + d), w0, a0);
        a1 = madd(v128.load(i1 + d), w0, a1);
        a2 = madd(v128.load(i2 + d), w0, a2);
        a3 = madd(v128.load(i3 + d), w0, a3);
      }
      storeUpTo4(o0 + off, clampLanes(a0, lower, upper), left);
      storeUpTo4(o1 + off, clampLanes(a1, lower, upper), left);
      storeUpTo4(o2 + off, clampLanes(a2, lower, upper), left);
      storeUpTo4(o3 + off, clampLanes(a3, lower, upper), left);
    }
  }
  for (; r < rows; ++r) {
    const at = <usize>r << 2;
    const i0 = input + <usize>load<u32>(rowTable + at);
    const o0 = output + <usize>load<u32>(outTable + at);
    for (let c = 0; c < channels; c += 4) {
      const off = <usize>c << 2;
      let a0 = v128.load(bias + off);
      let w = weight + off;
      for (let tap = tapTable; tap < tapEnd; tap += 4, w += weightBytes) {
        a0 = madd(v128.load(i0 + off + <usize>load<u32>(tap)), v128.load(w), a0);
      }
      storeUpTo4(o0 + off, clampLanes(a0, lower, upper), channels - c);
    }
  }
}

// @ts-ignore: decorator
@inline
function storeUpTo4(p: usize, x: v128, left: i32): void {
  if (left >= 4) v128.store(p, x);
  else storeLanes(p, x, left);
}

/**
 * Weight gradient of a depthwise convolution: dst[tap][c] += sum over rows of in[r, tap][c] * grad[r][c].
 *
 * Gradient rows are `gradBytes` apart; `dst` rows hold `weightBytes`, a multiple of 16. Input and gradient rows may be read up to
 * 12 bytes past their end. With `paired`, for wide vectors, channels go eight at a time; the results are the same.
 */
export function f32_depthwise_weight_grad(
  rows: i32, rowTable: usize, input: usize, grad: usize, gradBytes: usize, tapTable: usize, taps: i32, channels: i32,
  dst: usize, weightBytes: usize, paired: bool,
): void {
  let c = 0;
  if (ASC_FEATURE_RELAXED_SIMD && paired) {
    for (; c + 8 <= channels; c += 8) tapSums(true, <usize>c << 2, rows, rowTable, input, grad, gradBytes, tapTable, taps, dst, weightBytes);
  }
  for (; c < channels; c += 4) tapSums(false, <usize>c << 2, rows, rowTable, input, grad, gradBytes, tapTable, taps, dst, weightBytes);
}

/** The sums of all taps for the channels of one vector, or of two where `paired`, a compile-time constant where this is inlined. */
// @ts-ignore: decorator
@inline
function tapSums(
  paired: bool, off: usize, rows: i32, rowTable: usize, input: usize, grad: usize, gradBytes: usize, tapTable: usize, taps: i32,
  dst: usize, weightBytes: usize,
): void {
  const end = rowTable + (<usize>rows << 2);
  const zero = f32x4.splat(0);
  let out = dst + off;
  let t = 0;
  let z = zero;
  // Nine taps at once reuse each gradient vector nine times: the 3×3 window in a single pass.
  for (; t + 9 <= taps; t += 9) {
    const table = tapTable + (<usize>t << 2);
    const from = input + off;
    const t0 = from + <usize>load<u32>(table);
    const t1 = from + <usize>load<u32>(table, 4);
    const t2 = from + <usize>load<u32>(table, 8);
    const t3 = from + <usize>load<u32>(table, 12);
    const t4 = from + <usize>load<u32>(table, 16);
    const t5 = from + <usize>load<u32>(table, 20);
    const t6 = from + <usize>load<u32>(table, 24);
    const t7 = from + <usize>load<u32>(table, 28);
    const t8 = from + <usize>load<u32>(table, 32);
    let a0 = zero, a1 = zero, a2 = zero, a3 = zero, a4 = zero, a5 = zero, a6 = zero, a7 = zero, a8 = zero;
    let b0 = zero, b1 = zero, b2 = zero, b3 = zero, b4 = zero, b5 = zero, b6 = zero, b7 = zero, b8 = zero;
    let g = grad + off;
    for (let row = rowTable; row < end; row += 4, g += gradBytes) {
      const d = <usize>load<u32>(row);
      const y = v128.load(g);
      if (paired) z = v128.load(g, 16);
      a0 = madd(v128.load(t0 + d), y, a0);
      if (paired) b0 = madd(v128.load(t0 + d, 16), z, b0);
      a1 = madd(v128.load(t1 + d), y, a1);
      if (paired) b1 = madd(v128.load(t1 + d, 16), z, b1);
      a2 = madd(v128.load(t2 + d), y, a2);
      if (paired) b2 = madd(v128.load(t2 + d, 16), z, b2);
      a3 = madd(v128.load(t3 + d), y, a3);
      if (paired) b3 = madd(v128.load(t3 + d, 16), z, b3);
      a4 = madd(v128.load(t4 + d), y, a4);
      if (paired) b4 = madd(v128.load(t4 + d, 16), z, b4);
      a5 = madd(v128.load(t5 + d), y, a5);
      if (paired) b5 = madd(v128.load(t5 + d, 16), z, b5);
      a6 = madd(v128.load(t6 + d), y, a6);
      if (paired) b6 = madd(v128.load(t6 + d, 16), z, b6);
      a7 = madd(v128.load(t7 + d), y, a7);
      if (paired) b7 = madd(v128.load(t7 + d, 16), z, b7);
      a8 = madd(v128.load(t8 + d), y, a8);
      if (paired) b8 = madd(v128.load(t8 + d, 16), z, b8);
    }
    addTo(paired, out, a0, b0), out += weightBytes;
    addTo(paired, out, a1, b1), out += weightBytes;
    addTo(paired, out, a2, b2), out += weightBytes;
    addTo(paired, out, a3, b3), out += weightBytes;
    addTo(paired, out, a4, b4), out += weightBytes;
    addTo(paired, out, a5, b5), out += weightBytes;
    addTo(paired, out, a6, b6), out += weightBytes;
    addTo(paired, out, a7, b7), out += weightBytes;
    addTo(paired, out, a8, b8), out += weightBytes;
  }
  for (; t < taps; ++t, out += weightBytes) {
    const from = input + off + <usize>load<u32>(tapTable + (<usize>t << 2));
    let a0 = zero, b0 = zero;
    let g = grad + off;
    for (let row = rowTable; row < end; row += 4, g += gradBytes) {
      const d = <usize>load<u32>(row);
      a0 = madd(v128.load(from + d), v128.load(g), a0);
      if (paired) b0 = madd(v128.load(from + d, 16), v128.load(g, 16), b0);
    }
    addTo(paired, out, a0, b0);
  }
}

// @ts-ignore: decorator
@inline
function addTo(paired: bool, p: usize, x: v128, y: v128): void {
  x = f32x4.add(v128.load(p), x);
  if (paired) y = f32x4.add(v128.load(p, 16), y);
  v128.store(p, x);
  if (paired) v128.store(p, y, 16);
}

/**
 * Output rows [begin, end) of a depthwise convolution over images of two axes without a frame around them: windows at the border take the
 * taps that lie inside. `plan` holds i32s: output rows and columns, input rows and columns, kernel, stride, padding and dilation (y, x
 * each), and in bytes the input's strides of image, row and pixel, a pixel of the output, and a row of weights.
 */
export function f32_depthwise_rows(
  begin: i32, end: i32, plan: usize, input: usize, weight: usize, bias: usize, channels: i32, output: usize, lo: f32, hi: f32,
): void {
  const outRows = load<i32>(plan), outCols = load<i32>(plan, 4), rows = load<i32>(plan, 8), cols = load<i32>(plan, 12);
  const kernelY = load<i32>(plan, 16), kernelX = load<i32>(plan, 20), strideY = load<i32>(plan, 24), strideX = load<i32>(plan, 28);
  const paddingY = load<i32>(plan, 32), paddingX = load<i32>(plan, 36), dilationY = load<i32>(plan, 40), dilationX = load<i32>(plan, 44);
  const imageBytes = <usize>load<i32>(plan, 48), rowBytes = <usize>load<i32>(plan, 52), pixel = <usize>load<i32>(plan, 56);
  const outPixel = <usize>load<i32>(plan, 60), weightBytes = <usize>load<i32>(plan, 64);
  // Columns whose windows lie inside.
  const firstWhole = (paddingX + strideX - 1) / strideX;
  const reach = cols + paddingX - (kernelX - 1) * dilationX;
  const endWhole = max(firstWhole, min(outCols, reach > 0 ? (reach - 1) / strideX + 1 : 0));
  const tapX = <usize>dilationX * pixel, tapY = <usize>dilationY * rowBytes;
  const stepX = <usize>strideX * pixel;
  const threes = kernelX == 3 && dilationX == 1;
  for (let unit = begin; unit < end; ++unit) {
    const image = unit / outRows;
    const top = (unit - image * outRows) * strideY - paddingY;
    let y0 = 0, y1 = kernelY;
    while (y0 < y1 && top + y0 * dilationY < 0) ++y0;
    while (y1 > y0 && top + (y1 - 1) * dilationY >= rows) --y1;
    const from = input + <usize>image * imageBytes + <usize>(top + y0 * dilationY) * rowBytes;
    const out = output + <usize>unit * <usize>outCols * outPixel;
    const filters = weight + <usize>(y0 * kernelX) * weightBytes;
    const tapRows = y1 - y0;
    let x = 0;
    while (x < outCols) {
      const left = x * strideX - paddingX;
      const to = out + <usize>x * outPixel;
      if (x >= firstWhole && x + 4 <= endWhole) {
        if (threes && stepX == pixel) {
          fourWindows(1, from + <usize>left * pixel, pixel, tapRows, tapY, filters, weightBytes, bias, channels, to, outPixel, lo, hi);
        } else if (threes && stepX == 2 * pixel) {
          fourWindows(2, from + <usize>left * pixel, pixel, tapRows, tapY, filters, weightBytes, bias, channels, to, outPixel, lo, hi);
        } else fourPixels(from + <usize>left * pixel, stepX, tapRows, kernelX, tapY, tapX, filters, weightBytes, bias, channels, to, outPixel, lo, hi);
        x += 4;
        continue;
      }
      let x0 = 0, x1 = kernelX;
      while (x0 < x1 && left + x0 * dilationX < 0) ++x0;
      while (x1 > x0 && left + (x1 - 1) * dilationX >= cols) --x1;
      const at = from + <usize>(left + x0 * dilationX) * pixel;
      onePixel(at, tapRows, x1 - x0, tapY, tapX, filters + <usize>x0 * weightBytes, weightBytes, <usize>kernelX * weightBytes, bias, channels, to, lo, hi);
      ++x;
    }
  }
}

/**
 * Four neighbouring windows, three taps wide and 1 or 2 pixels apart (`stride`, a compile-time constant where this is inlined), that lie inside of the
 * columns. Every pixel is read once for all windows that it is in.
 */
// @ts-ignore: decorator
@inline
function fourWindows(
  stride: i32, input: usize, pixel: usize, tapRows: i32, tapY: usize, weight: usize, weightBytes: usize,
  bias: usize, channels: i32, out: usize, outPixel: usize, lo: f32, hi: f32,
): void {
  const lower = f32x4.splat(lo), upper = f32x4.splat(hi);
  let c = 0;
  for (; c + 8 <= channels; c += 8) {
    const off = <usize>c << 2;
    let a0 = v128.load(bias + off), b0 = v128.load(bias + off, 16);
    let a1 = a0, a2 = a0, a3 = a0, b1 = b0, b2 = b0, b3 = b0;
    let w = weight + off;
    let line = input + off;
    for (let y = 0; y < tapRows; ++y, line += tapY) {
      let p = line;
      const w0 = v128.load(w), v0 = v128.load(w, 16);
      w += weightBytes;
      const w1 = v128.load(w), v1 = v128.load(w, 16);
      w += weightBytes;
      const w2 = v128.load(w), v2 = v128.load(w, 16);
      w += weightBytes;
      if (stride == 1) {
        let x = v128.load(p), z = v128.load(p, 16);
        a0 = madd(x, w0, a0);
        b0 = madd(z, v0, b0);
        p += pixel;
        x = v128.load(p), z = v128.load(p, 16);
        a0 = madd(x, w1, a0);
        b0 = madd(z, v1, b0);
        a1 = madd(x, w0, a1);
        b1 = madd(z, v0, b1);
        p += pixel;
        x = v128.load(p), z = v128.load(p, 16);
        a0 = madd(x, w2, a0);
        b0 = madd(z, v2, b0);
        a1 = madd(x, w1, a1);
        b1 = madd(z, v1, b1);
        a2 = madd(x, w0, a2);
        b2 = madd(z, v0, b2);
        p += pixel;
        x = v128.load(p), z = v128.load(p, 16);
        a1 = madd(x, w2, a1);
        b1 = madd(z, v2, b1);
        a2 = madd(x, w1, a2);
        b2 = madd(z, v1, b2);
        a3 = madd(x, w0, a3);
        b3 = madd(z, v0, b3);
        p += pixel;
        x = v128.load(p), z = v128.load(p, 16);
        a2 = madd(x, w2, a2);
        b2 = madd(z, v2, b2);
        a3 = madd(x, w1, a3);
        b3 = madd(z, v1, b3);
        p += pixel;
        x = v128.load(p), z = v128.load(p, 16);
        a3 = madd(x, w2, a3);
        b3 = madd(z, v2, b3);
      } else {
        let x = v128.load(p), z = v128.load(p, 16);
        a0 = madd(x, w0, a0);
        b0 = madd(z, v0, b0);
        p += pixel;
        x = v128.load(p), z = v128.load(p, 16);
        a0 = madd(x, w1, a0);
        b0 = madd(z, v1, b0);
        p += pixel;
        x = v128.load(p), z = v128.load(p, 16);
        a0 = madd(x, w2, a0);
        b0 = madd(z, v2, b0);
        a1 = madd(x, w0, a1);
        b1 = madd(z, v0, b1);
        p += pixel;
        x = v128.load(p), z = v128.load(p, 16);
        a1 = madd(x, w1, a1);
        b1 = madd(z, v1, b1);
        p += pixel;
        x = v128.load(p), z = v128.load(p, 16);
        a1 = madd(x, w2, a1);
        b1 = madd(z, v2, b1);
        a2 = madd(x, w0, a2);
        b2 = madd(z, v0, b2);
        p += pixel;
        x = v128.load(p), z = v128.load(p, 16);
        a2 = madd(x, w1, a2);
        b2 = madd(z, v1, b2);
        p += pixel;
        x = v128.load(p), z = v128.load(p, 16);
        a2 = madd(x, w2, a2);
        b2 = madd(z, v2, b2);
        a3 = madd(x, w0, a3);
        b3 = madd(z, v0, b3);
        p += pixel;
        x = v128.load(p), z = v128.load(p, 16);
        a3 = madd(x, w1, a3);
        b3 = madd(z, v1, b3);
        p += pixel;
        x = v128.load(p), z = v128.load(p, 16);
        a3 = madd(x, w2, a3);
        b3 = madd(z, v2, b3);
      }
    }
    let o = out + off;
    v128.store(o, clampLanes(a0, lower, upper));
    v128.store(o, clampLanes(b0, lower, upper), 16);
    o += outPixel;
    v128.store(o, clampLanes(a1, lower, upper));
    v128.store(o, clampLanes(b1, lower, upper), 16);
    o += outPixel;
    v128.store(o, clampLanes(a2, lower, upper));
    v128.store(o, clampLanes(b2, lower, upper), 16);
    o += outPixel;
    v128.store(o, clampLanes(a3, lower, upper));
    v128.store(o, clampLanes(b3, lower, upper), 16);
  }
  if (c < channels) {
    fourOfFour(c, input, <usize>stride * pixel, tapRows, 3, tapY, pixel, weight, weightBytes, bias, channels, out, outPixel, lo, hi);
  }
}

/** Four neighbouring windows that lie inside of the columns. */
// @ts-ignore: decorator
@inline
function fourPixels(
  input: usize, stepX: usize, tapRows: i32, tapCols: i32, tapY: usize, tapX: usize, weight: usize, weightBytes: usize,
  bias: usize, channels: i32, out: usize, outPixel: usize, lo: f32, hi: f32,
): void {
  const lower = f32x4.splat(lo), upper = f32x4.splat(hi);
  let c = 0;
  for (; c + 8 <= channels; c += 8) {
    const off = <usize>c << 2;
    let a0 = v128.load(bias + off), b0 = v128.load(bias + off, 16);
    let a1 = a0, a2 = a0, a3 = a0, b1 = b0, b2 = b0, b3 = b0;
    let w = weight + off;
    let line = input + off;
    for (let y = 0; y < tapRows; ++y, line += tapY) {
      let p = line;
      for (let x = 0; x < tapCols; ++x, p += tapX, w += weightBytes) {
        const w0 = v128.load(w), w1 = v128.load(w, 16);
        a0 = madd(v128.load(p), w0, a0);
        b0 = madd(v128.load(p, 16), w1, b0);
        let q = p + stepX;
        a1 = madd(v128.load(q), w0, a1);
        b1 = madd(v128.load(q, 16), w1, b1);
        q += stepX;
        a2 = madd(v128.load(q), w0, a2);
        b2 = madd(v128.load(q, 16), w1, b2);
        q += stepX;
        a3 = madd(v128.load(q), w0, a3);
        b3 = madd(v128.load(q, 16), w1, b3);
      }
    }
    let o = out + off;
    v128.store(o, clampLanes(a0, lower, upper));
    v128.store(o, clampLanes(b0, lower, upper), 16);
    o += outPixel;
    v128.store(o, clampLanes(a1, lower, upper));
    v128.store(o, clampLanes(b1, lower, upper), 16);
    o += outPixel;
    v128.store(o, clampLanes(a2, lower, upper));
    v128.store(o, clampLanes(b2, lower, upper), 16);
    o += outPixel;
    v128.store(o, clampLanes(a3, lower, upper));
    v128.store(o, clampLanes(b3, lower, upper), 16);
  }
  if (c < channels) {
    fourOfFour(c, input, stepX, tapRows, tapCols, tapY, tapX, weight, weightBytes, bias, channels, out, outPixel, lo, hi);
  }
}

/** The channels of four neighbouring windows from `c` on, four at a time. */
function fourOfFour(
  c: i32, input: usize, stepX: usize, tapRows: i32, tapCols: i32, tapY: usize, tapX: usize, weight: usize, weightBytes: usize,
  bias: usize, channels: i32, out: usize, outPixel: usize, lo: f32, hi: f32,
): void {
  const lower = f32x4.splat(lo), upper = f32x4.splat(hi);
  for (; c < channels; c += 4) {
    const off = <usize>c << 2;
    const left = channels - c;
    let a0 = v128.load(bias + off);
    let a1 = a0, a2 = a0, a3 = a0;
    let w = weight + off;
    let line = input + off;
    for (let y = 0; y < tapRows; ++y, line += tapY) {
      let p = line;
      for (let x = 0; x < tapCols; ++x, p += tapX, w += weightBytes) {
        const w0 = v128.load(w);
        a0 = madd(v128.load(p), w0, a0);
        a1 = madd(v128.load(p + stepX), w0, a1);
        a2 = madd(v128.load(p + 2 * stepX), w0, a2);
        a3 = madd(v128.load(p + 3 * stepX), w0, a3);
      }
    }
    const o = out + off;
    storeUpTo4(o, clampLanes(a0, lower, upper), left);
    storeUpTo4(o + outPixel, clampLanes(a1, lower, upper), left);
    storeUpTo4(o + 2 * outPixel, clampLanes(a2, lower, upper), left);
    storeUpTo4(o + 3 * outPixel, clampLanes(a3, lower, upper), left);
  }
}

/** One window, of which `tapRows` by `tapCols` taps lie inside. */
// @ts-ignore: decorator
@inline
function onePixel(
  input: usize, tapRows: i32, tapCols: i32, tapY: usize, tapX: usize, weight: usize, weightBytes: usize, weightRow: usize,
  bias: usize, channels: i32, out: usize, lo: f32, hi: f32,
): void {
  const lower = f32x4.splat(lo), upper = f32x4.splat(hi);
  let c = 0;
  for (; c + 16 <= channels; c += 16) {
    const off = <usize>c << 2;
    let a0 = v128.load(bias + off), a1 = v128.load(bias + off, 16), a2 = v128.load(bias + off, 32), a3 = v128.load(bias + off, 48);
    let line = input + off, filters = weight + off;
    for (let y = 0; y < tapRows; ++y, line += tapY, filters += weightRow) {
      let p = line, w = filters;
      for (let x = 0; x < tapCols; ++x, p += tapX, w += weightBytes) {
        a0 = madd(v128.load(p), v128.load(w), a0);
        a1 = madd(v128.load(p, 16), v128.load(w, 16), a1);
        a2 = madd(v128.load(p, 32), v128.load(w, 32), a2);
        a3 = madd(v128.load(p, 48), v128.load(w, 48), a3);
      }
    }
    const o = out + off;
    v128.store(o, clampLanes(a0, lower, upper));
    v128.store(o, clampLanes(a1, lower, upper), 16);
    v128.store(o, clampLanes(a2, lower, upper), 32);
    v128.store(o, clampLanes(a3, lower, upper), 48);
  }
  for (; c < channels; c += 4) {
    const off = <usize>c << 2;
    let a = v128.load(bias + off);
    let line = input + off, filters = weight + off;
    for (let y = 0; y < tapRows; ++y, line += tapY, filters += weightRow) {
      let p = line, w = filters;
      for (let x = 0; x < tapCols; ++x, p += tapX, w += weightBytes) a = madd(v128.load(p), v128.load(w), a);
    }
    storeUpTo4(out + off, clampLanes(a, lower, upper), channels - c);
  }
}
