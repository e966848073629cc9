import type { Tensor } from '../../tensor/tensor.ts';
import { bmm, matmul } from '../functions/layer/matmul.ts';
import { installMethods } from './install.ts';

declare module '../../tensor/tensor.ts' {
  interface Tensor {
    /** Matrix product with broadcasting; see {@link matmul}. Source: `torch.Tensor.matmul`. */
    matmul(other: Tensor): Tensor;
    /** Product of two stacks of matrices; see {@link bmm}. Source: `torch.Tensor.bmm`. */
    bmm(other: Tensor): Tensor;
  }
}

installMethods({
  matmul(this: Tensor, other: Tensor): Tensor {
    return matmul(this, other);
  },
  bmm(this: Tensor, other: Tensor): Tensor {
    return bmm(this, other);
  },
});
