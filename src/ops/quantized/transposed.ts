import { ArgumentError, DTypeError, ShapeError } from '../../core/errors.ts';
import { product } from '../../core/math.ts';
import type { ConvGeometry } from '../../kernels/geometry.ts';
import { qConv } from '../../kernels/int8/conv.ts';
import { qConvDynamic } from '../../kernels/int8/conv-dynamic.ts';
import { chooseQuantizationParams } from '../../kernels/int8/qparams.ts';
import { minMax } from '../../kernels/int8/quantize.ts';
import { DTYPES } from '../../tensor/dtype.ts';
import { perTensorQParams } from '../../tensor/qparams.ts';
import { channelsLastStrides, formatShape, type Shape } from '../../tensor/shape.ts';
import { copyStrided, fromStorage, requireQuantized, Tensor } from '../../tensor/tensor.ts';
import type { QuantizedOps } from '../signatures/index.ts';
import type { ConvTransposeGeometry } from '../signatures/layer.ts';
import { activationQParams, channelsLastData, channelsLastTensor } from './convolution.ts';
import { quantizeCrossing } from './crossing.ts';
import { PackedWeights } from './packed.ts';
import { requireFloat32 } from './product-input.ts';
import { rearranging } from './rearrange.ts';

/**
 * Along one dimension, the outputs `phase, phase + stride, …` of a transposed convolution are an ordinary convolution of
 * step 1 with some of the taps: output `phase + stride·j` reads input `j + first + t·dilation` through `taps[t]`.
 */
export interface Phase {
  readonly phase: number;
  /** Taps in the order of the input elements they read; empty where the stride steps over the kernel. */
  readonly taps: readonly number[];
  readonly first: number;
  readonly dilation: number;
}

function phasesOf(kernel: number, stride: number, padding: number, dilation: number): Phase[] {
  return Array.from({ length: stride }, (_, phase) => {
    const taps: number[] = [];
    for (let k = kernel - 1; k >= 0; k--) if ((phase + padding - k * dilation) % stride === 0) taps.push(k);
    const reads = taps.map((k) => (phase + padding - k * dilation) / stride);
    return { phase, taps, first: reads[0] ?? 0, dilation: reads.length > 1 ? reads[1] - reads[0] : 1 };
  });
}

/** One convolution of step 1 per combination of phases. */
export interface PhaseConvolution {
  readonly phases: readonly Phase[];
  readonly packed: PackedWeights;
}

/**
 * Weights of a quantized transposed convolution: [inChannels, outChannels / groups, ...kernel], quantized per tensor.
 * Instead of spreading the input with zeros in between, the kernel is split into as many small kernels as the stride has
 * phases, so that no multiplication is wasted. Source: PyTorch's `conv_transpose2d_prepack`.
 */
export class PackedTransposedWeights {
  readonly weight: Tensor;
  readonly bias: Tensor | null;
  readonly geometry: ConvTransposeGeometry;
  #convolutions: readonly PhaseConvolution[] | null = null;

  constructor(weight: Tensor, bias: Tensor | null, geometry: ConvTransposeGeometry) {
    const fn = 'quantized::conv_transpose_prepack';
    const q = requireQuantized(weight, fn);
    if (q.scheme !== 'per_tensor_affine') {
      throw new DTypeError({
        fn,
        argument: 'weight',
        expected: 'a weight quantized per tensor',
        got: q.scheme,
        fix: 'Give the layer a qconfig with a per-tensor weight observer (defaultWeightObserver).',
      });
    }
    const { stride, padding, outputPadding, dilation, groups } = geometry;
    const rank = weight.ndim - 2;
    for (const [argument, list, least] of [
      ['stride', stride, 1],
      ['padding', padding, 0],
      ['outputPadding', outputPadding, 0],
      ['dilation', dilation, 1],
    ] as const) {
      if (list.length === rank && list.every((v) => Number.isInteger(v) && v >= least)) continue;
      throw new ArgumentError({
        fn,
        argument,
        expected: `${rank} integers of at least ${least}`,
        got: `[${list.join(', ')}]`,
      });
    }
    if (weight.shape[0] % groups !== 0) {
      throw new ShapeError({
        fn,
        argument: 'weight',
        expected: `[input channels divisible by ${groups} groups, …]`,
        got: formatShape(weight.shape),
      });
    }
    this.weight = weight;
    this.bias = bias;
    this.geometry = geometry;
  }

  /** Kernel sizes. */
  get kernelSize(): readonly number[] {
    return this.weight.shape.slice(2);
  }

  get outChannels(): number {
    return this.weight.shape[1] * this.geometry.groups;
  }

  /** The convolutions, packed on first use. */
  convolutions(): readonly PhaseConvolution[] {
    this.#convolutions ??= this.#split();
    return this.#convolutions;
  }

