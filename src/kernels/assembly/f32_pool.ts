import { storeLanes } from "./f32_simd";

// Pooling over windows given as lists: output pixel `o` covers pixels[starts[o]] … pixels[starts[o + 1] − 1] of its image. Channels lie in
// vector lanes; the last vector of a pixel may read up to 12 bytes past it, and only its valid lanes are stored.

// @ts-ignore: decorator
@inline
function storeUpTo4(p: usize, x: v128, left: i32): void {
  if (left >= 4) v128.store(p, x);
  else storeLanes(p, x, left);
}

/** Largest element of every window and the pixel it came from (the first of equals; NaN wins). Windows are not empty. */
export function f32_window_max(
  x: usize, images: i32, inPixels: i32, channels: i32, starts: usize, pixels: usize, outPixels: i32, out: usize, indices: usize,
): void {
  const row = <usize>channels << 2;
  for (let image = 0; image < images; ++image, x += <usize>inPixels * row) {
    for (let o = 0; o < outPixels; ++o, out += row, indices += row) {
      const list = starts + (<usize>o << 2);
      const first = pixels + (<usize>load<i32>(list) << 2);
      const end = pixels + (<usize>load<i32>(list, 4) << 2);
      for (let c = 0; c < channels; c += 4) {
        const off = <usize>c << 2;
        const from = x + off;
        let where = v128.load32_splat(first);
        let best = v128.load(from + <usize>load<i32>(first) * row);
        for (let p = first + 4; p < end; p += 4) {
          const v = v128.load(from + <usize>load<i32>(p) * row);
          const wins = v128.or(f32x4.gt(v, best), f32x4.ne(v, v));
          best = v128.bitselect(v, best, wins);
          where = v128.bitselect(v128.load32_splat(p), where, wins);
        }
        storeUpTo4(out + off, best, channels - c);
        storeUpTo4(indices + off, where, channels - c);
      }
    }
  }
}

/** Largest element of every window (NaN wins), of one image whose pixels are `row` bytes apart. Windows are not empty. */
export function f32_window_largest(x: usize, row: usize, channels: i32, starts: usize, pixels: usize, outPixels: i32, out: usize): void {
  for (let o = 0; o < outPixels; ++o, out += <usize>channels << 2) {
    const list = starts + (<usize>o << 2);
    const first = pixels + (<usize>load<i32>(list) << 2);
    const end = pixels + (<usize>load<i32>(list, 4) << 2);
    let c = 0;
    // A maximum that keeps NaN takes many instructions; all ones where one was seen, joined at the end, make one too.
    for (; c + 16 <= channels; c += 16) {
      const from = x + (<usize>c << 2);
      let q = from + <usize>load<i32>(first) * row;
      let a0 = v128.load(q), a1 = v128.load(q, 16), a2 = v128.load(q, 32), a3 = v128.load(q, 48);
      let n0 = f32x4.ne(a0, a0), n1 = f32x4.ne(a1, a1), n2 = f32x4.ne(a2, a2), n3 = f32x4.ne(a3, a3);
      for (let p = first + 4; p < end; p += 4) {
        q = from + <usize>load<i32>(p) * row;
        let v = v128.load(q), w = v128.load(q, 16);
        a0 = f32x4.pmax(a0, v);
        a1 = f32x4.pmax(a1, w);
        n0 = v128.or(n0, f32x4.ne(v, v));
        n1 = v128.or(n1, f32x4.ne(w, w));
        v = v128.load(q, 32), w = v128.load(q, 48);
        a2 = f32x4.pmax(a2, v);
        a3 = f32x4.pmax(a3, w);
        n2 = v128.or(n2, f32x4.ne(v, v));
        n3 = v128.or(n3, f32x4.ne(w, w));
      }
      const to = out + (<usize>c << 2);
      v128.store(to, v128.or(a0, n0));
      v128.store(to, v128.or(a1, n1), 16);
      v128.store(to, v128.or(a2, n2), 32);
      v128.store(to, v128.or(a3, n3), 48);
    }
    for (; c < channels; c += 4) {
      const from = x + (<usize>c << 2);
      let a = v128.load(from + <usize>load<i32>(first) * row);
      let n = f32x4.ne(a, a);
      for (let p = first + 4; p < end; p += 4) {
        const v = v128.load(from + <usize>load<i32>(p) * row);
        a = f32x4.pmax(a, v);
        n = v128.or(n, f32x4.ne(v, v));
      }
      storeUpTo4(out + (<usize>c << 2), v128.or(a, n), channels - c);
    }
  }
}

