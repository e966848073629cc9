import { ShapeError } from '../../core/errors.ts';
import { product } from '../../core/math.ts';
import { checkSizes } from './panels.ts';

/**
 * A 1-d, 2-d or 3-d convolution. The spatial lists have one entry per axis, outermost first. Data is channels-last
 * (`[batch][…size][channels]`), weights are PyTorch's `[outChannels][inChannels / groups][…kernel]`.
 */
export interface ConvGeometryF32 {
  readonly batch: number;
  readonly inChannels: number;
  readonly outChannels: number;
  readonly groups: number;
  readonly inSize: readonly number[];
  readonly outSize: readonly number[];
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  /** Zeros on both sides of each axis. */
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
}

/**
 * Throws a {@link ShapeError} unless the geometry is consistent: 1 to 3 axes, channels divisible by groups, and an output size no
 * window of which starts past the padded input.
 */
export function checkConvGeometry(fn: string, g: ConvGeometryF32): void {
  const { batch, inChannels, outChannels, groups } = g;
  checkSizes(fn, { batch, inChannels, outChannels, groups });
  const axes = g.inSize.length;
  const reject = (argument: string, expected: string, got: string): never => {
    throw new ShapeError({ fn, argument, expected, got });
  };
  if (axes < 1 || axes > 3) reject('inSize', '1 to 3 spatial axes', String(axes));
  for (const name of ['inSize', 'outSize', 'kernel', 'stride', 'padding', 'dilation'] as const) {
    const list = g[name];
    if (list.length !== axes) reject(name, `${axes} entries`, `[${list.join(', ')}]`);
    const least = name === 'padding' || name === 'inSize' || name === 'outSize' ? 0 : 1;
    for (const value of list) {
      if (!Number.isSafeInteger(value) || value < least) {
        reject(name, `integers of at least ${least}`, `[${list.join(', ')}]`);
      }
    }
  }
  if (groups < 1 || inChannels % groups || outChannels % groups) {
    reject(
      'groups',
      'a divisor of inChannels and outChannels',
      `${groups} for ${inChannels} and ${outChannels}`,
    );
  }
  for (let i = 0; i < axes; i++) {
    const reach = (g.outSize[i] - 1) * g.stride[i] + (g.kernel[i] - 1) * g.dilation[i] + 1;
    if (g.outSize[i] > 0 && reach > g.inSize[i] + 2 * g.padding[i]) {
      reject(
        'outSize',
        `windows inside the padded input of axis ${i} (${g.inSize[i] + 2 * g.padding[i]})`,
        `windows that reach ${reach}`,
      );
    }
  }
}

/** One tap of a window along one axis: kernel index and where it reads, relative to `position · inStep`. */
interface Tap {
  readonly index: number;
  readonly offset: number;
}

/**
 * Destination positions `start + j·step` (j < count) of one axis that see the same taps; they read the source at
 * `j·inStep + tap.offset`.
 */
export interface AxisPhase {
  readonly start: number;
  readonly step: number;
  readonly count: number;
  readonly inStep: number;
  /** In ascending order of `offset`. */
  readonly taps: readonly Tap[];
}

/** Phases along every axis; a destination position belongs to exactly one combination. */
export type Phase = readonly [AxisPhase, AxisPhase, AxisPhase];

type Triple = [number, number, number];

/** Source, destination and phases of one sweep of windows, always with three axes (missing ones have size 1, in front). */
export interface Sweep {
  readonly batch: number;
  readonly groups: number;
  readonly sourceSize: Triple;
  readonly sourceChannels: number;
  readonly destSize: Triple;
  readonly destChannels: number;
  /** Kernel size over all axes. */
  readonly taps: number;
  readonly kernel: Triple;
  readonly phases: readonly Phase[];
}

function threeAxes(list: readonly number[], fill: number): Triple {
  return [...new Array<number>(3 - list.length).fill(fill), ...list] as Triple;
}

/** The windows of a convolution: a single phase per axis, output from input. */
export function forwardSweep(g: ConvGeometryF32): Sweep {
  const [kernel, stride, dilation] = [g.kernel, g.stride, g.dilation].map((list) => threeAxes(list, 1));
  const padding = threeAxes(g.padding, 0);
  const destSize = threeAxes(g.outSize, 1);
  const phase = destSize.map((count, i) => ({
    start: 0,
    step: 1,
    count,
    inStep: stride[i],
    taps: Array.from({ length: kernel[i] }, (_, k) => ({ index: k, offset: k * dilation[i] - padding[i] })),
  })) as unknown as Phase;
  return {
    batch: g.batch,
    groups: g.groups,
    sourceSize: threeAxes(g.inSize, 1),
    sourceChannels: g.inChannels,
    destSize,
    destChannels: g.outChannels,
    taps: product(kernel),
    kernel,
    phases: [phase],
  };
}

/**
 * The windows of a convolution's input gradient (which is a transposed convolution's forward), input gradient from output
 * gradient. Input position `i` meets output `o` through tap `k` where `i + padding = o·stride + k·dilation`, so the positions
 * with the same remainder by the stride share their taps: one phase each, and no product with an inserted zero.
 */
export function inputGradSweep(g: ConvGeometryF32): Sweep {
  const [kernel, stride, dilation] = [g.kernel, g.stride, g.dilation].map((list) => threeAxes(list, 1));
  const padding = threeAxes(g.padding, 0);
  const destSize = threeAxes(g.inSize, 1);
  const axes = destSize.map((size, i) => {
    const phases: AxisPhase[] = [];
    for (let start = 0; start < Math.min(stride[i], size); start++) {
      const taps: Tap[] = [];
      for (let index = kernel[i] - 1; index >= 0; index--) {
        const distance = start + padding[i] - index * dilation[i];
        if (distance % stride[i] === 0) taps.push({ index, offset: distance / stride[i] });
      }
      phases.push({ start, step: stride[i], count: Math.ceil((size - start) / stride[i]), inStep: 1, taps });
    }
    return phases;
  });
  const phases: Phase[] = [];
  for (const a of axes[0]) for (const b of axes[1]) for (const c of axes[2]) phases.push([a, b, c]);
  return {
    batch: g.batch,
    groups: g.groups,
    sourceSize: threeAxes(g.outSize, 1),
    sourceChannels: g.outChannels,
    destSize,
    destChannels: g.inChannels,
    taps: product(kernel),
    kernel,
    phases,
  };
}
