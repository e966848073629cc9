import { clampLanes, storePair } from "./f32_simd";

// Functions of two floats at a time, of arrays that repeat along some dimensions.

/** 1 where a mask is set. */
// @ts-ignore: decorator
@inline
function truth(mask: v128): v128 {
  return v128.and(mask, f32x4.splat(1));
}

// @ts-ignore: decorator
@inline
function apply(op: i32, a: v128, b: v128, alpha: v128): v128 {
  if (op == 0) return f32x4.add(a, b);
  if (op == 1) return f32x4.add(a, f32x4.mul(alpha, b));
  if (op == 2) return f32x4.sub(a, b);
  if (op == 3) return f32x4.mul(a, b);
  if (op == 4) return f32x4.div(a, b);
  if (op == 5) return f32x4.max(a, b);
  if (op == 6) return f32x4.min(a, b);
  if (op == 7) return v128.bitselect(a, f32x4.mul(a, b), f32x4.gt(a, f32x4.splat(0)));
  if (op == 8) return v128.bitselect(alpha, a, f32x4.ne(b, f32x4.splat(0)));
  if (op == 9) return truth(f32x4.eq(a, b));
  if (op == 10) return truth(f32x4.ne(a, b));
  if (op == 11) return truth(f32x4.lt(a, b));
  if (op == 12) return truth(f32x4.le(a, b));
  if (op == 13) return truth(f32x4.gt(a, b));
  if (op == 14) return truth(f32x4.ge(a, b));
  if (op == 15) return v128.and(a, f32x4.ne(b, f32x4.splat(0)));
  if (op == 16) return v128.and(a, f32x4.eq(b, f32x4.splat(0)));
  return v128.or(a, b);
}

// @ts-ignore: decorator
@inline
function operand(p: usize, step: usize): v128 {
  if (step == 4) return v128.load(p);
  if (step == 0) return v128.load32_splat(p);
  return f32x4(load<f32>(p), load<f32>(p + step), load<f32>(p + 2 * step), load<f32>(p + 3 * step));
}

/** One line: `n` results next to each other, whole vectors but for the last. */
// @ts-ignore: decorator
@inline
function line(op: i32, a: usize, aStep: usize, b: usize, bStep: usize, n: i32, out: usize, alpha: v128, lo: v128, hi: v128): void {
  if (aStep == 4 && bStep == 4) {
    for (; n >= 8; n -= 8, a += 32, b += 32, out += 32) {
      const p = apply(op, v128.load(a), v128.load(b), alpha), q = apply(op, v128.load(a, 16), v128.load(b, 16), alpha);
      storePair(out, clampLanes(p, lo, hi), clampLanes(q, lo, hi));
    }
  } else if (aStep == 4 && bStep == 0) {
    const c = v128.load32_splat(b);
    for (; n >= 8; n -= 8, a += 32, out += 32) {
      const p = apply(op, v128.load(a), c, alpha), q = apply(op, v128.load(a, 16), c, alpha);
      storePair(out, clampLanes(p, lo, hi), clampLanes(q, lo, hi));
    }
  }
  for (; n >= 4; n -= 4, a += 4 * aStep, b += 4 * bStep, out += 16) {
    v128.store(out, clampLanes(apply(op, operand(a, aStep), operand(b, bStep), alpha), lo, hi));
  }
  for (; n > 0; --n, a += aStep, b += bStep, out += 4) {
    v128.store32_lane(out, clampLanes(apply(op, v128.load32_splat(a), v128.load32_splat(b), alpha), lo, hi), 0);
  }
}

// V8 ends the process when it is to pack operations one of whose operands is a vector that a function is given: numbers are.
function anyLine(op: i32, a: usize, aStep: usize, b: usize, bStep: usize, n: i32, out: usize, factor: f32, least: f32, most: f32): void {
  const alpha = f32x4.splat(factor), lo = f32x4.splat(least), hi = f32x4.splat(most);
  switch (op) {
    case 0: line(0, a, aStep, b, bStep, n, out, alpha, lo, hi); break;
    case 1: line(1, a, aStep, b, bStep, n, out, alpha, lo, hi); break;
    case 2: line(2, a, aStep, b, bStep, n, out, alpha, lo, hi); break;
    case 3: line(3, a, aStep, b, bStep, n, out, alpha, lo, hi); break;
    case 4: line(4, a, aStep, b, bStep, n, out, alpha, lo, hi); break;
    case 5: line(5, a, aStep, b, bStep, n, out, alpha, lo, hi); break;
    case 6: line(6, a, aStep, b, bStep, n, out, alpha, lo, hi); break;
    case 7: line(7, a, aStep, b, bStep, n, out, alpha, lo, hi); break;
    case 8: line(8, a, aStep, b, bStep, n, out, alpha, lo, hi); break;
    case 9: line(9, a, aStep, b, bStep, n, out, alpha, lo, hi); break;
    case 10: line(10, a, aStep, b, bStep, n, out, alpha, lo, hi); break;
    case 11: line(11, a, aStep, b, bStep, n, out, alpha, lo, hi); break;
    case 12: line(12, a, aStep, b, bStep, n, out, alpha, lo, hi); break;
    case 13: line(13, a, aStep, b, bStep, n, out, alpha, lo, hi); break;
    case 14: line(14, a, aStep, b, bStep, n, out, alpha, lo, hi); break;
    case 15: line(15, a, aStep, b, bStep, n, out, alpha, lo, hi); break;
    case 16: line(16, a, aStep, b, bStep, n, out, alpha, lo, hi); break;
    default: line(17, a, aStep, b, bStep, n, out, alpha, lo, hi);
  }
}

/**
 * Lines [begin, end) of out = clamp(a ∘ b). `plan` holds i32s, strides in bytes: levels, columns, steps of a and of b, then size and strides
 * of a, b and out of every level, the innermost first.
 */
export function f32_zip(begin: i32, end: i32, op: i32, a: usize, b: usize, out: usize, plan: usize, alpha: f32, lo: f32, hi: f32): void {
  const levels = load<i32>(plan);
  const cols = load<i32>(plan, 4);
  const aStep = <usize>load<i32>(plan, 8), bStep = <usize>load<i32>(plan, 12);
  for (let unit = begin; unit < end; ++unit) {
    let rest = unit;
    let p = a, q = b, to = out;
    let level = plan + 16;
    for (let l = 0; l < levels; ++l, level += 16) {
      const size = load<i32>(level);
      const above = rest / size;
      const at = <usize>(rest - above * size);
      p += at * <usize>load<i32>(level, 4);
      q += at * <usize>load<i32>(level, 8);
      to += at * <usize>load<i32>(level, 12);
      rest = above;
    }
    anyLine(op, p, aStep, q, bStep, cols, to, alpha, lo, hi);
  }
}

/** One long line of {@link f32_zip}. */
export function f32_zip_line(op: i32, a: usize, aStep: i32, b: usize, bStep: i32, n: i32, out: usize, alpha: f32, lo: f32, hi: f32): void {
  anyLine(op, a, <usize>aStep, b, <usize>bStep, n, out, alpha, lo, hi);
}
