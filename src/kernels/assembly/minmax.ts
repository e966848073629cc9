import { storePair } from "./f32_simd";

/**
 * Smallest and largest of `n` floats (n >= 1), written to out[0] and out[1]; 64 bytes at `out` are written on the way.
 * A NaN anywhere makes both NaN, as torch.aminmax does.
 */
export function f32_minmax(x: usize, n: usize, out: usize): void {
  const first = v128.load32_splat(x);
  // The least and greatest pass over NaN, one instruction each; NaN is looked for beside them.
  let lo0 = first, lo1 = first, lo2 = first, lo3 = first, hi0 = first, hi1 = first, hi2 = first, hi3 = first;
  let odd0 = f32x4.ne(first, first), odd1 = odd0;
  const end = x + (n << 2);
  let p = x;
  for (; p + 64 <= end; p += 64) {
    const a = v128.load(p), b = v128.load(p, 16), c = v128.load(p, 32), d = v128.load(p, 48);
    lo0 = f32x4.pmin(lo0, a);
    lo1 = f32x4.pmin(lo1, b);
    hi0 = f32x4.pmax(hi0, a);
    hi1 = f32x4.pmax(hi1, b);
    lo2 = f32x4.pmin(lo2, c);
    lo3 = f32x4.pmin(lo3, d);
    hi2 = f32x4.pmax(hi2, c);
    hi3 = f32x4.pmax(hi3, d);
    odd0 = v128.or(odd0, v128.or(f32x4.ne(a, a), f32x4.ne(c, c)));
    odd1 = v128.or(odd1, v128.or(f32x4.ne(b, b), f32x4.ne(d, d)));
  }
  // The rest has variables of its own: in pairs, both halves have the same story.
  let lo = first, hi = first, odd = f32x4.ne(first, first);
  for (; p < end; p += 4) {
    const a = v128.load32_splat(p);
    lo = f32x4.pmin(lo, a);
    hi = f32x4.pmax(hi, a);
    odd = v128.or(odd, f32x4.ne(a, a));
  }
  // All bits set are NaN, which the least and greatest of the four lanes pass on.
  storePair(out, v128.or(f32x4.pmin(lo0, lo2), odd0), v128.or(f32x4.pmin(lo1, lo3), odd1));
  storePair(out + 32, v128.or(f32x4.pmax(hi0, hi2), odd0), v128.or(f32x4.pmax(hi1, hi3), odd1));
  lo = f32x4.min(v128.or(lo, odd), f32x4.min(v128.load(out), v128.load(out, 16)));
  hi = f32x4.max(v128.or(hi, odd), f32x4.max(v128.load(out, 32), v128.load(out, 48)));
  store<f32>(out, min(min(f32x4.extract_lane(lo, 0), f32x4.extract_lane(lo, 1)), min(f32x4.extract_lane(lo, 2), f32x4.extract_lane(lo, 3))));
  store<f32>(out, max(max(f32x4.extract_lane(hi, 0), f32x4.extract_lane(hi, 1)), max(f32x4.extract_lane(hi, 2), f32x4.extract_lane(hi, 3))), 4);
}
