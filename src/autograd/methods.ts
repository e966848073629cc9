import { installMethods } from '../ops/methods/install.ts';
import { type Tensor, viewOf } from '../tensor/tensor.ts';
import { type BackwardOptions, backward } from './backward.ts';

declare module '../tensor/tensor.ts' {
  interface Tensor {
    /**
     * Computes the gradients of this result with respect to every leaf that requires them, adding to their `grad`.
     * `gradient` is the gradient of this tensor itself; 1 for a scalar. Source: `torch.Tensor.backward`.
     *
     * @example
     * const w = tensor([1, 2], { requiresGrad: true });
     * w.mul(w).sum().backward();
     * w.grad; // tensor([2., 4.])
     */
    backward(gradient?: Tensor, options?: BackwardOptions): void;
    /** The same elements outside the recorded graph; shares storage. Source: `torch.Tensor.detach`. */
    detach(): Tensor;
    /** Sets {@link requiresGrad} and returns the tensor itself. Source: `torch.Tensor.requires_grad_`. */
    requiresGrad_(value?: boolean): this;
    /** Makes `backward()` keep the `grad` of this tensor although it is not a leaf. Source: `torch.Tensor.retain_grad`. */
    retainGrad(): this;
  }
}

installMethods({
  backward(gradient?: Tensor, options?: BackwardOptions): void {
    backward(this, gradient, options);
  },
  detach(): Tensor {
    return viewOf(this, this.shape, this.strides);
  },
  requiresGrad_(value = true): Tensor {
    this.requiresGrad = value;
    return this;
  },
  retainGrad(): Tensor {
    this.retainsGrad = true;
    return this;
  },
});
