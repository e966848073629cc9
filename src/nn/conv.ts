import { ArgumentError } from '../core/errors.ts';
import { dispatch } from '../ops/dispatch.ts';
import { conv1d, conv2d, conv3d } from '../ops/functions/layer/conv.ts';
import { perDimension, type Sizes } from '../ops/functions/layer/spatial.ts';
import { zeros } from '../tensor/creation.ts';
import type { Tensor } from '../tensor/tensor.ts';
import * as init from './init.ts';
import { Module } from './module.ts';
import { Parameter } from './parameter.ts';
import { pythonTuple } from './python-repr.ts';

/** What a convolution sees outside of its input. */
export type PaddingMode = 'zeros' | 'reflect' | 'replicate' | 'circular';

/** Options of the convolutions. */
export interface ConvOptions {
  /** Step of the window; 1 where not given. */
  readonly stride?: Sizes;
  /** Samples added on both sides (0 where not given), or `same` for an output as large as the input, or `valid`. */
  readonly padding?: Sizes | 'same' | 'valid';
  /** Distance between the taps of the kernel; 1 where not given. */
  readonly dilation?: Sizes;
  /** Blocks of channels that do not see each other; 1 where not given, inChannels for a depthwise convolution. */
  readonly groups?: number;
  /** Learn an additive bias; true where not given. */
  readonly bias?: boolean;
  /** `zeros` where not given. */
  readonly paddingMode?: PaddingMode;
}

/** What all convolutions share. Source: `torch.nn.modules.conv._ConvNd`. */
export abstract class ConvNd extends Module {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: readonly number[];
  readonly stride: readonly number[];
  readonly padding: readonly number[] | 'same' | 'valid';
  readonly dilation: readonly number[];
  readonly groups: number;
  readonly paddingMode: PaddingMode;
  weight: Parameter;
  bias: Parameter | null;

  constructor(
    rank: number,
    inChannels: number,
    outChannels: number,
    kernelSize: Sizes,
    options: ConvOptions,
    transposed = false,
  ) {
    super();
    const fn = new.target.name;
    const groups = options.groups ?? 1;
    for (const [argument, channels] of [
      ['inChannels', inChannels],
      ['outChannels', outChannels],
    ] as const) {
      if (Number.isInteger(groups) && groups > 0 && channels % groups === 0) continue;
      throw new ArgumentError({
        fn,
        argument,
        expected: `a multiple of groups = ${groups} (a positive whole number)`,
        got: String(channels),
      });
    }
    this.inChannels = inChannels;
    this.outChannels = outChannels;
    this.kernelSize = perDimension(fn, 'kernelSize', kernelSize, rank);
    this.stride = perDimension(fn, 'stride', options.stride ?? 1, rank);
    const padding = options.padding ?? 0;
    this.padding = typeof padding === 'string' ? padding : perDimension(fn, 'padding', padding, rank);
    this.dilation = perDimension(fn, 'dilation', options.dilation ?? 1, rank);
    this.groups = groups;
    this.paddingMode = options.paddingMode ?? 'zeros';
    if (this.padding === 'same' && this.stride.some((s) => s !== 1)) {
      throw new ArgumentError({
        fn,
        argument: 'padding',
        expected: 'stride 1 with "same"',
        got: `stride ${this.stride.join(', ')}`,
        fix: 'Give the padding in numbers.',
      });
    }
    const [first, second] = transposed ? [inChannels, outChannels] : [outChannels, inChannels];
    this.weight = new Parameter(zeros([first, second / groups, ...this.kernelSize]));
    this.bias = (options.bias ?? true) ? new Parameter(zeros([outChannels])) : null;
    this.resetParameters();
  }

  /** Draws weight and bias anew, as PyTorch does: uniform in ±1/√fanIn. */
  resetParameters(): void {
    init.resetLike(this.weight, this.bias);
  }

