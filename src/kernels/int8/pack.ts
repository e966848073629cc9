import { ArgumentError, KernelError, ShapeError } from '../../core/errors.ts';
import { type Allocation, engine as defaultEngine, type Engine } from '../engine.ts';
import type { ConvGeometry } from '../geometry.ts';
import { type PanelFormat, paddedChannel, paddedChannels, panelFormat, panelsBytes } from './panel-format.ts';
import { toUnsigned } from './signedness.ts';
import {
  foldQuantization,
  foldZeroPoint,
  positiveScale,
  writePanelHeaders,
  writePanels,
} from './write-panels.ts';

/** Arguments of {@link packConvWeights}. */
export interface ConvWeights {
  /** `[outChannels][taps][inChannelsPerGroup]`, channels last (PyTorch's OIHW permuted to OHWI). */
  readonly weight: Int8Array | Uint8Array;
  /** The weights are `[outChannels][inChannelsPerGroup][taps]` instead, which is PyTorch's own order. */
  readonly channelsFirst?: boolean;
  readonly outChannels: number;
  /** Product of the spatial kernel sizes; 1 for a linear layer. */
  readonly taps: number;
  /**
   * Innermost kernel size of a convolution whose innermost dilation is 1. It lets inputs of few channels (the first layer of
   * an image network) be read a kernel line at a time; leave it out otherwise.
   */
  readonly contiguousTaps?: number;
  readonly inChannelsPerGroup: number;
  readonly groups: number;
  /** Per output channel, in the weights' own range; zeros for symmetric weights. */
  readonly weightZeroPoints: ArrayLike<number>;
  /** The output shall be float32: depthwise weights get the panels of a grouped convolution, whose kernel can give it. */
  readonly floatOutput?: boolean;
  readonly engine?: Engine;
}

/** Arguments of {@link PackedConvWeights.setQuantization}. */
export interface ConvQuantization {
  /** Per output channel, in real units. */
  readonly bias: Float32Array | null;
  readonly inputScale: number;
  /** In the range of the input's dtype: 0..255 for `Uint8Array`, -128..127 for `Int8Array`. */
  readonly inputZeroPoint: number;
  /** Per output channel. */
  readonly weightScales: ArrayLike<number>;
  /** Parameters of the quantized output, or null for a float32 output. */
  readonly output: { readonly scale: number; readonly zeroPoint: number } | null;
}

/** What {@link PackedConvWeights.setQuantization} computed, before the input's signedness is known. */
interface QuantizationState {
  /** A copy of the arguments, to notice that nothing has changed. */
  readonly given: ConvQuantization;
  readonly inputZeroPoint: number;
  readonly biases: Int32Array;
  readonly scales: Float32Array;
  /** Padded to whole panels; null for a quantized output. */
  readonly floatBias: Float32Array | null;
}

/** Copies of the arguments of {@link PackedConvWeights.setDynamicQuantization}, and where they were put. */
interface DynamicState {
  readonly bias: Float32Array | null;
  readonly weightScales: Float32Array;
  readonly sums: number;
  readonly scales: number;
  readonly floatBias: number;
}

/** Where the panels of a dynamic layer lie, and what their headers are made from. */
export interface DynamicAddresses {
  readonly panels: number;
  readonly panelBytes: number;
  /** Channels of a panel. */
  readonly columns: number;
  readonly count: number;
  /** Σ(w − zero point) per channel, int32, padded to whole panels. */
  readonly sums: number;
  /** Weight scale per channel, float32, padded. */
  readonly scales: number;
  /** Bias per channel, float32, padded. */
  readonly floatBias: number;
}

const freeOnCollection = new FinalizationRegistry<Allocation[]>((owned) => {
  for (const allocation of owned) allocation.free();
});

/**
 * Weights of a convolution or linear layer in the engine's memory, laid out for its int8 kernels. Made by
 * {@link packConvWeights}; holds memory until {@link free}, disposal or garbage collection.
 */
