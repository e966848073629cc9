import { QuantizationError } from '../../../core/errors.ts';
import type {
  Conv1d as FloatConv1d,
  Conv2d as FloatConv2d,
  Conv3d as FloatConv3d,
} from '../../../nn/index.ts';
import type { AnyModule } from '../../../nn/module.ts';
import { pythonTuple } from '../../../nn/python-repr.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import { noGrad } from '../../../ops/grad-mode.ts';
import { PackedWeights } from '../../../ops/quantized/packed.ts';
import { zeros } from '../../../tensor/creation.ts';
import { pythonFloat } from '../../../tensor/format.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { observedQParams } from '../../observed-qparams.ts';
import { firstLayer, layerParameters, observeWeight, plainBias, quantizeWeight } from '../weights.ts';
import { PackedLayer } from './packed-layer.ts';

type FloatConv = FloatConv1d | FloatConv2d | FloatConv3d;

/** Options of a quantized convolution, as of the float one; numbers stand for every spatial dimension. */
export interface QuantizedConvOptions {
  readonly stride?: number | readonly number[];
  readonly padding?: number | readonly number[];
  readonly dilation?: number | readonly number[];
  readonly groups?: number;
  readonly bias?: boolean;
  readonly paddingMode?: 'zeros' | 'reflect';
}

/** What quantized convolutions of every rank share. */
export abstract class QuantizedConv extends PackedLayer<PackedWeights> {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: readonly number[];
  readonly stride: readonly number[];
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
  readonly groups: number;
  readonly paddingMode: 'zeros' | 'reflect';

  constructor(
    rank: number,
    inChannels: number,
    outChannels: number,
    kernelSize: number | readonly number[],
    options: QuantizedConvOptions,
  ) {
    super();
    const spread = (v: number | readonly number[] | undefined, otherwise: number): readonly number[] =>
      typeof v === 'object' ? v : new Array<number>(rank).fill(v ?? otherwise);
    this.inChannels = inChannels;
    this.outChannels = outChannels;
    this.kernelSize = spread(kernelSize, 1);
    this.stride = spread(options.stride, 1);
    this.padding = spread(options.padding, 0);
    this.dilation = spread(options.dilation, 1);
    this.groups = options.groups ?? 1;
    this.paddingMode = options.paddingMode ?? 'zeros';
    const shape = [outChannels, inChannels / this.groups, ...this.kernelSize];
    const weight = noGrad(() => dispatch('quantizePerTensor', zeros(shape), 1, 0, 'qint8'));
    this.packed = this.pack(weight, options.bias === false ? null : zeros([outChannels]));
  }

  override extraRepr(): string {
    const { inChannels, outChannels, kernelSize, stride } = this;
    const parts = [
      `${inChannels}, ${outChannels}, kernel_size=${pythonTuple(kernelSize)}, stride=${pythonTuple(stride)}`,
      `scale=${pythonFloat(this.scale)}, zero_point=${this.zeroPoint}`,
    ];
    if (this.padding.some((p) => p !== 0)) parts.push(`padding=${pythonTuple(this.padding)}`);
    if (this.dilation.some((d) => d !== 1)) parts.push(`dilation=${pythonTuple(this.dilation)}`);
    if (this.groups !== 1) parts.push(`groups=${this.groups}`);
    if (this.bias() === null) parts.push('bias=False');
    return parts.join(', ');
  }

  protected run(op: `quantized::conv${1 | 2 | 3}d${'' | '_relu'}`, x: Tensor): Tensor {
    return dispatch(op, this.padded(x), this.packed, this.scale, this.zeroPoint);
  }

  /** The input, padded here where the kernel cannot do it. */
  protected padded(x: Tensor): Tensor {
    return this.paddingMode === 'reflect' ? dispatch('pad', x, reflectPads(this.padding), 'reflect', 0) : x;
  }

  pack(weight: Tensor, bias: Tensor | null): PackedWeights {
    const { stride, dilation, groups, paddingMode } = this;
    const padding = paddingMode === 'reflect' ? this.padding.map(() => 0) : this.padding;
    return new PackedWeights(weight, bias, { stride, padding, dilation, groups });
  }
}

/** Turns one padding a side per dimension into `pad`'s list, which starts from the last dimension. */
function reflectPads(padding: readonly number[]): number[] {
  return [...padding].reverse().flatMap((p) => [p, p]);
}

/** Gives a fresh quantized layer the weight and output parameters of an observed float convolution. */
function adopt<Q extends QuantizedConv>(
  create: (float: FloatConv, options: QuantizedConvOptions) => Q,
  module: AnyModule,
): Q {
  const q = adoptWeights(create, module);
  const { scale, zeroPoint } = observedQParams(module.activationPostProcess, `${q.typeName}.fromFloat`);
  q.scale = scale;
  q.zeroPoint = zeroPoint;
  return q;
}

