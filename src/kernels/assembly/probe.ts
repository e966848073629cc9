/**
 * Runs the 8-bit dot product once, so that the engine can compare it with exact arithmetic:
 * out[4] (i32) = out[4] + dot of 4 groups of 4 (signed weights, unsigned activations). Not for the baseline build.
 */
export function probe_dot_i8x16_u8x16(weights: usize, activations: usize, out: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    v128.store(out, i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(weights), v128.load(activations), v128.load(out)));
  } else {
    unreachable();
  }
}

// @ts-ignore: decorator
@inline
function step(p: usize, x: v128, sum: v128): v128 {
  return i32x4.add(sum, v128.xor(v128.load(p), x));
}

/** Eight chains of sums over 16 bytes each, stored 32 bytes apart: nothing a compiler could pack. */
export function probe_vectors(p: usize, rounds: i32, out: usize): void {
  let a = v128.load(out), b = a, c = a, d = a, e = a, f = a, g = a, h = a;
  for (let i = 0; i < rounds; i++) {
    const x = i32x4.splat(i);
    a = step(p, x, a);
    b = step(p + 32, x, b);
    c = step(p + 64, x, c);
    d = step(p + 96, x, d);
    e = step(p + 128, x, e);
    f = step(p + 160, x, f);
    g = step(p + 192, x, g);
    h = step(p + 224, x, h);
  }
  v128.store(out, a);
  v128.store(out, b, 32);
  v128.store(out, c, 64);
  v128.store(out, d, 96);
  v128.store(out, e, 128);
  v128.store(out, f, 160);
  v128.store(out, g, 192);
  v128.store(out, h, 224);
}

/** {@link probe_vectors} with a second vector beside every one: about as fast where a compiler packs the two, else half as fast at best. */
export function probe_pairs(p: usize, rounds: i32, out: usize): void {
  let a0 = v128.load(out), b0 = v128.load(out, 32), c0 = v128.load(out, 64), d0 = v128.load(out, 96), e0 = v128.load(out, 128), f0 = v128.load(out, 160), g0 = v128.load(out, 192), h0 = v128.load(out, 224);
  let a1 = v128.load(out, 16), b1 = v128.load(out, 48), c1 = v128.load(out, 80), d1 = v128.load(out, 112), e1 = v128.load(out, 144), f1 = v128.load(out, 176), g1 = v128.load(out, 208), h1 = v128.load(out, 240);
  for (let i = 0; i < rounds; i++) {
    const x = i32x4.splat(i);
    a0 = step(p, x, a0);
    a1 = step(p + 16, x, a1);
    b0 = step(p + 32, x, b0);
    b1 = step(p + 48, x, b1);
    c0 = step(p + 64, x, c0);
    c1 = step(p + 80, x, c1);
    d0 = step(p + 96, x, d0);
    d1 = step(p + 112, x, d1);
    e0 = step(p + 128, x, e0);
    e1 = step(p + 144, x, e1);
    f0 = step(p + 160, x, f0);
    f1 = step(p + 176, x, f1);
    g0 = step(p + 192, x, g0);
    g1 = step(p + 208, x, g1);
    h0 = step(p + 224, x, h0);
    h1 = step(p + 240, x, h1);
  }
  v128.store(out, a0);
  v128.store(out, a1, 16);
  v128.store(out, b0, 32);
  v128.store(out, b1, 48);
  v128.store(out, c0, 64);
  v128.store(out, c1, 80);
  v128.store(out, d0, 96);
  v128.store(out, d1, 112);
  v128.store(out, e0, 128);
  v128.store(out, e1, 144);
  v128.store(out, f0, 160);
  v128.store(out, f1, 176);
  v128.store(out, g0, 192);
  v128.store(out, g1, 208);
  v128.store(out, h0, 224);
  v128.store(out, h1, 240);
}