export class PackedConvWeights {
  readonly engine: Engine;
  readonly outChannels: number;
  readonly taps: number;
  readonly inChannelsPerGroup: number;
  readonly groups: number;
  readonly format: PanelFormat;
  /** Σ(w − zero point) per output channel, what an input zero point of one adds to an accumulator. */
  readonly weightSums: Int32Array;
  /** Indirection table of the last geometry, kept by the convolution that built it. */
  cachedTable: { readonly geometry: ConvGeometry; readonly ptr: number } | null = null;
  #quantization: QuantizationState | null = null;
  /** What the panels hold now, or null when they are behind. */
  #prepared: {
    readonly signedInput: boolean;
    readonly inputZeroPoint: number;
    readonly floatBias: number;
  } | null = null;
  #dynamic: DynamicState | null = null;
  #headers: { readonly bias: Int32Array; readonly scale: Float32Array } | null = null;
  readonly #panels: Allocation;
  /** Shared with the finalizer, which must not keep `this` alive. */
  readonly #owned: Allocation[];
  readonly #extra = new Map<string, Allocation>();
  #freed = false;

  /** Use {@link packConvWeights}. */
  constructor(
    weights: ConvWeights,
    format: PanelFormat,
    weightSums: Int32Array,
    panels: Allocation,
    engine: Engine,
  ) {
    this.engine = engine;
    this.outChannels = weights.outChannels;
    this.taps = weights.taps;
    this.inChannelsPerGroup = weights.inChannelsPerGroup;
    this.groups = weights.groups;
    this.format = format;
    this.weightSums = weightSums;
    this.#panels = panels;
    this.#owned = [panels];
    freeOnCollection.register(this, this.#owned, this);
  }

  /** Channels of the input image, all groups together. */
  get inChannels(): number {
    return this.inChannelsPerGroup * this.groups;
  }

  /** Address of the first panel. */
  get ptr(): number {
    this.#checkLive('PackedConvWeights');
    return this.#panels.ptr;
  }

  /**
   * Sets the parameters the next run uses. Cheap: channel headers are rewritten only when their numbers have changed.
   *
   * The integer bias is `nearbyint(bias / (inputScale · weightScale))`, clamped to int32, minus
   * `inputZeroPoint · Σ(w − weightZeroPoint)`; the scale is `weightScale · inputScale / output.scale`, every step in float32
   * as in QNNPACK. With `output: null` the scale is `weightScale · inputScale` and the float bias is added afterwards.
   *
   * @throws ShapeError for arrays that are not one per channel, ArgumentError for scales that are not positive and finite.
   */
  setQuantization(quantization: ConvQuantization): void {
    const fn = 'PackedConvWeights.setQuantization';
    this.#checkLive(fn);
    const { bias, weightScales, inputZeroPoint, output } = quantization;
    checkPerChannel(fn, 'bias', bias, this.outChannels);
    checkPerChannel(fn, 'weightScales', weightScales, this.outChannels);
    if (this.#quantization && sameQuantization(this.#quantization.given, quantization)) return;
    const { biases, scales } = foldQuantization(fn, quantization);
    const floatBias = output ? null : this.#paddedFloats(bias);
    const given = {
      ...quantization,
      bias: bias?.slice() ?? null,
      weightScales: Float64Array.from(weightScales),
    };
    this.#quantization = { given, inputZeroPoint, biases, scales, floatBias };
    this.#prepared = null;
  }

  /**
   * Brings the panels up to date with {@link setQuantization} for activations of the given signedness.
   *
   * @returns the input zero point as the kernels see it (0..255), and the address of the padded float bias (0 when the
   * output is quantized).
   * @throws KernelError when setQuantization was never called; ArgumentError when the zero point does not fit the dtype.
   */
  prepare(fn: string, signedInput: boolean): { readonly inputZeroPoint: number; readonly floatBias: number } {
    this.#checkLive(fn);
    const state = this.#quantization;
    if (!state) {
      throw new KernelError({
        fn,
        argument: 'packed',
        expected: 'packed weights with quantization parameters',
        got: 'weights for which setQuantization was never called',
      });
    }
    if (this.#prepared?.signedInput === signedInput) return this.#prepared;
    const inputZeroPoint = toUnsigned(fn, 'inputZeroPoint', state.inputZeroPoint, signedInput);
    this.#writeHeaders(foldZeroPoint(state.biases, inputZeroPoint, this.weightSums), state.scales);
    let floatBias = 0;
    if (state.floatBias) {
      floatBias = this.reserve('floatBias', state.floatBias.byteLength).ptr;
      this.engine.heap.f32.set(state.floatBias, floatBias >> 2);
    }
    this.#prepared = { signedInput, inputZeroPoint, floatBias };
    return this.#prepared;
  }

  /**
   * Stores what stays the same between the calls of a dynamic layer: weight scales and bias, padded to whole panels.
   * Nothing happens when the numbers are those of the previous call.
   */
  setDynamicQuantization(bias: Float32Array | null, weightScales: Float32Array): void {
    const fn = 'PackedConvWeights.setDynamicQuantization';
    this.#checkLive(fn);
    const old = this.#dynamic;
    if (old && sameNumbers(old.bias, bias) && sameNumbers(old.weightScales, weightScales)) return;
    checkPerChannel(fn, 'bias', bias, this.outChannels);
    checkPerChannel(fn, 'weightScales', weightScales, this.outChannels);
    weightScales.forEach((scale, c) => void positiveScale(fn, `weightScales[${c}]`, scale));
    const bytes = 4 * paddedChannels(this.format);
    const sums = this.reserve('weightSums', bytes).ptr;
    const scales = this.reserve('weightScales', bytes).ptr;
    const floatBias = this.reserve('dynamicBias', bytes).ptr;
    const { f32, i32 } = this.engine.heap;
    i32.fill(0, sums >> 2, (sums + bytes) >> 2);
    f32.set(this.#paddedFloats(weightScales), scales >> 2);
    f32.set(this.#paddedFloats(bias), floatBias >> 2);
    this.weightSums.forEach((sum, c) => {
      i32[(sums >> 2) + paddedChannel(this.format, this.outChannels, c)] = sum;
    });
    this.#dynamic = {
      bias: bias?.slice() ?? null,
      weightScales: weightScales.slice(),
      sums,
      scales,
      floatBias,
    };
  }

  /**
   * Rewrites the panels for the input quantization a dynamic layer has just chosen, by a vector kernel. Returns the address
   * of the padded float bias.
   */
  prepareDynamic(fn: string, inputScale: number, inputZeroPoint: number): number {
    this.#checkLive(fn);
    const { panels, panelBytes, columns, count, sums, scales, floatBias } = this.dynamicAddresses(fn);
    const { kernels } = this.engine;
    kernels.panel_set_input(panels, panelBytes, columns, count, sums, scales, inputZeroPoint, inputScale);
    return floatBias;
  }

  /**
   * Where a plan's kernels find what {@link prepareDynamic} rewrites and reads. They rewrite the panels before every use, so
   * they may be shared with calls of {@link prepareDynamic}.
   */
  dynamicAddresses(fn: string): DynamicAddresses {
    this.#checkLive(fn);
    if (!this.#dynamic) throw notDynamic(fn);
    const { panelBytes, columns, panelGroups, panelsPerGroup } = this.format;
    const { sums, scales, floatBias } = this.#dynamic;
    this.#headers = null;
    this.#prepared = null;
    return {
      panels: this.ptr,
      panelBytes,
      columns,
      count: panelGroups * panelsPerGroup,
      sums,
      scales,
      floatBias,
    };
  }

  /**
   * Memory of this layer beside its panels (indirection table, float bias), replaced when another size is asked for and
   * freed together with the panels.
   */
  reserve(name: string, bytes: number): Allocation {
    this.#checkLive('PackedConvWeights.reserve');
    const existing = this.#extra.get(name);
    if (existing?.bytes === bytes) return existing;
    if (existing) {
      existing.free();
      this.#owned.splice(this.#owned.indexOf(existing), 1);
    }
    const allocation = this.engine.alloc(bytes, 'packed');
    this.#extra.set(name, allocation);
    this.#owned.push(allocation);
    return allocation;
  }

  /** Gives the memory back. The object cannot be used afterwards; freeing twice is harmless. */
  free(): void {
    if (this.#freed) return;
    this.#freed = true;
    freeOnCollection.unregister(this);
    for (const allocation of this.#owned) allocation.free();
    this.#extra.clear();
  }

  [Symbol.dispose](): void {
    this.free();
  }

  #writeHeaders(biases: Int32Array, scales: Float32Array): void {
    const old = this.#headers;
    if (old && biases.every((v, c) => v === old.bias[c]) && scales.every((v, c) => v === old.scale[c]))
      return;
    writePanelHeaders(this.engine.heap, this.ptr, this.format, biases, scales);
    this.#headers = { bias: biases, scale: scales };
  }

  /** Values of the output channels at their padded places; zeros elsewhere and for null. */
  #paddedFloats(values: ArrayLike<number> | null): Float32Array {
    const padded = new Float32Array(paddedChannels(this.format));
    for (let c = 0; values && c < this.outChannels; c++)
      padded[paddedChannel(this.format, this.outChannels, c)] = values[c];
    return padded;
  }

  #checkLive(fn: string): void {
    if (!this.#freed) return;
    throw new KernelError({
      fn,
      argument: 'packed',
      expected: 'live packed weights',
      got: 'weights that were freed',
    });
  }
}

function notDynamic(fn: string): KernelError {
  return new KernelError({
    fn,
    argument: 'packed',
    expected: 'a previous setDynamicQuantization',
    got: 'none',
  });
}

function sameNumbers(a: ArrayLike<number> | null, b: ArrayLike<number> | null): boolean {
  if (!a || !b) return a === b;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function sameQuantization(a: ConvQuantization, b: ConvQuantization): boolean {
  return (
    a.inputScale === b.inputScale &&
    a.inputZeroPoint === b.inputZeroPoint &&
    a.output?.scale === b.output?.scale &&
    sameNumbers(a.bias, b.bias) &&
    sameNumbers(a.weightScales, b.weightScales)
  );
}

function checkPerChannel(
  fn: string,
  argument: string,
  values: ArrayLike<number> | null,
  channels: number,
): void {
  if (!values || values.length === channels) return;
  throw new ShapeError({
    fn,
    argument,
    expected: `${channels} elements, one per output channel`,
    got: `${values.length}`,
  });
}

/**
 * Lays out weights for the int8 kernels: panels of `[int32 bias][weights, step by step][float32 scale]` for 8 or 16
 * output channels each. Weights that are int8 with zero points of 0 keep 8 bits where the engine has an exact 8-bit
 * dot product; all others are stored as 16-bit `w − zero point`. Both give the same results.
 *
 * @param weights channels-last weights; a linear layer is a convolution with one tap.
 * @returns the packed weights, to be completed by {@link PackedConvWeights.setQuantization}.
 * @throws ShapeError when sizes do not fit together, ArgumentError for zero points outside of the weights' dtype.
 * @example
 * const packed = packConvWeights({ weight, outChannels: 64, taps: 9, inChannelsPerGroup: 64, groups: 1, weightZeroPoints: new Int32Array(64) });
 * packed.setQuantization({ bias, inputScale: 0.02, inputZeroPoint: 128, weightScales, output: { scale: 0.05, zeroPoint: 3 } });
 */
export function packConvWeights(weights: ConvWeights): PackedConvWeights {
  const fn = 'packConvWeights';
  const {
    weight,
    outChannels,
    taps,
    contiguousTaps = 1,
    inChannelsPerGroup,
    groups,
    weightZeroPoints,
  } = weights;
  const { engine = defaultEngine } = weights;
  const sizes = { outChannels, taps, contiguousTaps, inChannelsPerGroup, groups };
  for (const [argument, value] of Object.entries(sizes)) {
    if (Number.isSafeInteger(value) && value >= 1) continue;
    throw new ShapeError({ fn, argument, expected: 'a positive integer', got: String(value) });
  }
  if (outChannels % groups !== 0) {
    throw new ShapeError({
      fn,
      argument: 'outChannels',
      expected: `a multiple of groups (${groups})`,
      got: `${outChannels}`,
    });
  }
  if (taps % contiguousTaps !== 0) {
    throw new ShapeError({
      fn,
      argument: 'contiguousTaps',
      expected: `a divisor of taps (${taps})`,
      got: `${contiguousTaps}`,
    });
  }
  const rowLength = taps * inChannelsPerGroup;
  if (weight.length !== outChannels * rowLength) {
    throw new ShapeError({
      fn,
      argument: 'weight',
      expected: `${outChannels} × ${taps} × ${inChannelsPerGroup} elements`,
      got: `${weight.length}`,
    });
  }
  if (weightZeroPoints.length !== outChannels) {
    throw new ShapeError({
      fn,
      argument: 'weightZeroPoints',
      expected: `${outChannels} elements`,
      got: `${weightZeroPoints.length}`,
    });
  }
  const [least, most] = weight instanceof Int8Array ? [-128, 127] : [0, 255];
  const outside = Array.from(weightZeroPoints).find((z) => !(Number.isInteger(z) && z >= least && z <= most));
  if (outside !== undefined) {
    throw new ArgumentError({
      fn,
      argument: 'weightZeroPoints',
      expected: `integers in ${least}..${most}`,
      got: `${outside}`,
    });
  }
  const format = panelFormat(weights, engine);
  const panels = engine.alloc(panelsBytes(format), 'packed');
  const sums = writePanels(engine, panels.ptr, format, weights);
  return new PackedConvWeights(weights, format, sums, panels, engine);
}
