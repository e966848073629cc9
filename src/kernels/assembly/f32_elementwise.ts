import { storePair } from "./f32_simd";

// Kernels over flat arrays. Whole pairs of vectors are read and written: blocks are padded accordingly.
// Products and sums are rounded separately (no fused multiply-add), as PyTorch's element-wise kernels and their tests expect.

/** out = x < 0 ? 0 : x; NaN and −0 pass through, as in PyTorch. */
export function f32_relu(x: usize, n: i32, out: usize): void {
  const zero = f32x4.splat(0);
  const end = x + (<usize>n << 2);
  for (; x < end; x += 32, out += 32) storePair(out, f32x4.pmax(v128.load(x), zero), f32x4.pmax(v128.load(x, 16), zero));
}

/** out = y > 0 ? g : 0, where `y` is the input or the output of the ReLU. */
export function f32_relu_grad(g: usize, y: usize, n: i32, out: usize): void {
  const zero = f32x4.splat(0);
  const end = g + (<usize>n << 2);
  for (; g < end; g += 32, y += 32, out += 32) {
    const a = v128.andnot(v128.load(g), f32x4.le(v128.load(y), zero));
    const b = v128.andnot(v128.load(g, 16), f32x4.le(v128.load(y, 16), zero));
    storePair(out, a, b);
  }
}

/** out = max(a + alpha·b, floor); a floor of −∞ leaves the sum as it is. NaN passes through. */
export function f32_add(a: usize, b: usize, alpha: f32, n: i32, floor: f32, out: usize): void {
  const scale = f32x4.splat(alpha);
  const low = f32x4.splat(floor);
  const end = a + (<usize>n << 2);
  for (; a < end; a += 32, b += 32, out += 32) {
    const p = f32x4.add(v128.load(a), f32x4.mul(scale, v128.load(b)));
    const q = f32x4.add(v128.load(a, 16), f32x4.mul(scale, v128.load(b, 16)));
    storePair(out, f32x4.pmax(p, low), f32x4.pmax(q, low));
  }
}

/** out = a·b. */
export function f32_mul(a: usize, b: usize, n: i32, out: usize): void {
  const end = a + (<usize>n << 2);
  for (; a < end; a += 32, b += 32, out += 32) {
    storePair(out, f32x4.mul(v128.load(a), v128.load(b)), f32x4.mul(v128.load(a, 16), v128.load(b, 16)));
  }
}

/** out = alpha·x. */
export function f32_scale(x: usize, alpha: f32, n: i32, out: usize): void {
  const scale = f32x4.splat(alpha);
  const end = x + (<usize>n << 2);
  for (; x < end; x += 32, out += 32) storePair(out, f32x4.mul(scale, v128.load(x)), f32x4.mul(scale, v128.load(x, 16)));
}

/** Sum in double precision. */
export function f32_sum(x: usize, n: i32): f64 {
  let a = f64x2.splat(0), b = a, c = a, d = a;
  const end = x + (<usize>n << 2);
  for (; x + 32 <= end; x += 32) {
    const p = v128.load(x);
    const q = v128.load(x, 16);
    a = f64x2.add(a, f64x2.promote_low_f32x4(p));
    b = f64x2.add(b, f64x2.promote_low_f32x4(v128.shuffle<f32>(p, p, 2, 3, 2, 3)));
    c = f64x2.add(c, f64x2.promote_low_f32x4(q));
    d = f64x2.add(d, f64x2.promote_low_f32x4(v128.shuffle<f32>(q, q, 2, 3, 2, 3)));
  }
  a = f64x2.add(f64x2.add(a, b), f64x2.add(c, d));
  let sum = f64x2.extract_lane(a, 0) + f64x2.extract_lane(a, 1);
  for (; x < end; x += 4) sum += <f64>load<f32>(x);
  return sum;
}

/**
 * Stochastic gradient descent in place, torch.optim.SGD's arithmetic: g += decay·p; v = momentum·v + blend·g;
 * g = nesterov ? g + momentum·v : v; p −= lr·g. With `momentum` zero the buffer `v` is not touched.
 */
export function f32_sgd(p: usize, g: usize, v: usize, n: i32, lr: f32, decay: f32, momentum: f32, blend: f32, nesterov: bool): void {
  const rate = f32x4.splat(lr);
  const wd = f32x4.splat(decay);
  const mu = f32x4.splat(momentum);
  const mix = f32x4.splat(blend);
  const end = p + (<usize>n << 2);
  for (; p < end; p += 16, g += 16, v += 16) {
    const w = v128.load(p);
    let d = f32x4.add(v128.load(g), f32x4.mul(wd, w));
    if (momentum != 0) {
      const next = f32x4.add(f32x4.mul(mu, v128.load(v)), f32x4.mul(mix, d));
      v128.store(v, next);
      d = nesterov ? f32x4.add(d, f32x4.mul(mu, next)) : next;
    }
    v128.store(p, f32x4.sub(w, f32x4.mul(rate, d)));
  }
}

/**
 * Adam in place, torch.optim.Adam's arithmetic: p *= shrink (AdamW's decay); g += decay·p; m = beta1·m + (1 − beta1)·g;
 * v = beta2·v + (1 − beta2)·g²; p −= stepSize · m / (sqrt(v) / rootCorrection + eps).
 */
export function f32_adam(
  p: usize, g: usize, m: usize, v: usize, n: i32, shrink: f32, decay: f32, beta1: f32, rest1: f32, beta2: f32, rest2: f32,
  stepSize: f32, rootCorrection: f32, eps: f32,
): void {
  const vShrink = f32x4.splat(shrink);
  const vDecay = f32x4.splat(decay);
  const vBeta1 = f32x4.splat(beta1);
  const vRest1 = f32x4.splat(rest1);
  const vBeta2 = f32x4.splat(beta2);
  const vRest2 = f32x4.splat(rest2);
  const vStep = f32x4.splat(stepSize);
  const vRoot = f32x4.splat(rootCorrection);
  const vEps = f32x4.splat(eps);
  const end = p + (<usize>n << 2);
  for (; p < end; p += 16, g += 16, m += 16, v += 16) {
    const w = f32x4.mul(v128.load(p), vShrink);
    const d = f32x4.add(v128.load(g), f32x4.mul(vDecay, w));
    const first = f32x4.add(f32x4.mul(vBeta1, v128.load(m)), f32x4.mul(vRest1, d));
    const second = f32x4.add(f32x4.mul(vBeta2, v128.load(v)), f32x4.mul(vRest2, f32x4.mul(d, d)));
    v128.store(m, first);
    v128.store(v, second);
    const denominator = f32x4.add(f32x4.div(f32x4.sqrt(second), vRoot), vEps);
    v128.store(p, f32x4.sub(w, f32x4.mul(vStep, f32x4.div(first, denominator))));
  }
}