  /** Samples added at [left, right, top, bottom, …], counted from the last dimension. */
  pads(): number[] {
    const pads: number[] = [];
    for (let d = this.kernelSize.length - 1; d >= 0; d--) {
      const total = this.dilation[d] * (this.kernelSize[d] - 1);
      if (this.padding === 'valid') pads.push(0, 0);
      else if (this.padding === 'same') pads.push(Math.floor(total / 2), total - Math.floor(total / 2));
      else pads.push(this.padding[d], this.padding[d]);
    }
    return pads;
  }

  /** The convolution with another weight and bias than the module's own (fake-quantized, folded). */
  abstract convForward(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor;

  forward(x: Tensor): Tensor {
    return this.convForward(x, this.weight, this.bias);
  }

  override extraRepr(): string {
    const { inChannels, outChannels, kernelSize, stride, padding, dilation, groups, bias, paddingMode } =
      this;
    const parts = [
      `${inChannels}, ${outChannels}, kernel_size=${pythonTuple(kernelSize)}, stride=${pythonTuple(stride)}`,
    ];
    if (typeof padding === 'string') parts.push(`padding=${padding}`);
    else if (padding.some((p) => p !== 0)) parts.push(`padding=${pythonTuple(padding)}`);
    if (dilation.some((d) => d !== 1)) parts.push(`dilation=${pythonTuple(dilation)}`);
    const outputPadding = this.outputPaddingRepr();
    if (outputPadding !== '') parts.push(outputPadding);
    if (groups !== 1) parts.push(`groups=${groups}`);
    if (bias === null) parts.push('bias=False');
    if (paddingMode !== 'zeros') parts.push(`padding_mode=${paddingMode}`);
    return parts.join(', ');
  }

  /** The part of the text that only transposed convolutions have. */
  outputPaddingRepr(): string {
    return '';
  }
}

/**
 * Convolution over [batch, channels, length] (or [channels, length]). `weight` is
 * [outChannels, inChannels / groups, kernel]. Source: `torch.nn.Conv1d`.
 *
 * @example
 * new Conv1d(16, 33, 3, { stride: 2 })(rand([20, 16, 50])).shape; // [20, 33, 24]
 */
export class Conv1d extends ConvNd {
  constructor(inChannels: number, outChannels: number, kernelSize: Sizes, options: ConvOptions = {}) {
    super(1, inChannels, outChannels, kernelSize, options);
  }

  convForward(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
    return runConv(conv1d, this, x, weight, bias);
  }
}

/**
 * Convolution over [batch, channels, height, width] (or without batch). `weight` is
 * [outChannels, inChannels / groups, kernelHeight, kernelWidth]. Source: `torch.nn.Conv2d`.
 *
 * @example
 * new Conv2d(3, 16, 3, { stride: 2, padding: 1 })(rand([8, 3, 32, 32])).shape; // [8, 16, 16, 16]
 */
export class Conv2d extends ConvNd {
  constructor(inChannels: number, outChannels: number, kernelSize: Sizes, options: ConvOptions = {}) {
    super(2, inChannels, outChannels, kernelSize, options);
  }

  convForward(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
    return runConv(conv2d, this, x, weight, bias);
  }
}

/**
 * Convolution over [batch, channels, depth, height, width] (or without batch). Source: `torch.nn.Conv3d`.
 *
 * @example
 * new Conv3d(3, 8, 3)(rand([1, 3, 8, 16, 16])).shape; // [1, 8, 6, 14, 14]
 */
export class Conv3d extends ConvNd {
  constructor(inChannels: number, outChannels: number, kernelSize: Sizes, options: ConvOptions = {}) {
    super(3, inChannels, outChannels, kernelSize, options);
  }

  convForward(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
    return runConv(conv3d, this, x, weight, bias);
  }
}

function runConv(op: typeof conv2d, conv: ConvNd, x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
  const { stride, padding, dilation, groups, paddingMode } = conv;
  // The functions pad with zeros; anything else is laid around the input first.
  if (paddingMode === 'zeros') return op(x, weight, bias, { stride, padding, dilation, groups });
  return op(dispatch('pad', x, conv.pads(), paddingMode, 0), weight, bias, { stride, dilation, groups });
}
