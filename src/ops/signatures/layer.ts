import type { Tensor } from '../../tensor/tensor.ts';

/** Geometry of a convolution; one number per spatial dimension. */
export interface ConvGeometry {
  readonly stride: readonly number[];
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
  readonly groups: number;
}

/** Geometry of a transposed convolution. */
export interface ConvTransposeGeometry extends ConvGeometry {
  readonly outputPadding: readonly number[];
}

/** Geometry of a pooling window; one number per spatial dimension. */
export interface PoolGeometry {
  readonly kernelSize: readonly number[];
  readonly stride: readonly number[];
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
  readonly ceilMode: boolean;
}

/** Geometry of an average pool. */
export interface AvgPoolGeometry extends PoolGeometry {
  readonly countIncludePad: boolean;
}

/** How `interpolate` finds values between samples. */
export interface InterpolateOptions {
  readonly size: readonly number[];
  readonly mode: 'nearest' | 'linear' | 'bilinear';
  readonly alignCorners: boolean;
  /** Input-over-output step per dimension where the caller gave a scale factor (PyTorch then uses it instead of the sizes). */
  readonly scales: readonly number[] | null;
}

/** How losses fold their elements. */
export type Reduction = 'mean' | 'sum' | 'none';

/** Operators that are layers: products, convolutions, pools, norms, embeddings, recurrent cells. */
export interface LayerOps {
  matmul(a: Tensor, b: Tensor): Tensor;
  bmm(a: Tensor, b: Tensor): Tensor;
  /** x·wᵀ + b over the last dimension. */
  linear(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor;

  conv1d(x: Tensor, weight: Tensor, bias: Tensor | null, geometry: ConvGeometry): Tensor;
  conv2d(x: Tensor, weight: Tensor, bias: Tensor | null, geometry: ConvGeometry): Tensor;
  conv3d(x: Tensor, weight: Tensor, bias: Tensor | null, geometry: ConvGeometry): Tensor;
  convTranspose1d(x: Tensor, weight: Tensor, bias: Tensor | null, geometry: ConvTransposeGeometry): Tensor;
  convTranspose2d(x: Tensor, weight: Tensor, bias: Tensor | null, geometry: ConvTransposeGeometry): Tensor;
  convTranspose3d(x: Tensor, weight: Tensor, bias: Tensor | null, geometry: ConvTransposeGeometry): Tensor;

  maxPool1d(x: Tensor, geometry: PoolGeometry): Tensor;
  maxPool2d(x: Tensor, geometry: PoolGeometry): Tensor;
  maxPool3d(x: Tensor, geometry: PoolGeometry): Tensor;
  avgPool1d(x: Tensor, geometry: AvgPoolGeometry): Tensor;
  avgPool2d(x: Tensor, geometry: AvgPoolGeometry): Tensor;
  avgPool3d(x: Tensor, geometry: AvgPoolGeometry): Tensor;
  adaptiveAvgPool1d(x: Tensor, outputSize: readonly number[]): Tensor;
  adaptiveAvgPool2d(x: Tensor, outputSize: readonly number[]): Tensor;
  adaptiveAvgPool3d(x: Tensor, outputSize: readonly number[]): Tensor;
  interpolate(x: Tensor, options: InterpolateOptions): Tensor;

  /** Batch normalization with batch statistics over every dimension but 1: [output, mean, biased variance]. */
  batchNormTrain(
    x: Tensor,
    weight: Tensor | null,
    bias: Tensor | null,
    eps: number,
  ): [Tensor, Tensor, Tensor];
  /** Batch normalization with given statistics. */
  batchNormEval(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | null,
    bias: Tensor | null,
    eps: number,
  ): Tensor;
  /** Normalizes over the trailing dimensions that `normalizedShape` names. */
  layerNorm(
    x: Tensor,
    normalizedShape: readonly number[],
    weight: Tensor | null,
    bias: Tensor | null,
    eps: number,
  ): Tensor;
  groupNorm(x: Tensor, groups: number, weight: Tensor | null, bias: Tensor | null, eps: number): Tensor;

  nllLoss(
    logProbabilities: Tensor,
    target: Tensor,
    weight: Tensor | null,
    ignoreIndex: number,
    reduction: Reduction,
  ): Tensor;
  embedding(indices: Tensor, weight: Tensor, paddingIdx: number | null): Tensor;
  embeddingBag(
    indices: Tensor,
    weight: Tensor,
    offsets: Tensor,
    mode: 'sum' | 'mean' | 'max',
    perSampleWeights: Tensor | null,
  ): Tensor;

  /** The pointwise half of an LSTM step: gates [batch, 4·hidden] (i, f, g, o before activation) and c → [h', c']. */
  lstmPointwise(gates: Tensor, c: Tensor): [Tensor, Tensor];
  /** The pointwise half of a GRU step: input and hidden gates [batch, 3·hidden] (r, z, n) and h → h'. */
  gruPointwise(inputGates: Tensor, hiddenGates: Tensor, h: Tensor): Tensor;
}