/** Gives a fresh quantized layer the weight of a float convolution. */
export function adoptWeights<Q extends QuantizedConv>(
  create: (float: FloatConv, options: QuantizedConvOptions) => Q,
  module: AnyModule,
): Q {
  const float = firstLayer(module) as FloatConv;
  const { stride, dilation, groups, paddingMode } = float;
  if (paddingMode !== 'zeros' && paddingMode !== 'reflect') {
    throw new QuantizationError({
      fn: `quantized.${float.typeName}.fromFloat`,
      argument: 'paddingMode',
      expected: "'zeros' or 'reflect'",
      got: `'${paddingMode}'`,
      fix: 'Pad with an operator before the layer, or keep it float with qconfig = null.',
    });
  }
  const padding = explicitPadding(float);
  const q = create(float, { stride, padding, dilation, groups, bias: float.bias !== null, paddingMode });
  const fn = `${q.typeName}.fromFloat`;
  const { weight, bias } = layerParameters(module);
  q.setWeightBias(quantizeWeight(weight, observeWeight(module, weight, fn), fn), plainBias(bias));
  return q;
}

/** The padding in numbers where the float layer says `same` or `valid`. */
function explicitPadding(float: FloatConv): readonly number[] {
  if (typeof float.padding !== 'string') return float.padding;
  if (float.padding === 'valid') return float.kernelSize.map(() => 0);
  return float.kernelSize.map((k, d) => {
    const total = float.dilation[d] * (k - 1);
    if (total % 2 === 0) return total / 2;
    throw new QuantizationError({
      fn: `quantized.${float.typeName}.fromFloat`,
      argument: 'padding',
      expected: "'same' with equal padding on both sides",
      got: `a kernel of ${k} with dilation ${float.dilation[d]}, which needs ${total} in all`,
      fix: 'Pad with an operator before the layer, or keep it float with qconfig = null.',
    });
  });
}

/** 1-d convolution on quantized tensors [N, C, L]. Source: `torch.ao.nn.quantized.Conv1d`. */
export class Conv1d extends QuantizedConv {
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: number | readonly number[],
    options: QuantizedConvOptions = {},
  ) {
    super(1, inChannels, outChannels, kernelSize, options);
  }

  static fromFloat(module: AnyModule): Conv1d {
    return adopt((f, o) => new this(f.inChannels, f.outChannels, f.kernelSize, o), module);
  }

  override get typeName(): string {
    return 'QuantizedConv1d';
  }

  forward(x: Tensor): Tensor {
    return this.run('quantized::conv1d', x);
  }
}

/**
 * 2-d convolution on quantized tensors: quint8 (or qint8) [N, C, H, W] in and out, qint8 weights per tensor or per
 * output channel. Source: `torch.ao.nn.quantized.Conv2d`.
 */
export class Conv2d extends QuantizedConv {
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: number | readonly number[],
    options: QuantizedConvOptions = {},
  ) {
    super(2, inChannels, outChannels, kernelSize, options);
  }

  static fromFloat(module: AnyModule): Conv2d {
    return adopt((f, o) => new this(f.inChannels, f.outChannels, f.kernelSize, o), module);
  }

  override get typeName(): string {
    return 'QuantizedConv2d';
  }

  forward(x: Tensor): Tensor {
    return this.run('quantized::conv2d', x);
  }
}

/** 3-d convolution on quantized tensors [N, C, D, H, W]. Source: `torch.ao.nn.quantized.Conv3d`. */
export class Conv3d extends QuantizedConv {
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: number | readonly number[],
    options: QuantizedConvOptions = {},
  ) {
    super(3, inChannels, outChannels, kernelSize, options);
  }

  static fromFloat(module: AnyModule): Conv3d {
    return adopt((f, o) => new this(f.inChannels, f.outChannels, f.kernelSize, o), module);
  }

  override get typeName(): string {
    return 'QuantizedConv3d';
  }

  forward(x: Tensor): Tensor {
    return this.run('quantized::conv3d', x);
  }
}

/** {@link Conv1d} whose result is clamped at zero. Source: `torch.ao.nn.intrinsic.quantized.ConvReLU1d`. */
export class ConvReLU1d extends Conv1d {
  override get typeName(): string {
    return 'QuantizedConvReLU1d';
  }

  override forward(x: Tensor): Tensor {
    return this.run('quantized::conv1d_relu', x);
  }
}

/** {@link Conv2d} whose result is clamped at zero. Source: `torch.ao.nn.intrinsic.quantized.ConvReLU2d`. */
export class ConvReLU2d extends Conv2d {
  override get typeName(): string {
    return 'QuantizedConvReLU2d';
  }

  override forward(x: Tensor): Tensor {
    return this.run('quantized::conv2d_relu', x);
  }
}

/** {@link Conv3d} whose result is clamped at zero. Source: `torch.ao.nn.intrinsic.quantized.ConvReLU3d`. */
export class ConvReLU3d extends Conv3d {
  override get typeName(): string {
    return 'QuantizedConvReLU3d';
  }

  override forward(x: Tensor): Tensor {
    return this.run('quantized::conv3d_relu', x);
  }
}
