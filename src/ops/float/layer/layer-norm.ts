import { ArgumentError, ShapeError } from '../../../core/errors.ts';
import { product } from '../../../core/math.ts';
import { layerNormF32 } from '../../../kernels/f32/softmax.ts';
import type { TypedArray } from '../../../tensor/dtype.ts';
import { formatShape, type Shape } from '../../../tensor/shape.ts';
import { Tensor } from '../../../tensor/tensor.ts';
import { allocateLike, channelsLastData, channelsLastTensor, requireFloat } from './channels-last.ts';

/**
 * A tensor as blocks that are normalized one by one. A block is `rows` runs of `width` neighbouring elements, `pitch`
 * apart; element `i` of a run belongs to parameter `parameter + i` in the affine part.
 */
interface Blocks {
  readonly count: number;
  readonly rows: number;
  readonly width: number;
  readonly pitch: number;
  /** First element of a block, and the parameter it meets. */
  readonly start: (block: number) => number;
  readonly parameter: (block: number) => number;
}

/** Normalizes over the trailing dimensions. Source: `torch.nn.functional.layer_norm`. */
export function layerNorm(
  x: Tensor,
  normalizedShape: readonly number[],
  weight: Tensor | null,
  bias: Tensor | null,
  eps: number,
): Tensor {
  const dtype = requireFloat('layerNorm', { input: x, weight, bias });
  const blocks = layerBlocks(x.shape, normalizedShape, weight, bias);
  if (dtype === 'float32' && x.numel > 0) {
    const [gain, shift] = [weight, bias].map((t) => (t ? (t.data as Float32Array) : null));
    const { count, width } = blocks;
    const storage = layerNormF32(x.data as Float32Array, count, width, gain, shift, eps);
    return new Tensor({ storage, shape: x.shape, dtype });
  }
  const out = normalizeBlocks(x.data, blocks, blocks.width, weight?.data, bias?.data, eps);
  return new Tensor({ storage: out, shape: x.shape, dtype });
}

/** Gradients of {@link layerNorm}: [input, weight, bias]. */
export function layerNormGrad(
  gradOut: Tensor,
  x: Tensor,
  normalizedShape: readonly number[],
  weight: Tensor | null,
  eps: number,
): [Tensor, Tensor, Tensor] {
  const blocks = layerBlocks(x.shape, normalizedShape, weight, null);
  const grads = normalizeBlocksGrad(gradOut.data, x.data, blocks, blocks.width, weight?.data, eps);
  return [
    new Tensor({ storage: grads.input, shape: x.shape, dtype: x.dtype }),
    new Tensor({ storage: grads.weight, shape: normalizedShape, dtype: x.dtype }),
    new Tensor({ storage: grads.bias, shape: normalizedShape, dtype: x.dtype }),
  ];
}

/** Normalizes over groups of channels and all pixels, channels-last. Source: `torch.nn.functional.group_norm`. */
export function groupNorm(
  x: Tensor,
  groups: number,
  weight: Tensor | null,
  bias: Tensor | null,
  eps: number,
): Tensor {
  const dtype = requireFloat('groupNorm', { input: x, weight, bias });
  const blocks = groupBlocks(x.shape, groups, weight, bias);
  const out = normalizeBlocks(channelsLastData(x), blocks, x.shape[1], weight?.data, bias?.data, eps);
  return channelsLastTensor(out, x.shape, dtype);
}

/** Gradients of {@link groupNorm}: [input, weight, bias]. */
export function groupNormGrad(
  gradOut: Tensor,
  x: Tensor,
  groups: number,
  weight: Tensor | null,
  eps: number,
): [Tensor, Tensor, Tensor] {
  const blocks = groupBlocks(x.shape, groups, weight, null);
  const channels = x.shape[1];
  const grads = normalizeBlocksGrad(
    channelsLastData(gradOut),
    channelsLastData(x),
    blocks,
    channels,
    weight?.data,
    eps,
  );
  return [
    channelsLastTensor(grads.input, x.shape, x.dtype),
    new Tensor({ storage: grads.weight, shape: [channels], dtype: x.dtype }),
    new Tensor({ storage: grads.bias, shape: [channels], dtype: x.dtype }),
  ];
}

function normalizeBlocks<T extends TypedArray>(
  input: T,
  blocks: Blocks,
  parameters: number,
  weight: ArrayLike<number> | undefined,
  bias: ArrayLike<number> | undefined,
  eps: number,
): T {
  const { rows, width, pitch } = blocks;
  const out = allocateLike(input, input.length);
  const scale = Float64Array.from(weight ?? new Float64Array(parameters).fill(1));
  const shift = Float64Array.from(bias ?? new Float64Array(parameters));
  for (let block = 0; block < blocks.count; block++) {
    const start = blocks.start(block);
    const parameter = blocks.parameter(block);
    const mean = blockMean(input, start, rows, width, pitch);
    const invStd = blockInvStd(input, start, rows, width, pitch, mean, eps);
    for (let r = 0, at = start; r < rows; r++, at += pitch) {
      for (let i = 0; i < width; i++) {
        out[at + i] = (input[at + i] - mean) * invStd * scale[parameter + i] + shift[parameter + i];
      }
    }
  }
  return out;
}