  #split(): PhaseConvolution[] {
    const { stride, padding, dilation, groups } = this.geometry;
    let combinations: Phase[][] = [[]];
    this.kernelSize.forEach((kernel, d) => {
      const phases = phasesOf(kernel, stride[d], padding[d], dilation[d]);
      combinations = combinations.flatMap((before) => phases.map((phase) => [...before, phase]));
    });
    return combinations.map((phases) => ({
      phases,
      packed: new PackedWeights(
        this.#kernelOf(phases),
        this.bias,
        {
          stride: phases.map(() => 1),
          padding: phases.map((p) => Math.max(0, -p.first)),
          dilation: phases.map((p) => p.dilation),
          groups,
        },
        { tapByTap: true },
      ),
    }));
  }

  /** [outChannels, inChannels / groups, ...taps] of one combination; a phase without taps gets one of zero. */
  #kernelOf(phases: readonly Phase[]): Tensor {
    const { weight, geometry } = this;
    const [inChannels, outPerGroup] = weight.shape;
    const inPerGroup = inChannels / geometry.groups;
    const sizes = phases.map((p) => Math.max(1, p.taps.length));
    const area = product(sizes);
    const kernelArea = product(this.kernelSize);
    const from = weight.data;
    const { zeroPoint } = activationQParams(weight, 'quantized::conv_transpose_prepack');
    const to = DTYPES[weight.dtype].allocate(this.outChannels * inPerGroup * area).fill(zeroPoint);
    if (phases.every((p) => p.taps.length > 0)) {
      const places = tapPlaces(phases, this.kernelSize);
      for (let o = 0, at = 0; o < this.outChannels; o++) {
        const group = Math.floor(o / outPerGroup);
        for (let i = 0; i < inPerGroup; i++) {
          const start = ((group * inPerGroup + i) * outPerGroup + (o % outPerGroup)) * kernelArea;
          for (let t = 0; t < area; t++, at++) to[at] = from[start + places[t]];
        }
      }
    }
    return fromStorage(to, [this.outChannels, inPerGroup, ...sizes], weight.dtype, weight.qparams);
  }
}

/** Where the taps of a combination of phases stand in the flat kernel, in row-major order. */
function tapPlaces(phases: readonly Phase[], kernel: Shape): number[] {
  let places = [0];
  phases.forEach(({ taps }, d) => {
    places = places.flatMap((before) => taps.map((k) => before * kernel[d] + k));
  });
  return places;
}

type Elements = Uint8Array | Int8Array | Float32Array;

/** The shape of what a transposed convolution gives; a typed error for inputs that it does not take. */
export function transposedShape(fn: string, rank: number, x: Tensor, packed: PackedTransposedWeights): Shape {
  const { geometry, kernelSize, outChannels } = packed;
  const { stride, padding, dilation, outputPadding } = geometry;
  requireInput(fn, rank, x, packed);
  const outputSize = kernelSize.map(
    (k, d) =>
      (x.shape[d + 2] - 1) * stride[d] - 2 * padding[d] + dilation[d] * (k - 1) + outputPadding[d] + 1,
  );
  if (outputSize.some((size) => size < 1)) {
    throw new ShapeError({
      fn,
      argument: 'input',
      expected: 'spatial sizes that leave an output',
      got: `${formatShape(x.shape)}, giving [${outputSize.join(', ')}]`,
    });
  }
  return [x.shape[0], outChannels, ...outputSize];
}

/** How many outputs every phase of a combination has along each dimension; null where there are none. */
export function phaseCounts(
  phases: readonly Phase[],
  outputSize: Shape,
  stride: readonly number[],
): Shape | null {
  const counts = phases.map(({ phase }, d) => Math.ceil((outputSize[d] - phase) / stride[d]));
  return counts.some((n) => n < 1) ? null : counts;
}

/**
 * Runs the convolutions of all phases over quantized `x` and puts their results together: `compute` gives the channels-last
 * result of one, `allocate` the place for all.
 */
function overPhases<E extends Elements>(
  fn: string,
  rank: number,
  x: Tensor,
  packed: PackedTransposedWeights,
  allocate: (length: number) => E,
  compute: (part: PackedWeights, cropped: Tensor, window: ConvGeometry) => E,
): { readonly storage: E; readonly shape: Shape } {
  const { outChannels } = packed;
  const { stride } = packed.geometry;
  const { zeroPoint } = activationQParams(x, fn);
  const shape = transposedShape(fn, rank, x, packed);
  const [batch, , ...outputSize] = shape;
  const out = allocate(product(shape));
  for (const { phases, packed: part } of packed.convolutions()) {
    const counts = phaseCounts(phases, outputSize, stride);
    if (!counts) continue;
    const cropped = crop(x, phases, zeroPoint);
    const y = compute(part, cropped, {
      batch,
      inputSize: cropped.shape.slice(2),
      kernel: part.kernelSize,
      stride: phases.map(() => 1),
      padding: part.geometry?.padding ?? [],
      dilation: phases.map((p) => p.dilation),
      outputSize: counts,
    });
    interleave(y, out, batch, counts, outputSize, stride, phases, outChannels);
  }
  return { storage: out, shape };
}

