/** Distance between expansion points, and where erf has become ±1 in double precision. */
const STEP = 1 / 32;
const LIMIT = 6;
const TERMS = 8;
const POINTS = LIMIT / STEP + 1;

let table: Float64Array | null = null;

/**
 * The error function to double precision (a few units in the last place).
 *
 * Taylor polynomials around the multiples of 1/32, whose coefficients follow from erf itself and its derivatives
 * `erf⁽ᵏ⁺¹⁾(x) = (−1)ᵏ · 2/√π · Hₖ(x) · e^(−x²)` (Hₖ: Hermite polynomials; Abramowitz and Stegun 7.1.19). Within
 * 1/64 of a point the first dropped term is below 1e-16.
 */
export function erf(x: number): number {
  table ??= expansions();
  const t = table;
  const a = Math.abs(x);
  if (!(a < LIMIT)) return Number.isNaN(x) ? x : Math.sign(x);
  const k = (a * (1 / STEP) + 0.5) | 0;
  const h = a - k * STEP;
  const at = k * TERMS;
  const h2 = h * h;
  const low = t[at] + h * t[at + 1] + h2 * (t[at + 2] + h * t[at + 3]);
  const high = t[at + 4] + h * t[at + 5] + h2 * (t[at + 6] + h * t[at + 7]);
  const y = low + h2 * h2 * high;
  return x < 0 ? -y : y;
}

function expansions(): Float64Array {
  const coefficients = new Float64Array(POINTS * TERMS);
  for (let k = 0; k < POINTS; k++) {
    const x = k * STEP;
    const at = k * TERMS;
    coefficients[at] = x < 2 ? erfBySeries(x) : 1 - erfcByFraction(x);
    let before = 0;
    let hermite = 1;
    let scale = (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x);
    for (let n = 1; n < TERMS; n++) {
      scale /= n;
      coefficients[at + n] = scale * hermite;
      const next = 2 * x * hermite - 2 * (n - 1) * before;
      before = hermite;
      hermite = next;
      scale = -scale;
    }
  }
  return coefficients;
}

/** Abramowitz and Stegun 7.1.6: a series of positive terms, so that nothing cancels. */
function erfBySeries(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; term > sum * 1e-18; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/** Abramowitz and Stegun 7.1.14: a continued fraction, for x ≥ 2 long converged after 100 steps. */
function erfcByFraction(x: number): number {
  let tail = x;
  for (let n = 100; n >= 1; n--) tail = x + n / 2 / tail;
  return Math.exp(-x * x) / (Math.sqrt(Math.PI) * tail);
}