function normalizeBlocksGrad<T extends TypedArray>(
  gradOut: T,
  input: T,
  blocks: Blocks,
  parameters: number,
  weight: ArrayLike<number> | undefined,
  eps: number,
): { readonly input: T; readonly weight: T; readonly bias: T } {
  const { rows, width, pitch } = blocks;
  const gradInput = allocateLike(input, input.length);
  const gradWeight = new Float64Array(parameters);
  const gradBias = new Float64Array(parameters);
  const elements = rows * width;
  const scale = Float64Array.from(weight ?? new Float64Array(parameters).fill(1));
  for (let block = 0; block < blocks.count; block++) {
    const start = blocks.start(block);
    const parameter = blocks.parameter(block);
    const mean = blockMean(input, start, rows, width, pitch);
    const invStd = blockInvStd(input, start, rows, width, pitch, mean, eps);
    let sum = 0;
    let dot = 0;
    for (let r = 0, at = start; r < rows; r++, at += pitch) {
      for (let i = 0; i < width; i++) {
        const g = gradOut[at + i];
        const normal = (input[at + i] - mean) * invStd;
        gradWeight[parameter + i] += g * normal;
        gradBias[parameter + i] += g;
        const scaled = g * scale[parameter + i];
        sum += scaled;
        dot += scaled * normal;
      }
    }
    sum /= elements;
    dot /= elements;
    for (let r = 0, at = start; r < rows; r++, at += pitch) {
      for (let i = 0; i < width; i++) {
        const scaled = gradOut[at + i] * scale[parameter + i];
        gradInput[at + i] = (scaled - sum - (input[at + i] - mean) * invStd * dot) * invStd;
      }
    }
  }
  const rounded = (values: Float64Array): T => {
    const out = allocateLike(input, parameters);
    out.set(values);
    return out;
  };
  return { input: gradInput, weight: rounded(gradWeight), bias: rounded(gradBias) };
}

/** Four sums side by side: a single one would wait for each addition to finish. */
function blockMean(x: TypedArray, start: number, rows: number, width: number, pitch: number): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  for (let r = 0, at = start; r < rows; r++, at += pitch) {
    const end = at + width;
    let i = at;
    for (; i + 4 <= end; i += 4) {
      s0 += x[i];
      s1 += x[i + 1];
      s2 += x[i + 2];
      s3 += x[i + 3];
    }
    for (; i < end; i++) s0 += x[i];
  }
  return (s0 + s1 + s2 + s3) / (rows * width);
}

function blockInvStd(
  x: TypedArray,
  start: number,
  rows: number,
  width: number,
  pitch: number,
  mean: number,
  eps: number,
): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  for (let r = 0, at = start; r < rows; r++, at += pitch) {
    const end = at + width;
    let i = at;
    for (; i + 4 <= end; i += 4) {
      const d0 = x[i] - mean;
      const d1 = x[i + 1] - mean;
      const d2 = x[i + 2] - mean;
      const d3 = x[i + 3] - mean;
      s0 += d0 * d0;
      s1 += d1 * d1;
      s2 += d2 * d2;
      s3 += d3 * d3;
    }
    for (; i < end; i++) s0 += (x[i] - mean) * (x[i] - mean);
  }
  return 1 / Math.sqrt((s0 + s1 + s2 + s3) / (rows * width) + eps);
}

function layerBlocks(
  shape: Shape,
  normalizedShape: readonly number[],
  weight: Tensor | null,
  bias: Tensor | null,
): Blocks {
  const lead = shape.length - normalizedShape.length;
  if (
    normalizedShape.length === 0 ||
    lead < 0 ||
    normalizedShape.some((size, d) => size !== shape[lead + d])
  ) {
    throw new ShapeError({
      fn: 'layerNorm',
      argument: 'input',
      expected: `trailing dimensions ${formatShape(normalizedShape)}`,
      got: formatShape(shape),
    });
  }
  for (const [argument, t] of Object.entries({ weight, bias })) {
    if (
      t === null ||
      (t.ndim === normalizedShape.length && t.shape.every((s, d) => s === normalizedShape[d]))
    )
      continue;
    throw new ShapeError({
      fn: 'layerNorm',
      argument,
      expected: `shape ${formatShape(normalizedShape)}`,
      got: formatShape(t.shape),
    });
  }
  const width = product(normalizedShape);
  return {
    count: product(shape.slice(0, lead)),
    rows: 1,
    width,
    pitch: width,
    start: (block) => block * width,
    parameter: () => 0,
  };
}

function groupBlocks(shape: Shape, groups: number, weight: Tensor | null, bias: Tensor | null): Blocks {
  const channels = shape[1];
  if (shape.length < 2 || !Number.isInteger(groups) || groups < 1 || channels % groups !== 0) {
    throw new ArgumentError({
      fn: 'groupNorm',
      argument: 'groups',
      expected: 'a divisor of the number of channels (dimension 1)',
      got: `${groups} for an input of ${formatShape(shape)}`,
    });
  }
  for (const [argument, t] of Object.entries({ weight, bias })) {
    if (t === null || (t.ndim === 1 && t.shape[0] === channels)) continue;
    throw new ShapeError({
      fn: 'groupNorm',
      argument,
      expected: `shape [${channels}]`,
      got: formatShape(t.shape),
    });
  }
  const width = channels / groups;
  const rows = product(shape.slice(2));
  return {
    count: shape[0] * groups,
    rows,
    width,
    pitch: channels,
    start: (block) => Math.floor(block / groups) * rows * channels + (block % groups) * width,
    parameter: (block) => (block % groups) * width,
  };
}