function requireInput(fn: string, rank: number, x: Tensor, packed: PackedTransposedWeights): void {
  const channels = packed.weight.shape[0];
  if (x.ndim === rank + 2 && packed.kernelSize.length === rank && x.shape[1] === channels) return;
  throw new ShapeError({
    fn,
    argument: 'input',
    expected: `${rank + 2} dimensions with ${channels} channels in dimension 1`,
    got: formatShape(x.shape),
  });
}

function transposedConvolution(rank: 1 | 2 | 3) {
  const fn = `quantized::conv_transpose${rank}d` as const;
  return (x: Tensor, packed: PackedTransposedWeights, scale: number, zeroPoint: number): Tensor => {
    const input = activationQParams(x, fn);
    const dtype = x.dtype as 'quint8' | 'qint8';
    const qparams = perTensorQParams(scale, zeroPoint, dtype, fn);
    const { min, max } = DTYPES[dtype];
    const { storage, shape } = overPhases(
      fn,
      rank,
      x,
      packed,
      (length) => DTYPES[dtype].allocate(length) as Uint8Array | Int8Array,
      (part, cropped, window) => {
        const panel = part.panel(input.scale, input.zeroPoint, qparams);
        return qConv(panel, channelsLastData(cropped), window, { zeroPoint, min, max });
      },
    );
    return channelsLastTensor(storage, shape, x, qparams);
  };
}

/** The result stays float, as that of the other dynamic convolutions. */
function transposedDynamic(rank: 1 | 2 | 3) {
  const fn = `quantized::conv_transpose${rank}d_dynamic` as const;
  return (x: Tensor, packed: PackedTransposedWeights, reduceRange: boolean): Tensor => {
    requireFloat32(x, fn);
    requireInput(fn, rank, x, packed);
    const { min, max } = minMax(x.data as Float32Array);
    const { scale, zeroPoint } = chooseQuantizationParams(min, max, { reduceRange });
    const input = quantizeCrossing.quantizePerTensor(x, scale, zeroPoint, 'quint8');
    const { storage, shape } = overPhases(
      fn,
      rank,
      input,
      packed,
      (length) => new Float32Array(length),
      (part, cropped, window) => {
        const bytes = channelsLastData(cropped) as Uint8Array;
        return qConvDynamic(part.dynamicPanel(), { bytes, scale, zeroPoint }, window);
      },
    );
    return new Tensor({ storage, shape, strides: channelsLastStrides(shape), dtype: 'float32' });
  };
}

/**
 * Drops what a phase never reads at the near end: where the padding is larger than the kernel's reach. Where that is
 * everything, zeros are left.
 */
function crop(x: Tensor, phases: readonly Phase[], zeroPoint: number): Tensor {
  let cropped = x;
  for (let d = 0; d < phases.length; d++) {
    const { first } = phases[d];
    const size = x.shape[d + 2];
    if (first >= size) {
      const shape = [x.shape[0], x.shape[1], ...phases.map(() => 1)];
      return fromStorage(DTYPES[x.dtype].allocate(product(shape)).fill(zeroPoint), shape, x.dtype, x.qparams);
    }
    if (first > 0) cropped = rearranging.slice(cropped, d + 2, first, size, 1);
  }
  return cropped;
}

/** Writes the outputs of one combination of phases to their places in the channels-last result. */
function interleave(
  from: Elements,
  to: Elements,
  batch: number,
  counts: readonly number[],
  outputSize: readonly number[],
  stride: readonly number[],
  phases: readonly Phase[],
  channels: number,
): void {
  const fromStrides: number[] = [];
  const toStrides: number[] = [];
  let offset = 0;
  let fromStep = channels;
  let toStep = channels;
  for (let d = counts.length - 1; d >= 0; d--) {
    fromStrides.unshift(fromStep);
    toStrides.unshift(toStep * stride[d]);
    offset += phases[d].phase * toStep;
    fromStep *= counts[d];
    toStep *= outputSize[d];
  }
  copyStrided(
    from,
    0,
    [fromStep, ...fromStrides, 1],
    to,
    offset,
    [toStep, ...toStrides, 1],
    [batch, ...counts, channels],
  );
}

type TransposedOps = Pick<QuantizedOps, `quantized::conv_transpose${1 | 2 | 3}d${'' | '_dynamic'}`>;

/** Transposed convolutions on packed weights, of quantized tensors and of floats that are quantized call by call. */
export const transposedConvolutions: TransposedOps = {
  'quantized::conv_transpose1d': transposedConvolution(1),
  'quantized::conv_transpose2d': transposedConvolution(2),
  'quantized::conv_transpose3d': transposedConvolution(3),
  'quantized::conv_transpose1d_dynamic': transposedDynamic(1),
  'quantized::conv_transpose2d_dynamic': transposedDynamic(2),
  'quantized::conv_transpose3d_dynamic': transposedDynamic(3),
};
