import { dispatch } from '../ops/dispatch.ts';
import type { AvgPoolGeometry, PoolGeometry } from '../ops/signatures/layer.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { perDimension, type SizeOption } from './conv.ts';
import { Module } from './module.ts';
import { pythonBool, pythonSize, pythonTuple } from './python-repr.ts';

/** Options of the max pools. */
export interface MaxPoolOptions {
  /** Step of the window; the kernel size where not given. */
  readonly stride?: SizeOption;
  /** Samples (minus infinity) added on both sides; at most half the kernel. 0 where not given. */
  readonly padding?: SizeOption;
  readonly dilation?: SizeOption;
  /** Let the last window hang over the edge. */
  readonly ceilMode?: boolean;
}

/** Options of the average pools. */
export interface AvgPoolOptions {
  /** Step of the window; the kernel size where not given. */
  readonly stride?: SizeOption;
  /** Zeros added on both sides; at most half the kernel. 0 where not given. */
  readonly padding?: SizeOption;
  /** Let the last window hang over the edge. */
  readonly ceilMode?: boolean;
  /** Count the padding in the average; true where not given. */
  readonly countIncludePad?: boolean;
}

/** What all max pools share. Source: `torch.nn.modules.pooling._MaxPoolNd`. */
export abstract class MaxPoolNd extends Module {
  readonly kernelSize: SizeOption;
  readonly stride: SizeOption;
  readonly padding: SizeOption;
  readonly dilation: SizeOption;
  readonly ceilMode: boolean;

  constructor(kernelSize: SizeOption, options: MaxPoolOptions = {}) {
    super();
    this.kernelSize = kernelSize;
    this.stride = options.stride ?? kernelSize;
    this.padding = options.padding ?? 0;
    this.dilation = options.dilation ?? 1;
    this.ceilMode = options.ceilMode ?? false;
  }

  /** The window, with one number per spatial dimension. */
  geometry(rank: number): PoolGeometry {
    const fn = this.typeName;
    return {
      kernelSize: perDimension(this.kernelSize, rank, fn, 'kernelSize'),
      stride: perDimension(this.stride, rank, fn, 'stride'),
      padding: perDimension(this.padding, rank, fn, 'padding'),
      dilation: perDimension(this.dilation, rank, fn, 'dilation'),
      ceilMode: this.ceilMode,
    };
  }

  override extraRepr(): string {
    return `kernel_size=${pythonSize(this.kernelSize)}, stride=${pythonSize(this.stride)}, padding=${pythonSize(this.padding)}, dilation=${pythonSize(this.dilation)}, ceil_mode=${pythonBool(this.ceilMode)}`;
  }
}

/** Maximum over windows of [batch, channels, length]. Source: `torch.nn.MaxPool1d`. */
export class MaxPool1d extends MaxPoolNd {
  forward(x: Tensor): Tensor {
    return dispatch('maxPool1d', x, this.geometry(1));
  }
}

/**
 * Maximum over windows of [batch, channels, height, width]. Source: `torch.nn.MaxPool2d`.
 *
 * @example
 * new MaxPool2d(2)(rand([1, 20, 24, 24])).shape; // [1, 20, 12, 12]
 */
export class MaxPool2d extends MaxPoolNd {
  forward(x: Tensor): Tensor {
    return dispatch('maxPool2d', x, this.geometry(2));
  }
}

/** Maximum over windows of [batch, channels, depth, height, width]. Source: `torch.nn.MaxPool3d`. */
export class MaxPool3d extends MaxPoolNd {
  forward(x: Tensor): Tensor {
    return dispatch('maxPool3d', x, this.geometry(3));
  }
}

/** What all average pools share. Source: `torch.nn.modules.pooling._AvgPoolNd`. */
export abstract class AvgPoolNd extends Module {
  readonly kernelSize: SizeOption;
  readonly stride: SizeOption;
  readonly padding: SizeOption;
  readonly ceilMode: boolean;
  readonly countIncludePad: boolean;

  constructor(kernelSize: SizeOption, options: AvgPoolOptions = {}) {
    super();
    this.kernelSize = kernelSize;
    this.stride = options.stride ?? kernelSize;
    this.padding = options.padding ?? 0;
    this.ceilMode = options.ceilMode ?? false;
    this.countIncludePad = options.countIncludePad ?? true;
  }

