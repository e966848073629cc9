import {
  type AdaptiveSize,
  type AvgPoolOptions,
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  adaptiveAvgPool3d,
  avgPool1d,
  avgPool2d,
  avgPool3d,
  type MaxPoolOptions,
  maxPool1d,
  maxPool2d,
  maxPool3d,
} from '../ops/functions/layer/pool.ts';
import { perDimension, type Sizes } from '../ops/functions/layer/spatial.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { Module } from './module.ts';
import { pythonBool, pythonSize, pythonTuple } from './python-repr.ts';

/** What all max pools share. Source: `torch.nn.modules.pooling._MaxPoolNd`. */
export abstract class MaxPoolNd extends Module {
  readonly kernelSize: Sizes;
  readonly stride: Sizes;
  readonly padding: Sizes;
  readonly dilation: Sizes;
  readonly ceilMode: boolean;

  constructor(kernelSize: Sizes, options: MaxPoolOptions = {}) {
    super();
    this.kernelSize = kernelSize;
    this.stride = options.stride ?? kernelSize;
    this.padding = options.padding ?? 0;
    this.dilation = options.dilation ?? 1;
    this.ceilMode = options.ceilMode ?? false;
  }

  override extraRepr(): string {
    return `kernel_size=${pythonSize(this.kernelSize)}, stride=${pythonSize(this.stride)}, padding=${pythonSize(this.padding)}, dilation=${pythonSize(this.dilation)}, ceil_mode=${pythonBool(this.ceilMode)}`;
  }
}

/** Maximum over windows of [batch, channels, length]. Source: `torch.nn.MaxPool1d`. */
export class MaxPool1d extends MaxPoolNd {
  forward(x: Tensor): Tensor {
    return maxPool1d(x, this.kernelSize, this);
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
    return maxPool2d(x, this.kernelSize, this);
  }
}

/** Maximum over windows of [batch, channels, depth, height, width]. Source: `torch.nn.MaxPool3d`. */
export class MaxPool3d extends MaxPoolNd {
  forward(x: Tensor): Tensor {
    return maxPool3d(x, this.kernelSize, this);
  }
}

/** What all average pools share. Source: `torch.nn.modules.pooling._AvgPoolNd`. */
export abstract class AvgPoolNd extends Module {
  readonly kernelSize: Sizes;
  readonly stride: Sizes;
  readonly padding: Sizes;
  readonly ceilMode: boolean;
  readonly countIncludePad: boolean;

  constructor(kernelSize: Sizes, options: AvgPoolOptions = {}) {
    super();
    this.kernelSize = kernelSize;
    this.stride = options.stride ?? kernelSize;
    this.padding = options.padding ?? 0;
    this.ceilMode = options.ceilMode ?? false;
    this.countIncludePad = options.countIncludePad ?? true;
  }

  override extraRepr(): string {
    return `kernel_size=${pythonSize(this.kernelSize)}, stride=${pythonSize(this.stride)}, padding=${pythonSize(this.padding)}`;
  }
}

/** Mean over windows of [batch, channels, length]. Source: `torch.nn.AvgPool1d`. */
export class AvgPool1d extends AvgPoolNd {
  // PyTorch turns the sizes of this one class into tuples, and prints them so.
  constructor(kernelSize: Sizes, options: AvgPoolOptions = {}) {
    super(perDimension('AvgPool1d', 'kernelSize', kernelSize, 1), {
      ...options,
      stride: perDimension('AvgPool1d', 'stride', options.stride ?? kernelSize, 1),
      padding: perDimension('AvgPool1d', 'padding', options.padding ?? 0, 1),
    });
  }

  forward(x: Tensor): Tensor {
    return avgPool1d(x, this.kernelSize, this);
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
    return avgPool2d(x, this.kernelSize, this);
  }
}

/** Mean over windows of [batch, channels, depth, height, width]. Source: `torch.nn.AvgPool3d`. */
export class AvgPool3d extends AvgPoolNd {
  forward(x: Tensor): Tensor {
    return avgPool3d(x, this.kernelSize, this);
  }
}

/** Mean over windows chosen so that the output has `outputSize` samples. Source: `torch.nn.AdaptiveAvgPool1d`. */
export class AdaptiveAvgPool1d extends Module {
  readonly outputSize: Sizes;

  constructor(outputSize: Sizes) {
    super();
    this.outputSize = outputSize;
  }

  forward(x: Tensor): Tensor {
    return adaptiveAvgPool1d(x, this.outputSize);
  }

  override extraRepr(): string {
    return `output_size=${pythonSize(this.outputSize)}`;
  }
}

/** What adaptive average pools of several dimensions share. Source: `torch.nn.modules.pooling._AdaptiveAvgPoolNd`. */
export abstract class AdaptiveAvgPoolNd extends Module {
  readonly outputSize: AdaptiveSize;

  constructor(outputSize: AdaptiveSize) {
    super();
    this.outputSize = outputSize;
  }

  override extraRepr(): string {
    const { outputSize } = this;
    if (typeof outputSize === 'number') return `output_size=${outputSize}`;
    if (outputSize.every((s) => s !== null)) return `output_size=${pythonTuple(outputSize)}`;
    return `output_size=(${outputSize.map((s) => s ?? 'None').join(', ')})`;
  }
}

/**
 * Mean over windows chosen so that the output is `outputSize`; null keeps the input's size in that dimension.
 * Source: `torch.nn.AdaptiveAvgPool2d`.
 *
 * @example
 * new AdaptiveAvgPool2d(1)(rand([1, 512, 7, 7])).shape; // [1, 512, 1, 1]
 */
export class AdaptiveAvgPool2d extends AdaptiveAvgPoolNd {
  forward(x: Tensor): Tensor {
    return adaptiveAvgPool2d(x, this.outputSize);
  }
}

/**
 * {@link AdaptiveAvgPool2d} over [batch, channels, depth, height, width]. Source: `torch.nn.AdaptiveAvgPool3d`.
 *
 * @example
 * new AdaptiveAvgPool3d(1)(rand([1, 512, 4, 7, 7])).shape; // [1, 512, 1, 1, 1]
 */
export class AdaptiveAvgPool3d extends AdaptiveAvgPoolNd {
  forward(x: Tensor): Tensor {
    return adaptiveAvgPool3d(x, this.outputSize);
  }
}
