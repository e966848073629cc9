import { ArgumentError } from '../core/errors.ts';
import {
  convTranspose1d,
  convTranspose2d,
  convTranspose3d,
  type ConvTransposeOptions as FunctionOptions,
} from '../ops/functions/layer/conv.ts';
import { perDimension, type Sizes } from '../ops/functions/layer/spatial.ts';
import { formatShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { ConvNd } from './conv.ts';
import { pythonTuple } from './python-repr.ts';

/** Options of the transposed convolutions. */
export interface ConvTransposeOptions {
  /** Distance between input samples in the output; 1 where not given. */
  readonly stride?: Sizes;
  /** Samples taken off both sides of the output; 0 where not given. */
  readonly padding?: Sizes;
  /** Samples added to one side of the output, to choose among the sizes that a stride leaves open; 0 where not given. */
  readonly outputPadding?: Sizes;
  /** Distance between the taps of the kernel; 1 where not given. */
  readonly dilation?: Sizes;
  readonly groups?: number;
  readonly bias?: boolean;
}

/** What all transposed convolutions share. Source: `torch.nn.modules.conv._ConvTransposeNd`. */
export abstract class ConvTransposeNd extends ConvNd {
  readonly outputPadding: readonly number[];

  constructor(
    rank: number,
    inChannels: number,
    outChannels: number,
    kernelSize: Sizes,
    options: ConvTransposeOptions,
  ) {
    super(rank, inChannels, outChannels, kernelSize, options, true);
    this.outputPadding = perDimension(new.target.name, 'outputPadding', options.outputPadding ?? 0, rank);
  }

  /** The computation; `outputSize` (spatial sizes) overrules `outputPadding`. */
  abstract override convForward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | null,
    outputSize?: readonly number[],
  ): Tensor;

  /** `outputPadding`, or the one that gives `outputSize`. */
  outputPaddingFor(x: Tensor, outputSize: readonly number[] | undefined): readonly number[] {
    if (outputSize === undefined) return this.outputPadding;
    const rank = this.kernelSize.length;
    const wanted = outputSize.slice(-rank);
    const padding = this.padding as readonly number[];
    return this.kernelSize.map((k, d) => {
      const size = x.shape[x.ndim - rank + d];
      const smallest = (size - 1) * this.stride[d] - 2 * padding[d] + this.dilation[d] * (k - 1) + 1;
      const extra = wanted[d] - smallest;
      if (wanted.length === rank && extra >= 0 && extra < this.stride[d]) return extra;
      throw new ArgumentError({
        fn: this.typeName,
        argument: 'outputSize',
        expected: `${smallest} to ${smallest + this.stride[d] - 1} in spatial dimension ${d}`,
        got: formatShape(outputSize),
      });
    });
  }

  override outputPaddingRepr(): string {
    return this.outputPadding.some((p) => p !== 0) ? `output_padding=${pythonTuple(this.outputPadding)}` : '';
  }
}

/**
 * The transpose (gradient) of a {@link Conv1d}: [batch, inChannels, L] →
 * [batch, outChannels, (L−1)·stride − 2·padding + dilation·(kernel−1) + outputPadding + 1].
 * `weight` is [inChannels, outChannels / groups, kernel]. Source: `torch.nn.ConvTranspose1d`.
 *
 * @example
 * new ConvTranspose1d(16, 8, 4, { stride: 2, padding: 1 })(rand([1, 16, 10])).shape; // [1, 8, 20]
 */
export class ConvTranspose1d extends ConvTransposeNd {
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Sizes,
    options: ConvTransposeOptions = {},
  ) {
    super(1, inChannels, outChannels, kernelSize, options);
  }

  convForward(x: Tensor, weight: Tensor, bias: Tensor | null, outputSize?: readonly number[]): Tensor {
    return convTranspose1d(x, weight, bias, geometry(this, x, outputSize));
  }
}

/**
 * The transpose (gradient) of a {@link Conv2d}: [batch, inChannels, H, W] → upsampled by `stride`.
 * `weight` is [inChannels, outChannels / groups, kernelHeight, kernelWidth]. Source: `torch.nn.ConvTranspose2d`.
 *
 * @example
 * new ConvTranspose2d(16, 8, 4, { stride: 2, padding: 1 })(rand([1, 16, 10, 12])).shape; // [1, 8, 20, 24]
 */
export class ConvTranspose2d extends ConvTransposeNd {
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Sizes,
    options: ConvTransposeOptions = {},
  ) {
    super(2, inChannels, outChannels, kernelSize, options);
  }

  convForward(x: Tensor, weight: Tensor, bias: Tensor | null, outputSize?: readonly number[]): Tensor {
    return convTranspose2d(x, weight, bias, geometry(this, x, outputSize));
  }
}

/**
 * The transpose (gradient) of a {@link Conv3d}: [batch, inChannels, D, H, W] → upsampled by `stride`.
 * `weight` is [inChannels, outChannels / groups, kernelDepth, kernelHeight, kernelWidth].
 * Source: `torch.nn.ConvTranspose3d`.
 *
 * @example
 * new ConvTranspose3d(16, 8, 4, { stride: 2, padding: 1 })(rand([1, 16, 3, 10, 12])).shape; // [1, 8, 6, 20, 24]
 */
export class ConvTranspose3d extends ConvTransposeNd {
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Sizes,
    options: ConvTransposeOptions = {},
  ) {
    super(3, inChannels, outChannels, kernelSize, options);
  }

  convForward(x: Tensor, weight: Tensor, bias: Tensor | null, outputSize?: readonly number[]): Tensor {
    return convTranspose3d(x, weight, bias, geometry(this, x, outputSize));
  }
}

function geometry(
  conv: ConvTransposeNd,
  x: Tensor,
  outputSize: readonly number[] | undefined,
): FunctionOptions {
  return {
    stride: conv.stride,
    padding: conv.padding as readonly number[],
    dilation: conv.dilation,
    groups: conv.groups,
    outputPadding: conv.outputPaddingFor(x, outputSize),
  };
}
