import { Tensor } from '../tensor/tensor.ts';

/**
 * A tensor that a module learns: assigned to a module's field it appears in `parameters()` and in the state dict.
 * It requires gradients unless told otherwise. Source: `torch.nn.Parameter`.
 *
 * @example
 * class Scale extends Module { gain = new Parameter(ones([1])); forward(x: Tensor) { return x.mul(this.gain); } }
 */
export class Parameter extends Tensor {
  constructor(data: Tensor, requiresGrad = true) {
    super(data);
    this.requiresGrad = requiresGrad;
  }

  override toString(): string {
    return `Parameter containing:\n${super.toString()}`;
  }
}
