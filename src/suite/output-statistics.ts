import { product } from '../core/math.ts';
import { DTYPES } from '../tensor/dtype.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** What {@link OutputStatistics} found. Shares are of the noise's power, or of the values. */
export interface OutputSummary {
  /** Share of values beyond the grid. */
  readonly clipped: number;
  /** Share of the noise that these make. */
  readonly clippedNoise: number;
  /** Steps of the grid from the smallest to the largest value; null where outputs are not quantized. */
  readonly span: number | null;
  /** Steps that hold the middle 99 % of the values. */
  readonly bulk: number | null;
  /** Share of the noise that is a constant shift of channels. */
  readonly shift: number;
  readonly channels: number;
  /** Channels that vary in float and not in int8. */
  readonly dead: number;
}

/** A hundredth of a step near zero, in steps of about 9 % further out. */
const BINS_PER_OCTAVE = 8;
const BINS = 24 * BINS_PER_OCTAVE;
const FINEST = -7;

/** Sums up a layer's float and int8 outputs: where values lie on the grid, and what the noise is made of. */
export class OutputStatistics {
  readonly #axis: number | null;
  /** How many values lie so many steps below and above the float zero, by the logarithm of that number. */
  readonly #below = new Float64Array(BINS);
  readonly #above = new Float64Array(BINS);
  #channels: Channels | null = null;
  #values = 0;
  #noise = 0;
  #clipped = 0;
  #clippedNoise = 0;
  #lowest = Number.POSITIVE_INFINITY;
  #highest = Number.NEGATIVE_INFINITY;
  #isQuantized = false;

  /** @param axis Dimension of channels, negative from the end; null for none. */
  constructor(axis: number | null) {
    this.#axis = axis;
  }

  add(float: Tensor, int8: Tensor): void {
    const [a, b] = [float.numbers(), int8.numbers()];
    const grid = int8.qparams?.scheme === 'per_tensor_affine' ? int8.qparams : null;
    const { min, max } = DTYPES[int8.dtype];
    const low = grid ? (min - grid.zeroPoint - 0.5) * grid.scale : Number.NEGATIVE_INFINITY;
    const high = grid ? (max - grid.zeroPoint + 0.5) * grid.scale : Number.POSITIVE_INFINITY;
    if (grid) this.#isQuantized = true;
    const axis = this.#axis === null || float.ndim < 2 ? null : (this.#axis + float.ndim) % float.ndim;
    const count = axis === null ? 1 : float.shape[axis];
    const inner = axis === null ? a.length : product(float.shape.slice(axis + 1));
    this.#channels ??= new Channels(count);
    for (let i = 0; i < a.length; i++) {
      const error = b[i] - a[i];
      this.#noise += error * error;
      if (a[i] < low || a[i] > high) {
        this.#clipped++;
        this.#clippedNoise += error * error;
      }
      if (grid) this.#place(a[i] / grid.scale);
      this.#channels.add(Math.floor(i / inner) % count, a[i], b[i]);
    }
    this.#values += a.length;
  }

  summary(): OutputSummary {
    const channels = this.#channels ?? new Channels(0);
    const noise = this.#noise || 1;
    return {
      clipped: this.#values === 0 ? 0 : this.#clipped / this.#values,
      clippedNoise: this.#clippedNoise / noise,
      span: this.#isQuantized ? this.#highest - this.#lowest : null,
      bulk: this.#isQuantized ? this.#middle() : null,
      shift: this.#axis === null ? 0 : channels.shiftPower() / noise,
      channels: channels.count,
      dead: this.#axis === null ? 0 : channels.dead(),
    };
  }

  #place(steps: number): void {
    this.#lowest = Math.min(this.#lowest, steps);
    this.#highest = Math.max(this.#highest, steps);
    const bin = Math.floor((Math.log2(Math.max(Math.abs(steps), 1e-30)) - FINEST) * BINS_PER_OCTAVE);
    (steps < 0 ? this.#below : this.#above)[Math.min(Math.max(bin, 0), BINS - 1)]++;
  }

  /** Steps from the half-percentile to the one from above. */
  #middle(): number {
    const spare = 0.005 * this.#values;
    const edges = [this.#below, this.#above].map((bins) => {
      let left = spare;
      for (let bin = BINS - 1; bin >= 0; bin--) {
        left -= bins[bin];
        if (left < 0) return bin === 0 ? 0 : 2 ** ((bin + 1) / BINS_PER_OCTAVE + FINEST);
      }
      return 0;
    });
    return Math.min(edges[0] + edges[1], this.#highest - this.#lowest);
  }
}

/** Sums per channel. */
class Channels {
  readonly count: number;
  readonly #values: Float64Array;
  readonly #errors: Float64Array;
  readonly #float: Ranges;
  readonly #int8: Ranges;

  constructor(count: number) {
    this.count = count;
    this.#values = new Float64Array(count);
    this.#errors = new Float64Array(count);
    this.#float = new Ranges(count);
    this.#int8 = new Ranges(count);
  }

  add(channel: number, float: number, int8: number): void {
    this.#values[channel]++;
    this.#errors[channel] += int8 - float;
    this.#float.add(channel, float);
    this.#int8.add(channel, int8);
  }

  /** The part of the noise that would go if every channel were moved by its mean error. */
  shiftPower(): number {
    return this.#errors.reduce((sum, error, c) => sum + error ** 2 / Math.max(1, this.#values[c]), 0);
  }

  dead(): number {
    let dead = 0;
    for (let c = 0; c < this.count; c++) if (this.#float.varies(c) && !this.#int8.varies(c)) dead++;
    return dead;
  }
}

class Ranges {
  readonly #min: Float64Array;
  readonly #max: Float64Array;

  constructor(count: number) {
    this.#min = new Float64Array(count).fill(Number.POSITIVE_INFINITY);
    this.#max = new Float64Array(count).fill(Number.NEGATIVE_INFINITY);
  }

  add(channel: number, value: number): void {
    if (value < this.#min[channel]) this.#min[channel] = value;
    if (value > this.#max[channel]) this.#max[channel] = value;
  }

  varies(channel: number): boolean {
    return this.#max[channel] > this.#min[channel];
  }
}