/** Sum of every window divided by divisors[o]. */
export function f32_window_mean(
  x: usize, images: i32, inPixels: i32, channels: i32, starts: usize, pixels: usize, divisors: usize, outPixels: i32, out: usize,
): void {
  const row = <usize>channels << 2;
  for (let image = 0; image < images; ++image, x += <usize>inPixels * row) {
    for (let o = 0; o < outPixels; ++o, out += row) {
      const list = starts + (<usize>o << 2);
      const first = pixels + (<usize>load<i32>(list) << 2);
      const end = pixels + (<usize>load<i32>(list, 4) << 2);
      const divisor = v128.load32_splat(divisors + (<usize>o << 2));
      for (let c = 0; c < channels; c += 4) {
        const off = <usize>c << 2;
        const from = x + off;
        let a = f32x4.splat(0), b = a;
        let p = first;
        for (; p + 8 <= end; p += 8) {
          a = f32x4.add(a, v128.load(from + <usize>load<i32>(p) * row));
          b = f32x4.add(b, v128.load(from + <usize>load<i32>(p, 4) * row));
        }
        if (p < end) a = f32x4.add(a, v128.load(from + <usize>load<i32>(p) * row));
        storeUpTo4(out + off, f32x4.div(f32x4.add(a, b), divisor), channels - c);
      }
    }
  }
}

/** Adds g[o] / divisors[o] to every pixel of window `o`. The output's rows may be read, not written, 12 bytes past their end. */
export function f32_window_mean_grad(
  g: usize, images: i32, inPixels: i32, channels: i32, starts: usize, pixels: usize, divisors: usize, outPixels: i32, out: usize,
): void {
  const row = <usize>channels << 2;
  for (let image = 0; image < images; ++image, out += <usize>inPixels * row) {
    for (let o = 0; o < outPixels; ++o, g += row) {
      const list = starts + (<usize>o << 2);
      const first = pixels + (<usize>load<i32>(list) << 2);
      const end = pixels + (<usize>load<i32>(list, 4) << 2);
      const divisor = v128.load32_splat(divisors + (<usize>o << 2));
      for (let c = 0; c < channels; c += 4) {
        const off = <usize>c << 2;
        const share = f32x4.div(v128.load(g + off), divisor);
        for (let p = first; p < end; p += 4) {
          const to = out + off + <usize>load<i32>(p) * row;
          storeUpTo4(to, f32x4.add(v128.load(to), share), channels - c);
        }
      }
    }
  }
}

/**
 * Mixes of pixels: out[o] = Σ over k of shares[o][k] · x[pixels[o][k]], `width` pixels for each of `count` results. Channels lie in vector
 * lanes as above.
 */
export function f32_mix_pixels(x: usize, channels: i32, pixels: usize, shares: usize, width: i32, count: i32, out: usize): void {
  const row = <usize>channels << 2;
  const step = <usize>width << 2;
  for (let o = 0; o < count; ++o, out += row, pixels += step, shares += step) {
    for (let c = 0; c < channels; c += 4) {
      const from = x + (<usize>c << 2);
      let sum = f32x4.mul(v128.load32_splat(shares), v128.load(from + <usize>load<i32>(pixels) * row));
      for (let k: usize = 4; k < step; k += 4) {
        const pixel = v128.load(from + <usize>load<i32>(pixels + k) * row);
        sum = f32x4.add(sum, f32x4.mul(v128.load32_splat(shares + k), pixel));
      }
      storeUpTo4(out + (<usize>c << 2), sum, channels - c);
    }
  }
}
