import { interpolate } from '../ops/functions/layer/interpolate.ts';
import type { Sizes } from '../ops/functions/layer/spatial.ts';
import { pythonFloat } from '../tensor/format.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { Module } from './module.ts';
import { pythonSize } from './python-repr.ts';

/** Options of {@link Upsample}: either `size` or `scaleFactor`. */
export interface UpsampleOptions {
  /** Output sizes of the spatial dimensions. */
  readonly size?: Sizes;
  /** Output size over input size. */
  readonly scaleFactor?: Sizes;
  /** `nearest` where not given. */
  readonly mode?: 'nearest' | 'linear' | 'bilinear';
  /** Match the centres of the corner samples rather than the corners themselves. */
  readonly alignCorners?: boolean;
}

/**
 * Resizes the spatial dimensions of [batch, channels, *]. Source: `torch.nn.Upsample`.
 *
 * @example
 * new Upsample({ scaleFactor: 2, mode: 'bilinear' })(rand([1, 3, 8, 8])).shape; // [1, 3, 16, 16]
 */
export class Upsample extends Module {
  readonly size: Sizes | undefined;
  readonly scaleFactor: Sizes | undefined;
  readonly mode: 'nearest' | 'linear' | 'bilinear';
  readonly alignCorners: boolean;

  constructor(options: UpsampleOptions) {
    super();
    this.size = options.size;
    this.scaleFactor = options.scaleFactor;
    this.mode = options.mode ?? 'nearest';
    this.alignCorners = options.alignCorners ?? false;
  }

  forward(x: Tensor): Tensor {
    const { size, scaleFactor, mode, alignCorners } = this;
    return interpolate(x, { size, scaleFactor, mode, alignCorners });
  }

  override extraRepr(): string {
    const { size, scaleFactor } = this;
    if (scaleFactor === undefined) return `size=${pythonSize(size ?? [])}, mode=${this.mode}`;
    const factors =
      typeof scaleFactor === 'number'
        ? pythonFloat(scaleFactor)
        : `(${scaleFactor.map(pythonFloat).join(', ')}${scaleFactor.length === 1 ? ',' : ''})`;
    return `scale_factor=${factors}, mode=${this.mode}`;
  }
}
