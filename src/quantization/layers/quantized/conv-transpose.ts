import type {
  ConvTransposeOptions,
  ConvTranspose1d as FloatConvTranspose1d,
  ConvTranspose2d as FloatConvTranspose2d,
  ConvTranspose3d as FloatConvTranspose3d,
} from '../../../nn/index.ts';
import type { AnyModule } from '../../../nn/module.ts';
import { pythonTuple } from '../../../nn/python-repr.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import { perDimension, type Sizes } from '../../../ops/functions/layer/spatial.ts';
import { noGrad } from '../../../ops/grad-mode.ts';
import { PackedTransposedWeights } from '../../../ops/quantized/transposed.ts';
import { zeros } from '../../../tensor/creation.ts';
import { pythonFloat } from '../../../tensor/format.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { observedQParams } from '../../observed-qparams.ts';
import { assertValidQConfig } from '../../qconfig.ts';
import { observeWeight, plainBias, quantizeWeight } from '../weights.ts';
import { PackedLayer } from './packed-layer.ts';

type Rank = 1 | 2 | 3;

/** What quantized transposed convolutions of every rank share. */
export abstract class QuantizedConvTranspose extends PackedLayer<PackedTransposedWeights> {
  /** Spatial dimensions. */
  readonly rank: Rank;
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: readonly number[];
  readonly stride: readonly number[];
  readonly padding: readonly number[];
  readonly outputPadding: readonly number[];
  readonly dilation: readonly number[];
  readonly groups: number;

  constructor(
    rank: Rank,
    inChannels: number,
    outChannels: number,
    kernelSize: Sizes,
    options: ConvTransposeOptions,
  ) {
    super();
    this.rank = rank;
    const spread = (argument: string, v: Sizes): readonly number[] =>
      perDimension(new.target.name, argument, v, rank);
    this.inChannels = inChannels;
    this.outChannels = outChannels;
    this.kernelSize = spread('kernelSize', kernelSize);
    this.stride = spread('stride', options.stride ?? 1);
    this.padding = spread('padding', options.padding ?? 0);
    this.outputPadding = spread('outputPadding', options.outputPadding ?? 0);
    this.dilation = spread('dilation', options.dilation ?? 1);
    this.groups = options.groups ?? 1;
    const shape = [inChannels, outChannels / this.groups, ...this.kernelSize];
    const weight = noGrad(() => dispatch('quantizePerTensor', zeros(shape), 1, 0, 'qint8'));
    this.packed = this.pack(weight, options.bias === false ? null : zeros([outChannels]));
  }

  /** PyTorch's own spelling. */
  override get typeName(): string {
    return `QuantizedConvTranpose${this.rank}d`;
  }

  forward(x: Tensor): Tensor {
    return dispatch(`quantized::conv_transpose${this.rank}d`, x, this.packed, this.scale, this.zeroPoint);
  }

  override extraRepr(): string {
    const { inChannels, outChannels, kernelSize, stride, padding, dilation, outputPadding, groups } = this;
    const parts = [
      `${inChannels}, ${outChannels}, kernel_size=${pythonTuple(kernelSize)}, stride=${pythonTuple(stride)}`,
      `scale=${pythonFloat(this.scale)}, zero_point=${this.zeroPoint}`,
    ];
    if (padding.some((p) => p !== 0)) parts.push(`padding=${pythonTuple(padding)}`);
    if (dilation.some((d) => d !== 1)) parts.push(`dilation=${pythonTuple(dilation)}`);
    if (outputPadding.some((p) => p !== 0)) parts.push(`output_padding=${pythonTuple(outputPadding)}`);
    if (groups !== 1) parts.push(`groups=${groups}`);
    if (this.bias() === null) parts.push('bias=False');
    return parts.join(', ');
  }

  pack(weight: Tensor, bias: Tensor | null): PackedTransposedWeights {
    const { stride, padding, outputPadding, dilation, groups } = this;
    return new PackedTransposedWeights(weight, bias, { stride, padding, outputPadding, dilation, groups });
  }
}

type Create<Q> = new (
  inChannels: number,
  outChannels: number,
  kernelSize: Sizes,
  options: ConvTransposeOptions,
) => Q;

/** Gives a fresh quantized layer the weight and output parameters of an observed float one. */
function adopt<Q extends QuantizedConvTranspose>(create: Create<Q>, module: AnyModule): Q {
  const q = adoptTransposedWeights(create, module);
  const { scale, zeroPoint } = observedQParams(module.activationPostProcess, `${q.typeName}.fromFloat`);
  q.scale = scale;
  q.zeroPoint = zeroPoint;
  return q;
}

/** Gives a fresh quantized layer the weight of a float transposed convolution. */
export function adoptTransposedWeights<Q extends QuantizedConvTranspose>(
  create: Create<Q>,
  module: AnyModule,
): Q {
  const float = module as FloatConvTranspose1d | FloatConvTranspose2d | FloatConvTranspose3d;
  assertValidQConfig(float.qconfig, float);
  const { inChannels, outChannels, kernelSize, stride, outputPadding, dilation, groups } = float;
  // Transposed convolutions take their padding in numbers only.
  const padding = float.padding as readonly number[];
  const bias = float.bias !== null;
  const q = new create(inChannels, outChannels, kernelSize, {
    stride,
    padding,
    outputPadding,
    dilation,
    groups,
    bias,
  });
  const fn = `${q.typeName}.fromFloat`;
  q.setWeightBias(
    quantizeWeight(float.weight, observeWeight(float, float.weight, fn), fn),
    plainBias(float.bias),
  );
  return q;
}

/**
 * 1-d transposed convolution on quantized tensors [N, C, L]; the weight is quantized per tensor.
 * Source: `torch.ao.nn.quantized.ConvTranspose1d`.
 */
export class ConvTranspose1d extends QuantizedConvTranspose {
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Sizes,
    options: ConvTransposeOptions = {},
  ) {
    super(1, inChannels, outChannels, kernelSize, options);
  }

  static fromFloat(module: AnyModule): ConvTranspose1d {
    return adopt(ConvTranspose1d, module);
  }
}

/**
 * 2-d transposed convolution on quantized tensors [N, C, H, W]; the weight is quantized per tensor.
 * Source: `torch.ao.nn.quantized.ConvTranspose2d`.
 *
 * @example
 * new ConvTranspose2d(16, 8, 4, { stride: 2, padding: 1 })(x).shape; // [1, 8, 20, 24] from [1, 16, 10, 12]
 */
export class ConvTranspose2d extends QuantizedConvTranspose {
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Sizes,
    options: ConvTransposeOptions = {},
  ) {
    super(2, inChannels, outChannels, kernelSize, options);
  }

  static fromFloat(module: AnyModule): ConvTranspose2d {
    return adopt(ConvTranspose2d, module);
  }
}

/**
 * 3-d transposed convolution on quantized tensors [N, C, D, H, W]; the weight is quantized per tensor.
 * Source: `torch.ao.nn.quantized.ConvTranspose3d`.
 */
export class ConvTranspose3d extends QuantizedConvTranspose {
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Sizes,
    options: ConvTransposeOptions = {},
  ) {
    super(3, inChannels, outChannels, kernelSize, options);
  }

  static fromFloat(module: AnyModule): ConvTranspose3d {
    return adopt(ConvTranspose3d, module);
  }
}
