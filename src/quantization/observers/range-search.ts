import { cumulativeSum, sumFloat32 } from './float32-sums.ts';

const { fround } = Math;

/** Share of the values that one step of the search leaves out. */
const STEP = 1e-5;

/**
 * The range inside `low … high` whose quantization to `levels` integers has the least squared error over the
 * histogram: shrinks the range from whichever end holds fewer values, until the error rises.
 * Source: `HistogramObserver._non_linear_param_search`.
 */
export function searchRange(
  counts: Float32Array,
  low: number,
  high: number,
  levels: number,
): [low: number, high: number] {
  const bins = counts.length;
  const total = sumFloat32(counts);
  const cumulative = cumulativeSum(counts);
  const error = new SquaredError(counts, low, high, levels);
  let alpha = 0;
  let beta = 1;
  let start = 0;
  let end = bins - 1;
  let least = Infinity;
  while (alpha < beta) {
    const nextAlpha = alpha + STEP;
    const nextBeta = beta - STEP;
    const lowQuantile = fround(nextAlpha * total);
    const highQuantile = fround(nextBeta * total);
    let l = start;
    let r = end;
    while (l < end && cumulative[l] < lowQuantile) l++;
    while (r > start && cumulative[r] > highQuantile) r--;
    let nextStart = start;
    let nextEnd = end;
    if (l - start > end - r) {
      nextStart = l;
      alpha = nextAlpha;
    } else {
      nextEnd = r;
      beta = nextBeta;
    }
    if (nextStart === start && nextEnd === end) continue;
    const norm = error.of(nextStart, nextEnd);
    if (norm > least) break;
    least = norm;
    start = nextStart;
    end = nextEnd;
  }
  const width = fround(fround(high - low) / bins);
  return [fround(low + fround(width * start)), fround(low + fround(width * (end + 1)))];
}

/** Squared quantization errors of sub-ranges of one histogram. Source: `_compute_quantization_error`. */
class SquaredError {
  readonly #width: number;
  readonly #levels: number;
  /** The bins that hold anything, and how densely. */
  readonly #filled: Int32Array;
  readonly #density: Float32Array;
  readonly #norms: Float32Array;

  constructor(counts: Float32Array, low: number, high: number, levels: number) {
    this.#width = (high - low) / counts.length;
    this.#levels = levels;
    this.#filled = Int32Array.from(counts.keys()).filter((i) => counts[i] !== 0);
    this.#density = counts.map((c) => c / fround(this.#width));
    this.#norms = new Float32Array(counts.length);
  }

  /** The error where bins `start … end` become the range that is quantized. */
  of(start: number, end: number): number {
    const step = (this.#width * (end - start + 1)) / this.#levels;
    if (step === 0) return 0;
    const width = fround(this.#width);
    const dst = fround(step);
    const half = fround(step / 2);
    const last = fround(this.#levels - 1);
    const halfCube = cube(half);
    const whole = fround(fround(halfCube + halfCube) / 3);
    for (const i of this.#filled) {
      const density = this.#density[i];
      const begin = fround(fround(i - start) * width);
      const finish = fround(begin + width);
      const first = Math.min(Math.max(floorDivide(begin, dst), 0), last);
      const final = Math.min(Math.max(floorDivide(finish, dst), 0), last);
      const before = fround(begin - fround(fround(first + 0.5) * dst));
      const after = fround(finish - fround(fround(final * dst) + half));
      let norm = fround(density * fround(fround(halfCube - cube(before)) / 3));
      norm = fround(norm + fround(fround(fround(final - first) - 1) * fround(density * whole)));
      norm = fround(norm + fround(density * fround(fround(cube(after) + halfCube) / 3)));
      this.#norms[i] = norm;
    }
    return sumFloat32(this.#norms);
  }
}

function cube(v: number): number {
  return fround(fround(v * v) * v);
}

/**
 * `floor(a / b)` of float32 numbers, `b` positive. A double holds the quotient well enough to be floored up to 2^22;
 * beyond, PyTorch's own rounding decides. Source: `c10::div_floor_floating`.
 */
function floorDivide(a: number, b: number): number {
  const quotient = a / b;
  if (Math.abs(quotient) < 4194304) return Math.floor(quotient);
  const remainder = a % b;
  let division = fround(fround(a - remainder) / b);
  if (remainder < 0) division = fround(division - 1);
  const floor = Math.floor(division);
  return fround(division - floor) > 0.5 ? fround(floor + 1) : floor;
}
