import { dispatch } from '../ops/dispatch.ts';
import { perDimension, type Sizes } from '../ops/functions/layer/spatial.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { Module } from './module.ts';
import { pythonTuple } from './python-repr.ts';

/**
 * Zeros around [batch, channels, height, width]: as many on every side, or [left, right, top, bottom].
 * Source: `torch.nn.ZeroPad2d`.
 *
 * @example
 * new ZeroPad2d([1, 1, 4, 5])(rand([1, 1, 49, 10])).shape; // [1, 1, 58, 12]
 */
export class ZeroPad2d extends Module {
  readonly padding: readonly number[];

  constructor(padding: Sizes) {
    super();
    this.padding = perDimension('ZeroPad2d', 'padding', padding, 4);
  }

  forward(x: Tensor): Tensor {
    return dispatch('pad', x, this.padding, 'constant', 0);
  }

  override extraRepr(): string {
    return pythonTuple(this.padding);
  }
}