  /** The window, with one number per spatial dimension. */
  geometry(rank: number): AvgPoolGeometry {
    const fn = this.typeName;
    return {
      kernelSize: perDimension(this.kernelSize, rank, fn, 'kernelSize'),
      stride: perDimension(this.stride, rank, fn, 'stride'),
      padding: perDimension(this.padding, rank, fn, 'padding'),
      dilation: perDimension(1, rank, fn, 'dilation'),
      ceilMode: this.ceilMode,
      countIncludePad: this.countIncludePad,
    };
  }

  override extraRepr(): string {
    return `kernel_size=${pythonSize(this.kernelSize)}, stride=${pythonSize(this.stride)}, padding=${pythonSize(this.padding)}`;
  }
}

/** Mean over windows of [batch, channels, length]. Source: `torch.nn.AvgPool1d`. */
export class AvgPool1d extends AvgPoolNd {
  // PyTorch turns the sizes of this one class into tuples, and prints them so.
  constructor(kernelSize: SizeOption, options: AvgPoolOptions = {}) {
    super(perDimension(kernelSize, 1, 'AvgPool1d', 'kernelSize'), {
      ...options,
      stride: perDimension(options.stride ?? kernelSize, 1, 'AvgPool1d', 'stride'),
      padding: perDimension(options.padding ?? 0, 1, 'AvgPool1d', 'padding'),
    });
  }

  forward(x: Tensor): Tensor {
    return dispatch('avgPool1d', x, this.geometry(1));
  }
}

/**
 * Mean over windows of [batch, channels, height, width]. Source: `torch.nn.AvgPool2d`.
 *
 * @example
 * new AvgPool2d(8)(rand([1, 64, 8, 8])).shape; // [1, 64, 1, 1]
 */
export class AvgPool2d extends AvgPoolNd {
  forward(x: Tensor): Tensor {
    return dispatch('avgPool2d', x, this.geometry(2));
  }
}

/** Mean over windows of [batch, channels, depth, height, width]. Source: `torch.nn.AvgPool3d`. */
export class AvgPool3d extends AvgPoolNd {
  forward(x: Tensor): Tensor {
    return dispatch('avgPool3d', x, this.geometry(3));
  }
}

/** Mean over windows chosen so that the output has `outputSize` samples. Source: `torch.nn.AdaptiveAvgPool1d`. */
export class AdaptiveAvgPool1d extends Module {
  readonly outputSize: SizeOption;

  constructor(outputSize: SizeOption) {
    super();
    this.outputSize = outputSize;
  }

  forward(x: Tensor): Tensor {
    return dispatch(
      'adaptiveAvgPool1d',
      x,
      perDimension(this.outputSize, 1, 'AdaptiveAvgPool1d', 'outputSize'),
    );
  }

  override extraRepr(): string {
    return `output_size=${pythonSize(this.outputSize)}`;
  }
}

/**
 * Mean over windows chosen so that the output is `outputSize`; null keeps the input's size in that dimension.
 * Source: `torch.nn.AdaptiveAvgPool2d`.
 *
 * @example
 * new AdaptiveAvgPool2d(1)(rand([1, 512, 7, 7])).shape; // [1, 512, 1, 1]
 */
export class AdaptiveAvgPool2d extends Module {
  readonly outputSize: number | readonly (number | null)[];

  constructor(outputSize: number | readonly (number | null)[]) {
    super();
    this.outputSize = outputSize;
  }

  forward(x: Tensor): Tensor {
    const { outputSize } = this;
    const given = typeof outputSize === 'number' ? [outputSize, outputSize] : outputSize;
    const sizes = given.map((size, d) => size ?? x.shape[x.ndim - given.length + d]);
    return dispatch('adaptiveAvgPool2d', x, perDimension(sizes, 2, 'AdaptiveAvgPool2d', 'outputSize'));
  }

  override extraRepr(): string {
    const { outputSize } = this;
    if (typeof outputSize === 'number') return `output_size=${outputSize}`;
    if (outputSize.every((s) => s !== null)) return `output_size=${pythonTuple(outputSize)}`;
    return `output_size=(${outputSize.map((s) => s ?? 'None').join(', ')})`;
  }
}
