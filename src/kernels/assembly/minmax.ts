/**
 * Smallest and largest of `n` floats (n >= 1), written to out[0] and out[1].
 * A NaN anywhere makes both NaN, as torch.aminmax does.
 */
export function f32_minmax(x: usize, n: usize, out: usize): void {
  const first = v128.load32_splat(x);
  // The least and greatest pass over NaN, one instruction each; NaN is looked for beside them.
  let lo0 = first, lo1 = first, hi0 = first, hi1 = first, odd = f32x4.ne(first, first);
  const end = x + (n << 2);
  let p = x;
  for (; p + 32 <= end; p += 32) {
    const a = v128.load(p);
    const b = v128.load(p, 16);
    lo0 = f32x4.pmin(lo0, a);
    hi0 = f32x4.pmax(hi0, a);
    lo1 = f32x4.pmin(lo1, b);
    hi1 = f32x4.pmax(hi1, b);
    odd = v128.or(odd, v128.or(f32x4.ne(a, a), f32x4.ne(b, b)));
  }
  for (; p < end; p += 4) {
    const a = v128.load32_splat(p);
    lo0 = f32x4.pmin(lo0, a);
    hi0 = f32x4.pmax(hi0, a);
    odd = v128.or(odd, f32x4.ne(a, a));
  }
  if (v128.any_true(odd)) {
    store<f32>(out, NaN);
    store<f32>(out, NaN, 4);
    return;
  }
  lo0 = f32x4.min(lo0, lo1);
  hi0 = f32x4.max(hi0, hi1);
  store<f32>(out, min(min(f32x4.extract_lane(lo0, 0), f32x4.extract_lane(lo0, 1)), min(f32x4.extract_lane(lo0, 2), f32x4.extract_lane(lo0, 3))));
  store<f32>(out, max(max(f32x4.extract_lane(hi0, 0), f32x4.extract_lane(hi0, 1)), max(f32x4.extract_lane(hi0, 2), f32x4.extract_lane(hi0, 3))), 4);
}
