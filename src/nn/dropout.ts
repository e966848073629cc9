import { ArgumentError, ShapeError } from '../core/errors.ts';
import { dispatch } from '../ops/dispatch.ts';
import { dropout } from '../ops/functions/layer/dropout.ts';
import { ones } from '../tensor/creation.ts';
import type { PlainDType } from '../tensor/dtype.ts';
import { pythonFloat } from '../tensor/format.ts';
import { formatShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { InplaceOptions } from './activation.ts';
import { Module } from './module.ts';
import { pythonBool } from './python-repr.ts';

/** What all dropouts share. Source: `torch.nn.modules.dropout._DropoutNd`. */
abstract class DropoutNd extends Module {
  /** Probability of dropping; may be changed. */
  p: number;
  readonly inplace: boolean;

  constructor(p = 0.5, options: InplaceOptions = {}) {
    super();
    if (!(p >= 0 && p <= 1)) {
      throw new ArgumentError({
        fn: new.target.name,
        argument: 'p',
        expected: 'a probability from 0 to 1',
        got: String(p),
      });
    }
    this.p = p;
    this.inplace = options.inplace ?? false;
  }

  override extraRepr(): string {
    return `p=${pythonFloat(this.p)}, inplace=${pythonBool(this.inplace)}`;
  }
}

/**
 * While training sets elements to zero with probability p and scales the others by 1 / (1 − p); in evaluation gives
 * back its input. Draws from the default generator. Source: `torch.nn.Dropout`; Hinton et al. (2012).
 *
 * @example
 * new Dropout(0.2)(ones([4])); // e.g. [1.25, 0, 1.25, 1.25]
 */
export class Dropout extends DropoutNd {
  forward(x: Tensor): Tensor {
    return dropout(x, this.p, this.training);
  }
}

/** {@link Dropout} of whole channels of [batch, channels, length]. Source: `torch.nn.Dropout1d`. */
export class Dropout1d extends DropoutNd {
  forward(x: Tensor): Tensor {
    return this.training && this.p > 0 ? dropChannels(x, this.p, 1, 'Dropout1d') : x;
  }
}

/** {@link Dropout} of whole channels of [batch, channels, height, width]. Source: `torch.nn.Dropout2d`. */
export class Dropout2d extends DropoutNd {
  forward(x: Tensor): Tensor {
    return this.training && this.p > 0 ? dropChannels(x, this.p, 2, 'Dropout2d') : x;
  }
}

function dropChannels(x: Tensor, p: number, rank: number, fn: string): Tensor {
  if (x.ndim !== rank + 1 && x.ndim !== rank + 2) {
    throw new ShapeError({
      fn,
      argument: 'input',
      expected: `[batch, channels, ${rank} spatial sizes], or without batch`,
      got: formatShape(x.shape),
    });
  }
  const channels = x.shape.map((size, d) => (d < x.ndim - rank ? size : 1));
  const mask = dropout(ones(channels, { dtype: x.dtype as PlainDType }), p);
  return dispatch('mul', x, mask);
}
