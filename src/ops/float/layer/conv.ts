import { ArgumentError, ShapeError } from '../../../core/errors.ts';
import { convForwardF32, convInputGradF32 } from '../../../kernels/f32/conv.ts';
import { convWeightGradF32 } from '../../../kernels/f32/conv-weight-grad.ts';
import type { ConvGeometryF32 as ConvProblem } from '../../../kernels/f32/window.ts';
import {
  referenceConvForwardF32,
  referenceConvInputGradF32,
  referenceConvWeightGradF32,
} from '../../../kernels/reference/f32.ts';
import type { TypedArray } from '../../../tensor/dtype.ts';
import { formatShape, type Shape } from '../../../tensor/shape.ts';
import { Tensor } from '../../../tensor/tensor.ts';
import type { ConvGeometry, ConvTransposeGeometry } from '../../signatures/layer.ts';
import { channelsLastData, channelsLastTensor, requireFloat } from './channels-last.ts';

/** What a convolution gives, its arguments checked. */
export interface ConvolutionResult {
  readonly problem: ConvProblem;
  readonly shape: Shape;
  readonly dtype: 'float32' | 'float64';
}

/** The result of {@link convolution} without its elements. */
export function convolutionResult(
  fn: string,
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  geometry: ConvGeometry,
): ConvolutionResult {
  const dtype = requireFloat(fn, { input: x, weight, bias });
  const problem = convProblem(fn, x.shape, weight.shape, geometry);
  checkBias(fn, bias, problem.outChannels);
  return { problem, shape: [problem.batch, problem.outChannels, ...problem.outSize], dtype };
}

/** Convolution over 1, 2 or 3 spatial dimensions; the result is channels-last. Source: `torch.convolution`. */
export function convolution(
  fn: string,
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  geometry: ConvGeometry,
): Tensor {
  const { problem, shape, dtype } = convolutionResult(fn, x, weight, bias, geometry);
  return channelsLastTensor(
    forward(channelsLastData(x), weight.data, bias?.data ?? null, problem),
    shape,
    dtype,
  );
}

/** Gradient of {@link convolution} with respect to an input of `inputShape`. */
export function convolutionInputGrad(
  fn: string,
  gradOut: Tensor,
  inputShape: Shape,
  weight: Tensor,
  geometry: ConvGeometry,
): Tensor {
  const problem = convProblem(fn, inputShape, weight.shape, geometry);
  return channelsLastTensor(
    inputGrad(channelsLastData(gradOut), weight.data, null, problem),
    inputShape,
    weight.dtype,
  );
}

/** Gradient of {@link convolution} with respect to a weight of `weightShape`. */
export function convolutionWeightGrad(
  fn: string,
  gradOut: Tensor,
  x: Tensor,
  weightShape: Shape,
  geometry: ConvGeometry,
): Tensor {
  const problem = convProblem(fn, x.shape, weightShape, geometry);
  const storage = weightGrad(channelsLastData(x), channelsLastData(gradOut), problem);
  return new Tensor({ storage, shape: weightShape, dtype: x.dtype });
}

/** The result of {@link convolutionTranspose} without its elements; `problem` is the convolution that it turns around. */
export function convolutionTransposeResult(
  fn: string,
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  geometry: ConvTransposeGeometry,
): ConvolutionResult {
  const dtype = requireFloat(fn, { input: x, weight, bias });
  const problem = transposeProblem(fn, x.shape, weight.shape, geometry);
  checkBias(fn, bias, problem.inChannels);
  return { problem, shape: [problem.batch, problem.inChannels, ...problem.inSize], dtype };
}

/**
 * Transposed convolution: the map from the output to the input of a convolution, run forwards. `weight` is
 * [inChannels, outChannels / groups, kernel…]. Source: `torch.conv_transpose2d`.
 */
export function convolutionTranspose(
  fn: string,
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  geometry: ConvTransposeGeometry,
): Tensor {
  const { problem, shape, dtype } = convolutionTransposeResult(fn, x, weight, bias, geometry);
  const out = inputGrad(channelsLastData(x), weight.data, bias?.data ?? null, problem);
  return channelsLastTensor(out, shape, dtype);
}

/** Gradient of {@link convolutionTranspose} with respect to an input of `inputShape`. */
export function convolutionTransposeInputGrad(
  fn: string,
  gradOut: Tensor,
  inputShape: Shape,
  weight: Tensor,
  geometry: ConvTransposeGeometry,
): Tensor {
  const problem = transposeProblem(fn, inputShape, weight.shape, geometry);
  return channelsLastTensor(
    forward(channelsLastData(gradOut), weight.data, null, problem),
    inputShape,
    weight.dtype,
  );
}

/** Gradient of {@link convolutionTranspose} with respect to a weight of `weightShape`. */
export function convolutionTransposeWeightGrad(
  fn: string,
  gradOut: Tensor,
  x: Tensor,
  weightShape: Shape,
  geometry: ConvTransposeGeometry,
): Tensor {
  const problem = transposeProblem(fn, x.shape, weightShape, geometry);
  const storage = weightGrad(channelsLastData(gradOut), channelsLastData(x), problem);
  return new Tensor({ storage, shape: weightShape, dtype: x.dtype });
}

function forward(
  x: TypedArray,
  weight: TypedArray,
  bias: TypedArray | null,
  problem: ConvProblem,
): TypedArray {
  if (x instanceof Float32Array) {
    return convForwardF32(x, weight as Float32Array, problem, { bias: bias as Float32Array | null });
  }
  return referenceConvForwardF32(x, weight, problem, bias);
}

