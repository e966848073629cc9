import { QuantizationError } from '../../core/errors.ts';
import type { StateLoader } from '../../nn/module.ts';
import { MinMaxObserver } from './min-max.ts';
import { type ObserverBase, requireSameKind, scalar, vector } from './observer.ts';
import { PerChannelMinMaxObserver, type PerChannelObserverOptions } from './per-channel.ts';
import type { UniformObserverOptions } from './uniform.ts';

/** What the moving averages take besides the options of their base. */
export interface AveragingOptions {
  /** Weight of the newest tensor; 0.01 where not given, 1 keeps no memory at all. */
  readonly averagingConstant?: number;
}

/** What a moving average has to remember for {@link ObserverBase.merge}: how many tensors, and the first one's range. */
interface AveragingHistory {
  readonly tensors: number;
  readonly firstLows: Float32Array;
  readonly firstHighs: Float32Array;
}

/**
 * Averages the smallest and largest values of the tensors it sees, `average += c · (newest − average)`, starting from
 * the first tensor's. Source: `torch.ao.quantization.MovingAverageMinMaxObserver`.
 */
export class MovingAverageMinMaxObserver extends MinMaxObserver {
  readonly averagingConstant: number;
  history: AveragingHistory | null = null;

  constructor(options: UniformObserverOptions & AveragingOptions = {}) {
    super(options);
    this.averagingConstant = options.averagingConstant ?? 0.01;
  }

  override update(low: number, high: number): void {
    const { lows, highs, history } = averageIn(this, Float32Array.of(low), Float32Array.of(high));
    this.minVal = scalar(lows[0]);
    this.maxVal = scalar(highs[0]);
    this.history = history;
  }

  override merge(other: ObserverBase): void {
    const later = requireSameKind<MovingAverageMinMaxObserver>(this, other);
    const merged = mergeAverages(this, later, this.averagingConstant);
    if (!merged) return;
    this.minVal = scalar(merged.lows[0]);
    this.maxVal = scalar(merged.highs[0]);
    this.history = merged.history;
  }

  override resetMinMaxVals(): void {
    super.resetMinMaxVals();
    this.history = null;
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    super.loadFromStateDict(loader, prefix);
    loader.later(() => {
      this.history = null;
    });
  }
}

/**
 * The moving average of {@link MovingAverageMinMaxObserver} for every slice along `chAxis`.
 * Source: `torch.ao.quantization.MovingAveragePerChannelMinMaxObserver`.
 */
export class MovingAveragePerChannelMinMaxObserver extends PerChannelMinMaxObserver {
  readonly averagingConstant: number;
  history: AveragingHistory | null = null;

  constructor(options: PerChannelObserverOptions & AveragingOptions = {}) {
    super(options);
    this.averagingConstant = options.averagingConstant ?? 0.01;
  }

  override update(lows: Float32Array, highs: Float32Array): void {
    const averaged = averageIn(this, lows, highs);
    this.minVal = vector(averaged.lows);
    this.maxVal = vector(averaged.highs);
    this.history = averaged.history;
  }

  override merge(other: ObserverBase): void {
    const later = requireSameKind<MovingAveragePerChannelMinMaxObserver>(this, other);
    const merged = mergeAverages(this, later, this.averagingConstant);
    if (!merged) return;
    this.minVal = vector(merged.lows);
    this.maxVal = vector(merged.highs);
    this.history = merged.history;
  }

  override resetMinMaxVals(): void {
    super.resetMinMaxVals();
    this.history = null;
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    super.loadFromStateDict(loader, prefix);
    loader.later(() => {
      this.history = null;
    });
  }
}

/** Ranges averaged over some tensors, and how to go on from there. */
interface Averages {
  readonly lows: Float32Array;
  readonly highs: Float32Array;
  readonly history: AveragingHistory | null;
}

/** An observer's averages with one tensor more, whose extremes these are. */
function averageIn(
  observer: MovingAverageMinMaxObserver | MovingAveragePerChannelMinMaxObserver,
  lows: Float32Array,
  highs: Float32Array,
): Averages {
  if (!observer.hasObserved()) {
    return { lows, highs, history: { tensors: 1, firstLows: lows.slice(), firstHighs: highs.slice() } };
  }
  const { minVal, maxVal, averagingConstant, history } = observer;
  return {
    lows: moved(minVal.data, lows, averagingConstant),
    highs: moved(maxVal.data, highs, averagingConstant),
    history: history && { ...history, tensors: history.tensors + 1 },
  };
}

/** Moves from `before` towards `newest` by the constant, in float32. */
function moved(before: ArrayLike<number>, newest: Float32Array, constant: number): Float32Array {
  const c = Math.fround(constant);
  return newest.map((v, i) => before[i] + Math.fround(c * Math.fround(v - before[i])));
}

/**
 * The average over `earlier`'s tensors followed by `later`'s. A run of m tensors that began at x₁ ended at b; begun
 * at a instead it ends at b + (1 − c)^m · (a − x₁).
 */
function mergeAverages(
  earlier: MovingAverageMinMaxObserver | MovingAveragePerChannelMinMaxObserver,
  later: MovingAverageMinMaxObserver | MovingAveragePerChannelMinMaxObserver,
  constant: number,
): Averages | null {
  if (!later.hasObserved()) return null;
  const lows = Float32Array.from(later.minVal.data);
  const highs = Float32Array.from(later.maxVal.data);
  if (!earlier.hasObserved()) return { lows, highs, history: later.history };
  const run = later.history;
  if (!run) {
    throw new QuantizationError({
      fn: `${earlier.typeName}.merge`,
      argument: 'other',
      expected: 'an observer that saw its tensors in this process',
      got: 'one whose averages were loaded from a state dict, which does not say how many tensors they stand for',
    });
  }
  const kept = (1 - constant) ** run.tensors;
  const carry = (ends: Float32Array, starts: ArrayLike<number>, firsts: Float32Array): Float32Array =>
    ends.map((b, i) => b + kept * (starts[i] - firsts[i]));
  return {
    lows: carry(lows, earlier.minVal.data, run.firstLows),
    highs: carry(highs, earlier.maxVal.data, run.firstHighs),
    history: earlier.history && { ...earlier.history, tensors: earlier.history.tensors + run.tensors },
  };
}
