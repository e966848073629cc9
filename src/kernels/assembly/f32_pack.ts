import { loadLanes } from "./f32_simd";

/**
 * Packs a row-major matrix [k][n] (rows `rowBytes` apart) into panels of 8 columns: dst[n/8][k][n%8], panels `panelBytes` apart.
 * Columns past `n` become zero.
 */
export function f32_pack_rows(src: usize, rowBytes: usize, k: i32, n: i32, dst: usize, panelBytes: usize): void {
  for (let c = 0; c < n; c += 8, dst += panelBytes) {
    const left = n - c;
    let s = src + (<usize>c << 2);
    let d = dst;
    const end = dst + (<usize>k << 5);
    if (left >= 8) {
      for (; d < end; d += 32, s += rowBytes) {
        v128.store(d, v128.load(s));
        v128.store(d, v128.load(s, 16), 16);
      }
    } else {
      for (; d < end; d += 32, s += rowBytes) {
        v128.store(d, left >= 4 ? v128.load(s) : loadLanes(s, left));
        v128.store(d, left > 4 ? loadLanes(s + 16, left & 3) : f32x4.splat(0), 16);
      }
    }
  }
}

/**
 * Packs a matrix stored transposed, [n][k] (rows `rowBytes` apart), into panels of 8 columns: dst[n/8][k][n%8].
 * Works on 4×4 blocks turned in registers; columns past `n` become zero.
 */
export function f32_pack_columns(src: usize, rowBytes: usize, k: i32, n: i32, dst: usize, panelBytes: usize): void {
  for (let c = 0; c < n; c += 8, dst += panelBytes) {
    for (let half = 0; half < 8; half += 4) {
      const left = n - c - half;
      let d = dst + (<usize>half << 2);
      let i = k;
      if (left <= 0) {
        for (; i > 0; --i, d += 32) v128.store(d, f32x4.splat(0));
        continue;
      }
      // Rows past the matrix repeat its last one and are masked out afterwards.
      let s0 = src + <usize>(c + half) * rowBytes;
      let s1 = left > 1 ? s0 + rowBytes : s0;
      let s2 = left > 2 ? s1 + rowBytes : s1;
      let s3 = left > 3 ? s2 + rowBytes : s2;
      const mask = i32x4.gt_s(i32x4.splat(left), i32x4(0, 1, 2, 3));
      for (; i >= 4; i -= 4, d += 128) {
        const r0 = v128.load(s0);
        const r1 = v128.load(s1);
        const r2 = v128.load(s2);
        const r3 = v128.load(s3);
        const p0 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
        const p1 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
        const p2 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
        const p3 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
        v128.store(d, v128.and(mask, v128.shuffle<f32>(p0, p1, 0, 1, 4, 5)));
        v128.store(d, v128.and(mask, v128.shuffle<f32>(p0, p1, 2, 3, 6, 7)), 32);
        v128.store(d, v128.and(mask, v128.shuffle<f32>(p2, p3, 0, 1, 4, 5)), 64);
        v128.store(d, v128.and(mask, v128.shuffle<f32>(p2, p3, 2, 3, 6, 7)), 96);
        s0 += 16, s1 += 16, s2 += 16, s3 += 16;
      }
      for (; i > 0; --i, d += 32) {
        const x = f32x4(load<f32>(s0), load<f32>(s1), load<f32>(s2), load<f32>(s3));
        v128.store(d, v128.and(mask, x));
        s0 += 4, s1 += 4, s2 += 4, s3 += 4;
      }
    }
  }
}

/**
 * Packs convolution weights into panels of 8 columns, taps outermost: dst[n/8][tap][k][n%8] = src[n·nBytes + k·kBytes + tapTable[tap]].
 * The strides choose the direction: output channels as columns for the forward product, input channels for the gradient.
 */