function inputGrad(
  gradOut: TypedArray,
  weight: TypedArray,
  bias: TypedArray | null,
  problem: ConvProblem,
): TypedArray {
  if (gradOut instanceof Float32Array) {
    return convInputGradF32(gradOut, weight as Float32Array, problem, { bias: bias as Float32Array | null });
  }
  return referenceConvInputGradF32(gradOut, weight, problem, bias);
}

function weightGrad(x: TypedArray, gradOut: TypedArray, problem: ConvProblem): TypedArray {
  if (x instanceof Float32Array) return convWeightGradF32(x, gradOut as Float32Array, problem);
  return referenceConvWeightGradF32(x, gradOut, problem);
}

/** The sizes of a convolution, checked. */
export function convProblem(fn: string, x: Shape, weight: Shape, geometry: ConvGeometry): ConvProblem {
  const { stride, padding, dilation, groups } = geometry;
  const rank = checkRanks(fn, x, weight, geometry);
  const [batch, inChannels] = x;
  const [outChannels, perGroup] = weight;
  if (inChannels !== perGroup * groups) {
    throw new ShapeError({
      fn,
      argument: 'input',
      expected: `${perGroup * groups} channels (weight ${formatShape(weight)}, groups ${groups})`,
      got: `${formatShape(x)}`,
    });
  }
  if (outChannels % groups !== 0) {
    throw new ArgumentError({
      fn,
      argument: 'groups',
      expected: `a divisor of the ${outChannels} output channels`,
      got: String(groups),
    });
  }
  const kernel = weight.slice(2);
  const inSize = x.slice(2);
  const outSize = Array.from({ length: rank }, (_, d) =>
    Math.floor((inSize[d] + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1) / stride[d] + 1),
  );
  if (outSize.some((s) => s <= 0)) {
    throw new ShapeError({
      fn,
      argument: 'input',
      expected: `a padded input at least as large as the dilated kernel ${formatShape(kernel.map((k, d) => dilation[d] * (k - 1) + 1))}`,
      got: `${formatShape(inSize.map((s, d) => s + 2 * padding[d]))} (with padding)`,
    });
  }
  return { batch, inChannels, outChannels, groups, inSize, outSize, kernel, stride, padding, dilation };
}

/** The convolution whose map from output to input a transposed one is. */
export function transposeProblem(
  fn: string,
  x: Shape,
  weight: Shape,
  geometry: ConvTransposeGeometry,
): ConvProblem {
  const { stride, padding, dilation, groups, outputPadding } = geometry;
  checkRanks(fn, x, weight, geometry);
  const [batch, outChannels] = x;
  if (weight[0] !== outChannels || outChannels % groups !== 0) {
    throw new ShapeError({
      fn,
      argument: 'input',
      expected: `${weight[0]} channels, a multiple of groups ${groups} (weight ${formatShape(weight)})`,
      got: formatShape(x),
    });
  }
  const kernel = weight.slice(2);
  const outSize = x.slice(2);
  outputPadding.forEach((p, d) => {
    if (p < 0 || (p >= stride[d] && p >= dilation[d])) {
      throw new ArgumentError({
        fn,
        argument: 'outputPadding',
        expected: 'less than the stride or the dilation',
        got: String(p),
      });
    }
  });
  const inSize = outSize.map(
    (s, d) => (s - 1) * stride[d] - 2 * padding[d] + dilation[d] * (kernel[d] - 1) + outputPadding[d] + 1,
  );
  if (inSize.some((s) => s <= 0)) {
    throw new ShapeError({
      fn,
      argument: 'padding',
      expected: 'an output with at least one element per dimension',
      got: formatShape(inSize),
    });
  }
  return {
    batch,
    inChannels: weight[1] * groups,
    outChannels,
    groups,
    inSize,
    outSize,
    kernel,
    stride,
    padding,
    dilation,
  };
}

function checkRanks(fn: string, x: Shape, weight: Shape, geometry: ConvGeometry): number {
  const rank = geometry.stride.length;
  if (x.length !== rank + 2 || weight.length !== rank + 2) {
    throw new ShapeError({
      fn,
      argument: x.length !== rank + 2 ? 'input' : 'weight',
      expected: `${rank + 2} dimensions (batch, channels and ${rank} spatial)`,
      got: formatShape(x.length !== rank + 2 ? x : weight),
    });
  }
  for (const argument of ['stride', 'padding', 'dilation'] as const) {
    const least = argument === 'padding' ? 0 : 1;
    for (const value of geometry[argument]) {
      if (Number.isInteger(value) && value >= least) continue;
      throw new ArgumentError({ fn, argument, expected: `whole numbers from ${least}`, got: String(value) });
    }
  }
  if (!Number.isInteger(geometry.groups) || geometry.groups < 1) {
    throw new ArgumentError({
      fn,
      argument: 'groups',
      expected: 'a positive whole number',
      got: String(geometry.groups),
    });
  }
  return rank;
}

function checkBias(fn: string, bias: Tensor | null, channels: number): void {
  if (bias && (bias.ndim !== 1 || bias.shape[0] !== channels)) {
    throw new ShapeError({
      fn,
      argument: 'bias',
      expected: `shape [${channels}]`,
      got: formatShape(bias.shape),
    });
  }
}