export function f32_pack_taps(
  src: usize, nBytes: usize, kBytes: usize, tapTable: usize, taps: i32, k: i32, n: i32, dst: usize,
): void {
  // Source channels outside, taps inside: weights are stored with the taps next to each other, so all eight columns are read in order.
  const tapBytes = <usize>k << 5;
  for (let c = 0; c < n; c += 8, dst += <usize>taps * tapBytes) {
    const cols = min(8, n - c);
    const n1 = cols > 1 ? nBytes : 0, n2 = cols > 2 ? 2 * nBytes : 0, n3 = cols > 3 ? 3 * nBytes : 0;
    const n4 = cols > 4 ? 4 * nBytes : 0, n5 = cols > 5 ? 5 * nBytes : 0, n6 = cols > 6 ? 6 * nBytes : 0, n7 = cols > 7 ? 7 * nBytes : 0;
    const low = i32x4.gt_s(i32x4.splat(cols), i32x4(0, 1, 2, 3));
    const high = i32x4.gt_s(i32x4.splat(cols), i32x4(4, 5, 6, 7));
    let from = src + <usize>c * nBytes;
    for (let i = 0; i < k; ++i, from += kBytes) {
      let d = dst + (<usize>i << 5);
      for (let t = 0; t < taps; ++t, d += tapBytes) {
        const s = from + <usize>load<u32>(tapTable + (<usize>t << 2));
        const a = f32x4(load<f32>(s), load<f32>(s + n1), load<f32>(s + n2), load<f32>(s + n3));
        const b = f32x4(load<f32>(s + n4), load<f32>(s + n5), load<f32>(s + n6), load<f32>(s + n7));
        v128.store(d, v128.and(a, low));
        v128.store(d, v128.and(b, high), 16);
      }
    }
  }
}

/**
 * Inverse layout change for a weight gradient: dst[o][c][tap] = src[tap][c][o], where a source row holds `rowBytes` (a multiple of 32)
 * and `dst` rows are o-major, contiguous.
 */
export function f32_unpack_taps(src: usize, rowBytes: usize, taps: i32, k: i32, n: i32, dst: usize): void {
  // Eight output channels at a time: whole vectors are read, and each channel is written in order.
  const filterBytes = <usize>(k * taps) << 2;
  const tapBytes = <usize>k * rowBytes;
  for (let o = 0; o < n; o += 8, src += 32) {
    const cols = min(8, n - o);
    let to = dst + <usize>o * filterBytes;
    for (let c = 0; c < k; ++c) {
      let s = src + <usize>c * rowBytes;
      for (let t = 0; t < taps; ++t, to += 4, s += tapBytes) {
        if (cols == 8) {
          const a = v128.load(s);
          const b = v128.load(s, 16);
          const to2 = to + 2 * filterBytes, to4 = to + 4 * filterBytes, to6 = to + 6 * filterBytes;
          v128.store32_lane(to, a, 0);
          v128.store32_lane(to + filterBytes, a, 1);
          v128.store32_lane(to2, a, 2);
          v128.store32_lane(to2 + filterBytes, a, 3);
          v128.store32_lane(to4, b, 0);
          v128.store32_lane(to4 + filterBytes, b, 1);
          v128.store32_lane(to6, b, 2);
          v128.store32_lane(to6 + filterBytes, b, 3);
        } else {
          for (let i = 0; i < cols; ++i) store<f32>(to + <usize>i * filterBytes, load<f32>(s + (<usize>i << 2)));
        }
      }
    }
  }
}

/**
 * Copies n0×n1×n2 pieces of `bytes` (a multiple of 4) between two strided buffers; the strides are in bytes.
 * Puts images into a zeroed frame, crops them, or deals rows out.
 */
export function f32_copy_strided(
  src: usize, s0: usize, s1: usize, s2: usize, dst: usize, d0: usize, d1: usize, d2: usize, n0: i32, n1: i32, n2: i32, bytes: usize,
): void {
  for (let i = 0; i < n0; ++i) {
    for (let j = 0; j < n1; ++j) {
      let s = src + <usize>i * s0 + <usize>j * s1;
      let d = dst + <usize>i * d0 + <usize>j * d1;
      for (let l = 0; l < n2; ++l, s += s2, d += d2) {
        let at: usize = 0;
        for (; at + 64 <= bytes; at += 64) {
          v128.store(d + at, v128.load(s + at));
          v128.store(d + at, v128.load(s + at, 16), 16);
          v128.store(d + at, v128.load(s + at, 32), 32);
          v128.store(d + at, v128.load(s + at, 48), 48);
        }
        for (; at + 16 <= bytes; at += 16) v128.store(d + at, v128.load(s + at));
        for (; at < bytes; at += 4) store<u32>(d + at, load<u32>(s + at));
      }
    }
  }
}
